//! The vote, and the conflicts that a server leaves to its clients.
//!
//! A server that cannot run the application's code answers a vote with what is in conflict. For each,
//! the application may say what to store instead; it may ask for the two records in between first. When all are
//! answered the transaction is voted again, which may bring up new conflicts, because the locks were
//! given back meanwhile.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec;

use bytes::Bytes;

use super::answer::Reading;
use super::connection::Pending;
use super::transaction::{CARRIED, Conflict, Stage, Transaction, TxnId};
use super::{Answer, CallError, CallId, Client, Event, Misuse, Output, Refused};
use crate::ids::{Oid, Tid};
use crate::time::Now;
use crate::value::Value;

/// How often a transaction is voted before its conflicts are given up; Python's client has the same.
const VOTES_MAX: usize = 9;

impl Client {
    /// First phase; [`Answer::Voted`]. After an error only an abort is left.
    pub fn vote(&mut self, _now: Now, txn: TxnId) -> CallId {
        let call = self.new_call();
        if let Some(because) = self.turns.lost.get(&txn) {
            let error = CallError::from(because);
            self.answer(call, Err(error));
            return call;
        }
        let open = self.turns.queue.front_mut().filter(|open| open.id == txn);
        let misuse = match open {
            Some(open) if matches!(open.stage, Stage::Open) => {
                open.stage = Stage::Voting { call, asked: false };
                self.vote_when_sent();
                return call;
            }
            Some(Transaction { stage: Stage::Queued { .. }, .. }) | None => Misuse::NotOpen,
            Some(_) => Misuse::Voted,
        };
        self.answer(call, Err(misuse.into()));
        call
    }

    /// Asks for the vote that is wanted, when everything that belongs to it is said.
    pub(super) fn vote_when_sent(&mut self) {
        let Some(txn) = self.turns.queue.front_mut() else { return };
        let Stage::Voting { call, asked: false } = txn.stage else { return };
        if let Some(problem) = txn.uploads.failed.take() {
            txn.stage = Stage::Failed;
            return self.answer(call, Err(CallError::Blob(problem)));
        }
        if !txn.uploads.is_empty() {
            return;
        }
        txn.stage = Stage::Voting { call, asked: true };
        txn.votes += 1;
        let (id, handle) = (txn.id, txn.handle.clone());
        if let Some(connection) = self.chosen_connection() {
            connection.ask(Pending::Vote(id), "vote", vec![handle]);
        }
    }

    /// The server has voted.
    pub(super) fn voted(&mut self, id: TxnId, answer: Result<Value, Refused>) {
        let Some(txn) = self.turns.queue.front_mut().filter(|txn| txn.id == id) else { return };
        let Stage::Voting { call, .. } = txn.stage else { return };
        let outcome = answer.map_err(CallError::from).and_then(|value| {
            read_vote(id, value).map_err(|problem| CallError::Odd { method: "vote", problem })
        });
        match outcome {
            Ok((theirs, conflicts)) if conflicts.is_empty() => {
                let changed: BTreeSet<Oid> = theirs.iter().chain(&txn.resolved).copied().collect();
                let changed = changed.into_iter().collect();
                txn.stage = Stage::Voted { theirs };
                self.answer(call, Ok(Answer::Voted(changed)));
            }
            Ok((_, conflicts)) if txn.votes < VOTES_MAX => {
                txn.stage = Stage::Resolving { call, conflicts };
                self.next_conflict();
            }
            Ok((_, conflicts)) => {
                let votes = txn.votes;
                let last = conflicts.front().map_or(Refused::ReadOnly, unresolved);
                self.vote_failed(CallError::ConflictsForever { votes, last });
            }
            Err(error) => self.vote_failed(error),
        }
    }

    /// Whatever a conflict is about is forgotten, because it may be what was wrong (so does Python's
    /// client).
    fn vote_failed(&mut self, error: CallError) {
        let refused = match &error {
            CallError::Refused(refused) | CallError::ConflictsForever { last: refused, .. } => {
                Some(refused)
            }
            _ => None,
        };
        if let Some(
            Refused::Conflict { oid: Some(oid), .. } | Refused::ReadConflict { oid: Some(oid), .. },
        ) = refused
        {
            self.changed(*oid, None);
        }
        let Some(txn) = self.turns.queue.front_mut() else { return };
        let call = txn.caller();
        txn.stage = Stage::Failed;
        if let Some(call) = call {
            self.answer(call, Err(error));
        }
    }

