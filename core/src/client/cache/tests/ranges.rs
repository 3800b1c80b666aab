//! The ranges of tids in which revisions are current.

use proptest::prelude::*;

use super::*;

const A: Oid = Oid(1);

fn serial_before(cache: &mut Cache, before: u64) -> Option<u64> {
    cache.load_before(A, Tid(before)).map(|revision| revision.serial.0)
}

#[test]
fn a_revision_is_found_in_its_range_only() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, Some(5), "three"));
    cache.store(A, revision(8, None, "eight"));
    let found = [2, 3, 4, 5, 6, 8, 9].map(|before| serial_before(&mut cache, before));
    assert_eq!(found, [None, None, Some(3), Some(3), None, None, Some(8)]);
    assert_eq!(cache.load_before(A, Tid::MAX), Some(revision(8, None, "eight")));
    assert_eq!(cache.load_before(Oid(2), Tid::MAX), None);
}

#[test]
fn an_invalidation_ends_the_current_revision() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, None, "three"));
    cache.invalidate(A, Tid(5));
    assert_eq!(cache.load_before(A, Tid(5)), Some(revision(3, Some(5), "three")));
    assert_eq!(serial_before(&mut cache, 6), None);
    cache.invalidate(A, Tid(9));
    assert_eq!(cache.load_before(A, Tid(5)), Some(revision(3, Some(5), "three")));
    assert_eq!(cache.statistics().invalidations, 1);
}

#[test]
fn an_invalidation_by_its_own_tid_or_an_earlier_one_does_nothing() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(5, None, "five"));
    cache.invalidate(A, Tid(5));
    cache.invalidate(A, Tid(4));
    assert_eq!(cache.load_before(A, Tid::MAX), Some(revision(5, None, "five")));
}

#[test]
fn a_current_revision_replaces_another_current_one() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, None, "three"));
    cache.store(A, revision(7, None, "seven"));
    assert_eq!(serial_before(&mut cache, 5), None);
    assert_eq!(serial_before(&mut cache, 8), Some(7));
    assert_eq!(cache.statistics().entries, 1);
}

#[test]
fn a_current_revision_that_is_stored_with_an_end_is_no_longer_current() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, None, "three"));
    cache.store(A, revision(3, Some(6), "three"));
    assert_eq!(serial_before(&mut cache, 9), None);
    assert_eq!(cache.load_before(A, Tid(6)), Some(revision(3, Some(6), "three")));
    check_sound(&cache);
}

#[test]
fn a_revision_before_a_known_end_does_not_become_current() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, Some(6), "three"));
    for serial in [2, 3, 5] {
        cache.store(A, revision(serial, None, "late"));
        assert_eq!(serial_before(&mut cache, 9), None, "{serial}");
    }
    cache.store(A, revision(6, None, "six"));
    assert_eq!(serial_before(&mut cache, 9), Some(6));
}

#[test]
fn an_empty_range_is_not_kept() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, Some(3), "never"));
    assert!(cache.is_empty());
}

#[test]
fn forgetting_keeps_revisions_with_an_end() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, Some(6), "three"));
    cache.store(A, revision(6, None, "six"));
    cache.forget_current(A);
    cache.forget_current(A);
    assert_eq!(contents(&cache), [(A, revision(3, Some(6), "three"))]);
}

#[test]
fn a_current_revision_is_dropped_if_another_one_ended_later() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(1, None, "one"));
    cache.store(A, revision(2, Some(3), "two"));
    assert_eq!(cache.load_before(A, Tid(9)), None);
    assert_eq!(cache.load_before(A, Tid(3)).map(|found| found.serial), Some(Tid(2)));
    cache.store(A, revision(3, None, "three"));
    cache.store(A, revision(2, Some(3), "two again"));
    assert_eq!(cache.load_before(A, Tid(9)).map(|found| found.serial), Some(Tid(3)));
}

