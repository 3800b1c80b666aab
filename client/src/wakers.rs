//! Waking tasks, always after the client was unlocked.
//!
//! A waker may do anything: poll the task at once, or drop the last reference to it, and with it a
//! future of this crate. Either would deadlock while the lock is held.

use std::task::{Context, Waker};

/// Wakers to call once nothing is locked.
pub(crate) type Wakers = Vec<Waker>;

/// Registers the task to be woken later. A waker of another task is moved to `replaced`.
pub(crate) fn keep_waker(slot: &mut Option<Waker>, cx: &Context<'_>, replaced: &mut Wakers) {
    if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        replaced.extend(slot.replace(cx.waker().clone()));
    }
}
