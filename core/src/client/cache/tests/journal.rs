//! Replays of journals: whole, cut short, damaged, and into a cache of another size.

use alloc::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The history of a server's objects, and the cache of a client.
struct World {
    cache: Cache,
    journal: Vec<u8>,
    /// The cache's last tid at each length that the journal has had.
    known: BTreeMap<usize, Tid>,
    /// For each object, the commits that changed it.
    history: BTreeMap<u64, Vec<u64>>,
    newest: u64,
    /// Commits whose invalidations the client has not received yet, with the changed objects.
    pending: Vec<(u64, Vec<u64>)>,
}

const OBJECTS: u64 = 6;

impl World {
    fn new(bytes_max: usize) -> Self {
        let mut cache = Cache::new(bytes_max);
        cache.keep_journal();
        cache.set_last_tid(Tid(1));
        let history = (0..OBJECTS).map(|oid| (oid, [1].into())).collect();
        let mut world = Self {
            cache,
            journal: Vec::new(),
            known: BTreeMap::new(),
            history,
            newest: 1,
            pending: Vec::new(),
        };
        world.write();
        world
    }

    fn data(oid: u64, serial: u64) -> Bytes {
        let byte = u8::try_from(oid * 31 + serial % 100).unwrap();
        vec![byte; usize::try_from((oid * 7 + serial * 13) % 60).unwrap()].into()
    }

    fn end(&self, oid: u64, serial: u64) -> Option<u64> {
        self.history[&oid].iter().copied().find(|tid| *tid > serial)
    }

    fn step(&mut self, step: u8, oid: u64, other: u64) {
        match step {
            0..5 => self.load(oid, self.cache.last_tid().0 + 1 - other % 3),
            5..7 => {
                let oids = self.commit(&[oid, other]);
                self.pending.push(oids);
            }
            7..9 if !self.pending.is_empty() => {
                let commit = self.pending.remove(0);
                self.receive(&commit, false);
            }
            9 => {
                for commit in core::mem::take(&mut self.pending) {
                    self.receive(&commit, false);
                }
                let own = self.commit(&[oid]);
                self.receive(&own, true);
            }
            10 => self.verify(),
            11 if other == 0 => self.cache.clear(),
            12 => self.rewrite(),
            _ => {}
        }
        self.write();
    }

    fn load(&mut self, oid: u64, before: u64) {
        let Some(serial) = self.history[&oid].iter().copied().rfind(|tid| *tid < before) else {
            return;
        };
        let known = self.cache.last_tid().0;
        let end = self.end(oid, serial).map(Tid);
        if let Some(found) = self.cache.load_before(Oid(oid), Tid(before)) {
            assert_eq!((found.serial, found.data), (Tid(serial), Self::data(oid, serial)));
            assert!(found.end == end || (found.end.is_none() && end > Some(Tid(known))));
        } else {
            let revision = Revision { data: Self::data(oid, serial), serial: Tid(serial), end };
            self.cache.store(Oid(oid), revision);
        }
    }

    fn commit(&mut self, oids: &[u64]) -> (u64, Vec<u64>) {
        self.newest += 1;
        for oid in oids {
            let tids = self.history.get_mut(oid).unwrap();
            if tids.last() != Some(&self.newest) {
                tids.push(self.newest);
            }
        }
        (self.newest, oids.into())
    }

    fn receive(&mut self, (tid, oids): &(u64, Vec<u64>), own: bool) {
        for oid in oids {
            self.cache.invalidate(Oid(*oid), Tid(*tid));
            if own {
                let revision =
                    Revision { data: Self::data(*oid, *tid), serial: Tid(*tid), end: None };
                self.cache.store(Oid(*oid), revision);
            }
        }
        self.cache.set_last_tid(Tid(*tid));
    }

    /// Reconnects: the pending invalidations arrive as the result of the verification.
    fn verify(&mut self) {
        for (_, oids) in core::mem::take(&mut self.pending) {
            for oid in oids {
                self.cache.forget_current(Oid(oid));
            }
        }
        self.cache.set_last_tid(Tid(self.newest));
    }

    fn rewrite(&mut self) {
        self.write();
        self.journal = self.cache.snapshot().flatten().collect();
        let now = self.cache.last_tid();
        self.known = [(0, now)].into();
    }

    fn write(&mut self) {
        if let Some(chunk) = self.cache.take_journal() {
            self.journal.extend_from_slice(&chunk);
        }
        self.known.insert(self.journal.len(), self.cache.last_tid());
    }

