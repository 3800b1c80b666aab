//! Which revisions a full cache evicts.

use proptest::prelude::*;

use super::*;
use crate::client::cache::entry::{Entry, Slot};

/// Loads an object as a client does, storing it after a miss. Returns whether it was a hit.
fn load(cache: &mut Cache, oid: u64, len: usize) -> bool {
    let was_there = cache.load_before(Oid(oid), Tid::MAX).is_some();
    if !was_there {
        store(cache, oid, 1, len);
    }
    was_there
}

#[test]
fn a_scan_does_not_evict_objects_that_are_loaded_repeatedly() {
    let mut cache = Cache::new(100 * (1000 + ENTRY_BYTES));
    for _ in 0..5 {
        for oid in 0..50 {
            load(&mut cache, oid, 1000);
        }
    }
    for oid in 1000..3000 {
        load(&mut cache, oid, 1000);
    }
    let left = (0..50).filter(|oid| cache.knows_before(Oid(*oid), Tid::MAX)).count();
    assert_eq!(left, 50);
}

/// In a full main queue, an object that was loaded since its last turn stays, at any position in the
/// queue.
#[test]
fn objects_that_are_loaded_repeatedly_stay() {
    let mut cache = Cache::new(20 * (1000 + ENTRY_BYTES));
    for oid in 0..200 {
        for wanted in 0..5 {
            let was_there = load(&mut cache, wanted, 1000);
            assert!(was_there || oid < 40, "{wanted} was evicted before {oid}");
        }
        for _ in 0..4 {
            load(&mut cache, oid, 1000);
        }
    }
}

/// A new revision takes the queue and the count of loads of the one that it replaces.
#[test]
fn a_change_does_not_count_as_a_load() {
    let mut cache = Cache::new(100 * (1000 + ENTRY_BYTES));
    for oid in [1, 2] {
        store(&mut cache, oid, 1, 1000);
    }
    for _ in 0..4 {
        load(&mut cache, 2, 1000);
    }
    for oid in [1, 2] {
        cache.invalidate(Oid(oid), Tid(2));
        store(&mut cache, oid, 2, 1000);
    }
    for oid in 1000..1200 {
        load(&mut cache, oid, 1000);
    }
    let left = [1, 2].map(|oid| cache.knows_before(Oid(oid), Tid::MAX));
    assert_eq!(left, [false, true]);
}

#[test]
fn statistics_count_every_event() {
    let mut cache = Cache::new(3 * (1000 + ENTRY_BYTES));
    assert!(cache.is_empty());
    for oid in 0..5 {
        load(&mut cache, oid, 1000);
    }
    load(&mut cache, 4, 1000);
    cache.forget_current(Oid(4));
    cache.forget_current(Oid(99));
    cache.invalidate(Oid(3), Tid(2));
    let counted = cache.statistics();
    assert_eq!((counted.hits, counted.misses, counted.stores), (1, 5, 5));
    assert_eq!((counted.invalidations, counted.evictions, counted.entries), (2, 2, 2));
    assert!(!cache.is_empty());
    check_sound(&cache);
}

#[test]
fn an_object_that_is_loaded_again_soon_after_its_eviction_stays() {
    let mut cache = Cache::new(100 * (1000 + ENTRY_BYTES));
    for oid in 0..200 {
        load(&mut cache, oid, 1000);
    }
    // It was just evicted and is loaded again; then a scan.
    let evicted = (0..200).rev().find(|oid| !cache.knows_before(Oid(*oid), Tid::MAX)).unwrap();
    load(&mut cache, evicted, 1000);
    for oid in 1000..1150 {
        load(&mut cache, oid, 1000);
    }
    assert!(cache.knows_before(Oid(evicted), Tid::MAX));
}

#[test]
fn a_new_revision_takes_the_place_of_the_old_one() {
    let mut cache = Cache::new(100 * (1000 + ENTRY_BYTES));
    for oid in 0..150 {
        load(&mut cache, 0, 1000);
        load(&mut cache, oid, 1000);
    }
    cache.invalidate(Oid(0), Tid(5));
    store(&mut cache, 0, 5, 1000);
    for oid in 1000..1150 {
        load(&mut cache, oid, 1000);
    }
    assert!(
        cache.data_of(Oid(0), Tid(5)).is_some(),
        "the new revision has the place of the old one"
    );
    assert!(cache.data_of(Oid(0), Tid(1)).is_none(), "the old revision was evicted");
}

#[test]
fn a_record_larger_than_the_cache_is_not_kept() {
    let mut cache = Cache::new(1000);
    store(&mut cache, 1, 1, 100);
    store(&mut cache, 2, 1, 1001 - ENTRY_BYTES);
    assert_eq!(contents(&cache).len(), 1);
    store(&mut cache, 1, 2, 1001 - ENTRY_BYTES);
    assert!(cache.is_empty(), "the revision that it replaced is no longer current");
    store(&mut cache, 2, 1, 1000 - ENTRY_BYTES);
    assert_eq!(cache.statistics().bytes, 1000);
}

#[test]
fn a_large_record_is_not_evicted_for_its_size() {
    let mut cache = Cache::new(10_000);
    for _ in 0..3 {
        for oid in 0..20 {
            load(&mut cache, oid, 400);
        }
    }
    store(&mut cache, 100, 1, 5000);
    assert!(cache.knows_before(Oid(100), Tid::MAX));
}

#[test]
fn a_record_does_not_keep_the_buffer_that_it_came_in() {
    let buffer = record(64 * 1024);
    let data = buffer.slice(100..200);
    let mut cache = Cache::new(10_000);
    cache.store(Oid(1), Revision { data, serial: Tid(1), end: None });
    assert!(buffer.is_unique());
}

#[test]
fn an_empty_cache_of_no_bytes_keeps_nothing() {
    let mut cache = Cache::new(0);
    store(&mut cache, 1, 1, 0);
    assert!(cache.is_empty());
    assert_eq!(Cache::new(usize::MAX).load_before(Oid(1), Tid::MAX), None);
}

#[test]
fn an_entry_takes_no_more_than_it_counts() {
    // In the slab; in the index, of whose places about two thirds are in use; two marks for ghosts; and
    // an allocator's header and rounding for the record, and for the count of its references.
    let index = (size_of::<Oid>() + 2 * size_of::<Slot>() + 1) * 3 / 2;
    let blocks = 16 + 32;
    let all = size_of::<Entry>() + index + 2 * size_of::<u32>() + blocks;
    assert!(all <= ENTRY_BYTES, "{all}");
    assert!(size_of::<Entry>() <= 80, "{}", size_of::<Entry>());
}

proptest! {
    #[test]
    fn bytes_are_bounded_and_counted(
        bytes_max in 0..4000_usize,
        steps in prop::collection::vec((0..8_u8, 0..12_u64, 1..50_u64, 0..1500_usize), 0..120),
    ) {
        let mut cache = Cache::new(bytes_max);
        for (step, oid, tid, len) in steps {
            let data = record(len);
            match step {
                0..3 => store(&mut cache, oid, tid, len),
                3 => {
                    let end = Some(Tid(tid + 2));
                    cache.store(Oid(oid), Revision { data, serial: Tid(tid), end });
                }
                4 => cache.invalidate(Oid(oid), Tid(tid)),
                5 if len < 300 => cache.forget_current(Oid(oid)),
                _ => drop(cache.load_before(Oid(oid), Tid(tid))),
            }
            check_sound(&cache);
            let all = cache.statistics();
            prop_assert!(u64::try_from(all.entries).unwrap() + all.evictions <= all.stores);
        }
    }
}
