//! The calls that the hub answers.
//!
//! Their answers come through the inbox, behind all notices that were delivered before.

use alloc::collections::BTreeSet;

use super::context::Context;
use crate::ids::{Oid, Tid};
use crate::server::caller::Caller;
use crate::server::messages::{Barrier, Changes, HubRequest, StatusReader};
use crate::time::UnixTime;
use crate::wire::refusal::Refusal;
use crate::wire::reply::{Reply, Status};

/// Maximum number of calls under way. Each is answered while the hub is locked.
const UNDER_WAY_MAX: usize = 16;

/// The calls to the hub that are under way. Each carries its caller.
#[derive(Debug, Default)]
pub(super) struct HubCalls {
    under_way: usize,
}

impl HubCalls {
    /// Whether no more calls should be read until some are answered.
    pub(super) const fn is_full(&self) -> bool {
        self.under_way >= UNDER_WAY_MAX
    }

    fn ask(&mut self, cx: &mut Context<'_>, request: HubRequest) {
        self.under_way += 1;
        cx.ask(request);
    }

    fn answer(&mut self, cx: &mut Context<'_>, caller: Caller, result: Result<Reply, Refusal>) {
        self.under_way -= 1;
        cx.answer(caller, result);
    }

    /// `ping` and `lastTransaction` return behind all that was committed before (promise 5).
    pub(super) fn barrier(&mut self, cx: &mut Context<'_>, barrier: Barrier) {
        self.ask(cx, HubRequest::Barrier(barrier));
    }

    pub(super) fn barrier_passed(&mut self, cx: &mut Context<'_>, barrier: Barrier, last_tid: Tid) {
        match barrier {
            Barrier::Ping(caller) => self.answer(cx, caller, Ok(Reply::Nil)),
            Barrier::LastTransaction(caller) => self.answer(cx, caller, Ok(Reply::Tid(last_tid))),
        }
    }

    /// `server_status`.
    pub(super) fn status(&mut self, cx: &mut Context<'_>, caller: Caller) {
        self.ask(cx, HubRequest::Status(StatusReader::Caller(caller)));
    }

    pub(super) fn status_read(&mut self, cx: &mut Context<'_>, caller: Caller, status: Status) {
        self.answer(cx, caller, Ok(Reply::Status(status)));
    }

    /// `getInvalidations`.
    pub(super) fn changes_since(&mut self, cx: &mut Context<'_>, caller: Caller, tid: Tid) {
        self.ask(cx, HubRequest::ChangesSince(caller, tid));
    }

    /// What changed, as far as the hub knows. Returns the caller and the range of tids if the storage
    /// has to be searched.
    #[must_use]
    pub(super) fn changes(
        &mut self,
        cx: &mut Context<'_>,
        caller: Caller,
        changes: Changes,
    ) -> Option<(Caller, Tid, Tid)> {
        match changes {
            Changes::Known { tid, commits } => {
                let oids: BTreeSet<Oid> =
                    commits.iter().flat_map(|oids| oids.iter().copied()).collect();
                self.answer(cx, caller, Ok(Reply::Changes(tid, oids.into_iter().collect())));
            }
            Changes::Unknown => self.answer(cx, caller, Ok(Reply::Nil)),
            Changes::LookUp { after, up_to } => {
                self.under_way -= 1;
                return Some((caller, after, up_to));
            }
        }
        None
    }

    /// `pack`. With `wait`, the reply comes when the pack is done; without, at once
    /// (`spec: zeo-protocol 14.2`). Allowed on read-only connections.
    pub(super) fn pack(
        &mut self,
        cx: &mut Context<'_>,
        caller: Caller,
        time: UnixTime,
        wait: bool,
    ) {
        if wait {
            self.ask(cx, HubRequest::Pack(time, Some(caller)));
        } else {
            cx.answer(caller, Ok(Reply::Nil));
            cx.ask(HubRequest::Pack(time, None));
        }
    }

    pub(super) fn packed(
        &mut self,
        cx: &mut Context<'_>,
        caller: Caller,
        result: Result<(), Refusal>,
    ) {
        self.answer(cx, caller, result.map(|()| Reply::Nil));
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::vec;

    use super::super::bench::Bench;
    use super::*;
    use crate::value::Value;

    #[test]
    fn a_ping_is_answered_when_the_hub_has_answered() {
        let mut bench = Bench::new();
        let mut calls = HubCalls::default();
        let ping = Barrier::Ping(Caller::numbered(1));
        calls.barrier(&mut bench.context(), ping);
        assert_eq!(bench.replies(), []);
        let Some(HubRequest::Barrier(barrier)) = bench.requests().pop() else {
            panic!("the hub is asked")
        };
        calls.barrier_passed(&mut bench.context(), barrier, Tid(7));
        assert_eq!(bench.replies(), [(1, Value::None)]);
    }

    #[test]
    fn the_changes_of_several_commits_are_one_list() {
        let mut bench = Bench::new();
        let mut calls = HubCalls::default();
        calls.changes_since(&mut bench.context(), Caller::numbered(1), Tid(1));
        let commit = |oids: &[u64]| -> Arc<[Oid]> { oids.iter().copied().map(Oid).collect() };
        let commits = vec![commit(&[2, 1]), commit(&[2, 3])];
        let known = Changes::Known { tid: Tid(9), commits };
        let look_up = calls.changes(&mut bench.context(), Caller::numbered(1), known);
        assert_eq!(look_up, None);
        let oids = [1, 2, 3].map(|oid| Value::oid(Oid(oid))).to_vec();
        let reply = Value::Tuple(vec![Value::tid(Tid(9)), Value::Tuple(oids)]);
        assert_eq!(bench.replies(), [(1, reply)]);
    }
}
