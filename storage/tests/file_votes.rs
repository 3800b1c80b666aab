//! The checks of a FileStorage's votes, and the guarantees of a successful vote.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::sync::Arc;

use bytes::Bytes;
use rzeo_core::storage::{
    Finishing, Load, Patience, Storage as _, StorageError, TransactionMeta, Vote, Voted,
};
use rzeo_core::{Oid, Tid};
use rzeo_storage::FileStorage;
use rzeo_storage::disk::memory::{Fault, MemoryDisk};
use rzeo_storage::file::FileOptions;

const A: Oid = Oid(1);
const NEW: Tid = Tid::ZERO;

fn open(disk: &MemoryDisk) -> FileStorage {
    open_with(disk, FileOptions::default())
}

fn open_with(disk: &MemoryDisk, options: FileOptions) -> FileStorage {
    FileStorage::open(Arc::new(disk.clone()), "Data.fs", options).unwrap()
}

fn begin(storage: &FileStorage, patience: Patience) -> Box<dyn Vote + '_> {
    storage.begin_vote(&TransactionMeta::default(), patience).unwrap()
}

fn data(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn finish(storage: &FileStorage, tid: u64, voted: Voted) {
    storage.commit(vec![Finishing { tid: Tid(tid), voted }]).unwrap();
}

fn store(storage: &FileStorage, tid: u64, oid: Oid, serial: Tid, text: &'static str) {
    let mut vote = begin(storage, Patience::Wait);
    vote.store(oid, serial, data(text).into()).unwrap();
    let voted = vote.seal().unwrap();
    finish(storage, tid, voted);
}

#[test]
fn each_text_of_a_transaction_has_its_limit() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let most = Bytes::from(vec![b'x'; 65_535]);
    let meta = TransactionMeta {
        user: most.clone(),
        description: most.clone(),
        extension: most.clone(),
        ..TransactionMeta::default()
    };
    let voted = storage.begin_vote(&meta, Patience::Wait).unwrap().seal().unwrap();
    finish(&storage, 1, voted);
    assert_eq!(storage.info().size, 4 + 23 + 3 * 65_535 + 8);

    let long = Bytes::from(vec![b'x'; 65_536]);
    let refused = |meta: TransactionMeta| match storage.begin_vote(&meta, Patience::Now) {
        Err(StorageError::MetadataTooLong { field, len: 65_536 }) => field,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was accepted"),
    };
    let meta = TransactionMeta::default();
    assert_eq!(
        refused(TransactionMeta { user: long.clone(), ..meta.clone() }),
        "user name too long"
    );
    assert_eq!(
        refused(TransactionMeta { description: long.clone(), ..meta.clone() }),
        "description too long"
    );
    assert_eq!(refused(TransactionMeta { extension: long, ..meta }), "too much extension data");
}

#[test]
fn a_status_that_no_opening_would_accept_is_not_written() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    for status in [b'c', b'u', 0xff] {
        let meta = TransactionMeta { status, ..TransactionMeta::default() };
        let refused = storage.begin_vote(&meta, Patience::Now).map(|_| ()).unwrap_err();
        assert!(matches!(refused, StorageError::Unsupported(_)), "{refused}");
    }
}

#[test]
fn a_record_is_never_empty() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let mut vote = begin(&storage, Patience::Wait);
    assert_eq!(vote.store(A, NEW, Bytes::new().into()), Err(StorageError::EmptyRecord(A)));
    let mut vote = begin(&storage, Patience::Wait);
    let restored = vote.restore(A, Tid(1), Some(Bytes::new().into()), None);
    assert_eq!(restored, Err(StorageError::EmptyRecord(A)));
}

#[test]
fn serials_count_for_objects_that_exist_or_did() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    store(&storage, 10, A, Tid(999), "any serial for a new object");
    let mut vote = begin(&storage, Patience::Now);
    let conflict = |committed, read| {
        Err(StorageError::Conflict { oid: A, committed: Tid(committed), read: Tid(read) })
    };
    assert_eq!(vote.store(A, Tid(9), data("stale").into()), conflict(10, 9));
    assert_eq!(vote.delete(A, Tid(9)), conflict(10, 9));
    assert_eq!(vote.delete(Oid(2), NEW), Err(StorageError::NoSuchObject(Oid(2))));
    let read_conflict =
        Err(StorageError::ReadConflict { oid: A, committed: Tid(10), read: Tid(9) });
    assert_eq!(vote.check_current(A, Tid(9)), read_conflict);
    assert_eq!(vote.check_current(A, Tid(10)), Ok(()));
    // A conflict leaves the vote usable.
    vote.delete(A, Tid(10)).unwrap();
    let voted = vote.seal().unwrap();
    finish(&storage, 20, voted);

    let mut vote = begin(&storage, Patience::Now);
    assert_eq!(vote.check_current(A, Tid(20)), Err(StorageError::NoSuchObject(A)));
    assert_eq!(vote.store(A, NEW, data("again").into()), conflict(20, 0));
    drop(vote);
    store(&storage, 30, A, Tid(20), "made again");
}

