//! Waiting for an answer.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rzeo_core::client::{Answer, CallError, CallId, Client as Machine};
use rzeo_core::time::Now;

use crate::shared::{Shared, State};
use crate::waking::keep_waker;

/// Somebody who waits for an answer.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    pub(crate) answer: Option<Result<Answer, CallError>>,
    pub(crate) waker: Option<Waker>,
}

/// The answer to a call, when it comes. Who drops it does not want it.
#[must_use]
pub(crate) struct Waiting<'a> {
    shared: &'a Shared,
    call: CallId,
    /// It was given; the waiter is gone.
    has_answer: bool,
}

impl Shared {
    /// Asks the machine. The question is asked even if nobody waits for the answer.
    pub(crate) fn ask(&self, ask: impl FnOnce(&mut Machine, Now) -> CallId) -> Waiting<'_> {
        self.ask_state(|state, now| ask(&mut state.machine, now))
    }

    pub(crate) fn ask_state(&self, ask: impl FnOnce(&mut State, Now) -> CallId) -> Waiting<'_> {
        let call = self.with(|state, now| {
            let call = ask(state, now);
            state.waiters.insert(call, Waiter::default());
            call
        });
        self.waiting(call)
    }

    /// For a call whose waiter is there already.
    pub(crate) const fn waiting(&self, call: CallId) -> Waiting<'_> {
        Waiting { shared: self, call, has_answer: false }
    }
}

impl Future for Waiting<'_> {
    type Output = Result<Answer, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.shared.beside(|state| {
            let waiter = state.waiters.get_mut(&self.call);
            let waiter = waiter.expect("a waiter stays until it has its answer or is dropped");
            let answer = waiter.answer.take();
            if answer.is_some() {
                state.waiters.remove(&self.call);
            } else {
                keep_waker(&mut waiter.waker, cx, &mut state.wakers);
            }
            answer
        });
        self.has_answer = answer.is_some();
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.has_answer {
            return;
        }
        // The waker outlives the lock: it may be the last that holds a task.
        let _waiter = self.shared.with(|state, _| {
            let mut waiter = state.waiters.remove(&self.call)?;
            if let Some(answer) = waiter.answer.take() {
                state.discard(answer);
            }
            Some(waiter)
        });
    }
}
