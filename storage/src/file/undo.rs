//! Undo: writes, for each object that a transaction changed, its state before the transaction.
//!
//! For a record at `P` whose predecessor is at `prev`, with "merge" for conflict resolution:
//!
//! ```text
//!   is the current state the same data as P's?
//!     yes ── the object was made by P ──── write: it does not exist
//!        └── otherwise ─────────────────── write: a pointer to prev
//!     no ─── the object was made by P ──── refuse
//!        └── otherwise ─────────────────── merge prev with the later changes, or refuse
//! ```
//!
//! "The same data" means the same record, or a pointer to it, or equal bytes in another record: a
//! later change that was undone does not prevent an undo. Unlike other operations, an undo takes
//! into account the earlier operations of the same transaction, so that several transactions can be
//! undone together, newest first. The vote first plans all records that can be undone, then reports
//! all refusals at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rzeo_core::record::is_blob_record;
use rzeo_core::resolve::resolve;
use rzeo_core::storage::{Patience, Scratch, StorageError};
use rzeo_core::{Oid, Tid};

use super::format::{RecordHead, Status};
use super::log::{Log, Payload, RecordReader};
use super::read;
use super::restore::{find_transaction, record_heads};
use super::vote::{Content, FileVote, Planned};

const ADDED: &str = "Can't undo an add transaction followed by conflicting transactions.";
const MODIFIED: &str = "Some data were modified by a later transaction";
const NO_DATA: &str = "_loadBack() failed";

/// Why a record cannot be undone.
enum Refusal {
    /// In the words of Python's ZODB.
    Because(&'static str),
    Storage(StorageError),
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// The location of an object's current data.
enum Current {
    /// In a committed record, directly or further back.
    At(u64),
    /// In a record of the transaction that is being voted.
    Here(Bytes),
    Nowhere,
}

impl FileVote<'_> {
    pub(super) fn undo_transaction(&mut self, tid: Tid) -> Result<Vec<Oid>, StorageError> {
        if self.patience == Patience::Now {
            return Err(StorageError::WouldBlock);
        }
        let log = self.storage.log();
        let (transaction, head) = find_transaction(&log, tid)?;
        if head.status != Status::COMMITTED {
            let reason = "non-undoable transaction".to_owned();
            return Err(StorageError::Undo { reason, oid: None });
        }
        let undoing = Undoing { vote: self, log: &log, newest: self.newest() };
        let (mut undone, mut blobs) = (Vec::new(), Vec::new());
        let mut failures: Vec<(Oid, String)> = Vec::new();
        for (at, record) in record_heads(&log, transaction, head)? {
            let oid = record.oid;
            // A later record of the same object replaces one that cannot be undone.
            failures.retain(|(failed, _)| *failed != oid);
            match undoing.undo(at, record) {
                Ok(content) => {
                    blobs.push((oid, undoing.blob(oid, &content)?));
                    undone.push(Planned { oid, tid: None, content });
                }
                Err(Refusal::Because(reason)) => failures.push((oid, reason.to_owned())),
                Err(Refusal::Storage(error)) => return Err(error),
            }
        }
        if !failures.is_empty() {
            return Err(StorageError::UndoFailures(failures));
        }
        for (oid, blob) in blobs {
            match blob {
                Some(blob) => self.blobs.put(oid, blob),
                None => self.blobs.forget(oid),
            }
        }
        Ok(self.plan_undone(undone))
    }

    /// The last record of each object that the transaction has so far.
    fn newest(&self) -> BTreeMap<Oid, &Content> {
        self.records.iter().map(|record| (record.oid, &record.content)).collect()
    }

    /// Adds the records; returns their oids, each once.
    fn plan_undone(&mut self, undone: Vec<Planned>) -> Vec<Oid> {
        let mut oids = Vec::new();
        let mut seen = BTreeSet::new();
        for record in undone {
            if seen.insert(record.oid) {
                oids.push(record.oid);
            }
            self.plan(record);
        }
        oids
    }
}

struct Undoing<'a> {
    vote: &'a FileVote<'a>,
    log: &'a Log,
    newest: BTreeMap<Oid, &'a Content>,
}

