//! The vote, and the conflicts that a server leaves to its clients.
//!
//! A server that cannot run the application's code answers a vote with what is in conflict. For each,
//! the application may say what to store instead; it may ask for the two records in between first. When all are
//! answered the transaction is voted again, which may bring up new conflicts, because the locks were
//! given back meanwhile.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answer::Call;
use super::channel::{Channel, Pending};
use super::context::Context;
use super::error::{CallError, Misuse};
use super::ids::TxnId;
use super::loads::Loads;
use super::output::Event;
use super::reading::Reading;
use super::refused::Refused;
use super::transaction::Conflict;
use super::transaction_queue::{CARRIED, Stage, Transaction, TransactionQueue};
use crate::ids::{Oid, Tid};
use crate::value::Value;

/// Maximum number of votes for a transaction with conflicts, as in Python's client.
const VOTES_MAX: usize = 9;

impl TransactionQueue {
    /// First phase.
    pub(super) fn vote(
        &mut self,
        cx: &mut Context,
        channel: Option<&mut Channel>,
        txn: TxnId,
    ) -> Call<Vec<Oid>> {
        let call = cx.new_call();
        if let Some(because) = self.lost.get(&txn) {
            cx.answer(call, Err(because.into()));
            return call;
        }
        let misuse = match self.open(txn) {
            Some(open) if matches!(open.stage, Stage::Open) => {
                open.stage = Stage::Voting { call, asked: false };
                self.vote_when_sent(cx, channel);
                return call;
            }
            Some(Transaction { stage: Stage::Queued { .. }, .. }) | None => Misuse::NotOpen,
            Some(_) => Misuse::Voted,
        };
        cx.answer(call, Err(misuse.into()));
        call
    }

    /// Sends the requested vote when everything that belongs to it is sent.
    fn vote_when_sent(&mut self, cx: &mut Context, channel: Option<&mut Channel>) {
        let Some(txn) = self.queue.front_mut() else { return };
        let Stage::Voting { call, asked: false } = txn.stage else { return };
        if let Some(problem) = txn.uploads.take_failure() {
            txn.stage = Stage::Failed;
            return cx.answer(call, Err(CallError::Blob(problem)));
        }
        if !txn.uploads.is_empty() {
            return;
        }
        txn.stage = Stage::Voting { call, asked: true };
        txn.votes += 1;
        if let Some(channel) = channel {
            channel.ask(Pending::Vote(txn.id), "vote", vec![txn.handle.clone()]);
        }
    }

    /// The next piece of a blob is there.
    pub(super) fn blob_bytes(
        &mut self,
        cx: &mut Context,
        channel: &mut Channel,
        txn: TxnId,
        bytes: Result<Bytes, String>,
    ) {
        let Some(open) = self.open(txn) else { return };
        open.uploads.send(channel, bytes);
        self.send_blobs(cx, channel);
        self.vote_when_sent(cx, Some(channel));
    }

    /// The server has voted.
    pub(super) fn voted(
        &mut self,
        cx: &mut Context,
        channel: &mut Channel,
        loads: &mut Loads,
        id: TxnId,
        answer: Result<Value, Refused>,
    ) {
        let Some(txn) = self.open(id) else { return };
        let Stage::Voting { call, .. } = txn.stage else { return };
        let outcome = answer.map_err(CallError::from).and_then(|value| {
            read_vote(id, value).map_err(|problem| CallError::Odd { method: "vote", problem })
        });
        match outcome {
            Ok((resolved_by_server, conflicts)) if conflicts.is_empty() => {
                let changed: BTreeSet<Oid> =
                    resolved_by_server.iter().chain(&txn.resolved).copied().collect();
                let changed = changed.into_iter().collect();
                txn.stage = Stage::Voted { resolved_by_server };
                cx.answer(call, Ok(changed));
            }
            Ok((_, conflicts)) if txn.votes < VOTES_MAX => {
                txn.stage = Stage::Resolving { call, conflicts };
                self.next_conflict(cx, channel);
            }
            Ok((_, conflicts)) => {
                let votes = txn.votes;
                let last = conflicts.front().map_or(Refused::ReadOnly, unresolved);
                self.vote_failed(cx, loads, CallError::ConflictsForever { votes, last });
            }
            Err(error) => self.vote_failed(cx, loads, error),
        }
    }

