//! A connection's transaction: two-phase commit as the client sees it.
//!
//! ```text
//!              Vote                Locked               Ready               Finish        Finished
//!   Building ───────► Asked ──────────────► Preparing ───────► Voted ──────────► Finishing ───────►
//!      ▲  └► Spooling ─┘└─► Waiting ──────────┘ │ Conflicts
//!      └────────────────────────────────────────┘
//! ```
//!
//! Operations are only collected ([`Operations`]); nothing is checked before the vote, which takes the
//! locks through the hub and then plays the operations to the storage. `Spooling`, `Asked`, `Preparing`
//! and `Finishing` are the stages in which something is under way; calls of the transaction that arrive
//! meanwhile are held back until it is done, because a client may send `vote` and `tpc_finish` in one
//! go. Loads and all other calls go on.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use bytes::Bytes;

use super::desk::{Desk, Job, send_info};
use super::line::{Caller, Line};
use super::operations::{Operations, blob_of};
use super::upload::Upload;
use crate::ids::{Oid, Tid};
use crate::pickle;
use crate::record;
use crate::server::counters::{Counters, count};
use crate::server::hub::LockSet;
use crate::server::ids::Ticket;
use crate::server::jobs::{Leftovers, StorageCall};
use crate::server::limits::Limits;
use crate::server::log_line::LogLevel;
use crate::server::messages::{Finish, HubRequest};
use crate::server::vote::{Operation, VoteError, VoteOutcome, VoteRequest};
use crate::storage::{Info, StorageError, TransactionMeta, Voted};
use crate::value::{Opaque, Value};
use crate::wire::call::{TxnCall, TxnHandle};
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;

/// Calls that may be held back before the connection is no longer listened to.
const HELD_MAX: usize = 1_000;

/// Bytes of their messages, likewise.
const HELD_BYTES_MAX: usize = 1 << 20;

/// The transaction of a connection, and the calls that wait for it.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: Option<Transaction>,
    held: VecDeque<(Caller, TxnCall)>,
    /// Bytes of the messages that are held.
    held_bytes: usize,
    /// The blob that is on its way in.
    pub(super) upload: Option<Upload>,
}

#[derive(Debug)]
pub(super) struct Transaction {
    handle: TxnHandle,
    meta: TransactionMeta,
    pub(super) operations: Operations,
    /// Names this transaction's votes to the hub.
    pub(super) ticket: Ticket,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    Building,
    /// The vote waits for records to be in the temporary file.
    Spooling(Caller),
    Asked(Caller),
    Waiting(Caller),
    Preparing(Caller, Arc<VoteRequest>),
    Voted {
        voted: Voted,
        changed: Vec<Oid>,
        /// Whether files of the storage go with it.
        has_files: bool,
    },
    Finishing(Caller),
}

impl Stage {
    /// Whether calls of the transaction have to wait.
    const fn is_under_way(&self) -> bool {
        match self {
            Self::Spooling(_) | Self::Asked(_) | Self::Preparing(..) | Self::Finishing(_) => true,
            Self::Building | Self::Waiting(_) | Self::Voted { .. } => false,
        }
    }

    /// Whether the hub knows of the vote.
    const fn is_known_to_hub(&self) -> bool {
        !matches!(self, Self::Building | Self::Spooling(_))
    }
}

impl Transactions {
    /// Whether so much waits, calls or bytes, that no more should be read.
    pub(super) fn is_held_up(&self, limits: &Limits) -> bool {
        self.held.len() >= HELD_MAX
            || self.held_bytes >= HELD_BYTES_MAX
            || self.upload.as_ref().is_some_and(Upload::is_full)
            || self.open.as_ref().is_some_and(|txn| txn.operations.is_full(limits))
    }

    /// Whether the transaction is on its way to the disk.
    pub(super) fn is_finishing(&self) -> bool {
        self.open.as_ref().is_some_and(|txn| matches!(txn.stage, Stage::Finishing(_)))
    }

    fn is_under_way(&self) -> bool {
        self.open.as_ref().is_some_and(|txn| txn.stage.is_under_way())
            || self.upload.as_ref().is_some_and(Upload::is_under_way)
    }

