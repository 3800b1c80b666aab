mod journal;
mod ranges;
mod room;

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::ids::{Oid, Tid};
use crate::storage::Revision;

/// A record of `len` bytes.
fn record(len: usize) -> Bytes {
    vec![7; len].into()
}

fn revision(serial: u64, end: Option<u64>, data: &'static str) -> Revision {
    Revision { data: Bytes::from_static(data.as_bytes()), serial: Tid(serial), end: end.map(Tid) }
}

/// Stores a current revision of `len` bytes.
fn store(cache: &mut Cache, oid: u64, serial: u64, len: usize) {
    cache.store(Oid(oid), Revision { data: record(len), serial: Tid(serial), end: None });
}

/// All revisions in the cache, by object and serial.
fn contents(cache: &Cache) -> Vec<(Oid, Revision)> {
    let mut all: Vec<_> =
        cache.queues.oldest_first().map(|(entry, _)| (entry.oid, entry.revision())).collect();
    all.sort_by_key(|(oid, revision)| (*oid, revision.serial));
    all
}

/// Checks that the statistics agree with the contents, and that the index finds every revision.
fn check_sound(cache: &Cache) {
    let all = contents(cache);
    let statistics = cache.statistics();
    assert_eq!(statistics.entries, all.len());
    let bytes: usize = all.iter().map(|(_, revision)| revision.data.len() + ENTRY_BYTES).sum();
    assert_eq!(statistics.bytes, bytes);
    assert_eq!(cache.queues.bytes(), bytes);
    assert!(bytes <= statistics.bytes_max, "{bytes}");
    for (oid, revision) in &all {
        assert_eq!(cache.data_of(*oid, revision.serial).as_ref(), Some(&revision.data));
        let slot = cache.index.exactly(&cache.queues.entries, *oid, revision.serial);
        assert!(slot.is_some_and(|slot| {
            (revision.end.is_none()) == (cache.index.current(*oid) == Some(slot))
        }));
    }
}
