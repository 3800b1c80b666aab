//! What a transaction has been told to do, until it is voted.
//!
//! ```text
//!   storea, … ──► limits ──► operations           its first megabytes of records: memory
//!                   │            └──► spool ──►   the others: a temporary file of the storage
//!                   └──► doomed
//! ```
//!
//! Operations themselves are small and stay in memory, as many as the limit allows. Records go to
//! the file while they arrive; when the client writes faster than the disk, its next bytes are left
//! in the socket.
//!
//! A one-way call cannot be refused but by ending the connection. So whatever goes wrong before the
//! vote, a limit or a failing disk, dooms the transaction: what was collected is dropped at once, what
//! still comes is dropped on arrival, and the vote is refused with the reason.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::desk::{Desk, Job};
use super::line::Line;
use super::stream::Stream;
use super::transaction::Stage;
use crate::server::counters::count;
use crate::server::ids::Ticket;
use crate::server::jobs::{Leftovers, StorageCall, StorageReply};
use crate::server::limits::Limits;
use crate::server::log_line::LogLevel;
use crate::server::vote::Operation;
use crate::storage::{RecordData, Scratch, StorageError};
use crate::wire::base64::{self, NotATid};
use crate::wire::call::TxnCall;
use crate::wire::refusal::Refusal;

/// Bytes of records that may come while the storage makes the temporary file.
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// The operations of a transaction.
#[derive(Debug, Default)]
pub(super) struct Operations {
    list: Vec<Operation>,
    /// Those with a blob, which Python's server plays last and backwards (`spec: zeo-protocol 10`).
    blobs: Vec<Operation>,
    /// Length of all records.
    bytes: u64,
    /// Length of those in memory.
    memory: usize,
    spool: Spool,
    /// Why the vote will be refused.
    doomed: Option<Refusal>,
}

/// Where the records go that do not fit into memory.
#[derive(Debug, Default)]
enum Spool {
    #[default]
    NotNeeded,
    /// The storage makes the file.
    Asked,
    Open(Stream),
    /// The storage has no such files.
    Unavailable,
}

impl Operations {
    pub(super) const fn doomed(&self) -> Option<&Refusal> {
        self.doomed.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.list.iter().chain(&self.blobs)
    }

    /// Forgets everything but the reason; the first one counts. Returns the files that nobody needs.
    fn doom(&mut self, refusal: Refusal) -> Vec<Arc<dyn Scratch>> {
        let files = self.files();
        let doomed = self.doomed.take().or(Some(refusal));
        *self = Self { doomed, ..Self::default() };
        files
    }

    /// The files of the storage that it has.
    pub(super) fn files(&self) -> Vec<Arc<dyn Scratch>> {
        let spool = match &self.spool {
            Spool::Open(stream) => Some(stream.file()),
            Spool::NotNeeded | Spool::Asked | Spool::Unavailable => None,
        };
        self.blobs.iter().filter_map(blob_of).chain(spool).cloned().collect()
    }

    /// Adds an operation whose record is in memory. An error is a limit that it goes over.
    fn add(&mut self, mut operation: Operation, limits: &Limits) -> Result<(), Refusal> {
        let stores = self.list.len() + self.blobs.len();
        if stores >= limits.transaction_stores_max {
            let limit = limits.transaction_stores_max as u64;
            return Err(over("operations", limit, "max-transaction-stores"));
        }
        if let Some(data) = record_of(&mut operation) {
            self.bytes = self.bytes.saturating_add(data.len() as u64);
            if self.bytes > limits.transaction_bytes_max {
                let limit = limits.transaction_bytes_max;
                return Err(over("bytes of records", limit, "max-transaction-size"));
            }
            self.place(data);
        }
        match operation {
            Operation::StoreBlob { .. } => {
                if self.blobs.len() >= limits.transaction_blobs_max {
                    let limit = limits.transaction_blobs_max as u64;
                    return Err(over("blobs", limit, "max-transaction-blobs"));
                }
                self.blobs.push(operation);
            }
            Operation::Store { .. }
            | Operation::Delete { .. }
            | Operation::CheckCurrent { .. }
            | Operation::Restore { .. }
            | Operation::Undo { .. } => self.list.push(operation),
        }
        Ok(())
    }

