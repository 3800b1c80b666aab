//! Tells connections of other people's commits, a few at a time.
//!
//! A commit is news for every connection. To put it into their inboxes is nothing; the write to a
//! socket that follows is not: with thousands of connections it is some ten milliseconds of processor
//! time for each commit, and the committer's own answer and everybody's loads would stand in line
//! behind all of it. So news wake nobody. They stand in the inbox, in order, and a connection that
//! wakes for anything else tells its peer at once. The first few that wait for nothing else are woken
//! when the hub is done, the others by the crier, in groups with a pause between them. Who is woken a
//! little later tells of several commits in one write, so a crowd costs the less per commit the more
//! commits there are.
//!
//! With up to a group of connections nothing is late. With more the last one is: by a pause for each
//! group before it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::inbox::Inbox;

/// How many are woken at once for each core: what a worker writes in a fraction of the pause.
const GROUP_PER_CORE: usize = 16;

/// Between two groups.
const PAUSE: Duration = Duration::from_millis(1);

/// Those that have news and wait for nothing else.
#[derive(Debug)]
pub(crate) struct Calls {
    state: Mutex<State>,
    /// Rings when somebody is on the list, or at the end.
    bell: Condvar,
    group: usize,
}

#[derive(Debug, Default)]
struct State {
    list: VecDeque<Arc<Inbox>>,
    stopping: bool,
}

impl Calls {
    fn new(group: usize) -> Self {
        Self { state: Mutex::default(), bell: Condvar::new(), group }
    }

    /// Wakes a group of them if nobody was there before, and leaves the others to the crier.
    pub(crate) fn call(&self, mut inboxes: Vec<Arc<Inbox>>) {
        if inboxes.is_empty() {
            return;
        }
        let first = {
            let mut state = self.lock();
            let count = if state.list.is_empty() { self.group.min(inboxes.len()) } else { 0 };
            let first: Vec<_> = inboxes.drain(..count).collect();
            let rings = state.list.is_empty() && !inboxes.is_empty();
            state.list.extend(inboxes);
            if rings {
                self.bell.notify_one();
            }
            first
        };
        first.iter().for_each(|inbox| inbox.wake());
    }

    /// The next ones to be woken; none at the end.
    fn next_group(&self) -> Vec<Arc<Inbox>> {
        let mut state = self.lock();
        while state.list.is_empty() && !state.stopping {
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = self.group.min(state.list.len());
        state.list.drain(..count).collect()
    }

    fn stop(&self) {
        self.lock().stopping = true;
        self.bell.notify_one();
    }

    /// Nothing is done under the lock that could panic half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that goes through the list, until this is dropped.
#[derive(Debug)]
pub(crate) struct Crier {
    calls: Arc<Calls>,
    thread: Option<JoinHandle<()>>,
}

impl Crier {
    pub(crate) fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let calls = Arc::new(Calls::new(GROUP_PER_CORE * cores));
        let list = calls.clone();
        let thread = std::thread::Builder::new()
            .name("crier".to_owned())
            .spawn(move || cry(&list))
            .expect("the system has room for one more thread");
        Self { calls, thread: Some(thread) }
    }

    pub(crate) fn calls(&self) -> Arc<Calls> {
        self.calls.clone()
    }
}

impl Drop for Crier {
    fn drop(&mut self) {
        self.calls.stop();
        if let Some(thread) = self.thread.take() {
            // It has nothing that could panic but wakers, and then those are gone.
            let _ = thread.join();
        }
    }
}

fn cry(calls: &Calls) {
    loop {
        let group = calls.next_group();
        if group.is_empty() {
            return;
        }
        group.iter().for_each(|inbox| inbox.wake());
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::task::{Context, Wake as Wakeable, Waker};

    use super::*;
    use crate::Wake;

    /// Tells which connection was woken.
    struct Told(usize, Sender<usize>);

    impl Wakeable for Told {
        fn wake(self: Arc<Self>) {
            let _ = self.1.send(self.0);
        }
    }

    /// Inboxes with news, each with somebody who waits for it.
    fn crowd(count: usize, told: &Sender<usize>) -> Vec<Arc<Inbox>> {
        (0..count)
            .map(|number| {
                let inbox = Arc::new(Inbox::default());
                let waker = Waker::from(Arc::new(Told(number, told.clone())));
                assert!(inbox.poll_recv(&mut Context::from_waker(&waker)).is_pending());
                assert!(inbox.push_quietly(Wake::Stop));
                inbox
            })
            .collect()
    }

    #[test]
    fn the_first_group_is_woken_at_once_and_the_others_in_groups() {
        let (told, woken) = channel();
        let calls = Calls::new(2);
        let inboxes = crowd(6, &told);
        calls.call(inboxes[..5].to_vec());
        assert_eq!(woken.try_iter().collect::<Vec<_>>(), [0, 1]);
        calls.call(inboxes[5..].to_vec());
        assert!(woken.try_recv().is_err(), "others are waiting already");
        let sizes: Vec<usize> = (0..2).map(|_| calls.next_group().len()).collect();
        assert_eq!(sizes, [2, 2]);
        calls.stop();
        assert!(calls.next_group().is_empty());
    }

    #[test]
    fn everybody_is_told_in_the_end() {
        let (told, woken) = channel();
        let crier = Crier::start();
        let count = 3 * crier.calls().group + 1;
        crier.calls().call(crowd(count, &told));
        let mut all: Vec<usize> = woken.iter().take(count).collect();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
    }
}
