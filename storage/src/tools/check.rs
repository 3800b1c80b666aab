//! Checks a data file: counts what it holds and verifies that it is consistent.
//!
//! Three passes, each for problems that the one before cannot find:
//!
//! 1. **Structure**, transaction by transaction: lengths, tids, status; every record names the record
//!    that it replaced, and every back pointer leads to a record of the same object. This pass also
//!    compares the index file with the data file as of when the index was written.
//! 2. **Records**: every state is two pickles, and the objects that a current state refers to exist.
//! 3. **Blobs**, on request: every revision of a blob has its file, and every file has its revision.
//!
//! Memory: about 24 bytes for each object, and 16 for each revision of a blob.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rzeo_core::record::{Dangling, class_name, is_blob_record, references};
use rzeo_core::storage::StorageError;
use rzeo_core::{Oid, Tid};

use super::blob_files::{self, Revisions};
use super::{Gap, PayloadInfo, RecordInfo, Scan, ScanItem, Transaction};
use crate::blob::BlobDirectory;
use crate::disk::Disk;
use crate::file::index::Index;
use crate::file::index_file::{self, Unusable};

/// Maximum number of problems listed in a report; further ones are counted.
const PROBLEMS_MAX: usize = 1_000;

/// What a check covers. By default, the file and its records, but no blobs.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// Check only the structure, as Python's `fstest` does: neither the content of records nor the
    /// index file.
    pub structure_only: bool,
    /// The directory of the blobs to check; `None` to check no blobs.
    pub blobs: Option<PathBuf>,
}

/// Receives the progress of a check.
pub trait Observer {
    /// Called with the number of bytes checked so far, and in total.
    fn progress(&mut self, done: u64, total: u64) {
        let _ = (done, total);
    }

    /// Called for the n-th complete transaction.
    fn transaction(&mut self, n: u64, transaction: &Transaction) {
        let _ = (n, transaction);
    }
}

impl Observer for () {}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Number of complete transactions.
    pub transactions: u64,
    /// Number of their records.
    pub records: u64,
    /// Number of objects with a record in the file.
    pub objects: u64,
    /// Number of these objects that were deleted.
    pub deleted: u64,
    /// Number of revisions of blobs.
    pub blobs: u64,
    /// Tid of the first transaction.
    pub first_tid: Option<Tid>,
    /// Tid of the last transaction.
    pub last_tid: Option<Tid>,
    /// An unfinished write at the end, interrupted or still in progress.
    pub unfinished: Option<Gap>,
    /// The state of the index file.
    pub index: IndexFile,
    /// The problems, in the order in which they were found.
    pub problems: Vec<Problem>,
    /// Number of problems found after the list was full.
    pub more_problems: u64,
}

/// The state of the index file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IndexFile {
    /// Not checked.
    #[default]
    Unchecked,
    /// There is no index file; the next start reads the whole data file.
    Missing,
    /// The index agrees with the data file up to this position.
    Good {
        /// Bytes of the data file that the index covers.
        end: u64,
    },
    /// The index is wrong, for this reason. A server ignores it, and its start takes longer.
    Bad(String),
}

/// A problem in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Position in the data file, if the problem has one.
    pub at: Option<u64>,
    /// Description of the problem.
    pub what: String,
}

impl Report {
    /// Whether the check found no problem.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.problems.is_empty()
    }

    fn add(&mut self, at: Option<u64>, what: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { at, what: what.into() });
        } else {
            self.more_problems += 1;
        }
    }
}

/// Checks a data file. Changes nothing.
///
/// # Errors
/// `Disk`; `Corrupt` if the file is not a FileStorage. All other problems are in the report.
pub fn check(
    disk: &dyn Disk,
    path: &Path,
    options: &CheckOptions,
    observer: &mut dyn Observer,
) -> Result<Report, StorageError> {
    let mut scan = Scan::open(disk, path)?;
    let mut checking = Checking {
        options,
        report: Report { bytes: scan.end(), ..Report::default() },
        index: Index::new(),
        deleted: BTreeSet::new(),
        blobs: Revisions::new(),
        skipped: Vec::new(),
        saved: None,
    };
    checking.load_index(disk, path);
    // A server that creates a database saves an index without objects.
    checking.compare_index(scan.position());
    let total = if options.structure_only { scan.end() } else { 2 * scan.end() };
    while let Some(step) = scan.next_item()? {
        match step {
            ScanItem::Transaction(transaction) => {
                checking.transaction(&scan, &transaction)?;
                observer.transaction(checking.report.transactions - 1, &transaction);
            }
            ScanItem::Gap(gap) => checking.gap(gap),
        }
        checking.compare_index(scan.position());
        observer.progress(scan.position(), total);
    }
    checking.end_of_structure();
    if !options.structure_only {
        checking.current_records(&scan, |at| observer.progress(scan.end() + at, total))?;
    }
    checking.blob_files(disk)?;
    observer.progress(total, total);
    Ok(checking.report)
}

