//! A connection's transaction: two-phase commit as the client sees it.
//!
//! ```text
//!              Vote                Locked               Ready               Finish        Finished
//!   Building ───────► Asked ──────────────► Preparing ───────► Voted ──────────► Finishing ───────►
//!      ▲  └► Spooling ─┘└─► Waiting ──────────┘ │ Conflicts
//!      └────────────────────────────────────────┘
//! ```
//!
//! Operations are only collected ([`Operations`](super::operations::Operations)); nothing is checked
//! before the vote, which takes the locks through the hub and then plays the operations to the storage.
//! In the stages `Spooling`, `Asked`, `Preparing` and `Finishing` something is under way; calls of the
//! transaction that arrive meanwhile are held until it is done, because a client may send `vote` and
//! `tpc_finish` in one go. Loads and all other calls continue.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::context::Context;
use super::extension::pickled;
use super::held_calls::HeldCalls;
use super::operations::{Operations, undo_of};
use super::transaction::{Stage, Transaction};
use super::uploads::{UploadEnd, Uploads};
use crate::ids::Tid;
use crate::record;
use crate::server::caller::Caller;
use crate::server::counters::count;
use crate::server::ids::Ticket;
use crate::server::limits::Limits;
use crate::server::log_line::LogLevel;
use crate::server::messages::{Finish, HubRequest};
use crate::server::storage_calls::{
    BlobRecord, FoundShared, Leftovers, UploadId, VoteJob, VotedJob, Writer,
};
use crate::server::vote::{Operation, VoteError, VoteOutcome, VoteRequest};
use crate::storage::{Info, RecordData, Scratch, StorageError, TransactionMeta};
use crate::wire::call::{TxnCall, TxnHandle};
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;

/// The transaction of a connection, its upload, and the calls that wait for either.
#[derive(Debug, Default)]
pub(super) struct TwoPhaseCommit {
    open: Option<Transaction>,
    uploads: Uploads,
    held: HeldCalls,
}

/// Questions about the state.
impl TwoPhaseCommit {
    /// Whether so much waits, calls or bytes, that no more should be read.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.held.is_full()
            || self.uploads.is_full()
            || self.open.as_ref().is_some_and(|txn| txn.operations.is_full(limits))
    }

    /// Whether the transaction is on its way to the disk.
    pub(super) fn is_finishing(&self) -> bool {
        self.open.as_ref().is_some_and(Transaction::is_finishing)
    }

    fn is_under_way(&self) -> bool {
        self.open.as_ref().is_some_and(Transaction::is_under_way) || self.uploads.is_under_way()
    }

    /// The open transaction, if it still accepts operations.
    fn building(&mut self) -> Option<&mut Transaction> {
        self.open.as_mut().filter(|txn| txn.is_building())
    }

    /// The open transaction, if it is the one named.
    fn named(&mut self, handle: &TxnHandle) -> Result<&mut Transaction, Refusal> {
        let open = self.open.as_ref().map(|txn| txn.handle.clone());
        match &mut self.open {
            Some(txn) if txn.handle == *handle => Ok(txn),
            _ => Err(Refusal::WrongTransaction(open, handle.clone())),
        }
    }

    /// The open transaction, if its votes have this ticket.
    fn with_ticket(&mut self, ticket: Ticket) -> Option<&mut Transaction> {
        self.open.as_mut().filter(|txn| txn.ticket == ticket)
    }
}

/// Calls of the client.
impl TwoPhaseCommit {
    pub(super) fn call(&mut self, cx: &mut Context<'_>, caller: Caller, call: TxnCall) {
        if self.is_under_way() || !self.held.is_empty() {
            self.held.push(caller, call);
        } else {
            self.perform(cx, caller, call);
        }
    }

    /// Continues with the calls that were held.
    fn resume(&mut self, cx: &mut Context<'_>) {
        while cx.out.is_open() && !self.is_under_way() {
            let Some((caller, call)) = self.held.pop() else { return };
            self.perform(cx, caller, call);
        }
    }

