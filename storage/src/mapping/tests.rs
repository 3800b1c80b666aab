#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use super::*;

fn commit(storage: &MappingStorage, tid: Tid, records: &[(u64, Tid, &'static str)]) -> Info {
    let meta = TransactionMeta { user: Bytes::from_static(b"user"), ..Default::default() };
    let mut vote = storage.begin_vote(&meta, Patience::Now).unwrap();
    for (oid, serial, data) in records {
        vote.store(Oid(*oid), *serial, Bytes::from_static(data.as_bytes()).into()).unwrap();
    }
    let voted = vote.seal().unwrap();
    storage.commit(vec![Finishing { tid, voted }]).unwrap()[0].info
}

fn transactions(storage: &MappingStorage, start: u64, stop: u64) -> Vec<(Tid, u8, Vec<Oid>)> {
    let mut iterator = storage.iterate(Some(Tid(start)), Some(Tid(stop))).unwrap();
    let mut seen = Vec::new();
    while let Some(header) = iterator.next_transaction().unwrap() {
        let mut records = iterator.records().unwrap();
        let mut oids = Vec::new();
        while let Some(record) = records.next_record().unwrap() {
            oids.push(record.oid);
        }
        seen.push((header.tid, header.status, oids));
    }
    seen
}

#[test]
fn sizes_are_pythons() {
    let storage = MappingStorage::new();
    let data = "0123456789".repeat(5).leak();
    let one = commit(&storage, Tid(10), &[(1, Tid::ZERO, data)]);
    assert_eq!(one, Info { length: 1, size: 200 });
    let two = commit(&storage, Tid(20), &[(1, Tid(10), data)]);
    assert_eq!(two, Info { length: 1, size: 350 });
}

#[test]
fn revisions_are_found_by_time() {
    let storage = MappingStorage::new();
    commit(&storage, Tid(10), &[(1, Tid::ZERO, "old")]);
    commit(&storage, Tid(20), &[(1, Tid(10), "new")]);
    let load = |before| storage.load_before(Oid(1), before, Patience::Now).unwrap();
    let found = |data: &'static str, serial, end| {
        Load::Found(Revision { data: Bytes::from_static(data.as_bytes()), serial, end })
    };
    assert_eq!(load(Tid::MAX), found("new", Tid(20), None));
    assert_eq!(load(Tid(20)), found("old", Tid(10), Some(Tid(20))));
    assert_eq!(load(Tid(10)), Load::Younger { first: Tid(10) });
    assert_eq!(load(Tid::ZERO), Load::Younger { first: Tid(10) });
    let history = storage.history(Oid(1), 5).unwrap();
    assert_eq!(history.iter().map(|entry| entry.tid.0).collect::<Vec<_>>(), [20, 10]);
    assert_eq!(
        storage.load_before(Oid(2), Tid::MAX, Patience::Now),
        Err(StorageError::NoSuchObject(Oid(2)))
    );
}

#[test]
fn oids_are_not_handed_out_twice_nor_after_a_store() {
    let storage = MappingStorage::new();
    assert_eq!(storage.new_oids(2, Patience::Wait).unwrap(), [Oid(1), Oid(2)]);
    commit(&storage, Tid(10), &[(7, Tid::ZERO, "x")]);
    assert_eq!(storage.new_oids(1, Patience::Wait).unwrap(), [Oid(8)]);
}

#[test]
fn iteration_has_both_bounds_inside_and_sees_nothing_newer() {
    let storage = MappingStorage::new();
    for (tid, oid) in [(10, 3), (20, 1), (30, 2)] {
        commit(&storage, Tid(tid), &[(oid, Tid::ZERO, "x")]);
    }
    let iterator = transactions(&storage, 10, 20);
    assert_eq!(iterator, [(Tid(10), b' ', vec![Oid(3)]), (Tid(20), b' ', vec![Oid(1)])]);
    assert_eq!(transactions(&storage, 21, 20), []);
    let mut iterator = storage.iterate(None, None).unwrap();
    commit(&storage, Tid(40), &[(4, Tid::ZERO, "x")]);
    let mut count = 0;
    while iterator.next_transaction().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 3);
}

/// A record that refers to these objects.
fn record(oids: &[u64]) -> Bytes {
    let mut record = b"\x80\x03N.\x80\x03(".to_vec();
    for oid in oids {
        record.extend_from_slice(b"C\x08");
        record.extend_from_slice(&oid.to_be_bytes());
        record.push(b'Q');
    }
    record.extend_from_slice(b"t.");
    record.into()
}

