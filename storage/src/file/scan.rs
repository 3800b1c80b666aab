//! Scans the log from front to back, and checks everything that it reads.
//!
//! [`check`] reads one transaction and returns either the positions of its records or the first
//! [`Flaw`]. The caller decides what a flaw means; [`FlawKind`] distinguishes the cases.

use rzeo_core::storage::{Patience, StorageError};
use rzeo_core::{Oid, Tid};

use super::format::{
    FIRST, POINTER, RECORD_HEAD, RecordHead, Status, TRANSACTION_HEAD, TransactionHead, be64,
};
use super::log::Log;

/// Bytes per read in a scan.
const WALK_BYTES: usize = 256 << 10;
/// Bytes per read at single positions.
const LOOK_BYTES: usize = 4096;

/// A buffer that moves over the log.
pub(crate) struct Window {
    log: Log,
    buffer: Vec<u8>,
    start: u64,
    capacity: usize,
}

impl Window {
    /// A window for a scan.
    pub(crate) fn new(log: Log) -> Self {
        Self { log, buffer: Vec::new(), start: 0, capacity: WALK_BYTES }
    }

    /// A window for reads at positions far apart.
    pub(crate) fn narrow(log: Log) -> Self {
        Self { log, buffer: Vec::new(), start: 0, capacity: LOOK_BYTES }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The bytes at a position; fewer than `len` only at the end of the log.
    pub(crate) fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8], StorageError> {
        let offset = at.checked_sub(self.start).and_then(|offset| usize::try_from(offset).ok());
        // A position from a damaged file can have any value.
        let end = offset.and_then(|offset| offset.checked_add(len));
        let held = offset.filter(|_| end.is_some_and(|end| end <= self.buffer.len()));
        let offset = match held {
            Some(offset) => offset,
            None => {
                self.buffer.resize(self.capacity.max(len), 0);
                let filled = self.log.fill(&mut self.buffer, at, Patience::Wait)?;
                self.buffer.truncate(filled);
                self.start = at;
                0
            }
        };
        let rest = &self.buffer[offset..];
        Ok(&rest[..len.min(rest.len())])
    }

    pub(crate) fn record_head(&mut self, at: u64) -> Result<Option<RecordHead>, StorageError> {
        Ok(self.bytes(at, RECORD_HEAD)?.first_chunk().map(RecordHead::parse))
    }

    pub(crate) fn number(&mut self, at: u64) -> Result<Option<u64>, StorageError> {
        Ok(self.bytes(at, POINTER)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)))
    }
}

/// A record found by [`check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScannedRecord {
    pub(crate) oid: Oid,
    pub(crate) at: u64,
    pub(crate) tid: Tid,
    /// Position of the record that this one replaced, or 0.
    pub(crate) prev: u64,
    pub(crate) payload: ScannedPayload,
}

/// What follows a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScannedPayload {
    /// Data of this many bytes.
    Data(u64),
    /// The position of an earlier record with the same data.
    Back(u64),
    /// The record deletes the object.
    Deleted,
}

/// A contradiction in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) kind: FlawKind,
    pub(crate) at: u64,
    pub(crate) what: &'static str,
}

/// The kinds of flaws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlawKind {
    /// The log ends within the transaction's fixed header.
    Stub,
    /// The transaction would pass the end of the log.
    PassesEnd,
    /// The transaction was voted and not finished.
    Voted {
        /// End of the span that its header names.
        end: u64,
    },
    /// There are zeros where other bytes are required: these bytes did not reach the disk.
    Unwritten,
    /// The transaction contradicts itself.
    Wrong,
}