    fn perform(&mut self, cx: &mut Context<'_>, caller: Caller, call: TxnCall) {
        if cx.registration.read_only {
            return cx.answer(caller, Err(Refusal::ReadOnly));
        }
        let result = match call {
            TxnCall::TpcBegin { txn, user, description, extension, tid, status } => {
                pickled(extension).and_then(|extension| {
                    let resolve_conflicts = !cx.registration.settings.client_conflict_resolution;
                    let meta = TransactionMeta {
                        user,
                        description,
                        extension,
                        tid,
                        status,
                        resolve_conflicts,
                    };
                    self.begin(cx, txn, meta)
                })
            }
            TxnCall::Vote { txn } => return self.vote(cx, caller, &txn),
            TxnCall::TpcFinish { txn } => return self.finish(cx, caller, &txn),
            TxnCall::TpcAbort { txn } => {
                self.abort(cx, &txn);
                Ok(())
            }
            TxnCall::Storea { oid, serial, data, txn } => {
                self.store(cx, &txn, Operation::Store { oid, serial, data: data.into() })
            }
            TxnCall::Restorea { oid, serial, data, prev_txn, txn } => {
                let data = data.map(RecordData::from);
                self.store(cx, &txn, Operation::Restore { oid, tid: serial, data, prev_txn })
            }
            TxnCall::DeleteObject { oid, serial, txn } => {
                self.store(cx, &txn, Operation::Delete { oid, serial })
            }
            TxnCall::CheckCurrentSerialInTransaction { oid, serial, txn } => {
                self.collect(cx, &txn, Ok(Operation::CheckCurrent { oid, serial }))
            }
            TxnCall::Undoa { id, txn } => self.collect(cx, &txn, undo_of(&id)),
            TxnCall::StoreBlobStart => self.uploads.start(cx),
            TxnCall::StoreBlobChunk { chunk } => self.uploads.chunk(cx, &chunk),
            TxnCall::StoreBlobEnd { oid, serial, data, txn } => {
                let record = BlobRecord { caller, oid, serial, data };
                return self.end_upload(cx, record, &txn);
            }
            TxnCall::StoreBlobShared { oid, serial, data, filename, txn } => {
                let record = BlobRecord { caller, oid, serial, data };
                return self.share_upload(cx, filename, record, &txn);
            }
        };
        cx.acknowledge(caller, result);
    }

    fn begin(
        &mut self,
        cx: &mut Context<'_>,
        handle: TxnHandle,
        meta: TransactionMeta,
    ) -> Result<(), Refusal> {
        match &self.open {
            Some(open) if open.handle == handle => Ok(()),
            Some(_) => Err(Refusal::Transaction(
                "Multiple simultaneous tpc_begin requests from one client.",
            )),
            None => {
                let ticket = Ticket(cx.next_number());
                self.open = Some(Transaction::new(handle, meta, ticket));
                count(&cx.counters().active_txns);
                Ok(())
            }
        }
    }

    fn vote(&mut self, cx: &mut Context<'_>, caller: Caller, handle: &TxnHandle) {
        let txn = match self.named(handle) {
            Ok(txn) => txn,
            Err(refusal) => return cx.answer(caller, Err(refusal)),
        };
        let refusal = match txn.stage {
            Stage::Building if txn.operations.is_written() => {
                return self.ask_for_locks(cx, caller);
            }
            Stage::Building => {
                txn.stage = Stage::Spooling(caller);
                return;
            }
            Stage::Waiting(_) => "Already voting (waiting)",
            Stage::Spooling(_)
            | Stage::Asked(_)
            | Stage::Preparing(_)
            | Stage::Voted { .. }
            | Stage::Finishing(_) => "Already voting (locked)",
        };
        cx.answer(caller, Err(Refusal::Transaction(refusal)));
    }

    /// The first step of a vote, when all records are where the storage finds them.
    fn ask_for_locks(&mut self, cx: &mut Context<'_>, caller: Caller) {
        let Some(txn) = self.building() else { return };
        if let Some(refusal) = txn.operations.failure().cloned() {
            return self.refuse(cx, caller, refusal);
        }
        let (ticket, locks) = (txn.ticket, txn.locks());
        txn.stage = Stage::Asked(caller);
        cx.ask(HubRequest::Lock(ticket, locks));
    }

