//! Loads: from the cache, or from the server, with one request for all callers of the same load.
//!
//! A reply is in the cache before the next frame is looked at. A server promises that what it says is
//! current has not been invalidated on this connection; should it have been after the request was sent,
//! the cache keeps the revision with that end, so a server that breaks the promise does no harm here
//! (Python's client would keep a stale record for ever).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::channel::Channel;
use super::context::{Caller, Context};
use super::error::{CallError, LostBecause};
use super::reading::Reading;
use super::refused::Refused;
use crate::ids::{Oid, Tid};
use crate::storage::Revision;
use crate::value::Value;
use crate::wire::ALONE_FROM;

/// The loads under way.
#[derive(Debug, Default)]
pub(super) struct Loads {
    by_id: BTreeMap<(Oid, Tid), Load>,
}

/// One load under way.
#[derive(Debug, Default)]
struct Load {
    callers: Vec<Caller<Option<Revision>>>,
    /// Commits that changed the object since it was asked for.
    changed_by: Vec<Tid>,
    /// Whether it changed, and it is not known when.
    is_doubtful: bool,
}

impl Load {
    /// The revision as it is by now.
    fn as_of_now(&self, mut revision: Revision) -> Revision {
        if revision.end.is_none() {
            let later = self.changed_by.iter().filter(|tid| **tid > revision.serial);
            revision.end = later.min().copied();
        }
        revision
    }
}

impl Loads {
    /// Asks the server, or joins the callers of a request for the same.
    pub(super) fn ask(
        &mut self,
        channel: &mut Channel,
        oid: Oid,
        before: Tid,
        caller: Option<Caller<Option<Revision>>>,
    ) {
        let is_new = !self.by_id.contains_key(&(oid, before));
        self.by_id.entry((oid, before)).or_default().callers.extend(caller);
        if is_new {
            channel.ask_load(oid, before);
        }
    }

    /// The server has answered a load.
    pub(super) fn answered(
        &mut self,
        cx: &mut Context,
        oid: Oid,
        before: Tid,
        result: Result<Option<Revision>, CallError>,
    ) -> Result<(), LostBecause> {
        let Some(load) = self.by_id.remove(&(oid, before)) else {
            let id = vec![Value::oid(oid), Value::tid(before)];
            return Err(LostBecause::UnknownReply(Value::Tuple(id)));
        };
        let own = |revision: Revision| Revision { data: own(revision.data), ..revision };
        let result = result.map(|found| found.map(|revision| load.as_of_now(own(revision))));
        if let Ok(Some(revision)) = &result
            && !load.is_doubtful
        {
            cx.cache.store_own(oid, revision.clone());
        }
        for Caller { call, .. } in load.callers {
            cx.answer(call, result.clone());
        }
        Ok(())
    }

    /// An object's current revision ended, in the cache and in what is being loaded; without a tid it
    /// is not known where.
    pub(super) fn object_changed(&mut self, cx: &mut Context, oid: Oid, tid: Option<Tid>) {
        match tid {
            Some(tid) => cx.cache.invalidate(oid, tid),
            None => cx.cache.forget_current(oid),
        }
        for (_, load) in self.by_id.range_mut((oid, Tid::ZERO)..=(oid, Tid(u64::MAX))) {
            load.changed_by.extend(tid);
            load.is_doubtful |= tid.is_none();
        }
    }

    /// The connection is lost: returns all callers with their loads.
    pub(super) fn take_callers(
        &mut self,
    ) -> impl Iterator<Item = (Caller<Option<Revision>>, Oid, Tid)> + use<> {
        core::mem::take(&mut self.by_id).into_iter().flat_map(|((oid, before), load)| {
            load.callers.into_iter().map(move |caller| (caller, oid, before))
        })
    }
}

/// What a load is answered with.
pub(super) fn read(answer: Result<Value, Refused>) -> Result<Option<Revision>, CallError> {
    read_revision(answer?).map_err(|problem| CallError::Odd { method: "loadBefore", problem })
}

/// `(data, serial, end)`, or something that is not true.
fn read_revision(value: Value) -> Result<Option<Revision>, String> {
    if !value.is_true() {
        return Ok(None);
    }
    let [data, serial, end] = value.into_parts()?;
    Ok(Some(Revision {
        data: data.into_bytes()?,
        serial: serial.into_tid()?,
        end: end.into_maybe(Reading::into_tid)?,
    }))
}

/// A record with memory of its own. It came in a buffer with many others, which a record in the cache
/// must not keep alive, unless it is so long that it came alone.
fn own(data: Bytes) -> Bytes {
    if data.len() < ALONE_FROM { Bytes::copy_from_slice(&data) } else { data }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Answer;
    use super::super::cache::Cache;
    use super::super::output::{Event, Output};
    use super::super::settings::ClientSettings;
    use super::*;
    use crate::time::Instant;

    #[test]
    fn a_small_record_gets_memory_of_its_own() {
        let buffer = Bytes::from(vec![0; 2 * ALONE_FROM]);
        let is_in_place = |len: usize| own(buffer.slice(..len)).as_ptr() == buffer.as_ptr();
        assert!(!is_in_place(ALONE_FROM - 1));
        assert!(is_in_place(ALONE_FROM));
    }

    const OID: Oid = Oid(1);

    fn context() -> Context {
        Context::new(Instant::START, ClientSettings::default(), Cache::new(1 << 20))
    }

    fn current(serial: u64) -> Revision {
        Revision { data: Bytes::from_static(b"data"), serial: Tid(serial), end: None }
    }

    /// The answers among the outputs.
    fn answers(cx: &mut Context) -> Vec<Option<Revision>> {
        let mut answers = vec![];
        while let Some(output) = cx.take_output() {
            let Output::Event(Event::Answered { result: Ok(Answer::Loaded(revision)), .. }) =
                output
            else {
                panic!("{output:?}")
            };
            answers.push(revision);
        }
        answers
    }

    #[test]
    fn equal_loads_are_sent_once_and_all_answered() {
        let (mut cx, mut loads, mut channel) = (context(), Loads::default(), Channel::new(1 << 20));
        for _ in 0..2 {
            let caller = cx.new_caller();
            loads.ask(&mut channel, OID, Tid::MAX, Some(caller));
        }
        let asked = channel.backlog();
        loads.ask(&mut channel, OID, Tid::MAX, None);
        assert_eq!(channel.backlog(), asked);
        loads.answered(&mut cx, OID, Tid::MAX, Ok(Some(current(3)))).unwrap();
        assert_eq!(answers(&mut cx), [Some(current(3)), Some(current(3))]);
        assert_eq!(cx.cache.load_before(OID, Tid::MAX), Some(current(3)));
        let again = loads.answered(&mut cx, OID, Tid::MAX, Ok(None));
        assert!(matches!(again, Err(LostBecause::UnknownReply(_))));
    }

    #[test]
    fn a_reply_that_was_overtaken_is_ended_or_not_kept() {
        for changed in [Some(Tid(5)), None] {
            let (mut cx, mut loads) = (context(), Loads::default());
            let (mut channel, caller) = (Channel::new(1 << 20), cx.new_caller());
            loads.ask(&mut channel, OID, Tid::MAX, Some(caller));
            loads.object_changed(&mut cx, OID, changed);
            loads.answered(&mut cx, OID, Tid::MAX, Ok(Some(current(3)))).unwrap();
            let ended = Revision { end: changed, ..current(3) };
            assert_eq!(answers(&mut cx), [Some(ended.clone())]);
            let kept = cx.cache.load_before(OID, Tid(5));
            assert_eq!(kept, changed.map(|_| ended));
        }
    }
}