impl Undoing<'_> {
    /// The content that undoes the record at this position.
    fn undo(&self, at: u64, record: RecordHead) -> Result<Content, Refusal> {
        let (oid, prev) = (record.oid, record.prev);
        let current = match self.current(oid, at)? {
            Current::At(current) if current == at => return self.before(oid, prev),
            Current::At(current) => self.data(oid, current)?,
            Current::Here(data) => data,
            Current::Nowhere => return Err(Refusal::Because(NO_DATA)),
        };
        if self.data(oid, at)? == current {
            return self.before(oid, prev);
        }
        if prev == 0 {
            return Err(Refusal::Because(ADDED));
        }
        let new = self.data(oid, prev)?;
        if !self.vote.may_merge {
            return Err(Refusal::Because(MODIFIED));
        }
        let old = match read::load_serial(&self.vote.storage.state, oid, record.tid, Patience::Wait)
        {
            Err(StorageError::NoSuchObject(_)) => return Err(Refusal::Because(MODIFIED)),
            old => old?,
        };
        let merged = resolve(&old, &current, &new).ok_or(Refusal::Because(MODIFIED))?;
        Ok(Content::Data(merged.into()))
    }

    /// The location of the object's current data; at `undone` itself if that is current.
    fn current(&self, oid: Oid, undone: u64) -> Result<Current, StorageError> {
        if let Some(planned) = self.newest.get(&oid) {
            return Ok(match planned {
                Content::Data(data) => Current::Here(data.bytes(Patience::Wait)?),
                Content::Back(back) => Current::At(*back),
                Content::Deleted => Current::Nowhere,
            });
        }
        let Some(at) = self.vote.storage.state.read().index.position(oid) else {
            return Ok(Current::Nowhere);
        };
        if at == undone {
            return Ok(Current::At(at));
        }
        Ok(match RecordReader::new(self.log, oid, at, Patience::Wait)?.payload()? {
            Payload::Data(_) => Current::At(at),
            Payload::Back(back) => Current::At(back),
            Payload::Deleted => Current::Nowhere,
        })
    }

    /// The state of the object before: that of the predecessor, or none.
    fn before(&self, oid: Oid, prev: u64) -> Result<Content, Refusal> {
        if prev == 0 {
            return Ok(Content::Deleted);
        }
        // So that damage does not spread, checks that the pointer leads to a record of this object.
        RecordReader::new(self.log, oid, prev, Patience::Wait)?;
        Ok(Content::Back(prev))
    }

    /// The blob that belongs to the restored record, if the object is a blob. Every revision that
    /// holds the same record has the same blob, and a pack may have left only some of them.
    fn blob(&self, oid: Oid, content: &Content) -> Result<Option<Arc<dyn Scratch>>, StorageError> {
        let Some(blobs) = &self.vote.storage.blobs else { return Ok(None) };
        let Content::Back(back) = content else { return Ok(None) };
        let mut reader = RecordReader::new(self.log, oid, *back, Patience::Wait)?;
        let mut revisions = vec![reader.head().tid];
        while let Payload::Back(back) = reader.payload()? {
            reader.go_back(back)?;
            revisions.push(reader.head().tid);
        }
        match reader.data()? {
            Some(data) if is_blob_record(&data) => {}
            Some(_) | None => return Ok(None),
        }
        let mut missing = None;
        for serial in revisions {
            match blobs.copy_of(oid, serial) {
                Ok(blob) => return Ok(Some(blob)),
                Err(error @ StorageError::NoSuchBlob { .. }) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        missing.map_or(Ok(None), Err)
    }

    /// The data as of a record; refuses if the object does not exist.
    fn data(&self, oid: Oid, at: u64) -> Result<Bytes, Refusal> {
        let data = RecordReader::new(self.log, oid, at, Patience::Wait)?.data()?;
        data.ok_or(Refusal::Because(NO_DATA))
    }
}
