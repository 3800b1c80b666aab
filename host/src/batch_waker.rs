//! Wakes idle connections in batches after a commit.
//!
//! Every connection receives every commit. Putting the invalidation into the inboxes costs next to
//! nothing, but the writes to the sockets do: with thousands of connections they take some ten
//! milliseconds of processor time for each commit, and the committer's own answer and the loads of all
//! clients would wait for all of them. So an invalidation wakes no connection at once. It is in the
//! inbox, in order, and a connection that wakes for anything else sends it at once. The first few idle
//! connections are woken when the hub is done, the others by the thread of the [`BatchWaker`], in batches
//! with a pause between them. A connection that is woken a little later sends several invalidations in
//! one write, so a crowd costs less per commit the more commits there are.
//!
//! With up to one batch of connections nothing is late. With more, the last one is late by a pause for
//! each batch before it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::inbox::Inbox;

/// Number of connections woken at once for each core: what a worker writes in a fraction of the pause.
const BATCH_PER_CORE: usize = 16;

/// Pause between two batches.
const PAUSE: Duration = Duration::from_millis(1);

/// The idle connections that have an invalidation in their inboxes.
#[derive(Debug)]
pub(crate) struct WakeList {
    state: Mutex<Waiting>,
    /// Signaled when the list is not empty, or at the end.
    signal: Condvar,
    batch: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    list: VecDeque<Arc<Inbox>>,
    stopping: bool,
}

impl WakeList {
    fn new(batch: usize) -> Self {
        Self { state: Mutex::default(), signal: Condvar::new(), batch }
    }

    /// Wakes one batch if the list was empty, and leaves the others to the thread.
    pub(crate) fn wake(&self, mut inboxes: Vec<Arc<Inbox>>) {
        if inboxes.is_empty() {
            return;
        }
        let first = {
            let mut state = self.lock();
            let count = if state.list.is_empty() { self.batch.min(inboxes.len()) } else { 0 };
            let first: Vec<_> = inboxes.drain(..count).collect();
            let signals = state.list.is_empty() && !inboxes.is_empty();
            state.list.extend(inboxes);
            if signals {
                self.signal.notify_one();
            }
            first
        };
        first.iter().for_each(|inbox| inbox.wake());
    }

    /// The next batch to wake; empty at the end.
    fn next_batch(&self) -> Vec<Arc<Inbox>> {
        let mut state = self.lock();
        while state.list.is_empty() && !state.stopping {
            state = self.signal.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = self.batch.min(state.list.len());
        state.list.drain(..count).collect()
    }

    fn stop(&self) {
        self.lock().stopping = true;
        self.signal.notify_one();
    }

    /// Nothing is done under the lock that could panic half way.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that wakes the connections on the list, until this is dropped.
#[derive(Debug)]
pub(crate) struct BatchWaker {
    list: Arc<WakeList>,
    thread: Option<JoinHandle<()>>,
}

impl BatchWaker {
    pub(crate) fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let list = Arc::new(WakeList::new(BATCH_PER_CORE * cores));
        let of_thread = list.clone();
        let thread = std::thread::Builder::new()
            .name("batch-waker".to_owned())
            .spawn(move || wake_batches(&of_thread))
            .expect("the system has room for one more thread");
        Self { list, thread: Some(thread) }
    }

    pub(crate) fn list(&self) -> Arc<WakeList> {
        self.list.clone()
    }
}

impl Drop for BatchWaker {
    fn drop(&mut self) {
        self.list.stop();
        if let Some(thread) = self.thread.take() {
            // It has nothing that could panic but wakers, and then those are gone.
            let _ = thread.join();
        }
    }
}

fn wake_batches(list: &WakeList) {
    loop {
        let batch = list.next_batch();
        if batch.is_empty() {
            return;
        }
        batch.iter().for_each(|inbox| inbox.wake());
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::task::{Context, Wake, Waker};

    use super::*;
    use crate::inbox::InboxMessage;

    /// Sends the number of the connection that was woken.
    struct SendNumber(usize, Sender<usize>);

    impl Wake for SendNumber {
        fn wake(self: Arc<Self>) {
            let _ = self.1.send(self.0);
        }
    }

    /// Inboxes with an invalidation, each with a task that waits for it.
    fn crowd(count: usize, sender: &Sender<usize>) -> Vec<Arc<Inbox>> {
        (0..count)
            .map(|number| {
                let inbox = Arc::new(Inbox::default());
                let waker = Waker::from(Arc::new(SendNumber(number, sender.clone())));
                assert!(inbox.poll_recv(&mut Context::from_waker(&waker)).is_pending());
                assert!(inbox.push_quietly(InboxMessage::Stop));
                inbox
            })
            .collect()
    }

    #[test]
    fn the_first_batch_is_woken_at_once_and_the_others_in_batches() {
        let (sender, woken) = channel();
        let list = WakeList::new(2);
        let inboxes = crowd(6, &sender);
        list.wake(inboxes[..5].to_vec());
        assert_eq!(woken.try_iter().collect::<Vec<_>>(), [0, 1]);
        list.wake(inboxes[5..].to_vec());
        assert!(woken.try_recv().is_err(), "the list was not empty");
        let sizes: Vec<usize> = (0..2).map(|_| list.next_batch().len()).collect();
        assert_eq!(sizes, [2, 2]);
        list.stop();
        assert!(list.next_batch().is_empty());
    }

    #[test]
    fn all_connections_are_woken_in_the_end() {
        let (sender, woken) = channel();
        let waker_thread = BatchWaker::start();
        let count = 3 * waker_thread.list().batch + 1;
        waker_thread.list().wake(crowd(count, &sender));
        let mut all: Vec<usize> = woken.iter().take(count).collect();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
    }
}