/// Root 0 refers to 1, which referred to 2 and then to 3; 4 and 5 refer to each other.
fn graph() -> MappingStorage {
    let storage = MappingStorage::new();
    let first = Tid::from_unix(UnixTime(1000.0));
    let second = Tid::from_unix(UnixTime(2000.0));
    let write = |tid, records: &[(u64, Tid, &[u64])]| {
        let mut vote = storage.begin_vote(&TransactionMeta::default(), Patience::Now).unwrap();
        for (oid, serial, references) in records {
            vote.store(Oid(*oid), *serial, record(references).into()).unwrap();
        }
        let voted = vote.seal().unwrap();
        storage.commit(vec![Finishing { tid, voted }]).unwrap();
    };
    let new = Tid::ZERO;
    write(first, &[(0, new, &[1]), (1, new, &[2]), (2, new, &[]), (4, new, &[5])]);
    write(second, &[(1, first, &[3]), (3, new, &[]), (5, new, &[4])]);
    storage
}

fn pack(storage: &MappingStorage, time: f64) -> Result<(), StorageError> {
    storage.pack(UnixTime(time))?.map_or(Ok(()), |pack| pack.finish())
}

fn oids(storage: &MappingStorage) -> Vec<u64> {
    storage.state.read().objects.keys().map(|oid| oid.0).collect()
}

#[test]
fn a_pack_keeps_what_was_current_and_what_can_be_reached() {
    let storage = graph();
    pack(&storage, 1500.0).unwrap();
    assert_eq!(oids(&storage), [0, 1, 2, 3]);
    assert_eq!(storage.history(Oid(1), 9).unwrap().len(), 2);
    pack(&storage, 2500.0).unwrap();
    assert_eq!(oids(&storage), [0, 1, 3]);
    assert_eq!(storage.history(Oid(1), 9).unwrap().len(), 1);
    let left: Vec<_> = transactions(&storage, 0, u64::MAX)
        .into_iter()
        .map(|(_, status, oids)| (status, oids))
        .collect();
    assert_eq!(left, [(b'p', vec![Oid(0)]), (b'p', vec![Oid(1), Oid(3)])]);
    let size =
        3 * OBJECT_BYTES + 3 * REVISION_BYTES + [1, 1, 0].map(record_len).iter().sum::<u64>();
    assert_eq!(storage.info(), Info { length: 3, size });
}

fn record_len(references: usize) -> u64 {
    record(&vec![0; references]).len() as u64
}

#[test]
fn a_pack_to_an_earlier_time_is_refused_and_a_second_one_does_nothing() {
    let storage = graph();
    pack(&storage, 1500.0).unwrap();
    assert!(storage.pack(UnixTime(1500.0)).unwrap().is_none());
    let refused = pack(&storage, 1400.0).unwrap_err();
    assert_eq!(refused, StorageError::Pack("Already packed to a later time".into()));
}

#[test]
fn a_pack_that_fails_changes_nothing() {
    let storage = MappingStorage::new();
    commit(&storage, Tid(10), &[(0, Tid::ZERO, "not a pickle")]);
    commit(&storage, Tid(20), &[(0, Tid(10), "nor this")]);
    let before = storage.info();
    assert!(matches!(pack(&storage, 2500.0), Err(StorageError::Pack(_))));
    assert_eq!(storage.info(), before);
    let rootless = MappingStorage::new();
    commit(&rootless, Tid(10), &[(1, Tid::ZERO, "x")]);
    let refused = pack(&rootless, 2500.0).unwrap_err();
    assert_eq!(refused, StorageError::Pack("the root object is missing".into()));
}

#[test]
fn what_was_deleted_is_gone_after_a_pack() {
    let storage = graph();
    let mut vote = storage.begin_vote(&TransactionMeta::default(), Patience::Now).unwrap();
    vote.delete(Oid(3), storage.last_tid()).unwrap();
    let (tid, voted) = (Tid::from_unix(UnixTime(3000.0)), vote.seal().unwrap());
    storage.commit(vec![Finishing { tid, voted }]).unwrap();
    let gone = Load::Deleted { serial: tid, end: None };
    assert_eq!(storage.load_before(Oid(3), Tid::MAX, Patience::Now), Ok(gone));
    pack(&storage, 3500.0).unwrap();
    assert_eq!(oids(&storage), [0, 1]);
}
