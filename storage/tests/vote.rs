//! The vote driver, played against a storage in memory.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use bytes::Bytes;
use rzeo_core::server::{ClientConflict, Operation, VoteError, VoteOutcome, VoteRequest, vote};
use rzeo_core::storage::{
    Finishing, Load, Patience, Storage as _, StorageError, TransactionMeta, Voted,
};
use rzeo_core::{Oid, Tid};
use rzeo_storage::MappingStorage;

const A: Oid = Oid(1);
const B: Oid = Oid(2);
const FIRST: Tid = Tid(100);
const SECOND: Tid = Tid(200);

fn store(oid: Oid, serial: Tid, data: &'static str) -> Operation {
    Operation::Store { oid, serial, data: Bytes::from_static(data.as_bytes()).into() }
}

fn request(operations: &[Operation], client_resolution: bool) -> VoteRequest {
    let meta = TransactionMeta { status: b' ', ..TransactionMeta::default() };
    VoteRequest { meta, operations: operations.into(), client_resolution }
}

fn commit(storage: &MappingStorage, tid: Tid, operations: &[Operation]) {
    let outcome = vote(storage, &request(operations, false), Patience::Wait).unwrap();
    let VoteOutcome::Ready { voted, .. } = outcome else { panic!("{outcome:?}") };
    finish(storage, tid, voted);
}

fn finish(storage: &MappingStorage, tid: Tid, voted: Voted) {
    storage.commit(vec![Finishing { tid, voted }]).unwrap();
}

/// A storage in which a client has read `A` at `FIRST`, and `A` is at `SECOND` now.
fn contested() -> MappingStorage {
    let storage = MappingStorage::new();
    commit(&storage, FIRST, &[store(A, Tid::ZERO, "a1"), store(B, Tid::ZERO, "b1")]);
    commit(&storage, SECOND, &[store(A, FIRST, "a2")]);
    storage
}

#[test]
fn changed_objects_are_listed_store_by_store() {
    let storage = contested();
    let operations = [store(B, FIRST, "b2"), store(A, SECOND, "a3"), store(B, FIRST, "b3")];
    let outcome = vote(&storage, &request(&operations, false), Patience::Now).unwrap();
    let VoteOutcome::Ready { voted, changed, resolved, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((changed, resolved), (vec![B, A, B], vec![]));
    finish(&storage, Tid(300), voted);
    assert_eq!(storage.load_serial(B, Tid(300), Patience::Now).unwrap(), "b3");
}

#[test]
fn a_dropped_vote_leaves_nothing() {
    let storage = contested();
    let before = storage.info();
    let operations = [store(A, SECOND, "a3"), store(Oid(9), Tid::ZERO, "new")];
    drop(vote(&storage, &request(&operations, false), Patience::Now).unwrap());
    assert_eq!(storage.info(), before);
    assert_eq!(storage.current_serial(A, Patience::Now), Ok(SECOND));
}

#[test]
fn a_conflict_to_resolve_here_needs_a_thread_that_may_wait() {
    let storage = contested();
    let stale = request(&[store(A, FIRST, "a3")], false);
    let error = vote(&storage, &stale, Patience::Now).unwrap_err();
    assert_eq!(error, VoteError::Storage(StorageError::WouldBlock));
}

#[test]
fn a_conflict_that_cannot_be_resolved_names_both_revisions_and_the_record() {
    let storage = contested();
    let stale = request(&[store(B, FIRST, "b2"), store(A, FIRST, "a3")], false);
    let error = vote(&storage, &stale, Patience::Wait).unwrap_err();
    let data = Some(Bytes::from_static(b"a3"));
    assert_eq!(error, VoteError::Conflict { oid: A, committed: SECOND, read: FIRST, data });
}

#[test]
fn a_length_that_two_counted_up_is_resolved_here() {
    let length = |n: u8| {
        let mut record = b"\x80\x03cBTrees.Length\nLength\nq\x00.\x80\x03K".to_vec();
        record.extend_from_slice(&[n, b'.']);
        Bytes::from(record)
    };
    let store = |serial, n| Operation::Store { oid: A, serial, data: length(n).into() };
    let storage = MappingStorage::new();
    commit(&storage, FIRST, &[store(Tid::ZERO, 0)]);
    commit(&storage, SECOND, &[store(FIRST, 5)]);
    let outcome = vote(&storage, &request(&[store(FIRST, 7)], false), Patience::Wait).unwrap();
    let VoteOutcome::Ready { voted, changed, resolved, resolved_here } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((changed, resolved, resolved_here), (vec![A], vec![A], 1));
    finish(&storage, Tid(300), voted);
    assert_eq!(storage.load_serial(A, Tid(300), Patience::Now).unwrap(), length(12));
}

#[test]
fn the_client_gets_all_its_conflicts_at_once_in_the_order_of_its_stores() {
    let storage = contested();
    commit(&storage, Tid(300), &[store(B, FIRST, "b2")]);
    let operations = [store(B, FIRST, "b3"), store(A, FIRST, "a3"), store(B, FIRST, "b4")];
    let outcome = vote(&storage, &request(&operations, true), Patience::Now).unwrap();
    let VoteOutcome::Conflicts(conflicts) = outcome else { panic!("{outcome:?}") };
    let conflict = |oid, committed, data: &'static str| ClientConflict {
        oid,
        committed,
        read: FIRST,
        data: Bytes::from_static(data.as_bytes()),
    };
    assert_eq!(conflicts, [conflict(B, Tid(300), "b4"), conflict(A, SECOND, "a3")]);
}

#[test]
fn a_later_store_replaces_a_conflicting_one() {
    let storage = contested();
    let operations = [store(B, FIRST, "b2"), store(A, FIRST, "a3"), store(A, SECOND, "a2+a3")];
    let outcome = vote(&storage, &request(&operations, true), Patience::Now).unwrap();
    let VoteOutcome::Ready { voted, changed, resolved, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((changed, resolved), (vec![B, A], vec![]));
    finish(&storage, Tid(300), voted);
    assert_eq!(storage.load_serial(A, Tid(300), Patience::Now).unwrap(), "a2+a3");
}

#[test]
fn conflicts_of_deletions_and_checks_are_not_resolved() {
    let storage = contested();
    let delete = request(&[Operation::Delete { oid: A, serial: FIRST }], true);
    let error = vote(&storage, &delete, Patience::Now).unwrap_err();
    assert_eq!(error, VoteError::Conflict { oid: A, committed: SECOND, read: FIRST, data: None });

    let check = request(&[Operation::CheckCurrent { oid: A, serial: FIRST }], true);
    let error = vote(&storage, &check, Patience::Now).unwrap_err();
    let expected = StorageError::ReadConflict { oid: A, committed: SECOND, read: FIRST };
    assert_eq!(error, VoteError::Storage(expected));
}

#[test]
fn deletions_are_changes() {
    let storage = contested();
    let delete = request(&[Operation::Delete { oid: A, serial: SECOND }], false);
    let outcome = vote(&storage, &delete, Patience::Now).unwrap();
    let VoteOutcome::Ready { voted, changed, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(changed, [A]);
    finish(&storage, Tid(300), voted);
    let gone = Load::Deleted { serial: Tid(300), end: None };
    assert_eq!(storage.load_before(A, Tid::MAX, Patience::Now), Ok(gone));
}

#[test]
fn what_the_storage_lacks_refuses_the_vote() {
    let undo = request(&[Operation::Undo { tid: FIRST }], false);
    let error = vote(&contested(), &undo, Patience::Wait).unwrap_err();
    assert_eq!(error, VoteError::Storage(StorageError::Unsupported("undo")));
}
