//! Which shards are this worker's, and when it looks through them.
//!
//! Each shard has a home: one of the living workers, chosen by rendezvous hashing, so that all workers agree
//! without messages and a worker that joins or leaves moves few shards. The home looks as soon as
//! something changes; the other workers look a little later, for jobs that the home cannot take.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use rzeo_core::{Instant, Oid, UnixTime};

use super::clock::StorageClock;
use super::random::{Random, mix};

/// Minimum and maximum time before a worker looks through the shards of others.
const OTHERS_AFTER: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(75));

/// Number of entries of each tree that a look reads at first, and at most.
const SCAN: usize = 64;
const SCAN_MAX: usize = 1 << 15;

/// How much more a look reads if the one before found nothing to take among what it read: the first jobs may all
/// be ones that this worker does not execute.
const SCAN_FACTOR: usize = 8;

/// Which shards a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of this worker.
    Home,
    /// All.
    All,
}

/// When to look through some shards.
#[derive(Debug)]
struct Look {
    at: Option<Instant>,
    /// When a job begins that was not due at the last look.
    due: Option<UnixTime>,
    /// What the last look has read: a change of it can be a new job.
    read: BTreeSet<Oid>,
    scan_max: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self { at: None, due: None, read: BTreeSet::new(), scan_max: SCAN }
    }
}

/// The shards of the queue.
#[derive(Debug, Default)]
pub(super) struct Shards {
    all: Vec<i64>,
    home: Vec<i64>,
    looks: [Look; 2],
}

impl Shards {
    /// Takes note of the shards and the living workers, this one included. Returns whether the shards of
    /// this worker have changed.
    pub(super) fn surveyed(&mut self, all: Vec<i64>, own: &str, others: &[String]) -> bool {
        let home = |shard: &i64| {
            let weight = weight(*shard, own);
            others.iter().all(|other| (weight, own) > (self::weight(*shard, other), other.as_str()))
        };
        let home: Vec<i64> = all.iter().copied().filter(home).collect();
        let is_changed = home != self.home || all != self.all;
        self.all = all;
        self.home = home;
        is_changed
    }

    pub(super) fn of(&self, scope: Scope) -> &[i64] {
        match scope {
            Scope::Home => &self.home,
            Scope::All => &self.all,
        }
    }

    pub(super) fn is_home(&self, shard: i64) -> bool {
        self.home.contains(&shard)
    }

    /// A shard for an entry that this worker adds.
    pub(super) fn any(&self, random: &mut Random) -> i64 {
        let shards = if self.home.is_empty() { &self.all } else { &self.home };
        let at = random.below(shards.len() as u64);
        usize::try_from(at).ok().and_then(|at| shards.get(at).copied()).unwrap_or(0)
    }

    /// Something may be there to take.
    pub(super) fn wake(&mut self, now: Instant, random: &mut Random) {
        self.wake_scope(Scope::Home, now, random);
        self.wake_scope(Scope::All, now, random);
    }

    fn wake_scope(&mut self, scope: Scope, now: Instant, random: &mut Random) {
        let (first, last) = OTHERS_AFTER;
        let wait = match scope {
            Scope::Home => Duration::ZERO,
            Scope::All if self.home.len() == self.all.len() && !self.all.is_empty() => return,
            Scope::All => {
                let spread = u64::try_from((last - first).as_micros()).unwrap_or(0);
                first + Duration::from_micros(random.below(spread))
            }
        };
        self.wake_at(scope, now.after(wait));
    }

    /// Has a look taken at this time at the latest.
    pub(super) fn wake_at(&mut self, scope: Scope, at: Instant) {
        let look = self.look(scope);
        look.at = Some(look.at.map_or(at, |before| before.min(at)));
    }

    fn look(&mut self, scope: Scope) -> &mut Look {
        let [home, all] = &mut self.looks;
        if scope == Scope::Home { home } else { all }
    }

