//! The copying itself.

use std::collections::BTreeSet;

use rzeo_core::record::is_blob_record;
use rzeo_core::storage::Record;
use rzeo_core::{Oid, Tid};

use super::database::{Header, Source, Target, TransactionCursor};
use super::prefix_check;
use super::stop::Stop;
use crate::tools::ToolError;

/// Maximum number of blobs listed that could not be copied; further ones are counted.
const NAMED_MAX: usize = 20;
/// Bytes of a record in a file beside its data.
const RECORD_HEAD_BYTES: u64 = 42;

/// Counts of what was copied, for the summary.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) transactions: u64,
    pub(super) records: u64,
    pub(super) blobs: u64,
    /// Bytes of records, without blobs.
    pub(super) bytes: u64,
    /// The newest transaction of the target.
    pub(super) last: Option<Tid>,
    /// Transactions that got a later tid.
    pub(super) retimed: u64,
    /// Number of blob records that were copied without their blobs.
    pub(super) without_blobs: u64,
    /// Why their blobs were not copied; empty if blobs are copied.
    pub(super) why: &'static str,
    /// Blobs that could not be copied, with the reasons.
    pub(super) missing: Vec<(Oid, Tid, String)>,
    /// Number of further blobs that could not be copied.
    pub(super) more_missing: u64,
}

impl Copied {
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Copies all transactions that the target does not have yet. `progress` is called with the bytes copied so
/// far, and in total.
pub(super) fn copy(
    source: &dyn Source,
    target: &mut dyn Target,
    stop: &Stop,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied, ToolError> {
    let last = Some(target.last_tid()?).filter(|last| *last != Tid::ZERO);
    let mut cursor = source.transactions(last)?;
    if let Some(last) = last {
        prefix_check::check(source, &mut *cursor, &*target, last, stop)?;
    }
    let mut copying = Copying {
        source,
        stop,
        done: last.map_or(0, |_| target.size()),
        total: source.size(),
        progress,
        retimed: BTreeSet::new(),
        copied: Copied { last, why: why_without(source, target), ..Copied::default() },
        target,
    };
    let result = copying.transactions(&mut *cursor);
    // However it ended: the next copy resumes after the transactions that are in the target.
    let flushed = copying.target.flush();
    result.and(flushed)?;
    Ok(copying.copied)
}

/// Why blobs are not copied; empty if they are.
fn why_without(source: &dyn Source, target: &dyn Target) -> &'static str {
    match (source.has_blobs(), target.has_blobs()) {
        (true, true) => "",
        (true, false) => "because the target keeps no blobs",
        (false, true) => "because the source has no blobs",
        (false, false) => "because neither side keeps blobs",
    }
}

/// Files of other programs can have further statuses, which ZODB treats like a plain transaction.
const fn status(status: u8) -> u8 {
    match status {
        b' ' | b'p' => status,
        _ => b' ',
    }
}

struct Copying<'a> {
    source: &'a dyn Source,
    target: &'a mut dyn Target,
    stop: &'a Stop,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
    /// Original tids of the transactions that got later ones.
    retimed: BTreeSet<Tid>,
    copied: Copied,
}

impl Copying<'_> {
    fn transactions(&mut self, cursor: &mut dyn TransactionCursor) -> Result<(), ToolError> {
        while let Some(header) = cursor.next_transaction()? {
            self.stop.check()?;
            let tid = self.tid_for(header.tid);
            let status = status(header.status);
            self.target.begin(&Header { tid, status, ..header.clone() })?;
            let mut with_blobs = BTreeSet::new();
            while let Some(record) = cursor.next_record()? {
                self.stop.check()?;
                self.record(record, &mut with_blobs)?;
            }
            self.target.commit()?;
            self.copied.transactions += 1;
            self.copied.last = Some(tid);
            self.advance(header.bytes);
        }
        Ok(())
    }

    fn tid_for(&mut self, tid: Tid) -> Tid {
        let last = self.copied.last.filter(|last| tid <= *last);
        let Some(last) = last.filter(|_| self.target.wants_ascending_tids()) else { return tid };
        self.copied.retimed += 1;
        self.retimed.insert(tid);
        tid.later_than(last)
    }

    /// The blob is copied with the first record of an object in a transaction; a server writes two.
    fn record(&mut self, record: Record, with_blobs: &mut BTreeSet<Oid>) -> Result<(), ToolError> {
        let len = record.data.as_ref().map_or(8, |data| data.len() as u64);
        self.copied.records += 1;
        self.copied.bytes += len;
        let record = self.with_known_source(record)?;
        let is_blob = record.data.as_ref().is_some_and(is_blob_record);
        if !is_blob || with_blobs.contains(&record.oid) {
            self.target.restore(record)?;
        } else if self.copied.why.is_empty() {
            with_blobs.insert(record.oid);
            self.blob(record)?;
        } else {
            self.copied.without_blobs += 1;
            self.target.restore(record)?;
        }
        self.advance(RECORD_HEAD_BYTES + len);
        Ok(())
    }

    fn blob(&mut self, record: Record) -> Result<(), ToolError> {
        let (oid, tid) = (record.oid, record.tid);
        let why = match self.source.blob(oid, tid)? {
            None => format!("{} has none", self.source.name()),
            Some(mut blob) => {
                let mut blob = Stoppable { blob: &mut *blob, stop: self.stop };
                match self.target.restore_blob(&record, &mut blob) {
                    Ok(Ok(())) => {
                        self.copied.blobs += 1;
                        return Ok(());
                    }
                    Ok(Err(why)) => why,
                    // A read fails after a stop, but the stop is the reason to report.
                    Err(error) => return Err(self.stop.check().err().unwrap_or(error)),
                }
            }
        };
        if self.copied.missing.len() < NAMED_MAX {
            self.copied.missing.push((oid, tid, why));
        } else {
            self.copied.more_missing += 1;
        }
        self.target.restore(record)
    }

    /// Back pointers name transactions by tid. Where that transaction got another tid, the record is copied
    /// in full.
    fn with_known_source(&mut self, record: Record) -> Result<Record, ToolError> {
        let Some(source) = record.data_txn.filter(|source| self.retimed.contains(source)) else {
            return Ok(record);
        };
        self.target.flush()?;
        let found = self.target.transactions(Some(source))?.next_transaction()?;
        let data_txn = found.map(|found| found.tid).filter(|tid| *tid == source);
        Ok(Record { data_txn, ..record })
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        // A server's size is an estimate, and `done` can exceed it.
        self.total = self.total.max(self.done);
        (self.progress)(self.done, self.total);
    }
}

/// A blob whose reads fail once the copy has to stop.
struct Stoppable<'a> {
    blob: &'a mut dyn std::io::Read,
    stop: &'a Stop,
}

impl std::io::Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.check().is_err() {
            return Err(std::io::Error::other("stopped"));
        }
        self.blob.read(buffer)
    }
}
