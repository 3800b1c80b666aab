//! The cache on a new connection: is what it holds still current?
//!
//! ```text
//!   register ─► newest ─┬─ nothing cached, or cached up to newest ───────────► verified
//!                       ├─ cached up to an older tid ─► getInvalidations ─┬──► forget those ─► verified
//!                       │                                                 └──► forget all ───► verified
//!                       └─ cached up to a newer tid ─► not this server
//! ```
//!
//! From the `register` reply on the server sends news. Until the cache is verified they are held back;
//! then those up to the verified tid are in it already, and the others are applied in order. Nothing
//! else happens in between, because all of this is done while one frame is handled.

use alloc::sync::Arc;
use alloc::vec;

use super::answer::Reading;
use super::connection::{Pending, Phase};
use super::{Client, ConnId, Event, LostBecause, Output, Refused, ServerInfo};
use crate::ids::{Oid, Tid};
use crate::time::Instant;
use crate::value::Value;

impl Client {
    /// Begins to verify the cache, with the server's newest commit if it is known.
    pub(super) fn verify(&mut self, id: ConnId, newest: Option<Tid>) -> Result<(), LostBecause> {
        let Some(newest) = newest else {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.ask(Pending::NewestTid, "lastTransaction", vec![]);
            }
            return Ok(());
        };
        let cached = self.cache.last_tid();
        if self.cache.is_empty() {
            if cached != newest {
                self.cache.start_over(newest);
                self.outputs.push_back(Output::Event(Event::InvalidatedAll { tid: newest }));
            }
            self.verified(newest);
        } else if cached > newest {
            return Err(LostBecause::Behind { server: newest, cache: cached });
        } else if cached == newest {
            self.verified(newest);
        } else if let Some(connection) = self.connections.get_mut(&id) {
            connection.registered_at = newest;
            connection.ask(Pending::Changes, "getInvalidations", vec![Value::tid(cached)]);
        }
        Ok(())
    }

    /// What changed since the cache was last up to date; nothing if that is too long ago.
    pub(super) fn changes_came(
        &mut self,
        answer: Result<Value, Refused>,
    ) -> Result<(), LostBecause> {
        let odd = |problem| LostBecause::Odd { method: "getInvalidations", problem };
        let value = answer.map_err(LostBecause::Refused)?;
        if !value.is_true() {
            let newest = self.chosen_connection().map_or(Tid::ZERO, |it| it.registered_at);
            self.cache.start_over(newest);
            self.outputs.push_back(Output::Event(Event::InvalidatedAll { tid: newest }));
            self.verified(newest);
            return Ok(());
        }
        let [newest, oids] = value.into_parts().map_err(odd)?;
        let newest = newest.into_tid().map_err(odd)?;
        let oids: Arc<[Oid]> = oids.into_list(Reading::into_oid).map_err(odd)?.into();
        let cached = self.cache.last_tid();
        if newest < cached {
            return Err(LostBecause::Behind { server: newest, cache: cached });
        }
        for oid in &*oids {
            self.cache.forget_current(*oid);
        }
        self.outputs.push_back(Output::Event(Event::Invalidated { tid: newest, oids }));
        self.verified(newest);
        Ok(())
    }

    /// The cache is right as of this tid. What came since is applied, and from now on all at once.
    fn verified(&mut self, newest: Tid) {
        self.cache.set_last_tid(newest);
        let Some(connection) = self.chosen_connection() else { return };
        connection.phase = Phase::Describing;
        connection.ask(Pending::Describe, "get_info", vec![]);
        for (tid, oids) in core::mem::take(&mut connection.held_back) {
            if tid > newest {
                self.invalidated(tid, oids);
            }
        }
    }

    /// The server says what it serves: that is all that was missing.
    pub(super) fn described(
        &mut self,
        now: Instant,
        answer: Result<Value, Refused>,
    ) -> Result<(), LostBecause> {
        let value = answer.map_err(LostBecause::Refused)?;
        let info = ServerInfo::read(&value)
            .map_err(|problem| LostBecause::Odd { method: "get_info", problem })?;
        self.info = Some(Arc::new(info));
        self.ready(now);
        Ok(())
    }

    /// `invalidateTransaction`: now, or when the cache is verified.
    pub(super) fn news(&mut self, id: ConnId, args: Value) -> Result<(), LostBecause> {
        let odd = |problem| LostBecause::Odd { method: "invalidateTransaction", problem };
        let [tid, oids] = args.into_parts().map_err(odd)?;
        let tid = tid.into_tid().map_err(odd)?;
        let oids: Arc<[Oid]> = oids.into_list(Reading::into_oid).map_err(odd)?.into();
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if connection.phase > Phase::Verifying {
            self.invalidated(tid, oids);
        } else {
            connection.held_back.push((tid, oids));
        }
        Ok(())
    }

    /// Others changed these objects. A commit that is not after the newest is one that was copied
    /// under its old tid, or one that is known: what it touched is forgotten, whatever is true of it.
    fn invalidated(&mut self, tid: Tid, oids: Arc<[Oid]>) {
        let is_newer = tid > self.cache.last_tid();
        for oid in &*oids {
            self.changed(*oid, is_newer.then_some(tid));
        }
        if is_newer {
            self.cache.set_last_tid(tid);
        }
        self.outputs.push_back(Output::Event(Event::Invalidated { tid, oids }));
    }

    /// An object's current revision ended, in the cache and in what is being loaded; without a tid it
    /// is not known where.
    pub(super) fn changed(&mut self, oid: Oid, tid: Option<Tid>) {
        match tid {
            Some(tid) => self.cache.invalidate(oid, tid),
            None => self.cache.forget_current(oid),
        }
        if let Some(connection) = self.chosen_connection() {
            connection.loads.changed(oid, tid);
        }
    }
}
