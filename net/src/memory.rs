//! Connections in memory: the test fixture.
//!
//! No socket, no thread, no real time. A [`Memory`] is a runtime whose clock the test moves and whose
//! tasks run when the test says so; a [`pipe`] is a connection whose two ends are [`Stream`]s, and can
//! also be read and written directly. The loop that drives a protocol is the one that drives it over
//! sockets.
//!
//! ```
//! use std::time::Duration;
//! use rzeo_net::memory::{Memory, pipe};
//! # use std::collections::VecDeque;
//! # use std::task::Context;
//! # use rzeo_net::{Protocol, Status};
//! # struct Echo(VecDeque<bytes::Bytes>, bool);
//! # impl Protocol for Echo {
//! #     fn transmit(&mut self, _: &mut Context<'_>, output: &mut VecDeque<bytes::Bytes>) -> Status {
//! #         output.append(&mut self.0);
//! #         if self.1 { Status::Closing } else { Status::Open }
//! #     }
//! #     fn received(&mut self, bytes: &[u8]) { self.0.push_back(bytes.to_vec().into()); }
//! #     fn end_of_input(&mut self) { self.1 = true; }
//! #     fn disconnected(&mut self, _: std::io::Error) {}
//! # }
//! # let echo = Echo(VecDeque::new(), false);
//!
//! let memory = Memory::new();
//! let (server, client) = pipe(1024);
//! memory.spawn(rzeo_net::drive(memory.clone(), echo, server));
//! client.send(b"hello");
//! memory.run();
//! assert_eq!(client.take(), b"hello");
//! memory.advance(Duration::from_secs(60));
//! client.close();
//! memory.run();
//! assert_eq!(memory.running(), 0);
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::runtime::{Runtime, Timer};
use crate::stream::Stream;

/// A runtime of one thread with a clock that does not move until it is advanced.
#[derive(Clone, Default)]
pub struct Memory {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    clock: MemoryClock,
    sleepers: RefCell<Vec<(Duration, Waker)>>,
    tasks: RefCell<Vec<Task>>,
}

/// The clock of a [`Memory`].
#[derive(Clone, Default)]
pub struct MemoryClock(Arc<Mutex<Duration>>);

impl MemoryClock {
    /// The time since the runtime was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    is_woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Memory {
    /// A runtime without tasks, at time zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task. It runs in [`run`](Self::run).
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let is_woken = Arc::new(Flag(AtomicBool::new(true)));
        self.shared.tasks.borrow_mut().push(Task { future: Box::pin(task), is_woken });
    }

    /// Runs all tasks, in the order in which they were added, until each of them waits or has ended.
    pub fn run(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.shared.tasks.borrow_mut());
            let mut ran = false;
            tasks.retain_mut(|task| {
                if !task.is_woken.0.swap(false, Ordering::SeqCst) {
                    return true;
                }
                ran = true;
                let waker = Waker::from(task.is_woken.clone());
                task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            });
            // What was spawned meanwhile comes after the others.
            let spawned = std::mem::replace(&mut *self.shared.tasks.borrow_mut(), tasks);
            self.shared.tasks.borrow_mut().extend(spawned);
            if !ran {
                return;
            }
        }
    }

    /// Moves the clock and runs the tasks.
    pub fn advance(&self, time: Duration) {
        let now = {
            let mut clock = self.shared.clock.lock();
            *clock += time;
            *clock
        };
        self.shared.sleepers.borrow_mut().retain(|(until, waker)| {
            if *until <= now {
                waker.wake_by_ref();
            }
            *until > now
        });
        self.run();
    }

    /// The clock, for protocols that need one.
    #[must_use]
    pub fn clock(&self) -> MemoryClock {
        self.shared.clock.clone()
    }

    /// Number of tasks that have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.tasks.borrow().len()
    }
}

impl Runtime for Memory {
    type Timer = MemoryTimer;

    const EVENTS_PER_TURN: Option<usize> = Some(32);

    fn timer(&self) -> MemoryTimer {
        MemoryTimer { memory: self.clone(), until: None }
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        let mut has_yielded = false;
        poll_fn(move |cx| {
            if has_yielded {
                return Poll::Ready(());
            }
            has_yielded = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Runs the work at once.
    fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        work();
    }
}

/// A timer of a [`Memory`].
pub struct MemoryTimer {
    memory: Memory,
    until: Option<Duration>,
}

impl Timer for MemoryTimer {
    fn set_after(mut self: Pin<&mut Self>, wait: Duration) {
        self.until = Some(self.memory.shared.clock.now() + wait);
    }

    fn poll_expired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.until {
            Some(until) if until <= self.memory.shared.clock.now() => Poll::Ready(()),
            Some(until) => {
                let sleeper = (until, cx.waker().clone());
                self.memory.shared.sleepers.borrow_mut().push(sleeper);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

/// One direction of a pipe.
#[derive(Default)]
struct Direction {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    /// The writer sends no more, or the reader reads no more.
    is_closed: bool,
    /// One waker serves both ends: the reader waits only when there are no bytes, the writer only when
    /// there is no room.
    waker: Option<Waker>,
}

impl Direction {
    fn wake(&mut self) {
        self.waker.take().inspect(Waker::wake_by_ref);
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.wake();
    }

    fn take(&mut self, count: usize) -> impl Iterator<Item = u8> {
        self.wake();
        self.bytes.drain(..count)
    }
}

/// One end of a connection in memory. Dropping it closes both directions.
pub struct MemoryStream {
    incoming: Rc<RefCell<Direction>>,
    outgoing: Rc<RefCell<Direction>>,
}

/// A connection in memory that holds at most `bytes_max` unread bytes in each direction.
#[must_use]
pub fn pipe(bytes_max: usize) -> (MemoryStream, MemoryStream) {
    let direction = || Rc::new(RefCell::new(Direction { bytes_max, ..Direction::default() }));
    let (one, other) = (direction(), direction());
    (
        MemoryStream { incoming: one.clone(), outgoing: other.clone() },
        MemoryStream { incoming: other, outgoing: one },
    )
}

/// For tests, which play the peer by hand.
impl MemoryStream {
    /// Sends bytes, whatever the maximum.
    pub fn send(&self, bytes: &[u8]) {
        let mut outgoing = self.outgoing.borrow_mut();
        outgoing.bytes.extend(bytes);
        outgoing.wake();
    }

    /// Takes all bytes that have come.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        let mut incoming = self.incoming.borrow_mut();
        let count = incoming.bytes.len();
        incoming.take(count).collect()
    }

    /// Sends no more.
    pub fn close(&self) {
        self.outgoing.borrow_mut().close();
    }

    /// Whether the other end sends no more. Bytes may be left to take.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.incoming.borrow().is_closed
    }
}

impl Stream for MemoryStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut incoming = self.incoming.borrow_mut();
        if incoming.bytes.is_empty() && !incoming.is_closed {
            incoming.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.len().min(incoming.bytes.len());
        for (place, byte) in buffer.iter_mut().zip(incoming.take(count)) {
            *place = byte;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = self.outgoing.borrow_mut();
        if outgoing.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = outgoing.bytes_max.saturating_sub(outgoing.bytes.len());
        if room == 0 {
            outgoing.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = outgoing.bytes.len();
        outgoing.bytes.extend(buffers.iter().flat_map(|buffer| buffer.iter()).take(room));
        outgoing.wake();
        Poll::Ready(Ok(outgoing.bytes.len() - before))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.incoming.borrow_mut().close();
        self.outgoing.borrow_mut().close();
    }
}