    /// Moves a record to where it is kept.
    fn place(&mut self, data: &mut RecordData) {
        match (&mut self.spool, &*data) {
            (Spool::Open(stream), RecordData::Memory(bytes)) => {
                let at = stream.push(bytes);
                let (file, len) = (stream.file().clone(), bytes.len());
                *data = RecordData::Spooled { file, at, len };
            }
            _ => self.memory += data.len(),
        }
    }

    /// What is wanted of the storage next, if something is.
    fn next_call(&mut self, limits: &Limits) -> Option<StorageCall> {
        match &mut self.spool {
            Spool::NotNeeded if self.memory > limits.transaction_memory_bytes => {
                self.spool = Spool::Asked;
                Some(StorageCall::Scratch)
            }
            Spool::Open(stream) => stream.next_write(),
            Spool::NotNeeded | Spool::Asked | Spool::Unavailable => None,
        }
    }

    /// An answer of the storage to such a call.
    fn answered(&mut self, reply: StorageReply) -> Result<(), StorageError> {
        match reply {
            StorageReply::Scratch(file) => {
                let file = file?;
                if let Spool::Asked = self.spool {
                    self.spool = file.map_or(Spool::Unavailable, |f| Spool::Open(Stream::new(f)));
                }
            }
            StorageReply::Written(written) => {
                written?;
                if let Spool::Open(stream) = &mut self.spool {
                    stream.wrote();
                }
            }
            reply => unreachable!("no answer about a temporary file: {reply:?}"),
        }
        Ok(())
    }

    /// Whether all records are where the vote finds them. A file that is being made is waited for:
    /// after a vote that ends in conflicts more records may come for it.
    pub(super) fn is_written(&self) -> bool {
        match &self.spool {
            Spool::Open(stream) => stream.is_written(),
            Spool::Asked => false,
            Spool::NotNeeded | Spool::Unavailable => true,
        }
    }

    /// Whether no more records should be asked for until some are written.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        match &self.spool {
            Spool::Open(stream) => stream.is_full(),
            Spool::Asked => self.memory > limits.transaction_memory_bytes + AHEAD_BYTES_MAX,
            Spool::NotNeeded | Spool::Unavailable => false,
        }
    }

    /// Whether files of the storage belong to it, with what was taken for a vote.
    pub(super) fn has_files(&self, taken: &[Operation]) -> bool {
        matches!(self.spool, Spool::Open(_))
            || taken.last().is_some_and(|last| blob_of(last).is_some())
    }

    /// The operations as the vote plays them.
    pub(super) fn take(&mut self) -> Vec<Operation> {
        let mut operations = core::mem::take(&mut self.list);
        operations.extend(self.blobs.drain(..).rev());
        operations
    }

    /// Takes back what [`Self::take`] gave, because there will be another vote. Python's server has
    /// lost the blobs by then.
    pub(super) fn give_back(&mut self, mut operations: Vec<Operation>) {
        let is_blob = |operation: &Operation| blob_of(operation).is_some();
        let first_blob = operations.iter().position(is_blob).unwrap_or(operations.len());
        self.blobs = operations.split_off(first_blob);
        self.blobs.reverse();
        self.list = operations;
    }
}

/// The record that an operation brings.
fn record_of(operation: &mut Operation) -> Option<&mut RecordData> {
    match operation {
        Operation::Store { data, .. } | Operation::StoreBlob { data, .. } => Some(data),
        Operation::Restore { data, .. } => data.as_mut(),
        Operation::Delete { .. } | Operation::CheckCurrent { .. } | Operation::Undo { .. } => None,
    }
}

/// The blob that an operation brings.
pub(super) fn blob_of(operation: &Operation) -> Option<&Arc<dyn Scratch>> {
    match operation {
        Operation::StoreBlob { blob, .. } => Some(blob),
        Operation::Store { .. }
        | Operation::Delete { .. }
        | Operation::CheckCurrent { .. }
        | Operation::Restore { .. }
        | Operation::Undo { .. } => None,
    }
}

/// Refuses what goes over a limit. The class is one that Python's client knows.
fn over(what: &str, limit: u64, setting: &str) -> Refusal {
    too_much(format!(
        "the transaction has more than {limit} {what}, which is the limit ({setting})"
    ))
}

/// The refusal of something too big, under a name that Python's client rebuilds.
pub(super) fn too_much(text: String) -> Refusal {
    Refusal::text("ZODB.POSException.StorageTransactionError", text)
}

