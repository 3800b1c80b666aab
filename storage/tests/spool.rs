//! Spooled records are copied to the database in pieces, never completely in memory.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rzeo_core::storage::{
    Finishing, Patience, RecordData, Scratch, Storage, StorageError, TransactionMeta, Voted,
};
use rzeo_core::{Oid, Tid};
use rzeo_storage::FileStorage;
use rzeo_storage::disk::Disk;
use rzeo_storage::disk::memory::MemoryDisk;
use rzeo_storage::file::FileOptions;

fn open(disk: &MemoryDisk) -> FileStorage {
    FileStorage::open(Arc::new(disk.clone()), "Data.fs", FileOptions::default()).unwrap()
}

/// A spool file that notes the longest read, and fails from a position on.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn Scratch>,
    longest: AtomicUsize,
    fails_from: u64,
}

impl Scratch for Watched {
    fn write(&self, at: u64, chunks: &[Bytes]) -> Result<(), StorageError> {
        self.inner.write(at, chunks)
    }

    fn read(&self, at: u64, len: usize) -> Result<Bytes, StorageError> {
        self.longest.fetch_max(len, Ordering::Relaxed);
        if at + len as u64 > self.fails_from {
            let (doing, text) = ("read the spool".into(), "it is gone".into());
            return Err(StorageError::Disk { doing, text, code: None });
        }
        self.inner.read(at, len)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn records() -> Vec<Bytes> {
    let record = |len: usize| (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
    [10, 3_000_000, 1 << 20, 5, 70_000].map(record).into()
}

/// Votes the records in one transaction, some of them spooled if there is a spool.
fn vote(
    storage: &FileStorage,
    spool: Option<&Arc<Watched>>,
    patience: Patience,
) -> Result<Voted, StorageError> {
    let mut vote = storage.begin_vote(&TransactionMeta::default(), patience)?;
    let mut at = 7;
    for (oid, record) in records().into_iter().enumerate() {
        let data = match spool {
            Some(spool) if oid % 2 == 1 || oid == 2 => {
                spool.write(at, &[record.slice(..3), record.slice(3..)])?;
                let (start, len) = (at, record.len());
                at += len as u64;
                RecordData::Spooled { file: Arc::clone(spool) as _, at: start, len }
            }
            _ => record.into(),
        };
        vote.store(Oid(oid as u64), Tid::ZERO, data)?;
    }
    vote.seal()
}

fn commit(storage: &FileStorage, spool: Option<&Arc<Watched>>) -> Result<(), StorageError> {
    let voted = vote(storage, spool, Patience::Wait)?;
    // Now that space is reserved, the vote does not wait.
    drop(vote(storage, spool, Patience::Now)?);
    storage.commit(vec![Finishing { tid: Tid(1000), voted }]).map(|_| ())
}

fn spool(storage: &FileStorage, fails_from: u64) -> Arc<Watched> {
    let inner = storage.scratch().unwrap().unwrap();
    Arc::new(Watched { inner, longest: AtomicUsize::new(0), fails_from })
}

#[test]
fn spooled_records_make_the_same_file() {
    let (disk, other) = (MemoryDisk::new(), MemoryDisk::new());
    commit(&open(&disk), None).unwrap();
    let storage = open(&other);
    let spool = spool(&storage, u64::MAX);
    commit(&storage, Some(&spool)).unwrap();
    assert!(disk.bytes("Data.fs") == other.bytes("Data.fs"));
    assert_eq!(spool.longest.load(Ordering::Relaxed), 1 << 20, "never more in memory");
    for (oid, record) in records().into_iter().enumerate() {
        let load = storage.load_serial(Oid(oid as u64), Tid(1000), Patience::Wait).unwrap();
        assert!(load == record);
    }
}

#[test]
fn a_spool_has_no_name() {
    let disk = MemoryDisk::new();
    disk.put("Data.fs.spool", b"of a process that was killed");
    let storage = open(&disk);
    commit(&storage, None).unwrap();
    let (one, two) = (storage.scratch().unwrap().unwrap(), storage.scratch().unwrap().unwrap());
    assert!(!disk.exists(Path::new("Data.fs.spool")).unwrap());
    one.write(0, &[Bytes::from_static(b"one")]).unwrap();
    two.write(0, &[Bytes::from_static(b"two")]).unwrap();
    assert_eq!(one.read(0, 3).unwrap(), "one");
    assert!(two.read(1, 3).is_err(), "there is less");
    drop(storage);
    disk.put("Data.fs.spool", b"of a process that was killed");
    open(&disk);
    assert!(!disk.exists(Path::new("Data.fs.spool")).unwrap());
}

#[test]
fn a_spool_that_cannot_be_read_costs_its_group() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let before = disk.bytes("Data.fs");
    let refused = commit(&storage, Some(&spool(&storage, 2_000_000))).unwrap_err();
    assert!(refused.to_string().contains("it is gone"), "{refused}");
    assert_eq!(disk.bytes("Data.fs"), before);
    commit(&storage, Some(&spool(&storage, u64::MAX))).unwrap();
}