    /// A failed vote ends the transaction (`spec: zeo-protocol 10`).
    fn refuse(&mut self, cx: &mut Context<'_>, caller: Caller, refusal: Refusal) {
        cx.counters().active_txns.fetch_sub(1, Ordering::Relaxed);
        if let Some(txn) = self.open.take() {
            let files = txn.operations.files();
            drop(txn);
            cx.discard(Leftovers { files, voted: None });
        }
        cx.answer(caller, Err(refusal));
    }

    /// Python's server answers an unknown transaction with `None`, which its own client cannot handle
    /// (`spec: zeo-protocol 11.1`); here it is refused.
    fn finish(&mut self, cx: &mut Context<'_>, caller: Caller, handle: &TxnHandle) {
        let txn = match self.named(handle) {
            Ok(txn) => txn,
            Err(refusal) => return cx.answer(caller, Err(refusal)),
        };
        match core::mem::replace(&mut txn.stage, Stage::Building) {
            Stage::Voted { voted, changed, .. } => {
                txn.stage = Stage::Finishing(caller);
                let finish = Finish { voted, changed, tid: txn.meta.tid };
                cx.ask(HubRequest::Finish(txn.ticket, finish));
            }
            stage => {
                txn.stage = stage;
                let text = "finished called wo lock";
                cx.answer(caller, Err(Refusal::text("builtins.AssertionError", text)));
            }
        }
    }

    /// Aborting an unknown transaction is no error. A vote that waits gets no reply any more
    /// (`spec: zeo-protocol-gotchas 25`). An upload that has not ended is aborted with the transaction.
    fn abort(&mut self, cx: &mut Context<'_>, handle: &TxnHandle) {
        if self.open.as_ref().is_some_and(|txn| txn.handle != *handle) {
            return;
        }
        if let Some(txn) = &self.open {
            cx.counters().active_txns.fetch_sub(1, Ordering::Relaxed);
            count(&cx.counters().aborts);
            if txn.is_known_to_hub() {
                cx.ask(HubRequest::Unlock(txn.ticket));
            }
        }
        let leftovers = self.take_leftovers();
        cx.discard(leftovers);
    }

    /// Forgets the transaction and the upload. Returns what takes long to drop.
    fn take_leftovers(&mut self) -> Leftovers {
        let mut leftovers = self.open.take().map(Transaction::into_leftovers).unwrap_or_default();
        leftovers.files.extend(self.uploads.abort());
        leftovers
    }

    /// The connection ends. What is on its way to the disk is committed all the same.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>) -> Leftovers {
        if let Some(txn) = &self.open {
            cx.counters().active_txns.fetch_sub(1, Ordering::Relaxed);
            if !txn.is_finishing() {
                count(&cx.counters().aborts);
            }
        }
        self.take_leftovers()
    }
}

/// Operations and uploads.
impl TwoPhaseCommit {
    /// Collects an operation that counts as a store.
    fn store(
        &mut self,
        cx: &mut Context<'_>,
        handle: &TxnHandle,
        operation: Operation,
    ) -> Result<(), Refusal> {
        self.collect(cx, handle, Ok(operation))?;
        count(&cx.counters().stores);
        Ok(())
    }

    /// Collects an operation, or the reason why the vote will fail. Python's server forgets what comes
    /// after a successful vote (`spec: zeo-protocol 9.2`). What comes while the vote waits is forgotten
    /// too: no lock was requested for it.
    fn collect(
        &mut self,
        cx: &mut Context<'_>,
        handle: &TxnHandle,
        operation: Result<Operation, Refusal>,
    ) -> Result<(), Refusal> {
        self.named(handle)?;
        self.add(cx, operation);
        Ok(())
    }

    /// Adds an operation to the open transaction, if it still accepts some.
    fn add(&mut self, cx: &mut Context<'_>, operation: Result<Operation, Refusal>) {
        let Some(txn) = self.building() else { return };
        let has_failed = txn.operations.failure().is_some();
        match operation {
            Ok(_) if has_failed => {}
            Ok(operation) => match txn.operations.add(operation, cx.limits()) {
                Ok(()) => self.spool(cx),
                Err(refusal) => self.fail(cx, refusal),
            },
            Err(refusal) => self.fail(cx, refusal),
        }
    }

