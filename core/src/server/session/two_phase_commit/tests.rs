//! Two-phase commit without a session around it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::bench::Bench;
use super::*;
use crate::ids::Oid;
use crate::server::lock_set::LockSet;
use crate::server::storage_calls::Job;
use crate::storage::{Info, Voted};
use crate::value::Value;

const HANDLE: TxnHandle = TxnHandle(Value::Int(7));

fn say(commit: &mut TwoPhaseCommit, bench: &mut Bench, number: i64, call: TxnCall) {
    commit.call(&mut bench.context(), Caller::numbered(number), call);
}

/// A transaction with one store, which has begun as call 1 and was stored as call 2.
fn stored(bench: &mut Bench) -> TwoPhaseCommit {
    let mut commit = TwoPhaseCommit::default();
    let (user, description, extension) = (Bytes::new(), Bytes::new(), Value::None);
    let begin =
        TxnCall::TpcBegin { txn: HANDLE, user, description, extension, tid: None, status: b' ' };
    say(&mut commit, bench, 1, begin);
    let data = Bytes::from_static(b"record");
    let store = TxnCall::Storea { oid: Oid(1), serial: Tid::ZERO, data, txn: HANDLE };
    say(&mut commit, bench, 2, store);
    assert_eq!(bench.replies(), [(1, Value::None), (2, Value::None)]);
    commit
}

/// The same with its vote, call 3, under way in the storage.
fn preparing(bench: &mut Bench) -> (TwoPhaseCommit, VoteJob) {
    let mut commit = stored(bench);
    say(&mut commit, bench, 3, TxnCall::Vote { txn: HANDLE });
    let Some(HubRequest::Lock(ticket, locks)) = bench.requests().pop() else {
        panic!("a vote asks for locks first")
    };
    assert_eq!(locks, LockSet { exclusive: alloc::vec![Oid(1)], ..LockSet::default() });
    assert!(bench.jobs().is_empty(), "nothing is checked without locks");
    commit.locked(&mut bench.context(), ticket);
    match bench.jobs().pop() {
        Some(Job::Vote(vote)) => (commit, vote),
        other => panic!("a vote expected, not {other:?}"),
    }
}

fn answer(vote: VoteJob, result: Result<VoteOutcome, VoteError>) -> VotedJob {
    let VoteJob { ticket, caller, request } = vote;
    VotedJob { ticket, caller, request, result }
}

fn numbers(bench: &mut Bench) -> Vec<i64> {
    bench.replies().into_iter().map(|(number, _)| number).collect()
}

#[test]
fn calls_are_held_until_the_vote_is_answered() {
    let mut bench = Bench::new();
    let (mut commit, vote) = preparing(&mut bench);
    say(&mut commit, &mut bench, 4, TxnCall::TpcFinish { txn: HANDLE });
    assert_eq!(bench.replies(), []);
    let voted = Voted(Box::new(()));
    let changed = alloc::vec![Oid(1)];
    let ready = VoteOutcome::Ready { voted, changed, resolved: Vec::new(), resolved_here: 0 };
    let ticket = vote.ticket;
    commit.voted(&mut bench.context(), answer(vote, Ok(ready)));
    assert_eq!(numbers(&mut bench), [3]);
    assert!(matches!(bench.requests()[..], [HubRequest::Finish(finish, _)] if finish == ticket));
    assert!(commit.is_finishing());
    let done = Ok((Tid(9), Info::default()));
    assert_eq!(commit.finished(&mut bench.context(), ticket, done), Some(Tid(9)));
    assert_eq!(bench.replies(), [(4, Value::tid(Tid(9)))]);
}

#[test]
fn conflicts_for_the_client_leave_the_transaction_open() {
    let mut bench = Bench::new();
    let (mut commit, vote) = preparing(&mut bench);
    let ticket = vote.ticket;
    let conflicts = VoteOutcome::Conflicts(Vec::new());
    commit.voted(&mut bench.context(), answer(vote, Ok(conflicts)));
    assert!(matches!(bench.requests()[..], [HubRequest::Unlock(unlocked)] if unlocked == ticket));
    let txn = commit.building().expect("the client votes again");
    assert_eq!(txn.operations.iter().count(), 1);
}

#[test]
fn an_answer_for_an_ended_transaction_changes_nothing() {
    let mut bench = Bench::new();
    let (mut commit, vote) = preparing(&mut bench);
    let ended =
        VotedJob { ticket: Ticket(99), ..answer(vote, Err(StorageError::WouldBlock.into())) };
    commit.voted(&mut bench.context(), ended);
    assert_eq!(bench.replies(), []);
    let done = Ok((Tid(9), Info::default()));
    assert_eq!(commit.finished(&mut bench.context(), Ticket(99), done), None);
    assert!(commit.is_under_way());
}

#[test]
fn an_abort_releases_the_locks_of_a_waiting_vote() {
    let mut bench = Bench::new();
    let mut commit = stored(&mut bench);
    say(&mut commit, &mut bench, 3, TxnCall::Vote { txn: HANDLE });
    let Some(HubRequest::Lock(ticket, _)) = bench.requests().pop() else {
        panic!("a vote asks for locks first")
    };
    commit.waiting(&mut bench.context(), ticket, 0);
    say(&mut commit, &mut bench, 4, TxnCall::TpcAbort { txn: HANDLE });
    assert!(matches!(bench.requests()[..], [HubRequest::Unlock(unlocked)] if unlocked == ticket));
    assert_eq!(numbers(&mut bench), [4], "the vote gets no reply");
}

#[test]
fn only_the_transaction_that_is_named_is_meant() {
    let mut bench = Bench::new();
    let mut commit = stored(&mut bench);
    let other = TxnHandle(Value::Int(8));
    say(&mut commit, &mut bench, 3, TxnCall::Vote { txn: other });
    assert_eq!(numbers(&mut bench), [3]);
    assert!(bench.requests().is_empty() && commit.building().is_some());
}