    /// Checks that the cache agrees with the server's history as of the cache's last tid.
    fn check(&self, cache: &Cache) {
        check_sound(cache);
        for (oid, revision) in contents(cache) {
            let (oid, serial) = (oid.0, revision.serial.0);
            assert!(self.history[&oid].contains(&serial), "{oid} was not changed in {serial}");
            assert_eq!(revision.data, Self::data(oid, serial));
            let end = self.end(oid, serial).map(Tid);
            if revision.end.is_some() {
                assert_eq!(revision.end, end, "of {oid} {serial}");
            } else {
                assert!(end.is_none_or(|end| end > cache.last_tid()), "{oid} {serial} has an end");
            }
        }
    }

    /// The last tid when the journal first had at least this length.
    fn known_at(&self, len: usize) -> Tid {
        *self.known.range(len..).next().map_or(&Tid::MAX, |(_, tid)| tid)
    }
}

fn world(bytes_max: usize, steps: &[(u8, u64, u64)]) -> World {
    let mut world = World::new(bytes_max);
    for (step, oid, other) in steps {
        world.step(*step, *oid, *other);
        world.check(&world.cache);
    }
    world
}

fn replay(bytes_max: usize, journal: &[u8]) -> (Cache, usize) {
    let mut replay = Cache::replay(bytes_max);
    replay.feed(journal);
    let (cache, good) = replay.finish();
    (cache, usize::try_from(good).unwrap())
}

fn steps() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
    prop::collection::vec((0..13_u8, 0..OBJECTS, 0..OBJECTS), 0..60)
}

/// Room for some objects, or for all.
fn room() -> impl Strategy<Value = usize> {
    prop_oneof![Just(900_usize), Just(100_000)]
}