#[test]
fn data_is_found_by_the_exact_serial() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, Some(6), "three"));
    cache.store(A, revision(6, None, "six"));
    let of = |serial| cache.data_of(A, Tid(serial));
    assert_eq!(of(3).as_deref(), Some(&b"three"[..]));
    assert_eq!(of(6).as_deref(), Some(&b"six"[..]));
    assert_eq!(of(4), None);
    assert_eq!(cache.statistics().hits, 0);
}

#[test]
fn the_last_tid_never_goes_back_unless_all_starts_over() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, None, "three"));
    cache.set_last_tid(Tid(5));
    cache.set_last_tid(Tid(4));
    assert_eq!(cache.last_tid(), Tid(5));
    cache.clear();
    assert!(cache.is_empty());
    assert_eq!(cache.last_tid(), Tid(5));
    cache.start_over(Tid(2));
    assert_eq!(cache.last_tid(), Tid(2));
}

#[test]
fn loads_are_counted() {
    let mut cache = Cache::new(10_000);
    cache.store(A, revision(3, None, "three"));
    assert!(cache.knows_before(A, Tid(4)) && !cache.knows_before(A, Tid(3)));
    let _ = (cache.load_before(A, Tid(4)), cache.load_before(A, Tid(3)));
    let Statistics { hits, misses, stores, .. } = cache.statistics();
    assert_eq!((hits, misses, stores), (1, 1, 1));
}

/// The rules as a model: a list of serials and ends.
#[derive(Default)]
struct Rules(Vec<(u64, Option<u64>)>);

impl Rules {
    fn current(&mut self) -> Option<&mut (u64, Option<u64>)> {
        self.0.iter_mut().find(|(_, end)| end.is_none())
    }

    fn store(&mut self, serial: u64, end: Option<u64>) {
        let over = self.0.iter().filter(|(_, end)| end.is_some()).max();
        let is_over = over.is_some_and(|(_, end)| *end > Some(serial));
        let is_current = self.current().is_some_and(|current| current.0 == serial);
        match end {
            None if is_current || is_over => {}
            None => {
                self.forget();
                self.0.push((serial, None));
            }
            Some(end) if end <= serial => {}
            Some(end) if is_current => self.invalidate(end),
            Some(_) if self.0.iter().any(|known| known.0 == serial) => {}
            Some(end) => {
                self.0.retain(|known| known.1.is_some() || known.0 >= end);
                self.0.push((serial, Some(end)));
            }
        }
    }

    fn invalidate(&mut self, tid: u64) {
        if let Some(current) = self.current().filter(|current| current.0 < tid) {
            current.1 = Some(tid);
        }
    }

    fn forget(&mut self) {
        self.0.retain(|(_, end)| end.is_some());
    }

    fn before(&self, before: u64) -> Option<(u64, Option<u64>)> {
        let older = self.0.iter().filter(|(serial, end)| end.is_some() && *serial < before).max();
        let current = self.0.iter().find(|(serial, end)| end.is_none() && *serial < before);
        older.filter(|(_, end)| *end >= Some(before)).or(current).copied()
    }
}

proptest! {
    /// The cache and the model agree after any calls, also ones that no server causes.
    #[test]
    fn ranges_follow_the_rules(steps in prop::collection::vec((0..5_u8, 1..12_u64, 1..12_u64), 0..40)) {
        let (mut cache, mut rules) = (Cache::new(1 << 20), Rules::default());
        for (step, serial, other) in steps {
            match step {
                0 => {
                    cache.store(A, revision(serial, None, "x"));
                    rules.store(serial, None);
                }
                1 | 2 => {
                    cache.store(A, revision(serial, Some(other), "x"));
                    rules.store(serial, Some(other));
                }
                3 => {
                    cache.invalidate(A, Tid(serial));
                    rules.invalidate(serial);
                }
                _ if other == 1 => {
                    cache.forget_current(A);
                    rules.forget();
                }
                _ => {}
            }
            check_sound(&cache);
            for before in 0..13 {
                let found = cache.load_before(A, Tid(before));
                let found = found.map(|found| (found.serial.0, found.end.map(|end| end.0)));
                prop_assert_eq!(found, rules.before(before), "before {}", before);
            }
        }
    }
}