    /// From now on the open transaction can only be aborted.
    fn fail(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        let Some(txn) = self.building() else { return };
        if txn.operations.failure().is_none() {
            let text = format!("the transaction cannot be committed: {refusal}");
            cx.out.log(LogLevel::Error, &text);
        }
        let files = txn.operations.fail(refusal);
        cx.discard(Leftovers { files, voted: None });
    }

    /// Continues with the temporary file of the open transaction.
    fn spool(&mut self, cx: &mut Context<'_>) {
        let Some(txn) = self.building() else { return };
        if let Some(job) = txn.operations.next_call(txn.ticket, cx.limits()) {
            cx.perform(job);
        }
    }

    /// The storage has made the temporary file of a transaction, which may be gone.
    pub(super) fn spool_created(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        result: Result<Option<Arc<dyn Scratch>>, StorageError>,
    ) {
        let Some(txn) = self.building().filter(|txn| txn.ticket == ticket) else { return };
        let result = result.map(|file| txn.operations.created(ticket, file));
        self.spooled(cx, result);
    }

    fn spool_written(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        result: Result<(), StorageError>,
    ) {
        let Some(txn) = self.building().filter(|txn| txn.ticket == ticket) else { return };
        let result = result.map(|()| txn.operations.wrote());
        self.spooled(cx, result);
    }

    /// A call for the temporary file is answered. The vote may wait for that.
    fn spooled(&mut self, cx: &mut Context<'_>, result: Result<(), StorageError>) {
        match result {
            Ok(()) => self.spool(cx),
            Err(error) => self.fail(cx, error.into()),
        }
        let Some(txn) = self.building() else { return };
        if txn.operations.is_written() {
            match core::mem::replace(&mut txn.stage, Stage::Building) {
                Stage::Spooling(caller) => self.ask_for_locks(cx, caller),
                stage => txn.stage = stage,
            }
        }
        self.resume(cx);
    }

    /// The storage has written to a temporary file.
    pub(super) fn written(
        &mut self,
        cx: &mut Context<'_>,
        writer: Writer,
        result: Result<(), StorageError>,
    ) {
        match writer {
            Writer::Spool(ticket) => self.spool_written(cx, ticket, result),
            Writer::Upload(id) => {
                let end = self.uploads.written(cx, id, result);
                self.upload_ended(cx, end);
                self.resume(cx);
            }
        }
    }

    fn end_upload(&mut self, cx: &mut Context<'_>, record: BlobRecord, handle: &TxnHandle) {
        if let Err(refusal) = self.named(handle) {
            return cx.answer(record.caller, Err(refusal));
        }
        let end = self.uploads.end(cx, record);
        self.upload_ended(cx, end);
    }

    fn share_upload(
        &mut self,
        cx: &mut Context<'_>,
        name: String,
        record: BlobRecord,
        handle: &TxnHandle,
    ) {
        if let Err(refusal) = self.named(handle) {
            return cx.answer(record.caller, Err(refusal));
        }
        self.uploads.share(cx, name, record);
    }

    /// The upload becomes an operation. If it failed, the vote returns the error.
    fn upload_ended(&mut self, cx: &mut Context<'_>, end: Option<UploadEnd>) {
        if let Some(UploadEnd { caller, result }) = end {
            self.add(cx, result);
            cx.answer(caller, Ok(Reply::Nil));
        }
    }

    /// The storage has made the file of an upload.
    pub(super) fn upload_created(
        &mut self,
        cx: &mut Context<'_>,
        id: UploadId,
        result: Result<Arc<dyn Scratch>, StorageError>,
    ) {
        self.uploads.created(cx, id, result);
        self.resume(cx);
    }

    /// The storage has looked for a file that the client has made.
    pub(super) fn upload_shared(&mut self, cx: &mut Context<'_>, found: FoundShared) {
        let end = self.uploads.shared(cx, found);
        self.upload_ended(cx, end);
        self.resume(cx);
    }
}