impl Desk {
    /// Collects an operation. Python forgets what comes after a successful vote
    /// (`spec: zeo-protocol 9.2`). What comes while the vote waits is forgotten too: no lock was asked
    /// for it.
    pub(super) fn collect(&mut self, line: &mut Line, call: TxnCall) -> Result<(), Refusal> {
        let (operation, handle, is_store) = match call {
            TxnCall::Storea { oid, serial, data, txn } => {
                (Ok(Operation::Store { oid, serial, data: data.into() }), txn, true)
            }
            TxnCall::Restorea { oid, serial, data, prev_txn, txn } => {
                let data = data.map(RecordData::from);
                (Ok(Operation::Restore { oid, tid: serial, data, prev_txn }), txn, true)
            }
            TxnCall::DeleteObject { oid, serial, txn } => {
                (Ok(Operation::Delete { oid, serial }), txn, true)
            }
            TxnCall::CheckCurrentSerialInTransaction { oid, serial, txn } => {
                (Ok(Operation::CheckCurrent { oid, serial }), txn, false)
            }
            TxnCall::Undoa { id, txn } => (undo_of(&id), txn, false),
            TxnCall::TpcBegin { .. }
            | TxnCall::Vote { .. }
            | TxnCall::TpcFinish { .. }
            | TxnCall::TpcAbort { .. }
            | TxnCall::StoreBlobStart
            | TxnCall::StoreBlobChunk { .. }
            | TxnCall::StoreBlobEnd { .. }
            | TxnCall::StoreBlobShared { .. } => unreachable!("these are no operations"),
        };
        self.transactions.named(&handle)?;
        match operation {
            Ok(operation) => self.add(line, operation),
            Err(refusal) => self.doom(line, refusal),
        }
        if is_store {
            count(&self.counters().stores);
        }
        Ok(())
    }

    /// Adds an operation to the open transaction, if it still takes some.
    pub(super) fn add(&mut self, line: &mut Line, operation: Operation) {
        let Some(txn) = self.transactions.building() else { return };
        if txn.operations.doomed.is_some() {
            return;
        }
        match txn.operations.add(operation, &self.settings.limits) {
            Ok(()) => self.spool(line),
            Err(refusal) => self.doom(line, refusal),
        }
    }

    /// From now on the open transaction can only be aborted.
    pub(super) fn doom(&mut self, line: &mut Line, refusal: Refusal) {
        let Some(txn) = self.transactions.building() else { return };
        if txn.operations.doomed.is_none() {
            line.log(LogLevel::Error, &format!("the transaction cannot be committed: {refusal}"));
        }
        let files = txn.operations.doom(refusal);
        self.discard(line, Leftovers { files, voted: None });
    }

    /// Lets go of files where that may take its time.
    pub(super) fn discard(&mut self, line: &mut Line, leftovers: Leftovers) {
        if !leftovers.files.is_empty() || leftovers.voted.is_some() {
            self.perform(line, Job::Discard, StorageCall::Discard(leftovers));
        }
    }

    /// Goes on with the temporary file of the open transaction.
    fn spool(&mut self, line: &mut Line) {
        let Some(txn) = self.transactions.building() else { return };
        let ticket = txn.ticket;
        if let Some(call) = txn.operations.next_call(&self.settings.limits) {
            self.perform(line, Job::Spool(ticket), call);
        }
    }

    /// The storage has answered about the temporary file of a transaction, which may be gone.
    pub(super) fn spooled(&mut self, line: &mut Line, ticket: Ticket, reply: StorageReply) {
        let Some(txn) = self.transactions.building().filter(|txn| txn.ticket == ticket) else {
            return;
        };
        match txn.operations.answered(reply) {
            Ok(()) => self.spool(line),
            Err(error) => self.doom(line, error.into()),
        }
        let Some(txn) = self.transactions.building() else { return };
        if txn.operations.is_written()
            && let Stage::Spooling(caller) = core::mem::replace(&mut txn.stage, Stage::Building)
        {
            self.ask_for_locks(line, caller);
        }
        self.resume(line);
    }
}

fn undo_of(id: &[u8]) -> Result<Operation, Refusal> {
    match base64::decode(id) {
        Ok(tid) => Ok(Operation::Undo { tid }),
        Err(NotATid::Base64) => Err(Refusal::text("binascii.Error", "Incorrect padding")),
        Err(NotATid::Length) => Err(Refusal::Other("builtins.AssertionError", Vec::new())),
    }
}
