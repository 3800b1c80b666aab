#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use super::*;
use crate::FileStorage;
use crate::disk::memory::MemoryDisk;
use crate::file::FileOptions;

/// Commits whatever `act` does with a vote.
fn commit<T>(storage: &dyn Storage, tid: u64, act: impl FnOnce(&mut dyn Vote) -> T) -> T {
    let mut vote = storage.begin_vote(&TransactionMeta::default(), Patience::Wait).unwrap();
    let result = act(&mut *vote);
    let (tid, voted) = (Tid(tid), vote.seal().unwrap());
    storage.commit(vec![Finishing { tid, voted }]).unwrap();
    result
}

fn store(storage: &dyn Storage, tid: u64, oid: u64, read: u64, data: &'static str) {
    commit(storage, tid, |vote| vote.store(Oid(oid), Tid(read), bytes(data).into())).unwrap();
}

fn bytes(data: &'static str) -> Bytes {
    Bytes::from_static(data.as_bytes())
}

fn file() -> Arc<dyn Storage> {
    let disk = Arc::new(MemoryDisk::new());
    Arc::new(FileStorage::open(disk, "changes.fs", FileOptions::default()).unwrap())
}

/// A base with object 1 at tids 10 and 20, under changes in memory and in a file.
fn demos() -> [DemoStorage; 2] {
    [Arc::new(MappingStorage::new()) as Arc<dyn Storage>, file()].map(|changes| {
        let base = MappingStorage::named("below");
        store(&base, 10, 1, 0, "old");
        store(&base, 20, 1, 10, "base");
        DemoStorage::new(None, Arc::new(base), changes, 7)
    })
}

fn load(storage: &dyn Storage, oid: u64, before: Tid) -> Result<Load, StorageError> {
    storage.load_before(Oid(oid), before, Patience::Wait)
}

fn found(data: &'static str, serial: u64, end: Option<u64>) -> Result<Load, StorageError> {
    let (data, serial, end) = (bytes(data), Tid(serial), end.map(Tid));
    Ok(Load::Found(Revision { data, serial, end }))
}

#[test]
fn both_sides_look_like_one_database() {
    for demo in demos() {
        assert_eq!(load(&demo, 1, Tid::MAX), found("base", 20, None));
        assert_eq!(demo.last_tid(), Tid(20));
        store(&demo, 30, 1, 20, "new");
        store(&demo, 40, 2, 0, "mine");
        assert_eq!(demo.last_tid(), Tid(40));
        assert_eq!(load(&demo, 1, Tid::MAX), found("new", 30, None));
        assert_eq!(load(&demo, 1, Tid(30)), found("base", 20, Some(30)));
        assert_eq!(load(&demo, 1, Tid(20)), found("old", 10, Some(20)));
        assert_eq!(load(&demo, 1, Tid(10)), Ok(Load::Younger { first: Tid(10) }));
        assert_eq!(load(&demo, 2, Tid(40)), Ok(Load::Younger { first: Tid(40) }));
        assert_eq!(load(&demo, 3, Tid::MAX), Err(StorageError::NoSuchObject(Oid(3))));

        let serial = |oid, serial| demo.load_serial(Oid(oid), Tid(serial), Patience::Wait);
        assert_eq!(serial(1, 30), Ok(bytes("new")));
        assert_eq!(serial(1, 10), Ok(bytes("old")));
        assert!(is_missing(&serial(1, 25).unwrap_err()));
        assert_eq!(demo.current_serial(Oid(1), Patience::Wait), Ok(Tid(30)));
        assert!(demo.current_serial(Oid(3), Patience::Wait).is_err());

        let history = |oid, size| {
            let entries = demo.history(Oid(oid), size)?;
            Ok::<_, StorageError>(entries.iter().map(|entry| entry.tid.0).collect::<Vec<_>>())
        };
        assert_eq!(history(1, 9).unwrap(), [30, 20, 10]);
        assert_eq!(history(1, 2).unwrap(), [30, 20]);
        assert_eq!(history(2, 9).unwrap(), [40]);
        assert!(history(3, 9).is_err());

        let mut iterator = demo.iterate(Some(Tid(20)), Some(Tid(30))).unwrap();
        let mut tids = Vec::new();
        while let Some(header) = iterator.next_transaction().unwrap() {
            let record = iterator.records().unwrap().next_record().unwrap().unwrap();
            assert_eq!(record.tid, header.tid);
            tids.push(header.tid.0);
        }
        assert_eq!(tids, [20, 30]);
    }
}

#[test]
fn the_base_stays_as_it_is() {
    for demo in demos() {
        let before = demo.base.info();
        store(&demo, 30, 1, 20, "new");
        assert_eq!(demo.base.info(), before);
        assert_eq!(load(&*demo.base, 1, Tid::MAX), found("base", 20, None));
        assert_eq!(demo.info(), demo.changes.info());
        assert_eq!(demo.info().length, 1);
    }
}

