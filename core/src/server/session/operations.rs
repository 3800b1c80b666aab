//! The operations of a transaction, collected until its vote.
//!
//! ```text
//!   storea, … ──► limits ──► operations           its first megabytes of records: memory
//!                   │            └──► spool ──►   the others: a temporary file of the storage
//!                   └──► failure
//! ```
//!
//! Operations themselves are small and stay in memory, as many as the limit allows. Records go to
//! the file while they arrive; when the client writes faster than the disk, its next bytes are left
//! in the socket.
//!
//! A one-way call can be refused only by ending the connection. So whatever fails before the vote, a
//! limit or a disk, makes the transaction fail later: what was collected is dropped at once, what still
//! arrives is dropped, and the vote is refused with the reason.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::scratch_writer::ScratchWriter;
use crate::server::ids::Ticket;
use crate::server::limits::Limits;
use crate::server::storage_calls::{CreateSpool, Job, Writer};
use crate::server::vote::Operation;
use crate::storage::{RecordData, Scratch};
use crate::wire::base64::{self, NotATid};
use crate::wire::refusal::Refusal;

/// Maximum number of bytes of records that are read while the storage makes the temporary file.
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
    failure: Option<Refusal>,
}

/// Where records go that do not fit into memory.
#[derive(Debug, Default)]
enum Spool {
    #[default]
    NotNeeded,
    /// The storage makes the file.
    Requested,
    Open(ScratchWriter),
    /// The storage has no such files.
    Unavailable,
}

impl Operations {
    /// Why the vote will be refused, if so.
    pub(super) const fn failure(&self) -> Option<&Refusal> {
        self.failure.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.list.iter().chain(&self.blobs)
    }

    /// Forgets everything but the reason; the first one counts. Returns the files that are not needed
    /// any more.
    pub(super) fn fail(&mut self, refusal: Refusal) -> Vec<Arc<dyn Scratch>> {
        let files = self.files();
        let failure = self.failure.take().or(Some(refusal));
        *self = Self { failure, ..Self::default() };
        files
    }

    /// The files of the storage that belong to it.
    pub(super) fn files(&self) -> Vec<Arc<dyn Scratch>> {
        let spool = match &self.spool {
            Spool::Open(writer) => Some(writer.file()),
            Spool::NotNeeded | Spool::Requested | Spool::Unavailable => None,
        };
        self.blobs.iter().filter_map(blob_of).chain(spool).cloned().collect()
    }

