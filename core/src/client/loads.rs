//! Loads: from the cache, or asked once for all who want the same.
//!
//! A reply is in the cache before the next frame is looked at. A server promises that what it says is
//! current has not been invalidated on this connection; should it have been after the request went
//! out, what is kept says where the revision ended, so a server that breaks the promise does no
//! harm here (Python's client would keep a stale record for ever).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answer::Reading;
use super::calls::{Asker, Wanted};
use super::{Answer, CallError, CallId, Client, Event, Found, LostBecause, Output, Refused};
use crate::ids::{Oid, Tid};
use crate::storage::Revision;
use crate::time::Now;
use crate::value::Value;
use crate::wire::ALONE_FROM;

/// The loads under way on one connection.
#[derive(Debug, Default)]
pub(super) struct Loads {
    by_id: BTreeMap<(Oid, Tid), Load>,
}

/// One load under way.
#[derive(Debug, Default)]
struct Load {
    /// Who wants it.
    callers: Vec<Asker>,
    /// Commits that changed the object since it was asked for.
    changed_by: Vec<Tid>,
    /// Whether it changed, and it is not known when.
    is_doubtful: bool,
}

impl Loads {
    /// The object changed while it is being loaded.
    pub(super) fn changed(&mut self, oid: Oid, tid: Option<Tid>) {
        for (_, load) in self.by_id.range_mut((oid, Tid::ZERO)..=(oid, Tid(u64::MAX))) {
            load.changed_by.extend(tid);
            load.is_doubtful |= tid.is_none();
        }
    }

    /// Everybody who waits, with what they want.
    pub(super) fn take_callers(&mut self) -> impl Iterator<Item = (Asker, Oid, Tid)> {
        core::mem::take(&mut self.by_id).into_iter().flat_map(|((oid, before), load)| {
            load.callers.into_iter().map(move |asker| (asker, oid, before))
        })
    }
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

impl Client {
    /// The newest revision with a serial less than `before`, `None` if the object has none so old.
    /// With [`Tid::MAX`], the current one. If it comes later, with [`Answer::Loaded`].
    pub fn load_before(&mut self, now: Now, oid: Oid, before: Tid) -> Found<Option<Revision>> {
        match self.cached_before(oid, before) {
            Some(revision) => Found::Now(Some(revision)),
            None => Found::Later(self.ask_before(now, oid, before)),
        }
    }

    /// What [`Self::load_before`] finds in the cache: it needs no clock and has no outputs.
    pub fn cached_before(&mut self, oid: Oid, before: Tid) -> Option<Revision> {
        self.cache.load_before(oid, before)
    }

    /// What [`Self::load_before`] does about a revision that is not in the cache.
    pub fn ask_before(&mut self, now: Now, oid: Oid, before: Tid) -> CallId {
        let asker = self.new_asker(now);
        self.want(now.instant, asker, Wanted::Load(oid, before));
        asker.call
    }

    /// Asks for all of these that are not in the cache, and waits for none. Does nothing without a
    /// connection.
    pub fn prefetch(&mut self, oids: &[Oid], before: Tid) {
        for &oid in oids {
            if !self.cache.knows_before(oid, before) {
                self.send_load(oid, before, None);
            }
        }
    }

    /// Asks the server, or joins those who have.
    pub(super) fn send_load(&mut self, oid: Oid, before: Tid, caller: Option<Asker>) {
        let Some(connection) = self.ready_connection() else { return };
        let loads = &mut connection.loads.by_id;
        let is_new = !loads.contains_key(&(oid, before));
        loads.entry((oid, before)).or_default().callers.extend(caller);
        if is_new {
            connection.ask_load(oid, before);
        }
    }

    /// A load is answered.
    pub(super) fn loaded(
        &mut self,
        oid: Oid,
        before: Tid,
        result: Result<Option<Revision>, CallError>,
    ) -> Result<(), LostBecause> {
        let connection = self.chosen_connection();
        let load = connection.and_then(|it| it.loads.by_id.remove(&(oid, before)));
        let Some(load) = load else {
            let id = vec![Value::oid(oid), Value::tid(before)];
            return Err(LostBecause::UnknownReply(Value::Tuple(id)));
        };
        let own = |revision: Revision| Revision { data: own(revision.data), ..revision };
        let result = result.map(|found| found.map(|revision| load.as_of_now(own(revision))));
        if let Ok(Some(revision)) = &result
            && !load.is_doubtful
        {
            self.cache.store_own(oid, revision.clone());
        }
        for Asker { call, .. } in load.callers {
            let result = result.clone().map(Answer::Loaded);
            self.outputs.push_back(Output::Event(Event::Answered { call, result }));
        }
        Ok(())
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

/// A record with memory of its own. It came in a buffer with many others, which whoever keeps it must not
/// keep, unless it is so long that it came alone.
fn own(data: Bytes) -> Bytes {
    if data.len() < ALONE_FROM { Bytes::copy_from_slice(&data) } else { data }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn what_came_with_others_gets_memory_of_its_own() {
        let buffer = Bytes::from(vec![0; 2 * ALONE_FROM]);
        let is_in_place = |len: usize| own(buffer.slice(..len)).as_ptr() == buffer.as_ptr();
        assert!(!is_in_place(ALONE_FROM - 1));
        assert!(is_in_place(ALONE_FROM));
    }
}