    fn hold(&mut self, caller: Caller, call: TxnCall) {
        self.held_bytes += caller.message_bytes;
        self.held.push_back((caller, call));
    }

    fn next_held(&mut self) -> Option<(Caller, TxnCall)> {
        let (caller, call) = self.held.pop_front()?;
        self.held_bytes -= caller.message_bytes;
        Some((caller, call))
    }

    /// The connection ends. What is on its way to the disk is committed all the same.
    pub(super) fn leave(&self, counters: &Counters) {
        if let Some(txn) = &self.open {
            counters.active_txns.fetch_sub(1, Ordering::Relaxed);
            if !matches!(txn.stage, Stage::Finishing(_)) {
                count(&counters.aborts);
            }
        }
    }

    /// Forgets the transaction and the upload. Returns what takes long to let go of.
    pub(super) fn take_leftovers(&mut self) -> Leftovers {
        let mut leftovers = Leftovers::default();
        leftovers.files.extend(self.upload.take().and_then(|upload| upload.file().cloned()));
        let Some(txn) = self.open.take() else { return leftovers };
        leftovers.files.extend(txn.operations.files());
        match txn.stage {
            Stage::Preparing(_, request) => {
                leftovers.files.extend(request.operations.iter().filter_map(blob_of).cloned());
            }
            Stage::Voted { voted, has_files: true, .. } => leftovers.voted = Some(voted),
            Stage::Voted { has_files: false, .. }
            | Stage::Building
            | Stage::Spooling(_)
            | Stage::Asked(_)
            | Stage::Waiting(_)
            | Stage::Finishing(_) => {}
        }
        leftovers
    }

    /// The open transaction, if it still takes operations.
    pub(super) fn building(&mut self) -> Option<&mut Transaction> {
        let is_building = |txn: &&mut Transaction| match txn.stage {
            Stage::Building | Stage::Spooling(_) => true,
            Stage::Asked(_)
            | Stage::Waiting(_)
            | Stage::Preparing(..)
            | Stage::Voted { .. }
            | Stage::Finishing(_) => false,
        };
        self.open.as_mut().filter(is_building)
    }

    /// The open transaction, if it is the one named.
    pub(super) fn named(&mut self, handle: &TxnHandle) -> Result<&mut Transaction, Refusal> {
        let open = self.open.as_ref().map(|txn| txn.handle.clone());
        match &mut self.open {
            Some(txn) if open.as_ref() == Some(handle) => Ok(txn),
            _ => Err(Refusal::WrongTransaction(open, handle.clone())),
        }
    }
}

impl Desk {
    pub(super) fn transaction_call(&mut self, line: &mut Line, caller: Caller, call: TxnCall) {
        if self.transactions.is_under_way() || !self.transactions.held.is_empty() {
            self.transactions.hold(caller, call);
        } else {
            self.transact(line, caller, call);
        }
    }

    /// Goes on with the calls that were held back.
    pub(super) fn resume(&mut self, line: &mut Line) {
        while line.is_open() && !self.transactions.is_under_way() {
            let Some((caller, call)) = self.transactions.next_held() else { return };
            self.transact(line, caller, call);
        }
    }

    fn transact(&mut self, line: &mut Line, caller: Caller, call: TxnCall) {
        if self.read_only {
            return line.answer(caller, Err(Refusal::ReadOnly));
        }
        match call {
            TxnCall::TpcBegin { txn, user, description, extension, tid, status } => {
                let result = pickled(extension).and_then(|extension| {
                    let resolve_conflicts = !self.settings.client_conflict_resolution;
                    let meta = TransactionMeta {
                        user,
                        description,
                        extension,
                        tid,
                        status,
                        resolve_conflicts,
                    };
                    self.begin(txn, meta)
                });
                line.answer(caller, result.map(|()| Reply::Nil));
            }
            TxnCall::Vote { txn } => self.vote(line, caller, &txn),
            TxnCall::TpcFinish { txn } => self.finish(line, caller, &txn),
            TxnCall::TpcAbort { txn } => self.abort(line, caller, &txn),
            TxnCall::Storea { .. }
            | TxnCall::Restorea { .. }
            | TxnCall::DeleteObject { .. }
            | TxnCall::CheckCurrentSerialInTransaction { .. }
            | TxnCall::Undoa { .. } => {
                let result = self.collect(line, call);
                line.answer(caller, result.map(|()| Reply::Nil));
            }
            TxnCall::StoreBlobStart
            | TxnCall::StoreBlobChunk { .. }
            | TxnCall::StoreBlobEnd { .. }
            | TxnCall::StoreBlobShared { .. } => self.upload_call(line, caller, call),
        }
    }