proptest! {
    #[test]
    fn every_prefix_of_a_journal_is_valid(steps in steps(), room in room(), other in room()) {
        let world = world(room, &steps);
        for len in 0..=world.journal.len() {
            let mut replay = Cache::replay(other);
            // In two pieces.
            prop_assert!(replay.feed(&world.journal[..len / 2]));
            prop_assert!(replay.feed(&world.journal[len / 2..len]));
            let (cache, good) = replay.finish();
            prop_assert!(good <= u64::try_from(len).unwrap());
            prop_assert!(cache.last_tid() <= world.known_at(len));
            world.check(&cache);
        }
        let (whole, good) = replay(other, &world.journal);
        prop_assert_eq!(good, world.journal.len());
        prop_assert_eq!(whole.last_tid(), world.cache.last_tid());
        if room <= other {
            let there = contents(&whole);
            if other > 10_000 {
                prop_assert!(contents(&world.cache).iter().all(|entry| there.contains(entry)));
            }
        }
    }

    #[test]
    fn nothing_after_damage_is_replayed(
        steps in steps(),
        room in room(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        garbage in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let world = world(room, &steps);
        let at = at.index(world.journal.len());

        let mut flipped = world.journal.clone();
        flipped[at] ^= 1 << bit;
        let mut zeros = world.journal.clone();
        zeros[at..].fill(0);
        let mut followed = world.journal[..at].to_vec();
        followed.extend_from_slice(&garbage);
        let mut missing = world.journal[..at].to_vec();
        missing.extend_from_slice(world.journal.get(at + 21..).unwrap_or_default());
        // Entries whose checksums are right, but not at this position.
        let mut twice = world.journal[..at].to_vec();
        twice.extend_from_slice(&world.journal[HEADER.len()..]);

        for damaged in [flipped, zeros, followed, missing, twice] {
            let same = damaged.iter().zip(&world.journal).take_while(|(a, b)| a == b).count();
            let (cache, good) = replay(room, &damaged);
            prop_assert!(good <= same, "{} of {} are the same", good, same);
            world.check(&cache);
            let (short, _) = replay(room, &world.journal[..good]);
            prop_assert_eq!(contents(&cache), contents(&short));
        }
    }

    #[test]
    fn a_replayed_cache_continues_its_journal(first in steps(), more in steps(), room in room()) {
        let mut world = world(room, &first);
        let (cache, _) = replay(room, &world.journal);
        world.cache = cache;
        world.cache.keep_journal();
        for (step, oid, other) in &more {
            world.step(*step, *oid, *other);
        }
        let (cache, good) = replay(100_000, &world.journal);
        prop_assert_eq!(good, world.journal.len());
        world.check(&cache);
    }

    #[test]
    fn a_snapshot_has_the_same_contents(steps in steps(), room in room(), is_kept in any::<bool>()) {
        let mut world = world(room, &steps);
        if !is_kept {
            world.cache.journal = None;
        }
        let snapshot: Vec<u8> = world.cache.snapshot().flatten().collect();
        let (cache, good) = replay(room, &snapshot);
        prop_assert_eq!(good, snapshot.len());
        prop_assert_eq!(contents(&cache), contents(&world.cache));
        prop_assert_eq!(cache.last_tid(), world.cache.last_tid());
        let order = |cache: &Cache| {
            let all = cache.queues.oldest_first();
            all.map(|(entry, is_main)| (entry.oid, entry.serial, is_main)).collect::<Vec<_>>()
        };
        prop_assert_eq!(order(&cache), order(&world.cache));
    }

    #[test]
    fn arbitrary_bytes_replay_to_an_empty_cache(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (cache, good) = replay(10_000, &bytes);
        prop_assert_eq!(good, 0);
        prop_assert!(cache.is_empty());
        let (cache, good) = replay(10_000, &[&HEADER[..], &bytes].concat());
        prop_assert_eq!(good, HEADER.len());
        prop_assert!(cache.is_empty());
    }
}

#[test]
fn the_format_is_fixed() {
    let mut cache = Cache::new(10_000);
    cache.keep_journal();
    cache.store(Oid(1), revision(2, None, "ab"));
    cache.invalidate(Oid(1), Tid(3));
    cache.forget_current(Oid(1));
    cache.set_last_tid(Tid(3));
    cache.clear();
    let journal = cache.take_journal().unwrap();
    let mut expected = HEADER.to_vec();
    let mut without_checks = HEADER.to_vec();
    let operations: [&[u8]; 5] = [
        b"s\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\x02ab",
        b"e\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x03",
        b"f\0\0\0\0\0\0\0\x01",
        b"t\0\0\0\0\0\0\0\x03",
        b"c\0\0\0\0\0\0\0\x03",
    ];
    for operation in operations {
        without_checks.extend_from_slice(operation);
        expected.extend_from_slice(&crc32fast::hash(&without_checks).to_be_bytes());
        expected.extend_from_slice(operation);
    }
    assert_eq!(journal, expected);
    assert_eq!(cache.take_journal(), None);
}

#[test]
fn invalidations_of_evicted_revisions_are_in_the_journal() {
    let mut cache = Cache::new(2 * (100 + ENTRY_BYTES));
    cache.keep_journal();
    for oid in 0..4 {
        store(&mut cache, oid, 1, 100);
    }
    assert!(!cache.knows_before(Oid(0), Tid::MAX), "it has been evicted");
    cache.invalidate(Oid(0), Tid(2));
    cache.forget_current(Oid(1));
    cache.set_last_tid(Tid(2));
    let (mut cache, _) = replay(10_000, &cache.take_journal().unwrap());
    assert_eq!(cache.load_before(Oid(0), Tid::MAX), None);
    assert_eq!(cache.load_before(Oid(1), Tid::MAX), None);
}

#[test]
fn a_journal_that_is_begun_late_begins_with_the_contents() {
    let mut cache = Cache::new(10_000);
    store(&mut cache, 1, 1, 100);
    cache.set_last_tid(Tid(4));
    cache.keep_journal();
    store(&mut cache, 2, 5, 100);
    let (replayed, _) = replay(10_000, &cache.take_journal().unwrap());
    assert_eq!(contents(&replayed), contents(&cache));
    assert_eq!(replayed.last_tid(), Tid(4));
}

#[test]
fn starting_over_lowers_the_last_tid_in_the_journal() {
    let mut cache = Cache::new(10_000);
    cache.keep_journal();
    cache.set_last_tid(Tid(4));
    cache.start_over(Tid(2));
    assert_eq!(replay(10_000, &cache.take_journal().unwrap()).0.last_tid(), Tid(2));
}

#[test]
fn a_record_too_large_for_the_cache_does_not_end_the_replay() {
    let mut cache = Cache::new(10_000);
    cache.keep_journal();
    store(&mut cache, 1, 1, 5000);
    store(&mut cache, 2, 1, 50);
    let (small, _) = replay(1000, &cache.take_journal().unwrap());
    assert_eq!(contents(&small).len(), 1);
}
