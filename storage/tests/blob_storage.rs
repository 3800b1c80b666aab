//! BlobStorage: blobs for a storage that has none.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rzeo_core::storage::{
    Finishing, Patience, Scratch, Storage, StorageError, TransactionMeta, Voted,
};
use rzeo_core::{Oid, Tid, UnixTime};
use rzeo_storage::disk::memory::{Fault, MemoryDisk};
use rzeo_storage::{BlobStorage, MappingStorage};

const RECORD: &[u8] = b"\x80\x03cZODB.blob\nBlob\nq\0.\x80\x03N.";

fn open(disk: &MemoryDisk) -> BlobStorage {
    let base = Arc::new(MappingStorage::named("memory"));
    BlobStorage::open(Arc::new(disk.clone()), Path::new("blobs"), base).unwrap()
}

fn upload(storage: &BlobStorage, content: &'static str) -> Arc<dyn Scratch> {
    let upload = storage.blobs().unwrap().upload().unwrap();
    upload.write(0, &[Bytes::from_static(content.as_bytes())]).unwrap();
    upload
}

fn vote(
    storage: &BlobStorage,
    oid: u64,
    serial: u64,
    blob: &Arc<dyn Scratch>,
    patience: Patience,
) -> Result<Voted, StorageError> {
    let mut vote = storage.begin_vote(&TransactionMeta::default(), patience)?;
    vote.store_blob(Oid(oid), Tid(serial), Bytes::from_static(RECORD).into(), blob)?;
    vote.seal()
}

fn commit(storage: &BlobStorage, tid: u64, voted: Voted) -> Result<(), StorageError> {
    storage.commit(vec![Finishing { tid: Tid(tid), voted }]).map(|_| ())
}

fn store(storage: &BlobStorage, oid: u64, serial: u64, tid: u64, content: &'static str) {
    let voted = vote(storage, oid, serial, &upload(storage, content), Patience::Wait).unwrap();
    commit(storage, tid, voted).unwrap();
}

fn content(storage: &BlobStorage, oid: u64, tid: u64) -> Result<Bytes, StorageError> {
    let blob = storage.blobs().unwrap().open(Oid(oid), Tid(tid))?;
    blob.read(0, usize::MAX, Patience::Now)
}

fn blobs(disk: &MemoryDisk) -> Vec<PathBuf> {
    let is_blob = |path: &PathBuf| path.extension() == Some("blob".as_ref());
    disk.paths().into_iter().filter(is_blob).collect()
}

#[test]
fn blobs_come_and_go_with_their_records() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    store(&storage, 0, 0, 1, "root");
    store(&storage, 0, 1, 2, "root again");
    store(&storage, 1, 0, 3, "out of reach");
    assert_eq!(content(&storage, 0, 1).unwrap(), "root");
    assert_eq!(content(&storage, 1, 3).unwrap(), "out of reach");
    let missing = content(&storage, 1, 2).unwrap_err();
    assert!(matches!(missing, StorageError::NoSuchBlob { oid: Oid(1), serial: Tid(2), .. }));

    let open_before = storage.blobs().unwrap().open(Oid(1), Tid(3)).unwrap();
    storage.pack(UnixTime(1e9)).unwrap().unwrap().finish().unwrap();
    assert!(storage.clean_up_due());
    storage.clean_up().unwrap();
    assert_eq!(content(&storage, 0, 2).unwrap(), "root again");
    assert_eq!(blobs(&disk).len(), 1);
    assert_eq!(open_before.read(0, 3, Patience::Now).unwrap(), "out");
    assert!(!storage.clean_up_due());
}

#[test]
fn refused_and_forgotten_blobs_leave_nothing() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    store(&storage, 1, 0, 5, "first");
    let blob = upload(&storage, "second");
    let conflict = vote(&storage, 1, 4, &blob, Patience::Wait).unwrap_err();
    assert!(matches!(conflict, StorageError::Conflict { .. }));
    assert_eq!(vote(&storage, 1, 5, &blob, Patience::Now).unwrap_err(), StorageError::WouldBlock);
    drop(vote(&storage, 1, 5, &blob, Patience::Wait).unwrap());
    // Voted again, as after a conflict that the client resolved.
    let voted = vote(&storage, 1, 5, &blob, Patience::Wait).unwrap();
    commit(&storage, 6, voted).unwrap();
    assert_eq!(content(&storage, 1, 6).unwrap(), "second");

    let voted = vote(&storage, 1, 6, &upload(&storage, "third"), Patience::Wait).unwrap();
    disk.fail_call(disk.calls() + 2, Fault::NoSpace);
    commit(&storage, 7, voted).unwrap_err();
    drop(upload(&storage, "fourth"));
    let foreign = upload(&open(&MemoryDisk::new()), "fifth");
    let refused = vote(&storage, 1, 6, &foreign, Patience::Wait).unwrap_err();
    assert!(matches!(refused, StorageError::Unsupported(_)), "{refused}");
    storage.close().unwrap();
    assert_eq!(blobs(&disk).len(), 2);
    drop(blob);
    let in_tmp = disk.paths().into_iter().find(|path| path.starts_with("blobs/tmp"));
    assert_eq!(in_tmp, None);
}

#[test]
fn files_that_clients_put_there_themselves() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let directory = "blobs/0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x01";
    disk.put(format!("{directory}/mine.tmp"), b"shared");
    disk.put(format!("{directory}/other.tmp"), b"never committed");
    let store = storage.blobs().unwrap();
    for name in ["gone.tmp", "../mine.tmp", "", "..", "/etc/passwd", "0x01.blob", "a/b.tmp"] {
        let refused = store.shared_upload(Oid(1), name).map(|_| ()).unwrap_err();
        assert!(matches!(refused, StorageError::NoSuchUpload { .. }), "{name}: {refused}");
    }
    let blob = store.shared_upload(Oid(1), "mine.tmp").unwrap();
    commit(&storage, 3, vote(&storage, 1, 0, &blob, Patience::Wait).unwrap()).unwrap();
    assert_eq!(content(&storage, 1, 3).unwrap(), "shared");
    assert_eq!(disk.bytes(format!("{directory}/mine.tmp")), None);
    // As Python's server does when the transaction is aborted.
    drop(store.shared_upload(Oid(1), "other.tmp").unwrap());
    assert_eq!(disk.bytes(format!("{directory}/other.tmp")), None);
    // A client can remove its file.
    disk.put(format!("{directory}/third.tmp"), b"x");
    let blob = store.shared_upload(Oid(1), "third.tmp").unwrap();
    rzeo_storage::disk::Disk::remove(&disk, &Path::new(directory).join("third.tmp")).unwrap();
    let refused = vote(&storage, 1, 3, &blob, Patience::Wait).unwrap_err();
    assert!(matches!(refused, StorageError::NoSuchUpload { .. }), "{refused}");
}

#[test]
fn very_many_uploads_share_a_few_open_files() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let uploads: Vec<_> = (0..200).map(|_| upload(&storage, "begin")).collect();
    for upload in &uploads {
        upload.write(5, &[Bytes::from_static(b"-end")]).unwrap();
    }
    for upload in &uploads {
        assert_eq!(upload.read(0, 9).unwrap(), "begin-end");
    }
}

#[test]
fn its_description_is_that_of_pythons_proxy() {
    let description = open(&MemoryDisk::new()).description();
    let interfaces = [("ZODB.interfaces", "IBlobStorage"), ("zope.interface", "Interface")];
    assert_eq!(
        (description.name.as_str(), &description.interfaces[..]),
        ("memory", &interfaces[..])
    );
}