    fn begin(&mut self, handle: TxnHandle, meta: TransactionMeta) -> Result<(), Refusal> {
        match &self.transactions.open {
            Some(open) if open.handle == handle => Ok(()),
            Some(_) => Err(Refusal::Transaction(
                "Multiple simultaneous tpc_begin requests from one client.",
            )),
            None => {
                let ticket = Ticket(self.number());
                self.transactions.open = Some(Transaction {
                    handle,
                    meta,
                    operations: Operations::default(),
                    ticket,
                    stage: Stage::Building,
                });
                count(&self.counters().active_txns);
                Ok(())
            }
        }
    }

    fn vote(&mut self, line: &mut Line, caller: Caller, handle: &TxnHandle) {
        let txn = match self.transactions.named(handle) {
            Ok(txn) => txn,
            Err(refusal) => return line.answer(caller, Err(refusal)),
        };
        let refusal = match txn.stage {
            Stage::Building if txn.operations.is_written() => {
                return self.ask_for_locks(line, caller);
            }
            Stage::Building => {
                txn.stage = Stage::Spooling(caller);
                return;
            }
            Stage::Waiting(_) => "Already voting (waiting)",
            Stage::Spooling(_)
            | Stage::Asked(_)
            | Stage::Preparing(..)
            | Stage::Voted { .. }
            | Stage::Finishing(_) => "Already voting (locked)",
        };
        line.answer(caller, Err(Refusal::Transaction(refusal)));
    }

    /// The first step of a vote, when all that is to be voted is where the storage finds it.
    pub(super) fn ask_for_locks(&mut self, line: &mut Line, caller: Caller) {
        let Some(txn) = self.transactions.building() else { return };
        if let Some(refusal) = txn.operations.doomed().cloned() {
            return self.refuse(line, caller, refusal);
        }
        let (ticket, locks) = (txn.ticket, txn.locks());
        txn.stage = Stage::Asked(caller);
        line.ask(self.storage, HubRequest::Lock(ticket, locks));
    }

    /// The vote stands in the queue.
    pub(super) fn waiting(&mut self, line: &mut Line, ticket: Ticket, ahead: usize) {
        let Some(txn) = &mut self.transactions.open else { return };
        if txn.ticket != ticket {
            return;
        }
        if let Stage::Asked(caller) = &txn.stage {
            txn.stage = Stage::Waiting(caller.clone());
            let text = format!("vote waits for its locks behind {} others", ahead + 1);
            line.log(if ahead < 3 { LogLevel::Debug } else { LogLevel::Warning }, &text);
        }
        self.resume(line);
    }

    /// The locks are held: the operations are checked. A vote that was given up meanwhile has told
    /// the hub so.
    pub(super) fn locked(&mut self, line: &mut Line, ticket: Ticket) {
        let client_resolution = self.settings.client_conflict_resolution;
        let Some(txn) = self.transactions.open.as_mut().filter(|txn| txn.ticket == ticket) else {
            return;
        };
        match core::mem::replace(&mut txn.stage, Stage::Building) {
            Stage::Asked(caller) | Stage::Waiting(caller) => {
                let (meta, operations) = (txn.meta.clone(), txn.operations.take());
                let request = Arc::new(VoteRequest { meta, operations, client_resolution });
                txn.stage = Stage::Preparing(caller, request.clone());
                self.perform(line, Job::Vote, StorageCall::Vote(request));
            }
            stage => txn.stage = stage,
        }
    }

