//! Tools for data files that are not served: scan, check, repair.
//!
//! Everything here reads a file from front to back as it is on the disk, takes no lock and changes
//! nothing, so it can run beside a server: committed bytes do not change, and bytes appended after
//! the file was opened are not read. Unlike the storage, which refuses a damaged file, a [`Scan`]
//! skips damage and continues at the next complete transaction.

mod blob_files;
mod check;
mod repair;
mod salvage;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rzeo_core::storage::{Patience, StorageError, TransactionHeader};
use rzeo_core::{Oid, Tid};

pub use self::check::{CheckOptions, IndexFile, Observer, Problem, Report, check};
pub use self::repair::{Lost, Repaired, repair};
use crate::disk::{Access, Disk, failed};
use crate::file::format::{FIRST, Status, TransactionHead};
use crate::file::history;
use crate::file::log::{DataFile, Log, RecordReader};
use crate::file::recover::check_magic;
use crate::file::scan::{self, Flaw, FlawKind, ScannedPayload, ScannedRecord, Window};

/// Iterates over a data file, from its first transaction to its end.
pub struct Scan {
    log: Log,
    window: Window,
    at: u64,
    found: Vec<ScannedRecord>,
}

/// The next part of a data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanItem {
    /// A complete transaction.
    Transaction(Transaction),
    /// Bytes that are not a transaction.
    Gap(Gap),
}

/// A transaction and its position in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Position of its first byte.
    pub at: u64,
    /// Its metadata. `size` is the length that the header has, without the trailing copy of it.
    pub header: TransactionHeader,
    /// Its records, in file order; empty if it is marked as undone, as old versions of ZODB did.
    pub records: Vec<RecordInfo>,
}

impl Transaction {
    /// Whether its header marks it as undone: its records do not count.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        Status(self.header.status) == Status::UNDONE
    }
}

/// A record and its position in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordInfo {
    /// The object whose record it is.
    pub oid: Oid,
    /// The record's tid, which should be its transaction's.
    pub tid: Tid,
    /// Position of its first byte.
    pub at: u64,
    /// Position of the record that this one replaced, or 0.
    pub prev: u64,
    /// What follows the record's header.
    pub payload: PayloadInfo,
}

/// What follows a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadInfo {
    /// Data of this many bytes.
    Data(u64),
    /// The position of an earlier record with the same data.
    Back(u64),
    /// The record deletes the object.
    Deleted,
}

/// Bytes that are not a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Position of the first of these bytes.
    pub at: u64,
    /// Number of bytes up to the next complete transaction, or to the end of the file.
    pub bytes: u64,
    /// The first flaw found.
    pub what: &'static str,
    /// Position of this flaw.
    pub flaw_at: u64,
    /// Whether the gap is at the end of the file and can be an interrupted write, or one in
    /// progress: a transaction that was never acknowledged.
    pub unfinished: bool,
}

