//! Waking tasks, always after the client was unlocked.
//!
//! A waker runs what it likes: it may poll the task at once, or drop the last reference to it, and
//! with it a future of this crate. Either would wait for a lock that is still held.

use std::task::{Context, Waker};

/// Who is to be woken once nothing is locked.
pub(crate) type Wakers = Vec<Waker>;

/// Has the task woken later. A waker that was there and is of another task goes to `replaced`.
pub(crate) fn keep_waker(place: &mut Option<Waker>, cx: &Context<'_>, replaced: &mut Wakers) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        replaced.extend(place.replace(cx.waker().clone()));
    }
}