    pub(super) fn voted(&mut self, line: &mut Line, result: Result<VoteOutcome, VoteError>) {
        let txn = self.transactions.open.as_mut().expect("a vote under way keeps it open");
        let Stage::Preparing(caller, request) = core::mem::replace(&mut txn.stage, Stage::Building)
        else {
            unreachable!("only one vote is under way")
        };
        match result {
            Ok(VoteOutcome::Ready { voted, changed, resolved, merged }) => {
                let has_files = txn.operations.has_files(&request.operations);
                txn.operations = Operations::default();
                txn.stage = Stage::Voted { voted, changed, has_files };
                self.counters().conflicts_resolved.fetch_add(merged as u64, Ordering::Relaxed);
                line.answer(caller, Ok(Reply::Oids(resolved)));
            }
            // The transaction stays open, the client stores again and votes again.
            Ok(VoteOutcome::Conflicts(conflicts)) => {
                txn.operations.give_back(Arc::unwrap_or_clone(request).operations);
                line.ask(self.storage, HubRequest::Unlock(txn.ticket));
                line.answer(caller, Ok(Reply::Conflicts(conflicts)));
            }
            Err(error) => {
                txn.operations.give_back(Arc::unwrap_or_clone(request).operations);
                line.ask(self.storage, HubRequest::Unlock(txn.ticket));
                self.vote_failed(line, caller, error);
            }
        }
        self.resume(line);
    }

    fn vote_failed(&mut self, line: &mut Line, caller: Caller, error: VoteError) {
        let is_conflict = matches!(
            error,
            VoteError::Conflict { .. } | VoteError::Storage(StorageError::ReadConflict { .. })
        );
        if is_conflict {
            count(&self.counters().conflicts);
        }
        if let VoteError::Storage(
            StorageError::Disk { .. } | StorageError::Broken(_) | StorageError::Corrupt { .. },
        ) = error
        {
            line.log(LogLevel::Critical, &format!("vote failed: {error}"));
        }
        self.refuse(line, caller, refusal_of(error));
    }

    /// A failed vote ends the transaction (`spec: zeo-protocol 10`).
    fn refuse(&mut self, line: &mut Line, caller: Caller, refusal: Refusal) {
        self.counters().active_txns.fetch_sub(1, Ordering::Relaxed);
        if let Some(txn) = self.transactions.open.take() {
            let files = txn.operations.files();
            drop(txn);
            self.discard(line, Leftovers { files, voted: None });
        }
        line.answer(caller, Err(refusal));
    }

    /// Python answers an unknown transaction with `None`, which its own client cannot bear
    /// (`spec: zeo-protocol 11.1`); here it is refused.
    fn finish(&mut self, line: &mut Line, caller: Caller, handle: &TxnHandle) {
        let storage = self.storage;
        let txn = match self.transactions.named(handle) {
            Ok(txn) => txn,
            Err(refusal) => return line.answer(caller, Err(refusal)),
        };
        match core::mem::replace(&mut txn.stage, Stage::Finishing(caller)) {
            Stage::Voted { voted, changed, .. } => {
                let finish = Finish { voted, changed, tid: txn.meta.tid };
                line.ask(storage, HubRequest::Finish(txn.ticket, finish));
            }
            stage => {
                let Stage::Finishing(caller) = core::mem::replace(&mut txn.stage, stage) else {
                    unreachable!("the stage was set above")
                };
                let text = "finished called wo lock";
                line.answer(caller, Err(Refusal::text("builtins.AssertionError", text)));
            }
        }
    }

    /// The commit is visible and everybody has been told, or it failed.
    pub(super) fn finished(
        &mut self,
        line: &mut Line,
        ticket: Ticket,
        result: Result<(Tid, Info), Refusal>,
        changed: &[Oid],
    ) {
        let Some(txn) = self.transactions.open.take_if(|txn| txn.ticket == ticket) else { return };
        self.counters().active_txns.fetch_sub(1, Ordering::Relaxed);
        let Stage::Finishing(caller) = txn.stage else {
            unreachable!("only a finishing transaction is finished")
        };
        let result = result.map(|(tid, info)| {
            self.learn(tid, changed);
            send_info(line, info);
            Reply::Tid(tid)
        });
        line.answer(caller, result);
        self.resume(line);
    }

