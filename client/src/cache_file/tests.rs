use std::fs;

use bytes::Bytes;
use rzeo_core::storage::Revision;
use rzeo_core::{Oid, Tid};
use tempfile::TempDir;

use super::*;

const ROOM: usize = 100_000;

/// A directory for the file of a cache.
struct TestDir(TempDir);

impl TestDir {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("main.rzc")
    }

    fn open(&self) -> (CacheFile, Cache) {
        CacheFile::open(&self.path(), ROOM).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn refused(&self, contents: &[u8]) -> String {
        fs::write(self.path(), contents).unwrap();
        let error = CacheFile::open(&self.path(), ROOM).unwrap_err();
        assert_eq!(self.bytes(), contents, "it is unchanged");
        error.to_string().replace(self.path().to_str().unwrap(), "PATH")
    }
}

fn store(cache: &mut Cache, oid: u64, serial: u64, len: usize) {
    let data = Bytes::from(vec![u8::try_from(oid).unwrap(); len]);
    cache.store(Oid(oid), Revision { data, serial: Tid(serial), end: None });
}

fn write(file: &mut CacheFile, cache: &mut Cache) {
    file.append(&cache.take_journal().unwrap_or_default()).unwrap();
}

/// The current serials of objects 1 to 5.
fn serials(cache: &mut Cache) -> Vec<Option<u64>> {
    let of = |oid| cache.load_before(Oid(oid), Tid::MAX).map(|revision| revision.serial.0);
    (1..=5).map(of).collect()
}

/// Commits several times; each commit changes the same two objects.
fn live(file: &mut CacheFile, cache: &mut Cache, tids: std::ops::Range<u64>) {
    for tid in tids {
        for oid in [1, 2] {
            cache.invalidate(Oid(oid), Tid(tid));
        }
        cache.set_last_tid(Tid(tid));
        for oid in [1, 2] {
            store(cache, oid, tid, 30);
        }
        write(file, cache);
    }
}

#[test]
fn a_reopened_cache_has_its_records() {
    let place = TestDir::new();
    let (mut file, mut cache) = place.open();
    live(&mut file, &mut cache, 1..3);
    drop(file);
    let (mut file, mut cache) = place.open();
    assert_eq!(cache.last_tid(), Tid(2));
    assert_eq!(serials(&mut cache), [Some(2), Some(2), None, None, None]);
    store(&mut cache, 5, 1, 10);
    write(&mut file, &mut cache);
    drop(file);
    let (_file, mut cache) = place.open();
    assert_eq!(serials(&mut cache), [Some(2), Some(2), None, None, Some(1)]);
}

#[test]
fn two_clients_do_not_share_a_file() {
    let place = TestDir::new();
    let first = place.open();
    let error = CacheFile::open(&place.path(), ROOM).unwrap_err();
    assert!(matches!(error, CacheFileError::InUse(_)), "{error}");
    drop(first);
    place.open();
}

/// Opens a damaged file, checks its records, uses it, and checks its records again.
fn continues_after(damaged: &[u8]) {
    let place = TestDir::new();
    fs::write(place.path(), damaged).unwrap();
    let (mut file, mut cache) = place.open();
    let last = cache.last_tid().0;
    for serial in serials(&mut cache).into_iter().flatten() {
        assert!(serial >= last, "{serial} is not current in {last}");
    }
    live(&mut file, &mut cache, 10..11);
    let before = serials(&mut cache);
    drop(file);
    let (_file, mut cache) = place.open();
    assert_eq!(serials(&mut cache), before);
    assert_eq!(cache.last_tid(), Tid(10));
}

#[test]
fn a_kill_at_any_byte_leaves_a_cache() {
    let place = TestDir::new();
    let (mut file, mut cache) = place.open();
    live(&mut file, &mut cache, 1..4);
    let whole = place.bytes();
    for len in 0..=whole.len() {
        continues_after(&whole[..len]);
    }
}

#[test]
fn damage_at_any_byte_leaves_a_cache() {
    let place = TestDir::new();
    let (mut file, mut cache) = place.open();
    live(&mut file, &mut cache, 1..4);
    let whole = place.bytes();
    for at in MAGIC.len()..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        continues_after(&damaged);
        // A block that was never written.
        damaged[at..].fill(0);
        continues_after(&damaged);
    }
}