#[test]
fn conflicts_with_the_base_are_found() {
    for demo in demos() {
        let mut vote = demo.begin_vote(&TransactionMeta::default(), Patience::Wait).unwrap();
        let (oid, committed, read) = (Oid(1), Tid(20), Tid(10));
        assert_eq!(
            vote.store(oid, read, bytes("x").into()),
            Err(StorageError::Conflict { oid, committed, read })
        );
        // The resolved record, as a server stores it.
        vote.store(oid, committed, bytes("merged").into()).unwrap();
        assert_eq!(vote.check_current(oid, committed), Ok(()));
        assert_eq!(
            vote.check_current(oid, read),
            Err(StorageError::ReadConflict { oid, committed, read })
        );
        assert_eq!(vote.delete(oid, committed), Err(StorageError::Unsupported("deleteObject")));
        let restored = vote.restore(oid, committed, None, None);
        assert_eq!(restored, Err(StorageError::Unsupported("restore")));
    }
}

#[test]
fn undoing_the_first_change_uncovers_the_base() {
    let [_, demo] = demos();
    store(&demo, 30, 1, 20, "new");
    assert!(demo.description().supports_undo);
    let undone = commit(&demo, 40, |vote| vote.undo(Tid(30)));
    assert_eq!(undone, Ok(vec![Oid(1)]));
    assert_eq!(load(&demo, 1, Tid::MAX), found("base", 20, None));
    assert_eq!(load(&demo, 1, Tid(40)), found("new", 30, Some(40)));
    assert_eq!(demo.current_serial(Oid(1), Patience::Wait), Ok(Tid(20)));
    store(&demo, 50, 1, 20, "again");
    assert_eq!(load(&demo, 1, Tid::MAX), found("again", 50, None));
    assert_eq!(load(&demo, 1, Tid(50)), found("base", 20, Some(50)));
    // What only the changes have is gone.
    store(&demo, 60, 2, 0, "mine");
    commit(&demo, 70, |vote| vote.undo(Tid(60))).unwrap();
    assert_eq!(load(&demo, 2, Tid::MAX), Ok(Load::Deleted { serial: Tid(70), end: None }));
}

#[test]
fn new_oids_are_random_and_free_on_both_sides() {
    let [demo, _] = demos();
    let first = demo.new_oids(3, Patience::Wait).unwrap();
    assert_eq!(first, [first[0], Oid(first[0].0 + 1), Oid(first[0].0 + 2)]);
    assert!((1..=RANDOM_OID_MAX).contains(&first[0].0));
    assert_eq!(demo.new_oids(1, Patience::Wait).unwrap(), [Oid(first[0].0 + 3)]);
    // The next ones are taken, one by each side: another run begins.
    store(&*demo.base, 30, first[0].0 + 5, 0, "x");
    let other = demo.new_oids(2, Patience::Wait).unwrap();
    assert_ne!(other[0], Oid(first[0].0 + 4));
    store(&demo, 40, other[1].0 + 1, 0, "x");
    assert_ne!(demo.new_oids(1, Patience::Wait).unwrap(), [Oid(other[1].0 + 1)]);
    // The same seed begins with the same oids, another one with others.
    let again = |seed| Oids::new(seed).draw(1, |_| true);
    assert_eq!(again(7), [first[0]]);
    assert_ne!(again(8), [first[0]]);
}

#[test]
fn a_run_does_not_enter_one_that_was_issued() {
    let mut oids = Oids::new(7);
    let first = oids.draw(4, |_| true);
    oids.next = first[0].0 - 1;
    let second = oids.draw(2, |_| true);
    assert!(second.iter().all(|oid| !first.contains(oid)), "{first:?} {second:?}");
}

#[test]
fn it_is_described_as_python_does() {
    let [mapping, file] = demos().map(|demo| demo.description());
    assert_eq!(mapping.name, "DemoStorage('below', 'Mapping Storage')");
    let names = |description: &Description| {
        description.interfaces.iter().map(|(_, name)| *name).collect::<Vec<_>>()
    };
    assert_eq!(names(&mapping), ["IStorage", "IStorageIteration", "Interface"]);
    assert_eq!(names(&file), ["IStorageUndoable", "IStorage", "IStorageIteration", "Interface"]);
    assert!(!mapping.supports_undo && !mapping.read_only && !file.supports_record_iternext);
}

#[test]
fn a_pack_does_not_lose_what_the_base_holds() {
    let base = Arc::new(MappingStorage::new());
    store(&*base, 10, 0, 0, "the root");
    let changes = Arc::new(temporary_changes(&*base));
    let demo = DemoStorage::new(None, base, changes, 7);
    store(&demo, 20, 5, 0, "held by the base");
    store(&demo, 30, 5, 20, "held by the base, too");
    demo.pack(UnixTime(1e9)).unwrap().unwrap().finish().unwrap();
    assert_eq!(load(&demo, 5, Tid::MAX), found("held by the base, too", 30, None));
    assert_eq!(demo.history(Oid(5), 9).unwrap().len(), 1);
    // Over nothing, garbage is what the root does not reach, and there must be a root.
    let empty = MappingStorage::new();
    let demo = DemoStorage::new(
        None,
        Arc::new(empty),
        Arc::new(temporary_changes(&MappingStorage::new())),
        7,
    );
    store(&demo, 20, 5, 0, "x");
    assert!(demo.pack(UnixTime(1e9)).unwrap().unwrap().finish().is_err());
}