impl Scan {
    /// Opens a data file for reading. Bytes appended later are not read.
    ///
    /// # Errors
    /// `Disk`; `Corrupt` if it is not a FileStorage.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let name = path.display().to_string();
        let fail = |error| failed(|| format!("open {name}"), &error);
        let disk_file = disk.open(path, Access::Read).map_err(fail)?;
        let end = disk_file.len().map_err(fail)?;
        let log = Log { file: Arc::new(DataFile { disk_file, name }), end };
        check_magic(&log)?;
        Ok(Self { window: Window::new(log.clone()), log, at: FIRST, found: Vec::new() })
    }

    /// Length of the file when it was opened, in bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.log.end
    }

    /// Position up to which the file was scanned.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Moves to the last `count` transactions, or to fewer if the file cannot be read backwards
    /// that far.
    ///
    /// # Errors
    /// `Disk`.
    pub fn skip_to_last(&mut self, count: usize) -> Result<(), StorageError> {
        self.at = self.log.end;
        for _ in 0..count {
            let before = match self.log.transaction_before(self.at) {
                Ok(Some((at, _))) if self.is_whole(at)? => at,
                Ok(None) => return Ok(()),
                // An unfinished write, or damage: it can be skipped only in forward direction.
                Ok(Some(_)) | Err(StorageError::Corrupt { .. }) => {
                    return self.count_to_last(count);
                }
                Err(error) => return Err(error),
            };
            self.at = before;
        }
        Ok(())
    }

    fn is_whole(&mut self, at: u64) -> Result<bool, StorageError> {
        Ok(scan::check(&mut self.window, at, &mut self.found)?.is_ok())
    }

    fn count_to_last(&mut self, count: usize) -> Result<(), StorageError> {
        let mut starts = std::collections::VecDeque::new();
        self.at = FIRST;
        while let Some(step) = self.next_item()? {
            if let ScanItem::Transaction(transaction) = step {
                starts.push_back(transaction.at);
                if starts.len() > count {
                    starts.pop_front();
                }
            }
        }
        self.at = starts.front().copied().unwrap_or(self.log.end);
        Ok(())
    }

    /// The next transaction or gap; `None` at the end of the file.
    ///
    /// # Errors
    /// `Disk`.
    pub fn next_item(&mut self) -> Result<Option<ScanItem>, StorageError> {
        let at = self.at;
        if at >= self.log.end {
            return Ok(None);
        }
        match scan::check(&mut self.window, at, &mut self.found)? {
            Ok(head) => self.transaction(at, head).map(ScanItem::Transaction).map(Some),
            Err(flaw) => self.gap(at, flaw).map(ScanItem::Gap).map(Some),
        }
    }

    fn transaction(&mut self, at: u64, head: TransactionHead) -> Result<Transaction, StorageError> {
        self.at = head.end(at).expect("the scan found the transaction within the file");
        let header = history::header(&self.log, at, head)?;
        let records = self.found.iter().map(RecordInfo::from).collect();
        Ok(Transaction { at, header, records })
    }

    /// The bytes up to the next complete transaction, or to the end.
    fn gap(&mut self, at: u64, flaw: Flaw) -> Result<Gap, StorageError> {
        let next = scan::find_committed(&self.log, at + 1)?;
        let next = next.map(|next| self.first_after(at, next)).transpose()?;
        let damaged =
            flaw.kind == FlawKind::Wrong || scan::complete_but_for_length(&mut self.window, at)?;
        let end = next.unwrap_or(self.log.end);
        self.at = end;
        let unfinished = next.is_none() && !damaged;
        Ok(Gap { at, bytes: end - at, what: flaw.what, flaw_at: flaw.at, unfinished })
    }

    /// Transactions without records can be found only backwards, by their lengths.
    fn first_after(&mut self, gap: u64, found: u64) -> Result<u64, StorageError> {
        let mut first = found;
        loop {
            match self.log.transaction_before(first) {
                Ok(Some((at, _))) if at > gap && self.is_whole(at)? => first = at,
                Ok(_) | Err(StorageError::Corrupt { .. }) => return Ok(first),
                Err(error) => return Err(error),
            }
        }
    }

    /// The state that a record gives its object, following back pointers; `None` if the record
    /// deletes it.
    ///
    /// # Errors
    /// `Corrupt` if a pointer does not lead to a record of the object, `Disk`.
    pub fn data(&self, record: &RecordInfo) -> Result<Option<Bytes>, StorageError> {
        match record.payload {
            PayloadInfo::Deleted => Ok(None),
            PayloadInfo::Data(_) | PayloadInfo::Back(_) => {
                self.reader(record.oid, record.at)?.data()
            }
        }
    }

    /// The tid of the record that a record points back to; `None` without a back pointer.
    ///
    /// # Errors
    /// `Corrupt` if the pointer does not lead to a record of the object, `Disk`.
    pub fn data_txn(&self, record: &RecordInfo) -> Result<Option<Tid>, StorageError> {
        let PayloadInfo::Back(back) = record.payload else { return Ok(None) };
        let mut reader = self.reader(record.oid, record.at)?;
        reader.go_back(back)?;
        Ok(Some(reader.head().tid))
    }

    fn reader(&self, oid: Oid, at: u64) -> Result<RecordReader<'_>, StorageError> {
        RecordReader::new(&self.log, oid, at, Patience::Wait)
    }
}

impl From<&ScannedRecord> for RecordInfo {
    fn from(found: &ScannedRecord) -> Self {
        let payload = match found.payload {
            ScannedPayload::Data(len) => PayloadInfo::Data(len),
            ScannedPayload::Back(at) => PayloadInfo::Back(at),
            ScannedPayload::Deleted => PayloadInfo::Deleted,
        };
        Self { oid: found.oid, tid: found.tid, at: found.at, prev: found.prev, payload }
    }
}