#[test]
fn the_last_store_of_an_object_wins_and_replaces_what_was_committed() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    store(&storage, 10, A, NEW, "old");
    let mut vote = begin(&storage, Patience::Now);
    vote.store(A, Tid(10), data("first").into()).unwrap();
    vote.store(A, Tid(10), data("second").into()).unwrap();
    let voted = vote.seal().unwrap();
    finish(&storage, 20, voted);
    let load = |before| match storage.load_before(A, Tid(before), Patience::Now).unwrap() {
        Load::Found(revision) => (revision.data, revision.end),
        load => panic!("{load:?}"),
    };
    assert_eq!(load(21), (data("second"), None));
    assert_eq!(load(20), (data("old"), Some(Tid(20))));
}

#[test]
fn a_stored_oid_is_not_handed_out_though_the_vote_is_dropped() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let mut vote = begin(&storage, Patience::Now);
    vote.store(Oid(7), NEW, data("x").into()).unwrap();
    drop(vote);
    assert_eq!(storage.new_oids(2, Patience::Wait).unwrap(), [Oid(8), Oid(9)]);
    assert_eq!(disk.bytes("Data.fs").unwrap(), b"FS30");
}

#[test]
fn a_quota_is_passed_by_one_record_at_most() {
    let disk = MemoryDisk::new();
    let options = FileOptions { quota: Some(4 + 23 + 42 + 5), ..FileOptions::default() };
    let storage = open_with(&disk, options);
    let mut vote = begin(&storage, Patience::Wait);
    vote.store(A, NEW, data("01234").into()).unwrap();
    vote.store(Oid(2), NEW, data("starts right at the quota").into()).unwrap();
    let quota = 4 + 23 + 42 + 5;
    let refused = vote.store(Oid(3), NEW, data("x").into());
    assert_eq!(refused, Err(StorageError::Quota { quota }));
}

#[test]
fn nothing_is_read_nor_room_made_by_a_thread_that_may_not_wait() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let refused = begin(&storage, Patience::Now).seal().unwrap_err();
    assert_eq!(refused, StorageError::WouldBlock, "no space is reserved yet");
    store(&storage, 10, A, NEW, "x");
    assert!(begin(&storage, Patience::Now).seal().is_ok());

    let mut vote = begin(&storage, Patience::Now);
    assert_eq!(vote.undo(Tid(10)), Err(StorageError::WouldBlock));
    assert_eq!(vote.restore(A, Tid(1), None, None), Err(StorageError::WouldBlock));
    disk.set_uncached(true);
    assert_eq!(vote.store(A, Tid(10), data("y").into()), Err(StorageError::WouldBlock));
    assert_eq!(vote.delete(A, Tid(10)), Err(StorageError::WouldBlock));
    assert_eq!(vote.check_current(A, Tid(10)), Err(StorageError::WouldBlock));
    assert_eq!(vote.store(Oid(2), NEW, data("no read needed for this").into()), Ok(()));
}

#[test]
fn a_full_disk_shows_when_voting() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let big = Bytes::from(vec![1; 8 << 20]);
    let mut vote = begin(&storage, Patience::Wait);
    vote.store(A, NEW, big.into()).unwrap();
    // The first allocation asks for more than needed and fails; the second gets only what is
    // needed.
    disk.fail_call(disk.calls(), Fault::NoSpace);
    let voted = vote.seal().unwrap();
    let mut vote = begin(&storage, Patience::Wait);
    vote.store(Oid(2), NEW, data("x").into()).unwrap();
    assert_eq!(begin(&storage, Patience::Now).seal().unwrap_err(), StorageError::WouldBlock);
    drop(voted);
    assert!(begin(&storage, Patience::Now).seal().is_ok(), "an aborted vote releases its space");
    drop(vote);
}

#[test]
fn voted_transactions_share_the_room_without_counting_twice() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    store(&storage, 10, A, NEW, "x");
    let calls = disk.calls();
    for _ in 0..100 {
        let mut vote = begin(&storage, Patience::Now);
        vote.store(A, Tid(10), Bytes::from(vec![1; 1 << 20]).into()).unwrap();
        drop(vote.seal().unwrap());
    }
    assert_eq!(disk.calls(), calls, "all of them used the same space");
}