    /// Others have changed objects.
    pub(super) fn invalidated(&mut self, oids: &[Oid], now: Instant, random: &mut Random) {
        for scope in [Scope::Home, Scope::All] {
            let read = &self.look(scope).read;
            if oids.iter().any(|oid| read.contains(oid)) {
                self.wake_scope(scope, now, random);
            }
        }
    }

    /// The look that is due first.
    pub(super) fn next(&self, now: Instant, clock: &StorageClock) -> Option<(Instant, Scope)> {
        let looks = [Scope::Home, Scope::All].into_iter().zip(&self.looks);
        let times = looks.filter_map(|(scope, look)| {
            let due = look.due.map(|due| clock.instant(now, due));
            Some((super::execution::earlier(look.at, due)?, scope))
        });
        times.min_by_key(|(at, _)| *at)
    }

    /// A look begins. What changes from now on is for the next one. Returns how many entries of each tree it
    /// reads.
    pub(super) fn begin(&mut self, scope: Scope) -> usize {
        let look = self.look(scope);
        look.at = None;
        look.due = None;
        look.scan_max
    }

    /// A look has found nothing to take, but has not read everything. The next one reads more.
    pub(super) fn deepen(&mut self, scope: Scope, now: Instant) {
        let look = self.look(scope);
        if look.scan_max < SCAN_MAX {
            look.scan_max *= SCAN_FACTOR;
            self.wake_at(scope, now);
        }
    }

    /// A look has read enough.
    pub(super) fn was_enough(&mut self, scope: Scope) {
        self.look(scope).scan_max = SCAN;
    }

    /// What a look has read, and when the next job is due.
    pub(super) fn looked(&mut self, scope: Scope, read: Vec<Oid>, due: Option<UnixTime>) {
        let look = self.look(scope);
        look.read = read.into_iter().collect();
        look.due = due;
    }
}

/// How much a worker is the home of a shard: the largest weight decides.
fn weight(shard: i64, worker: &str) -> u64 {
    let bytes = worker.as_bytes().iter();
    mix(bytes.fold(mix(shard.cast_unsigned()), |hash, byte| mix(hash ^ u64::from(*byte))))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_shard_has_one_home() {
        let names = ["a", "b", "c"].map(ToString::to_string);
        let mut homes = Vec::new();
        for own in &names {
            let others: Vec<String> = names.iter().filter(|name| *name != own).cloned().collect();
            let mut shards = Shards::default();
            assert!(shards.surveyed((0..32).collect(), own, &others));
            assert!(!shards.surveyed((0..32).collect(), own, &others));
            assert!(shards.of(Scope::Home).len() > 3, "{own}");
            homes.extend_from_slice(shards.of(Scope::Home));
        }
        homes.sort_unstable();
        assert_eq!(homes, (0..32).collect::<Vec<i64>>());
    }

    #[test]
    fn invalidations_wake_a_look_only_if_it_has_read_the_object() {
        let (mut shards, mut random) = (Shards::default(), Random::new(1));
        shards.surveyed((0..32).collect(), "a", &["b".to_string()]);
        shards.looked(Scope::Home, [Oid(1)].into(), None);
        shards.looked(Scope::All, [Oid(1), Oid(2)].into(), None);
        let clock = StorageClock::default();
        shards.invalidated(&[Oid(3)], Instant::START, &mut random);
        assert_eq!(shards.next(Instant::START, &clock), None);
        shards.invalidated(&[Oid(2)], Instant::START, &mut random);
        let (at, scope) = shards.next(Instant::START, &clock).expect("a look");
        assert_eq!(scope, Scope::All);
        assert!(at.0 >= OTHERS_AFTER.0 && at.0 < OTHERS_AFTER.1, "{at:?}");
        shards.invalidated(&[Oid(1)], Instant::START, &mut random);
        assert_eq!(shards.next(Instant::START, &clock), Some((Instant::START, Scope::Home)));
    }
}
