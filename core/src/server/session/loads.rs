//! Loads, and the tid that a connection reads at.
//!
//! `known` is the last tid that the peer was told of: by `register`, by an invalidation, or as the tid
//! of its own commit. Every load is answered as of `known`: what was committed later does not exist
//! yet, and what it replaced is still current. So a load reply never contradicts the notifications
//! around it, however many threads read and commit at the same time. A load that is under way when an
//! invalidation names its object is performed again.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;

use super::context::Context;
use crate::ids::{Oid, Tid};
use crate::server::caller::Caller;
use crate::server::counters::count;
use crate::server::log_line::LogLevel;
use crate::server::storage_calls::{LoadId, LoadJob};
use crate::storage::{Load, Revision, StorageError};
use crate::value::Value;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;

/// With more oids than this in one invalidation, every load under way counts as affected.
const SEARCHED_MAX: usize = 1_000;

/// The loads of a connection.
#[derive(Debug)]
pub(super) struct Loads {
    /// The last tid that the peer was told of.
    known: Tid,
    under_way: BTreeMap<LoadId, UnderWay>,
    /// Bytes of the messages that asked for the loads under way.
    message_bytes: usize,
}

#[derive(Debug)]
struct UnderWay {
    caller: Caller,
    oid: Oid,
    before: Tid,
    /// Set when an invalidation has named the object.
    stale: bool,
}

impl Loads {
    /// For a peer whose `register` was answered with this tid.
    pub(super) const fn new(known: Tid) -> Self {
        Self { known, under_way: BTreeMap::new(), message_bytes: 0 }
    }

    /// Bytes of the messages that asked for the loads under way.
    pub(super) const fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// `loadBefore`.
    pub(super) fn load(&mut self, cx: &mut Context<'_>, caller: Caller, oid: Oid, before: Tid) {
        count(&cx.counters().loads);
        self.start(cx, UnderWay { caller, oid, before, stale: false });
    }

    /// Loads as of `known`, see the module's introduction.
    fn start(&mut self, cx: &mut Context<'_>, load: UnderWay) {
        let id = LoadId(cx.next_number());
        let (oid, before) = (load.oid, load.before.min(self.known.next()));
        self.message_bytes += load.caller.message_bytes;
        self.under_way.insert(id, load);
        cx.perform(LoadJob { id, oid, before });
    }

    /// The storage has answered. A stale answer was computed before an invalidation of the object.
    pub(super) fn answered(
        &mut self,
        cx: &mut Context<'_>,
        id: LoadId,
        result: Result<Load, StorageError>,
    ) {
        let Some(load) = self.under_way.remove(&id) else { return };
        self.message_bytes -= load.caller.message_bytes;
        if load.stale {
            return self.start(cx, UnderWay { stale: false, ..load });
        }
        let UnderWay { caller, oid, before, .. } = load;
        let result = self.as_known(oid, result);
        if let Err(Refusal::Other(..)) = &result {
            let text = format!("load of {oid} before {before}: {result:?}");
            cx.out.log(LogLevel::Error, &text);
        }
        cx.answer(caller, result);
    }

    /// What the storage found, as of `known`.
    fn as_known(&self, oid: Oid, result: Result<Load, StorageError>) -> Result<Reply, Refusal> {
        match result {
            Ok(Load::Found(Revision { data, serial, end })) => {
                let end = end.filter(|end| *end <= self.known);
                Ok(Reply::Loaded(Revision { data, serial, end }))
            }
            // The object was created after `known`: for this connection it does not exist.
            Ok(Load::Younger { first }) if first > self.known => Err(no_such_object(oid)),
            // It was created at `before` or later.
            Ok(Load::Younger { .. }) => Ok(Reply::Nil),
            Ok(Load::Deleted { .. }) => Err(no_such_object(oid)),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves the connection to a tid that its peer was just told of. A load that counts as stale
    /// without need costs another look; a long search for each of many loads costs more.
    pub(super) fn learn(&mut self, tid: Tid, changed: &[Oid]) {
        self.known = self.known.max(tid);
        for UnderWay { oid, stale, .. } in self.under_way.values_mut() {
            *stale |= changed.len() > SEARCHED_MAX || changed.contains(oid);
        }
    }
}

fn no_such_object(oid: Oid) -> Refusal {
    Refusal::PosKey(vec![Value::oid(oid)])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::bench::Bench;
    use super::*;
    use crate::server::storage_calls::Job;

    const TID: Tid = Tid(10);

    fn found(serial: u64, end: Option<u64>) -> Result<Load, StorageError> {
        let data = Bytes::from_static(b"record");
        Ok(Load::Found(Revision { data, serial: Tid(serial), end: end.map(Tid) }))
    }

    /// The only storage call that was made.
    fn made(bench: &mut Bench) -> (LoadId, Tid) {
        match bench.jobs().as_slice() {
            [Job::Load(LoadJob { id, before, .. })] => (*id, *before),
            jobs => panic!("one load expected, not {jobs:?}"),
        }
    }

    #[test]
    fn a_load_is_bounded_by_what_the_peer_knows() {
        let mut bench = Bench::new();
        let mut loads = Loads::new(TID);
        loads.load(&mut bench.context(), Caller::numbered(1), Oid(1), Tid::MAX);
        let (id, before) = made(&mut bench);
        assert_eq!(before, TID.next());
        loads.answered(&mut bench.context(), id, found(7, Some(11)));
        let record = Value::Bytes(Bytes::from_static(b"record"));
        let reply = Value::Tuple(vec![record, Value::tid(Tid(7)), Value::None]);
        assert_eq!(bench.replies(), [(1, reply)], "tid 11 was not sent to the peer yet");
        assert_eq!(loads.message_bytes(), 0);
    }

    #[test]
    fn a_load_that_an_invalidation_overtakes_is_performed_again() {
        let mut bench = Bench::new();
        let mut loads = Loads::new(TID);
        loads.load(&mut bench.context(), Caller::numbered(1), Oid(1), Tid::MAX);
        let (first, _) = made(&mut bench);
        loads.learn(Tid(11), &[Oid(1)]);
        loads.answered(&mut bench.context(), first, found(7, None));
        assert_eq!(bench.replies(), []);
        let (second, before) = made(&mut bench);
        assert_eq!(before, Tid(12));
        loads.answered(&mut bench.context(), second, found(11, None));
        assert_eq!(bench.replies().len(), 1);
    }
}