#[test]
fn reserved_space_is_released_when_the_storage_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Data.fs");
    let storage = FileStorage::open_file(&path, FileOptions::default()).unwrap();
    store(&storage, 10, A, NEW, "x");
    let size = storage.info().size;
    assert_eq!(
        std::fs::metadata(&path).unwrap().len(),
        size,
        "reserved space does not change the length"
    );
    storage.close().unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), size);
    assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 < 1 << 20);
}

#[test]
fn a_copy_needs_the_transactions_that_it_points_to() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let mut vote = begin(&storage, Patience::Wait);
    let refused = vote.restore(A, Tid(5), Some(data("x").into()), Some(Tid(4))).unwrap_err();
    let reason = "Invalid transaction id".to_owned();
    assert_eq!(refused, StorageError::Undo { reason, oid: None });
}

#[test]
fn a_restored_record_shares_data_only_if_they_are_the_same() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    store(&storage, 10, A, NEW, "x");
    let plain = storage.info().size;
    let mut vote = begin(&storage, Patience::Wait);
    vote.restore(A, Tid(20), Some(data("x").into()), Some(Tid(10))).unwrap();
    let voted = vote.seal().unwrap();
    finish(&storage, 20, voted);
    assert_eq!(storage.info().size, plain + 23 + 42 + 8 + 8, "a pointer");
    let mut vote = begin(&storage, Patience::Wait);
    vote.restore(A, Tid(30), Some(data("other").into()), Some(Tid(10))).unwrap();
    vote.restore(Oid(2), Tid(30), None, Some(Tid(10))).unwrap();
    let voted = vote.seal().unwrap();
    finish(&storage, 30, voted);
    assert_eq!(storage.load_serial(A, Tid(30), Patience::Now), Ok(data("other")));
    let gone = Load::Deleted { serial: Tid(30), end: None };
    assert_eq!(storage.load_before(Oid(2), Tid::MAX, Patience::Now), Ok(gone));
}

#[test]
fn an_undo_is_refused_with_the_reason() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    store(&storage, 10, A, NEW, "one");
    store(&storage, 20, A, Tid(10), "two");
    let undo = |tid| begin(&storage, Patience::Wait).undo(Tid(tid));
    let reason = |reason: &str| Err(StorageError::UndoFailures(vec![(A, reason.to_owned())]));
    assert_eq!(
        undo(10),
        reason("Can't undo an add transaction followed by conflicting transactions.")
    );
    store(&storage, 30, A, Tid(20), "three");
    assert_eq!(undo(20), reason("Some data were modified by a later transaction"));
    let unknown = "Invalid transaction id".to_owned();
    assert_eq!(undo(25), Err(StorageError::Undo { reason: unknown, oid: None }));
}

#[test]
fn several_transactions_are_undone_together_newest_first() {
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    store(&storage, 10, A, NEW, "one");
    store(&storage, 20, A, Tid(10), "two");
    store(&storage, 30, A, Tid(20), "three");
    let mut vote = begin(&storage, Patience::Wait);
    assert_eq!(vote.undo(Tid(30)), Ok(vec![A]));
    assert_eq!(vote.undo(Tid(20)), Ok(vec![A]));
    let voted = vote.seal().unwrap();
    finish(&storage, 40, voted);
    assert_eq!(storage.load_serial(A, Tid(40), Patience::Now), Ok(data("one")));
}

/// Loads continue during a commit, and see all of a transaction or nothing.
#[test]
fn readers_see_whole_commits_only() {
    const OBJECTS: u64 = 8;
    const COMMITS: u64 = 300;
    let disk = MemoryDisk::new();
    let storage = open(&disk);
    let number = |tid: u64| Bytes::copy_from_slice(&tid.to_be_bytes());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for tid in 1..=COMMITS {
                let mut vote = begin(&storage, Patience::Wait);
                for oid in 1..=OBJECTS {
                    vote.store(Oid(oid), Tid(tid - 1), number(tid).into()).unwrap();
                }
                let voted = vote.seal().unwrap();
                finish(&storage, tid, voted);
            }
        });
        scope.spawn(|| {
            loop {
                let known = storage.last_tid();
                for oid in (1..=OBJECTS).filter(|_| known > Tid::ZERO) {
                    // The writer may be a hundred commits ahead by now, too many for
                    // `Patience::Now`.
                    let load = storage.load_before(Oid(oid), known.next(), Patience::Wait);
                    let Ok(Load::Found(revision)) = load else { panic!("{load:?}") };
                    assert_eq!((revision.serial, revision.data), (known, number(known.0)));
                }
                if known == Tid(COMMITS) {
                    break;
                }
            }
        });
    });
}
