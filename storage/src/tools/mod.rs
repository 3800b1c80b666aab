//! Looking at data files without serving them: walking, checking, repairing.
//!
//! Everything here reads a file from front to back as it is on the disk, takes no lock and changes
//! nothing, so it may run beside a server: what is committed does not change, and what is appended
//! after the file was opened is not looked at. Unlike the storage, which refuses a damaged file, a
//! [`Scan`] steps over damage and goes on at the next transaction that is whole.

mod blob_files;
mod check;
mod repair;
mod salvage;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::{Patience, StorageError, TransactionHeader};

pub use self::check::{CheckOptions, IndexFile, Observer, Problem, Report, check};
pub use self::repair::{Lost, Repaired, repair};
use crate::disk::{Access, Disk, failed};
use crate::file::format::{FIRST, Status, TransactionHead};
use crate::file::history;
use crate::file::log::{DataFile, Log, RecordReader};
use crate::file::recover::check_magic;
use crate::file::scan::{self, Flaw, FlawKind, Found, Shape, Window};

/// A walk over a data file, from its first transaction to its end.
pub struct Scan {
    log: Log,
    window: Window,
    at: u64,
    found: Vec<Found>,
}

/// What comes next in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A whole transaction.
    Transaction(Transaction),
    /// Bytes that are no transaction.
    Gap(Gap),
}

/// A transaction as it lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Where it begins.
    pub at: u64,
    /// What it says of itself. `size` is its length without the trailing copy of it.
    pub header: TransactionHeader,
    /// Its records, in order; none for one that was undone in the way of the last century.
    pub records: Vec<RecordPlace>,
}

impl Transaction {
    /// Whether it was undone by a mark in its header: its records do not count.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        Status(self.header.status) == Status::UNDONE
    }
}

/// A record as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// The object.
    pub oid: Oid,
    /// Its tid, which should be its transaction's.
    pub tid: Tid,
    /// Where it begins.
    pub at: u64,
    /// The record that this one replaced, or 0.
    pub prev: u64,
    /// What follows its header.
    pub payload: PayloadPlace,
}

/// What follows a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadPlace {
    /// So many bytes of data.
    Data(u64),
    /// The position of an earlier record with the same data.
    Back(u64),
    /// The object does not exist as of this record.
    Gone,
}

/// Bytes that are no transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where they begin.
    pub at: u64,
    /// How many they are.
    pub bytes: u64,
    /// What is wrong first, and where.
    pub what: &'static str,
    /// Where exactly it is wrong.
    pub flaw_at: u64,
    /// Whether this is what an interrupted write leaves, or one that is under way: at the end of the
    /// file, and never acknowledged to anybody.
    pub unfinished: bool,
}

impl Scan {
    /// Opens a data file for reading. What is appended to it later is not looked at.
    ///
    /// # Errors
    /// `Disk`; `Corrupt` if it is no FileStorage at all.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let name = path.display().to_string();
        let fail = |error| failed(|| format!("open {name}"), &error);
        let disk_file = disk.open(path, Access::Read).map_err(fail)?;
        let end = disk_file.len().map_err(fail)?;
        let log = Log { file: Arc::new(DataFile { disk_file, name }), end };
        check_magic(&log)?;
        Ok(Self { window: Window::new(log.clone()), log, at: FIRST, found: Vec::new() })
    }

    /// Bytes of the file, as of when it was opened.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.log.end
    }

    /// How far the walk has come.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Goes to the last `count` transactions, or fewer if there are not so many before something that
    /// cannot be walked over backwards.
    ///
    /// # Errors
    /// `Disk`.
    pub fn skip_to_last(&mut self, count: usize) -> Result<(), StorageError> {
        self.at = self.log.end;
        for _ in 0..count {
            let before = match self.log.transaction_before(self.at) {
                Ok(Some((at, _))) if self.is_whole(at)? => at,
                Ok(None) => return Ok(()),
                // An unfinished write, or damage: only the way from the front leads around it.
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
        while let Some(step) = self.step()? {
            if let Step::Transaction(transaction) = step {
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
    pub fn step(&mut self) -> Result<Option<Step>, StorageError> {
        let at = self.at;
        if at >= self.log.end {
            return Ok(None);
        }
        match scan::check(&mut self.window, at, &mut self.found)? {
            Ok(head) => self.transaction(at, head).map(Step::Transaction).map(Some),
            Err(flaw) => self.gap(at, flaw).map(Step::Gap).map(Some),
        }
    }

    fn transaction(&mut self, at: u64, head: TransactionHead) -> Result<Transaction, StorageError> {
        self.at = head.end(at).expect("the scan found the transaction within the file");
        let header = history::header(&self.log, at, head)?;
        let records = self.found.iter().map(RecordPlace::from).collect();
        Ok(Transaction { at, header, records })
    }

    /// Bytes up to the next transaction that is whole, or to the end.
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

    /// Transactions without records are found only from behind, by their lengths.
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

    /// The state that a record gives its object, wherever it lies; `None` if the object does not
    /// exist.
    ///
    /// # Errors
    /// `Corrupt` if a pointer leads nowhere, `Disk`.
    pub fn data(&self, record: &RecordPlace) -> Result<Option<Bytes>, StorageError> {
        match record.payload {
            PayloadPlace::Gone => Ok(None),
            PayloadPlace::Data(_) | PayloadPlace::Back(_) => {
                self.reader(record.oid, record.at)?.data()
            }
        }
    }

    /// The tid of the record that a record points back to, if it does.
    ///
    /// # Errors
    /// `Corrupt` if the pointer leads nowhere, `Disk`.
    pub fn data_txn(&self, record: &RecordPlace) -> Result<Option<Tid>, StorageError> {
        let PayloadPlace::Back(back) = record.payload else { return Ok(None) };
        let mut reader = self.reader(record.oid, record.at)?;
        reader.go_back(back)?;
        Ok(Some(reader.head().tid))
    }

    fn reader(&self, oid: Oid, at: u64) -> Result<RecordReader<'_>, StorageError> {
        RecordReader::new(&self.log, oid, at, Patience::Wait)
    }
}

impl From<&Found> for RecordPlace {
    fn from(found: &Found) -> Self {
        let payload = match found.payload {
            Shape::Data(len) => PayloadPlace::Data(len),
            Shape::Back(at) => PayloadPlace::Back(at),
            Shape::Gone => PayloadPlace::Gone,
        };
        Self { oid: found.oid, tid: found.tid, at: found.at, prev: found.prev, payload }
    }
}