#[test]
fn a_foreign_file_is_left_unchanged() {
    let place = TestDir::new();
    assert_eq!(
        place.refused(b"ZEC3\0\0\0\0\0\0\0\0"),
        "PATH is a cache of Python's ZEO, which rzeo cannot use; give another path or remove the file"
    );
    assert_eq!(
        place.refused(b"FS30 and my database"),
        "PATH is not a cache of rzeo, it begins with \"FS30 and\"; give another path or remove the file"
    );
    assert!(!beside(&place.path(), ".bad").exists());
}

#[test]
fn a_damaged_cache_file_is_moved_aside() {
    let place = TestDir::new();
    let bad = beside(&place.path(), ".bad");
    for contents in [&b"RZCJ\0\0\0\x09of tomorrow"[..], &[0; 500]] {
        fs::write(place.path(), contents).unwrap();
        let (mut file, mut cache) = place.open();
        assert!(cache.is_empty());
        assert_eq!(fs::read(&bad).unwrap(), contents);
        live(&mut file, &mut cache, 1..2);
        drop(file);
        assert_eq!(place.open().1.last_tid(), Tid(1));
    }
}

#[test]
fn a_long_journal_is_rewritten_and_continues() {
    let place = TestDir::new();
    let (mut file, mut cache) = place.open();
    let mut tid = 0;
    while !file.wants_rewrite(&cache.statistics()) {
        tid += 1;
        live(&mut file, &mut cache, tid..tid + 1);
        assert!(tid < 20_000, "it never is too long");
    }
    let len = place.bytes().len();
    assert!(len > usize::try_from(SLACK).unwrap());
    // A killed process leaves a temporary file.
    fs::write(beside(&place.path(), ".tmp"), b"RZCJ...").unwrap();
    file.rewrite(cache.snapshot()).unwrap();
    assert!(!file.wants_rewrite(&cache.statistics()));
    assert!(place.bytes().len() < len / 2);
    live(&mut file, &mut cache, tid + 1..tid + 3);
    let before = serials(&mut cache);
    drop(file);
    let (_file, mut cache) = place.open();
    assert_eq!(serials(&mut cache), before);
    assert_eq!(cache.last_tid(), Tid(tid + 2));
    assert!(!beside(&place.path(), ".tmp").exists());
}

#[test]
fn the_file_of_a_killed_rewrite_is_removed() {
    let place = TestDir::new();
    let (mut file, mut cache) = place.open();
    live(&mut file, &mut cache, 1..2);
    drop(file);
    fs::write(beside(&place.path(), ".tmp"), b"RZCJ...").unwrap();
    let (_file, cache) = place.open();
    assert_eq!(cache.last_tid(), Tid(1));
    assert!(!beside(&place.path(), ".tmp").exists());
}

#[test]
fn nothing_is_appended_after_a_gap_until_the_file_is_rewritten() {
    let place = TestDir::new();
    let (mut file, mut cache) = place.open();
    live(&mut file, &mut cache, 1..2);
    let good = std::mem::replace(
        &mut file.file,
        OpenOptions::new().write(true).open("/dev/full").unwrap(),
    );
    store(&mut cache, 3, 1, 10);
    let error = file.append(&cache.take_journal().unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("cannot write"), "{error}");
    file.file = good;
    live(&mut file, &mut cache, 2..3);
    assert!(!file.wants_rewrite(&cache.statistics()), "not at once");
    let big = Bytes::from(vec![0; usize::try_from(SLACK).unwrap() + 1]);
    file.append(&big).unwrap();
    assert!(place.bytes().len() < 1000, "dropped");
    assert!(file.wants_rewrite(&cache.statistics()));
    file.rewrite(cache.snapshot()).unwrap();
    live(&mut file, &mut cache, 3..4);
    drop(file);
    let (_file, mut cache) = place.open();
    assert_eq!(serials(&mut cache), [Some(3), Some(3), Some(1), None, None]);
}

#[test]
fn a_rewrite_that_fails_leaves_the_file() {
    let place = TestDir::new();
    let (mut file, mut cache) = place.open();
    live(&mut file, &mut cache, 1..2);
    fs::create_dir(beside(&place.path(), ".tmp")).unwrap();
    assert!(file.rewrite(cache.snapshot()).is_err());
    live(&mut file, &mut cache, 2..3);
    drop(file);
    fs::remove_dir(beside(&place.path(), ".tmp")).unwrap();
    let (_file, mut cache) = place.open();
    assert_eq!(serials(&mut cache), [Some(2), Some(2), None, None, None]);
}
