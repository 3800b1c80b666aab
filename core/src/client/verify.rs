//! The cache on a new connection: is what it holds still current?
//!
//! ```text
//!   register ─► newest ─┬─ nothing cached, or cached up to newest ───────────► verified
//!                       ├─ cached up to an older tid ─► getInvalidations ─┬──► forget those ─► verified
//!                       │                                                 └──► forget all ───► verified
//!                       └─ cached up to a newer tid ─► not this server
//! ```
//!
//! From the `register` reply on the server sends invalidations. Until the cache is verified they are held
//! back; then those up to the verified tid are in it already, and the others are applied in order.
//! Nothing else happens in between, because all of this is done while one frame is handled.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::channel::{Channel, Pending};
use super::context::Context;
use super::error::LostBecause;
use super::loads::Loads;
use super::output::Event;
use super::reading::Reading;
use super::refused::Refused;
use crate::ids::{Oid, Tid};
use crate::value::Value;

/// The verification of the cache on one connection, and its invalidations.
#[derive(Debug, Default)]
pub(super) struct Verification {
    /// Invalidations that came before the cache was verified, in order.
    held_back: Vec<(Tid, Arc<[Oid]>)>,
    /// The server's newest commit when the client was registered.
    registered_at: Tid,
    is_verified: bool,
}

/// How far the verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The server was asked for something.
    Asked,
    /// The cache is right as of this tid: [`Verification::end`] comes next.
    Verified(Tid),
}

impl Verification {
    /// Begins to verify the cache, with the server's newest commit if it is known.
    pub(super) fn begin(
        &mut self,
        cx: &mut Context,
        channel: &mut Channel,
        newest: Option<Tid>,
    ) -> Result<Progress, LostBecause> {
        let Some(newest) = newest else {
            channel.ask(Pending::NewestTid, "lastTransaction", vec![]);
            return Ok(Progress::Asked);
        };
        let cached = cx.cache.last_tid();
        if cx.cache.is_empty() {
            if cached != newest {
                cx.cache.start_over(newest);
                cx.event(Event::InvalidatedAll { tid: newest });
            }
            Ok(Progress::Verified(newest))
        } else if cached > newest {
            Err(LostBecause::Behind { server: newest, cache: cached })
        } else if cached == newest {
            Ok(Progress::Verified(newest))
        } else {
            self.registered_at = newest;
            channel.ask(Pending::Changes, "getInvalidations", vec![Value::tid(cached)]);
            Ok(Progress::Asked)
        }
    }

    /// What changed since the cache was last up to date; nothing if that is too long ago.
    pub(super) fn changes(
        &self,
        cx: &mut Context,
        answer: Result<Value, Refused>,
    ) -> Result<Progress, LostBecause> {
        let odd = |problem| LostBecause::Odd { method: "getInvalidations", problem };
        let value = answer.map_err(LostBecause::Refused)?;
        if !value.is_true() {
            let newest = self.registered_at;
            cx.cache.start_over(newest);
            cx.event(Event::InvalidatedAll { tid: newest });
            return Ok(Progress::Verified(newest));
        }
        let [newest, oids] = value.into_parts().map_err(odd)?;
        let newest = newest.into_tid().map_err(odd)?;
        let oids: Arc<[Oid]> = oids.into_list(Reading::into_oid).map_err(odd)?.into();
        let cached = cx.cache.last_tid();
        if newest < cached {
            return Err(LostBecause::Behind { server: newest, cache: cached });
        }
        for oid in &*oids {
            cx.cache.forget_current(*oid);
        }
        cx.event(Event::Invalidated { tid: newest, oids });
        Ok(Progress::Verified(newest))
    }

    /// The cache is right as of this tid. What came since is applied, and from now on all at once.
    pub(super) fn end(&mut self, cx: &mut Context, loads: &mut Loads, newest: Tid) {
        cx.cache.set_last_tid(newest);
        self.is_verified = true;
        for (tid, oids) in core::mem::take(&mut self.held_back) {
            if tid > newest {
                invalidated(cx, loads, tid, oids);
            }
        }
    }

    /// `invalidateTransaction`: applied now, or when the cache is verified.
    pub(super) fn invalidation(
        &mut self,
        cx: &mut Context,
        loads: &mut Loads,
        args: Value,
    ) -> Result<(), LostBecause> {
        let odd = |problem| LostBecause::Odd { method: "invalidateTransaction", problem };
        let [tid, oids] = args.into_parts().map_err(odd)?;
        let tid = tid.into_tid().map_err(odd)?;
        let oids: Arc<[Oid]> = oids.into_list(Reading::into_oid).map_err(odd)?.into();
        if self.is_verified {
            invalidated(cx, loads, tid, oids);
        } else {
            self.held_back.push((tid, oids));
        }
        Ok(())
    }
}

