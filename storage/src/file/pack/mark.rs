//! Mark phase: finds the reachable objects.

use std::collections::BTreeSet;

use rzeo_core::Oid;
use rzeo_core::record::references;
use rzeo_core::storage::{PackStep, Patience, StorageError};

use super::kept::Kept;
use super::progress::Progress;
use super::survey::{Survey, TransactionReader};
use crate::file::index::Index;
use crate::file::log::{Log, RecordReader};
use crate::file::scan::ScannedPayload;

/// Decides which records from before the pack time stay. Without `gc` the last revision of every
/// object stays.
pub(super) fn mark(
    log: &Log,
    survey: Survey,
    gc: bool,
    progress: &Progress,
) -> Result<Kept, StorageError> {
    let Survey { boundary, last, deleted } = survey;
    progress.begin(PackStep::Mark, last.len());
    let (reached, todo) = (Index::new(), Vec::new());
    let mut marker = Marker { log, last, deleted, reached, todo, dangling: 0, progress };
    if gc {
        marker.mark_from_root()?;
    }
    let older = marker.mark_from_late_records(boundary, gc)?;
    if marker.dangling > 0 {
        tracing::warn!(count = marker.dangling, "ignored references to objects that do not exist");
    }
    let last = if gc { marker.reached } else { marker.last };
    Ok(Kept { boundary, marked: log.end, last, older })
}

struct Marker<'a> {
    log: &'a Log,
    /// Positions of the last revisions as of the pack time.
    last: Index,
    /// Positions of the deletions that were current at the pack time.
    deleted: Index,
    /// Positions of the last revisions that are reachable.
    reached: Index,
    /// Objects whose references are not followed yet.
    todo: Vec<Oid>,
    /// Number of references that lead to no object.
    dangling: u64,
    progress: &'a Progress,
}

impl Marker<'_> {
    fn mark_from_root(&mut self) -> Result<(), StorageError> {
        if self.last.position(Oid::ROOT).is_none() && !self.last.is_empty() {
            return Err(StorageError::NoSuchObject(Oid::ROOT));
        }
        self.todo.push(Oid::ROOT);
        self.follow()
    }

    /// Finds the older revisions that late records point to, and, with garbage collection, follows
    /// all references of late records. An object with such a revision also keeps its last revision
    /// or deletion; otherwise the older one would become the last.
    fn mark_from_late_records(
        &mut self,
        boundary: u64,
        follow: bool,
    ) -> Result<BTreeSet<u64>, StorageError> {
        let mut older = BTreeSet::new();
        let mut reader = TransactionReader::new(self.log, boundary);
        while let Some(scanned) = reader.next_transaction()? {
            for record in scanned.records {
                let is_new = match record.payload {
                    ScannedPayload::Data(_) => true,
                    ScannedPayload::Back(back) if back < boundary => {
                        match self.deleted.position(record.oid) {
                            Some(deleted) => _ = older.insert(deleted),
                            None if follow => self.todo.push(record.oid),
                            None => {}
                        }
                        older.insert(back)
                    }
                    ScannedPayload::Back(_) | ScannedPayload::Deleted => false,
                };
                if is_new && follow {
                    self.refer(record.oid, record.at)?;
                    self.follow()?;
                }
            }
        }
        Ok(older)
    }

    /// Follows references as of the pack time until all reachable objects are marked.
    fn follow(&mut self) -> Result<(), StorageError> {
        while let Some(oid) = self.todo.pop() {
            if self.reached.position(oid).is_some() {
                continue;
            }
            match self.last.position(oid) {
                Some(at) => {
                    self.reached.insert(oid, at);
                    self.progress.set(self.reached.len());
                    self.refer(oid, at)?;
                }
                // The object may also be newer than the pack time; then it stays anyway.
                None => self.dangling += 1,
            }
        }
        Ok(())
    }

    /// Adds the objects that a record refers to to the list.
    fn refer(&mut self, oid: Oid, at: u64) -> Result<(), StorageError> {
        let refers = references_at(self.log, oid, at)?;
        self.todo.extend(refers.into_iter().filter(|oid| self.reached.position(*oid).is_none()));
        Ok(())
    }
}

/// The objects that a revision refers to.
pub(super) fn references_at(log: &Log, oid: Oid, at: u64) -> Result<Vec<Oid>, StorageError> {
    match RecordReader::new(log, oid, at, Patience::Wait)?.data()? {
        None => Ok(Vec::new()),
        Some(data) => references(&data).map_err(|error| {
            StorageError::Pack(format!("the record of {oid} at byte {at} is unreadable: {error}"))
        }),
    }
}
