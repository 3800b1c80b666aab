//! The first step: reads up to the pack time, and finds each object's last revision.

use rzeo_core::Tid;
use rzeo_core::storage::{PackStep, StorageError};

use super::progress::Progress;
use crate::file::format::{FIRST, Status, TransactionHead};
use crate::file::index::Index;
use crate::file::log::Log;
use crate::file::scan::{self, ScannedPayload, ScannedRecord, Window};

/// The state of the database as of the pack time.
pub(super) struct Survey {
    /// Position of the first transaction after the pack time.
    pub(super) boundary: u64,
    /// Position of the last revision of each object that exists at that time.
    pub(super) last: Index,
    /// Position of the deletion of each object that was deleted by that time.
    pub(super) deleted: Index,
}

/// Iterates over a log in file order, and checks all of it: a damaged file is not packed.
pub(super) struct TransactionReader {
    window: Window,
    records: Vec<ScannedRecord>,
    pub(super) at: u64,
}

/// One step of a [`TransactionReader`].
pub(super) struct ScannedTransaction<'a> {
    pub(super) at: u64,
    pub(super) head: TransactionHead,
    /// Empty for undone transactions: their records do not count.
    pub(super) records: &'a [ScannedRecord],
}

impl TransactionReader {
    pub(super) fn new(log: &Log, from: u64) -> Self {
        Self { window: Window::new(log.clone()), records: Vec::new(), at: from }
    }

    /// The next transaction.
    pub(super) fn next_transaction(
        &mut self,
    ) -> Result<Option<ScannedTransaction<'_>>, StorageError> {
        let at = self.at;
        if at >= self.window.log().end {
            return Ok(None);
        }
        let checked = scan::check(&mut self.window, at, &mut self.records)?;
        let head = checked.map_err(|flaw| self.window.log().corrupt(flaw.at, flaw.what))?;
        for record in &self.records {
            let forwards =
                matches!(record.payload, ScannedPayload::Back(back) if back >= record.at);
            if forwards {
                let what = "a record's pointer does not lead backwards";
                return Err(self.window.log().corrupt(record.at, what));
            }
        }
        self.at = head.end(at).expect("the scan found the transaction within the file");
        Ok(Some(ScannedTransaction { at, head, records: &self.records }))
    }
}

/// Reads up to the pack time. `None` if the file was packed to that time or a later one, and no
/// transaction followed.
pub(super) fn survey(
    log: &Log,
    stop: Tid,
    progress: &Progress,
) -> Result<Option<Survey>, StorageError> {
    progress.begin(PackStep::Survey, log.end);
    let (mut last, mut deleted) = (Index::new(), Index::new());
    let mut reader = TransactionReader::new(log, FIRST);
    let mut boundary = FIRST;
    let mut all_packed = true;
    let mut next_packed = false;
    while let Some(scanned) = reader.next_transaction()? {
        next_packed = scanned.head.status == Status::PACKED;
        if scanned.head.tid > stop {
            break;
        }
        all_packed &= next_packed;
        for record in scanned.records {
            match record.payload {
                ScannedPayload::Data(_) | ScannedPayload::Back(_) => {
                    deleted.remove(record.oid);
                    last.insert(record.oid, record.at);
                }
                ScannedPayload::Deleted => {
                    last.remove(record.oid);
                    deleted.insert(record.oid, record.at);
                }
            }
        }
        boundary = reader.at;
        progress.set(boundary);
    }
    let redundant = all_packed && next_packed;
    Ok((!redundant).then_some(Survey { boundary, last, deleted }))
}
