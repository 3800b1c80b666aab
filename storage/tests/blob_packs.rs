//! Packs and the files of blobs, with failures and other activity in between.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rzeo_core::storage::{Finishing, Patience, Storage, StorageError, TransactionMeta};
use rzeo_core::{Oid, Tid, UnixTime};
use rzeo_storage::disk::memory::{Fault, MemoryDisk};
use rzeo_storage::file::{FileOptions, FileStorage};

const RECORD: &[u8] = b"\x80\x03cZODB.blob\nBlob\nq\0.\x80\x03N.";

fn options(blobs: impl Into<PathBuf>, pack_keep_old: bool) -> FileOptions {
    let blob_dir = Some(blobs.into());
    FileOptions { blob_dir, pack_gc: false, pack_keep_old, ..FileOptions::default() }
}

fn store(storage: &FileStorage, serial: u64, tid: u64) {
    let upload = storage.blobs().unwrap().upload().unwrap();
    upload.write(0, &[Bytes::from_static(b"blob")]).unwrap();
    let mut vote = storage.begin_vote(&TransactionMeta::default(), Patience::Wait).unwrap();
    let record = Bytes::from_static(RECORD);
    vote.store_blob(Oid(1), Tid(serial), record.into(), &upload).unwrap();
    let voted = vote.seal().unwrap();
    storage.commit(vec![Finishing { tid: Tid(tid), voted }]).unwrap();
}

fn pack(storage: &FileStorage) {
    storage.pack(UnixTime(1e9)).unwrap().unwrap().finish().unwrap();
}

fn has(storage: &FileStorage, tid: u64) -> bool {
    storage.blobs().unwrap().open(Oid(1), Tid(tid)).is_ok()
}

#[test]
fn a_copied_transaction_does_not_replace_a_blob() {
    let disk = MemoryDisk::new();
    let storage = FileStorage::open(Arc::new(disk), "Data.fs", options("blobs", true)).unwrap();
    store(&storage, 0, 1);
    let upload = storage.blobs().unwrap().upload().unwrap();
    let meta = TransactionMeta { tid: Some(Tid(1)), ..TransactionMeta::default() };
    let mut vote = storage.begin_vote(&meta, Patience::Wait).unwrap();
    vote.store_blob(Oid(1), Tid(1), Bytes::from_static(RECORD).into(), &upload).unwrap();
    let refused = vote.seal().unwrap_err();
    assert_eq!(refused, StorageError::BlobExists { oid: Oid(1), serial: Tid(1) });
}

#[test]
fn old_blobs_are_beside_a_directory_that_was_given_with_a_slash() {
    let directory = tempfile::tempdir().unwrap();
    let mut blobs = directory.path().join("blobs").into_os_string();
    blobs.push("/");
    let path = directory.path().join("Data.fs");
    let storage = FileStorage::open_file(path, options(blobs, true)).unwrap();
    store(&storage, 0, 1);
    store(&storage, 1, 2);
    pack(&storage);
    storage.clean_up().unwrap();
    assert!(!has(&storage, 1));
    assert!(has(&storage, 2));
    assert!(directory.path().join("blobs.old").exists());
    assert!(!directory.path().join("blobs/.old").exists());
}

/// A client's commit of a blob has two records: one without, and one with the blob.
#[test]
fn a_blob_with_two_records_is_removed_once() {
    let disk = MemoryDisk::new();
    let storage =
        FileStorage::open(Arc::new(disk.clone()), "Data.fs", options("blobs", true)).unwrap();
    let upload = storage.blobs().unwrap().upload().unwrap();
    let mut vote = storage.begin_vote(&TransactionMeta::default(), Patience::Wait).unwrap();
    vote.store(Oid(1), Tid(0), Bytes::from_static(RECORD).into()).unwrap();
    vote.store_blob(Oid(1), Tid(0), Bytes::from_static(RECORD).into(), &upload).unwrap();
    let voted = vote.seal().unwrap();
    storage.commit(vec![Finishing { tid: Tid(1), voted }]).unwrap();
    store(&storage, 1, 2);
    pack(&storage);
    storage.clean_up().unwrap();
    assert!(!has(&storage, 1) && has(&storage, 2));
    assert_eq!(disk.bytes("blobs/.removed"), None);
}

#[test]
fn what_could_not_be_removed_is_removed_after_the_next_pack() {
    let disk = MemoryDisk::new();
    let storage =
        FileStorage::open(Arc::new(disk.clone()), "Data.fs", options("blobs", false)).unwrap();
    store(&storage, 0, 1);
    store(&storage, 1, 2);
    pack(&storage);
    disk.fail_call(disk.calls(), Fault::Broken);
    storage.clean_up().unwrap_err();
    assert!(has(&storage, 1), "it could not be removed");
    // There is nothing to pack: the list stays.
    assert!(storage.pack(UnixTime(1e9)).unwrap().is_none());
    store(&storage, 2, 3);
    pack(&storage);
    storage.clean_up().unwrap();
    assert!(!has(&storage, 1) && !has(&storage, 2));
    assert!(has(&storage, 3));
    assert_eq!(disk.bytes("blobs/.removed"), None);
}

#[test]
fn a_storage_that_was_closed_removes_nothing() {
    let disk = MemoryDisk::new();
    let storage =
        FileStorage::open(Arc::new(disk.clone()), "Data.fs", options("blobs", true)).unwrap();
    store(&storage, 0, 1);
    store(&storage, 1, 2);
    pack(&storage);
    storage.close().unwrap();
    let before = disk.calls();
    storage.clean_up().unwrap_err();
    assert_eq!(disk.calls(), before, "another process may have it open by now");
}

/// A pack keeps the record that an undo points back to, although no chain of revisions leads to it.
#[test]
fn a_leftover_list_removes_no_blob_of_a_record_that_an_undo_needs() {
    let at = |seconds: u32| UnixTime(1e9 + f64::from(seconds));
    let tid = |seconds| Tid::from_unix(at(seconds)).0;
    let disk = MemoryDisk::new();
    let open = || FileStorage::open(Arc::new(disk.clone()), "Data.fs", options("blobs", true));
    let storage = open().unwrap();
    store(&storage, 0, tid(5));
    store(&storage, tid(5), tid(10));
    store(&storage, tid(10), tid(20));
    let mut vote = storage.begin_vote(&TransactionMeta::default(), Patience::Wait).unwrap();
    vote.undo(Tid(tid(20))).unwrap();
    let voted = vote.seal().unwrap();
    storage.commit(vec![Finishing { tid: Tid(tid(30)), voted }]).unwrap();
    storage.pack(at(25)).unwrap().unwrap().finish().unwrap();
    storage.clean_up().unwrap();
    assert!(!has(&storage, tid(5)));
    assert!([10, 20, 30].iter().all(|seconds| has(&storage, tid(*seconds))));
    storage.close().unwrap();
    drop(storage);
    // The power failed during the next pack, before it switched.
    let listed: String =
        [10, 20].map(|seconds| format!("{:016x}{:016x}\n", 1, tid(seconds))).concat();
    disk.put("blobs/.removed", listed.as_bytes());
    let storage = open().unwrap();
    assert!([10, 20, 30].iter().all(|seconds| has(&storage, tid(*seconds))));
    assert_eq!(disk.bytes("blobs/.removed"), None);
}