/// Others changed these objects. A commit that is not after the newest is one that was copied under its
/// old tid, or one that is known: the cache drops the objects, even if they did not change.
fn invalidated(cx: &mut Context, loads: &mut Loads, tid: Tid, oids: Arc<[Oid]>) {
    let is_newer = tid > cx.cache.last_tid();
    for oid in &*oids {
        loads.object_changed(cx, *oid, is_newer.then_some(tid));
    }
    if is_newer {
        cx.cache.set_last_tid(tid);
    }
    cx.event(Event::Invalidated { tid, oids });
}

#[cfg(test)]
mod tests {
    use super::super::cache::Cache;
    use super::super::output::Output;
    use super::super::settings::ClientSettings;
    use super::*;
    use crate::storage::Revision;
    use crate::time::Instant;

    /// A cache that has two records and is up to date as of a tid.
    fn cached(last_tid: u64) -> Context {
        let mut cache = Cache::new(1 << 20);
        for oid in [Oid(1), Oid(2)] {
            cache.store(oid, Revision { data: "data".into(), serial: Tid(1), end: None });
        }
        cache.set_last_tid(Tid(last_tid));
        Context::new(Instant::START, ClientSettings::default(), cache)
    }

    fn begin(
        it: &mut Verification,
        cx: &mut Context,
        newest: u64,
    ) -> Result<Progress, LostBecause> {
        it.begin(cx, &mut Channel::new(1 << 20), Some(Tid(newest)))
    }

    fn changes(tid: u64, oids: &[Oid]) -> Value {
        let oids = Value::List(oids.iter().copied().map(Value::oid).collect());
        Value::Tuple(vec![Value::tid(Tid(tid)), oids])
    }

    fn events(cx: &mut Context) -> Vec<Event> {
        let mut events = vec![];
        while let Some(Output::Event(event)) = cx.take_output() {
            events.push(event);
        }
        events
    }

    #[test]
    fn a_cache_that_is_behind_forgets_what_changed() {
        let (mut cx, mut it) = (cached(5), Verification::default());
        assert_eq!(begin(&mut it, &mut cx, 7), Ok(Progress::Asked));
        let progress = it.changes(&mut cx, Ok(changes(7, &[Oid(1)])));
        assert_eq!(progress, Ok(Progress::Verified(Tid(7))));
        assert!(
            !cx.cache.knows_before(Oid(1), Tid::MAX) && cx.cache.knows_before(Oid(2), Tid::MAX)
        );
        assert_eq!(events(&mut cx), [Event::Invalidated { tid: Tid(7), oids: [Oid(1)].into() }]);
    }

    #[test]
    fn a_cache_that_is_too_old_is_dropped_and_one_that_is_ahead_refused() {
        let (mut cx, mut it) = (cached(5), Verification::default());
        assert_eq!(begin(&mut it, &mut cx, 5), Ok(Progress::Verified(Tid(5))));
        let ahead = begin(&mut it, &mut cx, 4);
        assert_eq!(ahead, Err(LostBecause::Behind { server: Tid(4), cache: Tid(5) }));
        assert_eq!(begin(&mut it, &mut cx, 9), Ok(Progress::Asked));
        assert_eq!(it.changes(&mut cx, Ok(Value::None)), Ok(Progress::Verified(Tid(9))));
        assert!(cx.cache.is_empty());
        assert_eq!(events(&mut cx), [Event::InvalidatedAll { tid: Tid(9) }]);
    }

    #[test]
    fn invalidations_are_held_back_until_the_cache_is_verified() {
        let (mut cx, mut it, mut loads) = (cached(5), Verification::default(), Loads::default());
        for tid in [6, 8] {
            it.invalidation(&mut cx, &mut loads, changes(tid, &[Oid(1)])).unwrap();
        }
        assert!(events(&mut cx).is_empty() && cx.cache.knows_before(Oid(1), Tid::MAX));
        it.end(&mut cx, &mut loads, Tid(7));
        assert_eq!(events(&mut cx), [Event::Invalidated { tid: Tid(8), oids: [Oid(1)].into() }]);
        assert_eq!(cx.cache.last_tid(), Tid(8));
        it.invalidation(&mut cx, &mut loads, changes(9, &[])).unwrap();
        assert_eq!(events(&mut cx), [Event::Invalidated { tid: Tid(9), oids: [].into() }]);
    }
}