/// Reads the transaction at a position, and lists its records.
pub(crate) fn check(
    window: &mut Window,
    at: u64,
    records: &mut Vec<ScannedRecord>,
) -> Result<Result<TransactionHead, Flaw>, StorageError> {
    records.clear();
    let Some(head) = window.bytes(at, TRANSACTION_HEAD)?.first_chunk() else {
        return flaw(FlawKind::Stub, at, "the file ends within a transaction's header");
    };
    let head = TransactionHead::parse(head);
    let unwritten = head.len == 0 || head.status.0 == 0;
    let doubt = if unwritten { FlawKind::Unwritten } else { FlawKind::Wrong };
    let Some(end) = head.end(at).filter(|end| *end <= window.log.end) else {
        return flaw(FlawKind::PassesEnd, at, "a transaction passes the end of the file");
    };
    if head.status == Status::VOTED {
        return flaw(FlawKind::Voted { end }, at, "a transaction was not finished");
    }
    if head.len < head.head_len() {
        return flaw(doubt, at, "a transaction is shorter than its own header");
    }
    if !head.status.0.is_ascii() {
        return flaw(doubt, at, "a transaction has an impossible status");
    }
    let trailer_at = end - POINTER as u64;
    if head.status != Status::UNDONE
        && let Err(flaw) = check_records(window, at, head, trailer_at, records)?
    {
        return Ok(Err(flaw));
    }
    match window.number(trailer_at)? {
        Some(len) if len == head.len => Ok(Ok(head)),
        Some(0) => flaw(FlawKind::Unwritten, trailer_at, "a trailing length is zero"),
        Some(_) | None => flaw(doubt, trailer_at, "a transaction's two lengths differ"),
    }
}

fn check_records(
    window: &mut Window,
    transaction: u64,
    head: TransactionHead,
    end: u64,
    records: &mut Vec<ScannedRecord>,
) -> Result<Result<(), Flaw>, StorageError> {
    let mut at = transaction + head.head_len();
    while at < end {
        let Some(record) = window.record_head(at)? else {
            return flaw(FlawKind::Wrong, at, "the file ends within a record");
        };
        if record.transaction == 0 {
            return flaw(FlawKind::Unwritten, at, "a record is all zeros");
        }
        if record.transaction != transaction {
            return flaw(FlawKind::Wrong, at, "a record names another transaction as its own");
        }
        if record.version_len != 0 {
            return flaw(FlawKind::Wrong, at, "a record has a version");
        }
        let Some(next) = record.end(at).filter(|next| *next <= end) else {
            return flaw(FlawKind::Wrong, at, "a record passes the end of its transaction");
        };
        let payload = match record.data_len {
            0 => match window.number(at + RECORD_HEAD as u64)? {
                Some(0) | None => ScannedPayload::Deleted,
                Some(back) => ScannedPayload::Back(back),
            },
            len => ScannedPayload::Data(len),
        };
        let RecordHead { oid, tid, prev, .. } = record;
        records.push(ScannedRecord { oid, at, tid, prev, payload });
        at = next;
    }
    Ok(Ok(()))
}

/// Whether a committed transaction is at this position, complete except for the length in its
/// header.
pub(crate) fn complete_but_for_length(
    window: &mut Window,
    transaction: u64,
) -> Result<bool, StorageError> {
    let Some(head) = window.bytes(transaction, TRANSACTION_HEAD)?.first_chunk() else {
        return Ok(false);
    };
    let head = TransactionHead::parse(head);
    let mut at = transaction + head.head_len();
    while let Some(record) = window.record_head(at)?
        && record.transaction == transaction
        && let Some(next) = record.end(at)
    {
        at = next;
    }
    Ok(head.status.is_final()
        && at > transaction + head.head_len()
        && window.number(at)? == Some(at - transaction))
}

/// The first committed transaction at or after a position, which can be any position.
///
/// Finds only transactions with records: a record holds its transaction's position, which
/// distinguishes it from other bytes. (The data of a record can themselves be a FileStorage.)
pub(crate) fn find_committed(log: &Log, from: u64) -> Result<Option<u64>, StorageError> {
    let mut window = Window::new(log.clone());
    let mut closer = Window::narrow(log.clone());
    let mut records = Vec::new();
    for at in from.max(FIRST)..log.end {
        let Some(head) = window.bytes(at, TRANSACTION_HEAD)?.first_chunk::<TRANSACTION_HEAD>()
        else {
            return Ok(None);
        };
        if !Status(head[16]).is_final() || be64(head, 8) > log.end {
            continue;
        }
        let candidate = check(&mut closer, at, &mut records)?;
        if candidate.is_ok() && !records.is_empty() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn flaw<T>(kind: FlawKind, at: u64, what: &'static str) -> Result<Result<T, Flaw>, StorageError> {
    Ok(Err(Flaw { kind, at, what }))
}
