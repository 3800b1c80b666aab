//! What the loop needs from an async runtime, and two small combinators on top of it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// An async runtime: timers, turns, and threads that may block.
pub trait Runtime {
    /// A timer that can be set again and again.
    type Timer: Timer;

    /// Number of events after which a connection yields, so that a connection that is always ready does
    /// not keep others of its thread waiting. `None` for a runtime that enforces this itself.
    const EVENTS_PER_TURN: Option<usize>;

    /// A timer that is not set.
    fn timer(&self) -> Self::Timer;

    /// Lets other tasks of the thread run.
    fn yield_now(&self) -> impl Future<Output = ()>;

    /// Runs work that may block on a thread for that.
    fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static);
}

/// A timer of a runtime.
pub trait Timer {
    /// Sets the timer to expire after this time, in place of an earlier setting.
    fn set_after(self: Pin<&mut Self>, wait: Duration);

    /// Ready when the time that was set has passed.
    fn poll_expired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}

/// The output of the future that is ready first; `first` is asked first. The other is dropped.
pub async fn race<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Pending => second.as_mut().poll(cx),
        ready => ready,
    })
    .await
}

/// Waits for this time.
pub async fn sleep<R: Runtime>(runtime: &R, wait: Duration) {
    let mut timer = pin!(runtime.timer());
    timer.as_mut().set_after(wait);
    poll_fn(|cx| timer.as_mut().poll_expired(cx)).await;
}