    /// Shows the next conflict, or votes again if there is none left.
    fn next_conflict(&mut self) {
        let Some(txn) = self.turns.queue.front_mut() else { return };
        let Stage::Resolving { call, conflicts } = &txn.stage else { return };
        if let Some(conflict) = conflicts.front() {
            let event = Event::Conflict(conflict.clone());
            return self.outputs.push_back(Output::Event(event));
        }
        txn.stage = Stage::Voting { call: *call, asked: false };
        txn.uploads.send_again();
        self.send_blobs();
        self.vote_when_sent();
    }

    /// The conflict that is being looked at.
    fn conflict(&mut self, id: TxnId) -> Option<(Value, &mut Conflict)> {
        let txn = self.turns.queue.front_mut().filter(|txn| txn.id == id)?;
        match &mut txn.stage {
            Stage::Resolving { conflicts, .. } => {
                Some((txn.handle.clone(), conflicts.front_mut()?))
            }
            _ => None,
        }
    }

    /// Asks for the two records that a conflict is between; it comes again with
    /// [`Conflict::states`].
    pub fn conflict_states(&mut self, txn: TxnId) {
        let Some((_, conflict)) = self.conflict(txn) else { return };
        let (oid, serial) = (conflict.oid, conflict.read);
        self.ask_state(txn, oid, serial);
    }

    fn ask_state(&mut self, txn: TxnId, oid: Oid, serial: Tid) {
        if let Some(connection) = self.chosen_connection() {
            let args = vec![Value::oid(oid), Value::tid(serial)];
            connection.ask(Pending::State(txn), "loadSerial", args);
        }
    }

    /// One of the two records has come. One that was packed away, or undone, cannot be merged with: then the
    /// conflict stands.
    pub(super) fn state_came(&mut self, txn: TxnId, answer: Result<Value, Refused>) {
        let data = answer.map_err(CallError::from).and_then(|value| {
            let odd = |problem| CallError::Odd { method: "loadSerial", problem };
            value.into_bytes().map_err(odd)
        });
        let Some((_, conflict)) = self.conflict(txn) else { return };
        match (data, &mut conflict.states) {
            (Ok(read), states @ None) => {
                *states = Some((read, Bytes::new()));
                let (oid, committed) = (conflict.oid, conflict.committed);
                self.ask_state(txn, oid, committed);
            }
            (Ok(data), Some((_, committed))) => {
                *committed = data;
                let event = Event::Conflict(conflict.clone());
                self.outputs.push_back(Output::Event(event));
            }
            (Err(CallError::Refused(Refused::NoSuchObject { .. })), _) => {
                let refused = unresolved(conflict);
                self.vote_failed(refused.into());
            }
            (Err(error), _) => self.vote_failed(error),
        }
    }

    /// What to store in place of the new record; `None` lets the conflict stand, and the vote fail.
    pub fn conflict_resolved(&mut self, txn: TxnId, merged: Option<Bytes>) {
        let Some((handle, conflict)) = self.conflict(txn) else { return };
        let (oid, committed) = (conflict.oid, conflict.committed);
        let Some(merged) = merged else {
            let refused = unresolved(conflict);
            return self.vote_failed(refused.into());
        };
        let room = self.settings.cache_bytes;
        if let Some(connection) = self.chosen_connection() {
            let data = Value::Bytes(merged.clone());
            let args = vec![Value::oid(oid), Value::tid(committed), data, handle];
            connection.tell("storea", args).expect(CARRIED);
        }
        if let Some(txn) = self.turns.queue.front_mut()
            && let Stage::Resolving { conflicts, .. } = &mut txn.stage
        {
            conflicts.pop_front();
            txn.resolved.push(oid);
            txn.remember(oid, Some(merged), room);
        }
        self.next_conflict();
    }
}

/// The objects that were resolved by the server, and the conflicts that it leaves to the client.
fn read_vote(txn: TxnId, value: Value) -> Result<(BTreeSet<Oid>, VecDeque<Conflict>), String> {
    let (mut theirs, mut conflicts) = (BTreeSet::new(), VecDeque::new());
    if !value.is_true() {
        return Ok((theirs, conflicts));
    }
    for item in value.into_items()? {
        if !matches!(item, Value::Dict(_)) {
            theirs.insert(item.into_oid()?);
            continue;
        }
        let field = |key| item.item(key).cloned().unwrap_or(Value::None);
        let [committed, read] = field("serials").into_parts()?;
        conflicts.push_back(Conflict {
            txn,
            oid: field("oid").into_oid()?,
            read: read.into_tid()?,
            committed: committed.into_tid()?,
            new: field("data").into_bytes()?,
            states: None,
        });
    }
    Ok((theirs, conflicts))
}

fn unresolved(conflict: &Conflict) -> Refused {
    Refused::Conflict {
        oid: Some(conflict.oid),
        class_name: crate::record::class_name(&conflict.new),
        serials: Some((conflict.committed, conflict.read)),
    }
}