    /// Aborting what is not there is no error. A vote that waits gets no reply any more
    /// (`spec: zeo-protocol-gotchas 25`). An upload that has not ended goes with the transaction.
    fn abort(&mut self, line: &mut Line, caller: Caller, handle: &TxnHandle) {
        if self.transactions.open.as_ref().is_none_or(|txn| txn.handle == *handle) {
            if let Some(txn) = &self.transactions.open {
                self.counters().active_txns.fetch_sub(1, Ordering::Relaxed);
                count(&self.counters().aborts);
                if txn.stage.is_known_to_hub() {
                    line.ask(self.storage, HubRequest::Unlock(txn.ticket));
                }
            }
            let leftovers = self.transactions.take_leftovers();
            self.discard(line, leftovers);
        }
        line.answer(caller, Ok(Reply::Nil));
    }
}

impl Transaction {
    /// Undo, restore and a given tid concern more than the objects named, so they take everything.
    fn locks(&self) -> LockSet {
        let mut locks = LockSet { whole: self.meta.tid.is_some(), ..LockSet::default() };
        for operation in self.operations.iter() {
            match operation {
                Operation::Store { oid, .. }
                | Operation::StoreBlob { oid, .. }
                | Operation::Delete { oid, .. } => locks.exclusive.push(*oid),
                Operation::CheckCurrent { oid, .. } => locks.shared.push(*oid),
                Operation::Restore { .. } | Operation::Undo { .. } => locks.whole = true,
            }
        }
        locks
    }
}

/// The extension as FileStorage keeps it: nothing for none, else a pickled dict. Bytes are taken as
/// such a pickle (`spec: zeo-protocol 9.1`).
fn pickled(extension: Value) -> Result<Bytes, Refusal> {
    match as_dict(extension) {
        Value::None => Ok(Bytes::new()),
        Value::Bytes(bytes) => Ok(bytes),
        Value::Dict(items) if items.is_empty() => Ok(Bytes::new()),
        dict @ Value::Dict(_) => pickle::dump(&dict).map_err(|unwritable| {
            let text = format!("tpc_begin: the extension cannot be kept: {unwritable}");
            Refusal::text("builtins.TypeError", text)
        }),
        other => {
            let text = format!("tpc_begin: a dict expected as extension, not {}", other.kind());
            Err(Refusal::text("builtins.TypeError", text))
        }
    }
}

/// A subclass of `dict` may pickle itself as `dict(items)`, which is the dict that Python's server
/// makes of it.
fn as_dict(extension: Value) -> Value {
    let Value::Opaque(opaque) = &extension else { return extension };
    let Opaque::Call { callable: Value::Opaque(class), args: Value::Tuple(args) } = &**opaque
    else {
        return extension;
    };
    let is_dict = matches!(&**class, Opaque::Global { name, .. } if name == "dict");
    let [Value::Tuple(items) | Value::List(items)] = args.as_slice() else { return extension };
    let pairs = items.iter().map(|item| match item {
        Value::Tuple(pair) | Value::List(pair) => <[Value; 2]>::try_from(pair.clone()).ok(),
        _ => None,
    });
    match pairs.map(|pair| pair.map(<(Value, Value)>::from)).collect() {
        Some(items) if is_dict => Value::Dict(items),
        _ => extension,
    }
}

fn refusal_of(error: VoteError) -> Refusal {
    match error {
        VoteError::Conflict { oid, committed, read, data } => Refusal::Conflict {
            oid,
            class_name: data.as_ref().and_then(record::class_name),
            committed,
            read,
        },
        VoteError::Storage(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// As a subclass of `dict` pickles itself.
    #[test]
    fn an_extension_may_be_a_call_of_dict() {
        let call = |name: &str, args| {
            let (module, name) = ("builtins".into(), name.into());
            let callable = Opaque::Global { module, name }.into();
            Value::from(Opaque::Call { callable, args: Value::Tuple(args) })
        };
        let pair = || Value::Tuple(vec![Value::text("key"), Value::Int(1)]);
        let of = |name, items| as_dict(call(name, vec![Value::List(items)]));
        let dict = Value::Dict(vec![(Value::text("key"), Value::Int(1))]);
        assert_eq!(of("dict", vec![pair()]), dict);
        assert_eq!(of("list", vec![pair()]), call("list", vec![Value::List(vec![pair()])]));
        let odd = vec![pair(), Value::Int(7)];
        assert_eq!(of("dict", odd.clone()), call("dict", vec![Value::List(odd)]));
    }
}
