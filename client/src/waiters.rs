//! Callers that wait for an answer, by the type of the answer.

use std::collections::HashMap;
use std::task::Waker;

use rzeo_core::client::{Answer, Begun, Call, CallError, CallId, Client as Machine, Reply};
use rzeo_core::storage::Revision;
use rzeo_core::{Oid, Tid};

use crate::wakers::Wakers;

/// A caller that waits for an answer.
#[derive(Debug)]
pub(crate) struct Waiter<A> {
    pub(crate) answer: Option<Result<A, CallError>>,
    pub(crate) waker: Option<Waker>,
}

/// The callers that wait for answers of one type.
#[derive(Debug)]
pub(crate) struct WaiterTable<A>(HashMap<CallId, Waiter<A>>);

/// All callers that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    done: WaiterTable<()>,
    loads: WaiterTable<Option<Revision>>,
    new_oids: WaiterTable<Oid>,
    turns: WaiterTable<Begun>,
    votes: WaiterTable<Vec<Oid>>,
    finishes: WaiterTable<Tid>,
    replies: WaiterTable<Reply>,
}

/// A type of answers.
pub(crate) trait Awaited: Sized {
    fn table(waiters: &mut Waiters) -> &mut WaiterTable<Self>;

    /// The caller has dropped its future.
    fn discard(self, _: &mut Machine) {}
}

impl Awaited for () {
    fn table(waiters: &mut Waiters) -> &mut WaiterTable<Self> {
        &mut waiters.done
    }
}

impl Awaited for Option<Revision> {
    fn table(waiters: &mut Waiters) -> &mut WaiterTable<Self> {
        &mut waiters.loads
    }
}

impl Awaited for Oid {
    fn table(waiters: &mut Waiters) -> &mut WaiterTable<Self> {
        &mut waiters.new_oids
    }
}

impl Awaited for Begun {
    fn table(waiters: &mut Waiters) -> &mut WaiterTable<Self> {
        &mut waiters.turns
    }
}

impl Awaited for Vec<Oid> {
    fn table(waiters: &mut Waiters) -> &mut WaiterTable<Self> {
        &mut waiters.votes
    }
}

impl Awaited for Tid {
    fn table(waiters: &mut Waiters) -> &mut WaiterTable<Self> {
        &mut waiters.finishes
    }
}

impl Awaited for Reply {
    fn table(waiters: &mut Waiters) -> &mut WaiterTable<Self> {
        &mut waiters.replies
    }

    /// An iterator that was opened would be kept by the server.
    fn discard(self, machine: &mut Machine) {
        if let Some(iterator) = self.iterator() {
            machine.forget_iterators(&[iterator]);
        }
    }
}

impl Waiters {
    pub(crate) fn add<A: Awaited>(&mut self, call: Call<A>) {
        A::table(self).0.insert(call.id, Waiter { answer: None, waker: None });
    }

    /// Stores the answer for its caller, which is woken later.
    pub(crate) fn deliver(
        &mut self,
        call: CallId,
        result: Result<Answer, CallError>,
        machine: &mut Machine,
        wakers: &mut Wakers,
    ) {
        match result {
            Ok(Answer::Done) => self.give(call, (), machine, wakers),
            Ok(Answer::Loaded(revision)) => self.give(call, revision, machine, wakers),
            Ok(Answer::Oid(oid)) => self.give(call, oid, machine, wakers),
            Ok(Answer::Begun) => self.give(call, Begun, machine, wakers),
            Ok(Answer::Voted(oids)) => self.give(call, oids, machine, wakers),
            Ok(Answer::Finished(tid)) => self.give(call, tid, machine, wakers),
            Ok(Answer::Reply(reply)) => self.give(call, reply, machine, wakers),
            Err(error) => self.fail(call, error, wakers),
        }
    }

    fn give<A: Awaited>(
        &mut self,
        call: CallId,
        answer: A,
        machine: &mut Machine,
        wakers: &mut Wakers,
    ) {
        match A::table(self).0.get_mut(&call) {
            Some(waiter) => waiter.give(Ok(answer), wakers),
            None => answer.discard(machine),
        }
    }

    /// Fails all calls that have no answer yet.
    pub(crate) fn fail_all(&mut self, error: &CallError, wakers: &mut Wakers) {
        self.done.fail_all(error, wakers);
        self.loads.fail_all(error, wakers);
        self.new_oids.fail_all(error, wakers);
        self.turns.fail_all(error, wakers);
        self.votes.fail_all(error, wakers);
        self.finishes.fail_all(error, wakers);
        self.replies.fail_all(error, wakers);
    }

    /// Fails a call of any type. Ids are never used twice, so it is in at most one table.
    fn fail(&mut self, call: CallId, error: CallError, wakers: &mut Wakers) {
        let failed = self.done.fail(call, error, wakers);
        let failed = failed.and_then(|error| self.loads.fail(call, error, wakers));
        let failed = failed.and_then(|error| self.new_oids.fail(call, error, wakers));
        let failed = failed.and_then(|error| self.turns.fail(call, error, wakers));
        let failed = failed.and_then(|error| self.votes.fail(call, error, wakers));
        let failed = failed.and_then(|error| self.finishes.fail(call, error, wakers));
        let _unwanted = failed.and_then(|error| self.replies.fail(call, error, wakers));
    }
}

impl<A> Default for WaiterTable<A> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<A> WaiterTable<A> {
    pub(crate) fn get_mut(&mut self, call: Call<A>) -> Option<&mut Waiter<A>> {
        self.0.get_mut(&call.id)
    }

    pub(crate) fn remove(&mut self, call: Call<A>) -> Option<Waiter<A>> {
        self.0.remove(&call.id)
    }

    /// Fails a call; returns the error if the call is not here.
    fn fail(&mut self, call: CallId, error: CallError, wakers: &mut Wakers) -> Option<CallError> {
        let Some(waiter) = self.0.get_mut(&call) else { return Some(error) };
        waiter.give(Err(error), wakers);
        None
    }

    fn fail_all(&mut self, error: &CallError, wakers: &mut Wakers) {
        for waiter in self.0.values_mut().filter(|waiter| waiter.answer.is_none()) {
            waiter.give(Err(error.clone()), wakers);
        }
    }
}

impl<A> Waiter<A> {
    fn give(&mut self, answer: Result<A, CallError>, wakers: &mut Wakers) {
        self.answer = Some(answer);
        wakers.extend(self.waker.take());
    }
}
