//! Futures of answers.

use std::pin::Pin;
use std::task::{Context, Poll};

use rzeo_core::Now;
use rzeo_core::client::{Call, CallError, Client as Machine};

use crate::shared::{Shared, State};
use crate::waiters::Awaited;
use crate::wakers::keep_waker;

/// The answer to a call, when it comes. The call is made even if the future is dropped.
#[must_use]
pub(crate) struct AnswerFuture<'a, A: Awaited> {
    shared: &'a Shared,
    call: Call<A>,
    /// The answer was given; the waiter is removed.
    has_answer: bool,
}

impl Shared {
    /// Makes a call of the machine.
    pub(crate) fn ask<A: Awaited>(
        &self,
        ask: impl FnOnce(&mut Machine, Now) -> Call<A>,
    ) -> AnswerFuture<'_, A> {
        self.ask_state(|state, now| ask(&mut state.machine, now))
    }

    pub(crate) fn ask_state<A: Awaited>(
        &self,
        ask: impl FnOnce(&mut State, Now) -> Call<A>,
    ) -> AnswerFuture<'_, A> {
        let call = self.with(|state, now| {
            let call = ask(state, now);
            state.waiters.add(call);
            call
        });
        self.answer_of(call)
    }

    /// For a call whose waiter is there already.
    pub(crate) const fn answer_of<A: Awaited>(&self, call: Call<A>) -> AnswerFuture<'_, A> {
        AnswerFuture { shared: self, call, has_answer: false }
    }
}

impl<A: Awaited> Future for AnswerFuture<'_, A> {
    type Output = Result<A, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.shared.with_idle_machine(|state| {
            let table = A::table(&mut state.waiters);
            let waiter = table.get_mut(self.call);
            let waiter = waiter.expect("a waiter stays until it has its answer or is dropped");
            let answer = waiter.answer.take();
            if answer.is_some() {
                table.remove(self.call);
            } else {
                keep_waker(&mut waiter.waker, cx, &mut state.wakers);
            }
            answer
        });
        self.has_answer = answer.is_some();
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<A: Awaited> Drop for AnswerFuture<'_, A> {
    fn drop(&mut self) {
        if self.has_answer {
            return;
        }
        // The waker outlives the lock: it may be the last that holds a task.
        let _waker = self.shared.with(|state, _| {
            let waiter = A::table(&mut state.waiters).remove(self.call)?;
            if let Some(Ok(answer)) = waiter.answer {
                answer.discard(&mut state.machine);
            }
            waiter.waker
        });
    }
}