/// Notices of the hub, and the storage's answer to a vote.
impl TwoPhaseCommit {
    /// The vote is in the queue.
    pub(super) fn waiting(&mut self, cx: &mut Context<'_>, ticket: Ticket, ahead: usize) {
        let Some(txn) = self.with_ticket(ticket) else { return };
        if let Stage::Asked(caller) = &txn.stage {
            txn.stage = Stage::Waiting(caller.clone());
            let text = format!("vote waits for its locks behind {} others", ahead + 1);
            cx.out.log(if ahead < 3 { LogLevel::Debug } else { LogLevel::Warning }, &text);
        }
        self.resume(cx);
    }

    /// The locks are held: the storage checks the operations. If the vote was aborted meanwhile, the hub
    /// has the request to release them.
    pub(super) fn locked(&mut self, cx: &mut Context<'_>, ticket: Ticket) {
        let client_resolution = cx.registration.settings.client_conflict_resolution;
        let Some(txn) = self.with_ticket(ticket) else { return };
        match core::mem::replace(&mut txn.stage, Stage::Building) {
            Stage::Asked(caller) | Stage::Waiting(caller) => {
                let (meta, operations) = (txn.meta.clone(), txn.operations.take());
                let request = Arc::new(VoteRequest { meta, operations, client_resolution });
                txn.stage = Stage::Preparing(request.clone());
                cx.perform(VoteJob { ticket, caller, request });
            }
            stage => txn.stage = stage,
        }
    }

    /// The storage has checked the operations.
    pub(super) fn voted(&mut self, cx: &mut Context<'_>, voted: VotedJob) {
        let VotedJob { ticket, caller, request, result } = voted;
        let Some(txn) = self.with_ticket(ticket) else { return };
        // The stage shares the request, which can be taken apart without that.
        txn.stage = Stage::Building;
        match result {
            Ok(VoteOutcome::Ready { voted, changed, resolved, resolved_here }) => {
                let has_files = txn.operations.has_files(&request.operations);
                txn.operations = Operations::default();
                txn.stage = Stage::Voted { voted, changed, has_files };
                cx.counters().conflicts_resolved.fetch_add(resolved_here as u64, Ordering::Relaxed);
                cx.answer(caller, Ok(Reply::Oids(resolved)));
            }
            // The transaction stays open, the client stores again and votes again.
            Ok(VoteOutcome::Conflicts(conflicts)) => {
                txn.operations.give_back(Arc::unwrap_or_clone(request).operations);
                cx.ask(HubRequest::Unlock(ticket));
                cx.answer(caller, Ok(Reply::Conflicts(conflicts)));
            }
            Err(error) => {
                txn.operations.give_back(Arc::unwrap_or_clone(request).operations);
                cx.ask(HubRequest::Unlock(ticket));
                self.vote_failed(cx, caller, error);
            }
        }
        self.resume(cx);
    }

    fn vote_failed(&mut self, cx: &mut Context<'_>, caller: Caller, error: VoteError) {
        let is_conflict = matches!(
            error,
            VoteError::Conflict { .. } | VoteError::Storage(StorageError::ReadConflict { .. })
        );
        if is_conflict {
            count(&cx.counters().conflicts);
        }
        if let VoteError::Storage(
            StorageError::Disk { .. } | StorageError::Broken(_) | StorageError::Corrupt { .. },
        ) = error
        {
            cx.out.log(LogLevel::Critical, &format!("vote failed: {error}"));
        }
        self.refuse(cx, caller, refusal_of(error));
    }

    /// The commit is visible and all others have its invalidation, or it failed. Returns the tid that
    /// is sent to the peer.
    pub(super) fn finished(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        result: Result<(Tid, Info), Refusal>,
    ) -> Option<Tid> {
        let is_meant = |txn: &mut Transaction| txn.ticket == ticket && txn.is_finishing();
        let Some(Transaction { stage: Stage::Finishing(caller), .. }) = self.open.take_if(is_meant)
        else {
            return None;
        };
        cx.counters().active_txns.fetch_sub(1, Ordering::Relaxed);
        let committed = result.as_ref().ok().map(|(tid, _)| *tid);
        let result = result.map(|(tid, info)| {
            cx.notify_info(info);
            Reply::Tid(tid)
        });
        cx.answer(caller, result);
        self.resume(cx);
        committed
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
mod tests;