    /// Adds an operation whose record is in memory. An error is a limit that it exceeds.
    pub(super) fn add(&mut self, mut operation: Operation, limits: &Limits) -> Result<(), Refusal> {
        let stores = self.list.len() + self.blobs.len();
        if stores >= limits.transaction_stores_max {
            let limit = limits.transaction_stores_max as u64;
            return Err(over_limit("operations", limit, "max-transaction-stores"));
        }
        if let Some(data) = record_of(&mut operation) {
            self.bytes = self.bytes.saturating_add(data.len() as u64);
            if self.bytes > limits.transaction_bytes_max {
                let limit = limits.transaction_bytes_max;
                return Err(over_limit("bytes of records", limit, "max-transaction-size"));
            }
            self.spool_record(data);
        }
        match operation {
            Operation::StoreBlob { .. } => {
                if self.blobs.len() >= limits.transaction_blobs_max {
                    let limit = limits.transaction_blobs_max as u64;
                    return Err(over_limit("blobs", limit, "max-transaction-blobs"));
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

    /// Moves a record to the file, if there is one.
    fn spool_record(&mut self, data: &mut RecordData) {
        match (&mut self.spool, &*data) {
            (Spool::Open(writer), RecordData::Memory(bytes)) => {
                let at = writer.push(bytes);
                let (file, len) = (writer.file().clone(), bytes.len());
                *data = RecordData::Spooled { file, at, len };
            }
            _ => self.memory += data.len(),
        }
    }

    /// The next call for the temporary file of the transaction with this ticket, if one is needed.
    pub(super) fn next_call(&mut self, ticket: Ticket, limits: &Limits) -> Option<Job> {
        match &mut self.spool {
            Spool::NotNeeded if self.memory > limits.transaction_memory_bytes => {
                self.spool = Spool::Requested;
                Some(CreateSpool(ticket).into())
            }
            Spool::Open(writer) => writer.next_write().map(Job::from),
            Spool::NotNeeded | Spool::Requested | Spool::Unavailable => None,
        }
    }

    /// The storage has made the file, or has no such files.
    pub(super) fn created(&mut self, ticket: Ticket, file: Option<Arc<dyn Scratch>>) {
        if let Spool::Requested = self.spool {
            self.spool = file.map_or(Spool::Unavailable, |file| {
                Spool::Open(ScratchWriter::new(Writer::Spool(ticket), file))
            });
        }
    }

    /// The write under way is done.
    pub(super) const fn wrote(&mut self) {
        if let Spool::Open(writer) = &mut self.spool {
            writer.wrote();
        }
    }

    /// Whether all records are where the vote finds them. A vote waits also for a file that is being
    /// made: after a vote that ends in conflicts, more records may come for it.
    pub(super) fn is_written(&self) -> bool {
        match &self.spool {
            Spool::Open(writer) => writer.is_written(),
            Spool::Requested => false,
            Spool::NotNeeded | Spool::Unavailable => true,
        }
    }

    /// Whether no more records should be read until some are written.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        match &self.spool {
            Spool::Open(writer) => writer.is_full(),
            Spool::Requested => self.memory > limits.transaction_memory_bytes + AHEAD_BYTES_MAX,
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

    /// Returns what [`Self::take`] gave, because there will be another vote. Python's server has lost
    /// the blobs by then.
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

/// Refuses what exceeds a limit.
fn over_limit(what: &str, limit: u64, setting: &str) -> Refusal {
    too_much(format!(
        "the transaction has more than {limit} {what}, which is the limit ({setting})"
    ))
}

/// The refusal of something too big, under a name that Python's client rebuilds.
pub(super) fn too_much(text: String) -> Refusal {
    Refusal::text("ZODB.POSException.StorageTransactionError", text)
}

/// The operation of `undoa`, whose id is a tid in base64.
pub(super) fn undo_of(id: &[u8]) -> Result<Operation, Refusal> {
    match base64::decode(id) {
        Ok(tid) => Ok(Operation::Undo { tid }),
        Err(NotATid::Base64) => Err(Refusal::text("binascii.Error", "Incorrect padding")),
        Err(NotATid::Length) => Err(Refusal::Other("builtins.AssertionError", Vec::new())),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bytes::Bytes;

    use super::*;
    use crate::ids::{Oid, Tid};

    fn store(bytes: usize) -> Operation {
        let data = Bytes::from(vec![0; bytes]).into();
        Operation::Store { oid: Oid(1), serial: Tid::ZERO, data }
    }

    #[test]
    fn a_file_is_requested_once_when_memory_is_full() {
        let limits = Limits { transaction_memory_bytes: 10, ..Limits::default() };
        let mut operations = Operations::default();
        let next = |operations: &mut Operations| operations.next_call(Ticket(1), &limits);
        operations.add(store(10), &limits).expect("far below the limits");
        assert!(next(&mut operations).is_none() && operations.is_written());
        operations.add(store(1), &limits).expect("far below the limits");
        assert!(matches!(next(&mut operations), Some(Job::CreateSpool(_))));
        assert!(next(&mut operations).is_none() && !operations.is_written());
        operations.created(Ticket(1), None);
        assert!(operations.is_written(), "a storage without files keeps all in memory");
    }

    #[test]
    fn the_first_failure_counts_and_nothing_else_is_kept() {
        let limits = Limits { transaction_stores_max: 1, ..Limits::default() };
        let mut operations = Operations::default();
        operations.add(store(1), &limits).expect("one is allowed");
        let refusal = operations.add(store(1), &limits).expect_err("two are not");
        operations.fail(refusal.clone());
        operations.fail(Refusal::ReadOnly);
        assert_eq!(operations.failure(), Some(&refusal));
        assert_eq!(operations.iter().count(), 0);
    }
}