    /// The cache forgets the object of a conflict, because its record may be what was wrong (so does
    /// Python's client).
    fn vote_failed(&mut self, cx: &mut Context, loads: &mut Loads, error: CallError) {
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
            loads.object_changed(cx, *oid, None);
        }
        let Some(txn) = self.queue.front_mut() else { return };
        txn.fail(cx, error);
        txn.stage = Stage::Failed;
    }

    /// Shows the next conflict, or votes again if there is none left.
    fn next_conflict(&mut self, cx: &mut Context, channel: &mut Channel) {
        let Some(txn) = self.queue.front_mut() else { return };
        let Stage::Resolving { call, conflicts } = &txn.stage else { return };
        if let Some(conflict) = conflicts.front() {
            return cx.event(Event::Conflict(conflict.clone()));
        }
        txn.stage = Stage::Voting { call: *call, asked: false };
        txn.uploads.send_again();
        self.send_blobs(cx, channel);
        self.vote_when_sent(cx, Some(channel));
    }

    /// The conflict that is being resolved, and the transaction's id on the wire.
    fn conflict(&mut self, id: TxnId) -> Option<(Value, &mut Conflict)> {
        let txn = self.open(id)?;
        match &mut txn.stage {
            Stage::Resolving { conflicts, .. } => {
                Some((txn.handle.clone(), conflicts.front_mut()?))
            }
            _ => None,
        }
    }

    /// Asks for the two records that a conflict is between; it is shown again with
    /// [`Conflict::states`].
    pub(super) fn conflict_states(&mut self, channel: &mut Channel, txn: TxnId) {
        if let Some((_, conflict)) = self.conflict(txn) {
            ask_state(channel, txn, conflict.oid, conflict.read);
        }
    }

    /// One of the two records has come. One that was packed away, or undone, cannot be used to resolve
    /// the conflict: then it stands.
    pub(super) fn conflict_state(
        &mut self,
        cx: &mut Context,
        channel: &mut Channel,
        loads: &mut Loads,
        txn: TxnId,
        answer: Result<Value, Refused>,
    ) {
        let data = answer.map_err(CallError::from).and_then(|value| {
            let odd = |problem| CallError::Odd { method: "loadSerial", problem };
            value.into_bytes().map_err(odd)
        });
        let Some((_, conflict)) = self.conflict(txn) else { return };
        match (data, &mut conflict.states) {
            (Ok(read), states @ None) => {
                *states = Some((read, Bytes::new()));
                ask_state(channel, txn, conflict.oid, conflict.committed);
            }
            (Ok(data), Some((_, committed))) => {
                *committed = data;
                cx.event(Event::Conflict(conflict.clone()));
            }
            (Err(CallError::Refused(Refused::NoSuchObject { .. })), _) => {
                let refused = unresolved(conflict);
                self.vote_failed(cx, loads, refused.into());
            }
            (Err(error), _) => self.vote_failed(cx, loads, error),
        }
    }

    /// What to store in place of the new record; `None` lets the conflict stand, and the vote fail.
    pub(super) fn conflict_resolved(
        &mut self,
        cx: &mut Context,
        channel: &mut Channel,
        loads: &mut Loads,
        txn: TxnId,
        resolved: Option<Bytes>,
    ) {
        let Some((handle, conflict)) = self.conflict(txn) else { return };
        let (oid, committed) = (conflict.oid, conflict.committed);
        let Some(resolved) = resolved else {
            let refused = unresolved(conflict);
            return self.vote_failed(cx, loads, refused.into());
        };
        let data = Value::Bytes(resolved.clone());
        let args = vec![Value::oid(oid), Value::tid(committed), data, handle];
        channel.send_oneway("storea", args).expect(CARRIED);
        let room = cx.settings.cache_bytes;
        if let Some(txn) = self.queue.front_mut()
            && let Stage::Resolving { conflicts, .. } = &mut txn.stage
        {
            conflicts.pop_front();
            txn.resolved.push(oid);
            txn.remember(oid, Some(resolved), room);
        }
        self.next_conflict(cx, channel);
    }
}

fn ask_state(channel: &mut Channel, txn: TxnId, oid: Oid, serial: Tid) {
    let args = vec![Value::oid(oid), Value::tid(serial)];
    channel.ask(Pending::ConflictState(txn), "loadSerial", args);
}

/// The objects that were resolved by the server, and the conflicts that it leaves to the client.
fn read_vote(txn: TxnId, value: Value) -> Result<(BTreeSet<Oid>, VecDeque<Conflict>), String> {
    let (mut resolved_by_server, mut conflicts) = (BTreeSet::new(), VecDeque::new());
    if !value.is_true() {
        return Ok((resolved_by_server, conflicts));
    }
    for item in value.into_items()? {
        if !matches!(item, Value::Dict(_)) {
            resolved_by_server.insert(item.into_oid()?);
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
    Ok((resolved_by_server, conflicts))
}

fn unresolved(conflict: &Conflict) -> Refused {
    Refused::Conflict {
        oid: Some(conflict.oid),
        class_name: crate::record::class_name(&conflict.new),
        serials: Some((conflict.committed, conflict.read)),
    }
}