struct Checking<'a> {
    options: &'a CheckOptions,
    report: Report,
    /// The position of each object's current record, up to where the check has come.
    index: Index,
    /// Objects whose current record is a deletion.
    deleted: BTreeSet<Oid>,
    blobs: Revisions,
    /// Gaps and undone transactions: records in them may have replaced earlier ones.
    skipped: Vec<Range<u64>>,
    /// The index file and the position up to which it is good, until the comparison.
    saved: Option<(u64, Index)>,
}

impl Checking<'_> {
    fn load_index(&mut self, disk: &dyn Disk, path: &Path) {
        if self.options.structure_only {
            return;
        }
        self.report.index = match index_file::load(disk, path, self.report.bytes) {
            Ok(saved) => {
                let far = saved.0 > self.report.bytes;
                let end = saved.0;
                self.saved = Some(saved);
                if far { bad_end(end) } else { IndexFile::Unchecked }
            }
            Err(Unusable::Missing) => IndexFile::Missing,
            Err(error) => IndexFile::Bad(error.to_string()),
        };
    }

    /// Compares the index file with the records up to where the index ends.
    fn compare_index(&mut self, at: u64) {
        let Some((end, saved)) = self.saved.take_if(|(end, _)| *end == at) else { return };
        self.report.index = if saved.len() == self.index.len() && saved.iter().eq(self.index.iter())
        {
            IndexFile::Good { end }
        } else {
            IndexFile::Bad(format!("it differs from the data file before byte {end}"))
        };
    }

    fn gap(&mut self, gap: Gap) {
        self.skipped.push(gap.at..gap.at + gap.bytes);
        if gap.unfinished {
            self.report.unfinished = Some(gap);
        } else {
            let Gap { at, bytes, what, flaw_at, .. } = gap;
            self.report.add(Some(at), format!("{bytes} bytes are damaged: {what} (at {flaw_at})"));
        }
    }

    fn transaction(&mut self, scan: &Scan, transaction: &Transaction) -> Result<(), StorageError> {
        let tid = transaction.header.tid;
        if let Some(last) = self.report.last_tid.filter(|last| tid <= *last) {
            self.report.add(
                Some(transaction.at),
                format!("transaction {tid} is not later than the one before it, {last}"),
            );
        }
        if tid >= Tid::MAX && !self.options.structure_only {
            let text = format!(
                "transaction {tid} is greater than the maximum; clients cannot load its records"
            );
            self.report.add(Some(transaction.at), text);
        }
        let status = transaction.header.status;
        if !b" pu".contains(&status) {
            self.report.add(
                Some(transaction.at),
                format!("the transaction has the unknown status {status:#04x}"),
            );
        }
        if transaction.is_undone() {
            self.skipped.push(transaction.at..transaction.at + transaction.header.size);
        }
        self.report.transactions += 1;
        self.report.records += transaction.records.len() as u64;
        self.report.first_tid.get_or_insert(tid);
        self.report.last_tid = Some(tid);
        for record in &transaction.records {
            self.record(scan, record, tid)?;
        }
        // Records of one transaction replace what was before it, not each other.
        for record in &transaction.records {
            self.index.insert(record.oid, record.at);
            match record.payload {
                PayloadInfo::Deleted => self.deleted.insert(record.oid),
                PayloadInfo::Data(_) | PayloadInfo::Back(_) => self.deleted.remove(&record.oid),
            };
        }
        Ok(())
    }

    fn record(&mut self, scan: &Scan, record: &RecordInfo, tid: Tid) -> Result<(), StorageError> {
        let RecordInfo { oid, at, prev, .. } = *record;
        let replaced = self.index.position(oid);
        let is_skipped = self.skipped.iter().any(|skipped| skipped.contains(&prev));
        if prev != 0 && replaced != Some(prev) && !is_skipped {
            let what = match replaced {
                Some(replaced) => {
                    format!("the record of {oid} replaced {replaced}, but names {prev}")
                }
                None => format!("the record of {oid} replaced none, but names {prev}"),
            };
            self.report.add(Some(at), what);
        }
        if self.options.structure_only {
            return Ok(());
        }
        if record.tid != tid {
            let text = format!("the record of {oid} has the tid {}, not {tid}", record.tid);
            self.report.add(Some(at), text);
        }
        match scan.data(record) {
            Ok(Some(data)) => self.data(record, &data),
            Ok(None) => {}
            Err(StorageError::Corrupt { position, what, .. }) => {
                let text = format!("the record of {oid} has no data: {what} (at {position})");
                self.report.add(Some(at), text);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn data(&mut self, record: &RecordInfo, data: &Bytes) {
        if is_blob_record(data) {
            self.report.blobs += 1;
            if self.options.blobs.is_some() {
                self.blobs.insert((record.oid, record.tid));
            }
        }
        if let Err(error @ Dangling::Unreadable(_)) = references(data) {
            let class = class_name(data).map_or_else(String::new, |class| format!(" ({class})"));
            self.report.add(Some(record.at), format!("object {}{class}: {error}", record.oid));
        }
    }

    fn end_of_structure(&mut self) {
        if let Some((end, _)) = self.saved.take()
            && self.report.index == IndexFile::Unchecked
        {
            self.report.index = bad_end(end);
        }
        self.report.objects = self.index.len();
        self.report.deleted = self.deleted.len() as u64;
    }

    /// Checks that the objects exist that the current states refer to. Goes in the order of the
    /// file, so that the disk is read sequentially.
    fn current_records(
        &mut self,
        scan: &Scan,
        mut progress: impl FnMut(u64),
    ) -> Result<(), StorageError> {
        let mut places: Vec<(u64, Oid)> = self.index.iter().map(|(oid, at)| (at, oid)).collect();
        places.sort_unstable();
        for (at, oid) in places {
            let data = match scan.reader(oid, at).and_then(|mut reader| reader.data()) {
                Ok(Some(data)) => data,
                // The first pass has reported the damage.
                Ok(None) | Err(StorageError::Corrupt { .. }) => continue,
                Err(error) => return Err(error),
            };
            match references(&data) {
                Ok(references) => self.references(at, oid, &data, &references),
                Err(Dangling::Unreadable(_)) => {}
                Err(error) => self.report.add(Some(at), format!("object {oid}: {error}")),
            }
            progress(at);
        }
        Ok(())
    }

    fn references(&mut self, at: u64, from: Oid, data: &Bytes, references: &[Oid]) {
        let mut missing: Vec<Oid> =
            references.iter().copied().filter(|to| self.is_missing(*to)).collect();
        missing.sort_unstable();
        missing.dedup();
        for to in missing {
            let class = class_name(data).unwrap_or_else(|| "of unknown class".to_owned());
            let why = if self.deleted.contains(&to) { "was deleted" } else { "does not exist" };
            self.report
                .add(Some(at), format!("object {from} ({class}) refers to {to}, which {why}"));
        }
    }

    fn is_missing(&self, oid: Oid) -> bool {
        self.index.position(oid).is_none() || self.deleted.contains(&oid)
    }

    /// Compares the blobs in the records with the blob files.
    fn blob_files(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        let Some(path) = &self.options.blobs else { return Ok(()) };
        let directory = BlobDirectory::open(disk, path, true)?;
        let present = blob_files::revisions(disk, path, &directory)?;
        for (oid, tid) in self.blobs.difference(&present) {
            let file = directory.file(*oid, *tid);
            let text = format!("object {oid} has no blob file {}", file.display());
            self.report.add(None, text);
        }
        for (oid, tid) in present.difference(&self.blobs) {
            // A commit in progress renames its files before it writes its records.
            if self.report.last_tid.is_some_and(|last| *tid > last) {
                continue;
            }
            let file = directory.file(*oid, *tid);
            self.report
                .add(None, format!("the blob file {} belongs to no revision", file.display()));
        }
        Ok(())
    }
}

fn bad_end(end: u64) -> IndexFile {
    IndexFile::Bad(format!("it covers {end} bytes, but no transaction ends there"))
}
