//! Finding what can be reached.

use std::collections::BTreeSet;

use rzeo_core::ids::Oid;
use rzeo_core::record::references;
use rzeo_core::storage::{PackStep, Patience, StorageError};

use super::kept::Kept;
use super::progress::Progress;
use super::survey::{Survey, Walk};
use crate::file::index::Index;
use crate::file::log::{Log, RecordReader};
use crate::file::scan::Shape;

/// Decides what stays of the part before the pack time. Without `gc` every object's last revision
/// does.
pub(super) fn mark(
    log: &Log,
    survey: Survey,
    gc: bool,
    progress: &Progress,
) -> Result<Kept, StorageError> {
    let Survey { boundary, last, gone } = survey;
    progress.begin(PackStep::Mark, last.len());
    let (reached, todo) = (Index::new(), Vec::new());
    let mut marker = Marker { log, last, gone, reached, todo, nowhere: 0, progress };
    if gc {
        marker.mark_from_root()?;
    }
    let older = marker.mark_from_late_records(boundary, gc)?;
    if marker.nowhere > 0 {
        tracing::warn!(count = marker.nowhere, "references to objects that are not there");
    }
    let last = if gc { marker.reached } else { marker.last };
    Ok(Kept { boundary, marked: log.end, last, older })
}

struct Marker<'a> {
    log: &'a Log,
    /// The last revisions as of the pack time.
    last: Index,
    /// Where objects went that are no more.
    gone: Index,
    /// Those last revisions that can be reached.
    reached: Index,
    /// Objects to be looked at.
    todo: Vec<Oid>,
    /// How many references led to no object.
    nowhere: u64,
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

    /// Finds the older revisions that late records point to, and, if asked, follows all that late
    /// records refer to. An object with such a revision keeps its last one too, or the word that it
    /// was gone by then: or else the older one would pass for the last.
    fn mark_from_late_records(
        &mut self,
        boundary: u64,
        follow: bool,
    ) -> Result<BTreeSet<u64>, StorageError> {
        let mut older = BTreeSet::new();
        let mut walk = Walk::new(self.log, boundary);
        while let Some(step) = walk.step()? {
            for record in step.records {
                let is_new = match record.payload {
                    Shape::Data(_) => true,
                    Shape::Back(back) if back < boundary => {
                        match self.gone.position(record.oid) {
                            Some(gone) => _ = older.insert(gone),
                            None if follow => self.todo.push(record.oid),
                            None => {}
                        }
                        older.insert(back)
                    }
                    Shape::Back(_) | Shape::Gone => false,
                };
                if is_new && follow {
                    self.refer(record.oid, record.at)?;
                    self.follow()?;
                }
            }
        }
        Ok(older)
    }

    /// Follows references as of the pack time until there are no new ones.
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
                // It may also be younger than the pack time, and stays then anyway.
                None => self.nowhere += 1,
            }
        }
        Ok(())
    }

    /// Puts what a record refers to on the list.
    fn refer(&mut self, oid: Oid, at: u64) -> Result<(), StorageError> {
        let refers = references_at(self.log, oid, at)?;
        self.todo.extend(refers.into_iter().filter(|oid| self.reached.position(*oid).is_none()));
        Ok(())
    }
}

/// The objects that a revision keeps alive.
pub(super) fn references_at(log: &Log, oid: Oid, at: u64) -> Result<Vec<Oid>, StorageError> {
    match RecordReader::new(log, oid, at, Patience::Wait)?.data()? {
        None => Ok(Vec::new()),
        Some(data) => references(&data).map_err(|error| {
            StorageError::Pack(format!("the record of {oid} at byte {at} is unreadable: {error}"))
        }),
    }
}
