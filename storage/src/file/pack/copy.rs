//! Copies the records that stay into the new file.
//!
//! Early transactions lose records, get the status `p`, and hold all data in full, with no pointers
//! and no predecessors. Late ones are copied as they are; only positions change.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use rzeo_core::Oid;
use rzeo_core::record::is_blob_record;
use rzeo_core::storage::{Patience, StorageError};

use super::kept::Kept;
use super::mark::references_at;
use super::moves::Moves;
use super::output::Output;
use super::progress::Progress;
use super::survey::{ScannedTransaction, TransactionReader};
use crate::blob::RemovalList;
use crate::disk::{Disk, DiskFile};
use crate::file::format::{
    FIRST, MAGIC, POINTER, RECORD_HEAD, RecordHead, Status, TRANSACTION_HEAD, TransactionHead,
};
use crate::file::index::Index;
use crate::file::log::{Log, RecordReader};
use crate::file::scan::{ScannedPayload, ScannedRecord, Window};

/// Maximum bytes of the pickled class of a blob.
const CLASS_BYTES_MAX: usize = 1024;

/// Writes the new file.
pub(super) struct Copier {
    output: Output,
    kept: Kept,
    gc: bool,
    moves: Moves,
    /// Positions of the current records in the new file.
    index: Index,
    /// Position up to which the old file was copied.
    copied: u64,
    /// Objects that transactions committed after marking refer to, and that were not in the new
    /// file at that time.
    missing: BTreeSet<Oid>,
    /// The list of blobs that are left out.
    removal: Option<RemovalList>,
    progress: Progress,
}

/// A record that is about to be written.
struct Planned {
    found: ScannedRecord,
    payload: Payload,
}

/// Content of a record to write.
#[derive(Clone, Copy)]
enum Payload {
    /// Data to be copied from the old file.
    Data { at: u64, len: u64 },
    /// A pointer in the new file; 0 if the object does not exist.
    Pointer(u64),
}

impl Copier {
    pub(super) fn new(
        disk: &Arc<dyn Disk>,
        path: &Path,
        kept: Kept,
        gc: bool,
        removal: Option<RemovalList>,
        progress: Progress,
    ) -> Result<Self, StorageError> {
        Ok(Self {
            output: Output::create(&**disk, path)?,
            moves: Moves::new(kept.boundary),
            copied: kept.boundary,
            kept,
            gc,
            index: Index::new(),
            missing: BTreeSet::new(),
            removal,
            progress,
        })
    }

    /// Position up to which the old file was copied.
    pub(super) fn copied(&self) -> u64 {
        self.copied
    }

    /// Copies the records that stay from before the pack time. `false` if all of them stay: then
    /// the pack stops.
    pub(super) fn copy_early(&mut self, log: &Log) -> Result<bool, StorageError> {
        self.output.put(&MAGIC)?;
        let boundary = self.kept.boundary;
        let early = Log { file: Arc::clone(&log.file), end: boundary };
        let mut source = Window::new(early.clone());
        let mut reader = TransactionReader::new(&early, FIRST);
        while let Some(scanned) = reader.next_transaction()? {
            self.progress.set(scanned.at);
            // The file's last transaction stays even if it is empty; otherwise the last tid would
            // decrease.
            let end = scanned.head.end(scanned.at);
            let is_last = end == Some(boundary) && boundary == self.kept.marked;
            let records = self.plan_early(&early, scanned.records)?;
            self.note_removed(&early, scanned.records)?;
            if is_last || !records.is_empty() {
                self.write(&mut source, scanned.at, scanned.head, Status::PACKED, &records)?;
            }
        }
        // It was needed only to decide what stays; frees the memory.
        self.kept.last = Index::new();
        Ok(self.output.at() != boundary)
    }

    /// Copies transactions committed after the pack time that were not copied yet.
    pub(super) fn copy_late(&mut self, log: &Log) -> Result<(), StorageError> {
        let mut source = Window::new(log.clone());
        let mut reader = TransactionReader::new(log, self.copied);
        self.progress.extend(log.end);
        while let Some(scanned) = reader.next_transaction()? {
            self.progress.set(scanned.at);
            if self.gc && scanned.at >= self.kept.marked {
                self.note_missing(log, scanned.records)?;
            }
            let records = self.plan_late(log, &scanned)?;
            self.write(&mut source, scanned.at, scanned.head, scanned.head.status, &records)?;
        }
        self.copied = log.end;
        Ok(())
    }

    /// Syncs the copied part, so that the last sync takes less time.
    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        self.removal.as_mut().map_or(Ok(()), RemovalList::make_durable)?;
        self.output.sync()
    }

    /// Takes the list of blobs that were left out.
    pub(super) fn take_removal(&mut self) -> Option<RemovalList> {
        self.removal.take()
    }

    /// Lists the blobs of records that are left out. If a transaction has several records of an
    /// object and one of them stays, the blob stays.
    fn note_removed(&mut self, log: &Log, records: &[ScannedRecord]) -> Result<(), StorageError> {
        let Some(removal) = &mut self.removal else { return Ok(()) };
        let kept = &self.kept;
        for found in records.iter().filter(|found| !kept.has(found.oid, found.at)) {
            let same = |other: &&ScannedRecord| (other.oid, other.tid) == (found.oid, found.tid);
            let stays = records.iter().filter(same).any(|other| kept.has(other.oid, other.at));
            if !stays && is_blob(log, *found)? {
                removal.note(found.oid, found.tid)?;
            }
        }
        Ok(())
    }

    /// An object that was left out of the new file although a transaction committed after marking
    /// refers to it. (Also if it was written again since: readers may need the earlier state.)
    pub(super) fn lost(&self, log: &Log, old: &Index) -> Result<Option<Oid>, StorageError> {
        for oid in &self.missing {
            let Some(at) = old.position(*oid) else { continue };
            let mut reader = RecordReader::new(log, *oid, at, Patience::Wait)?;
            while reader.at() >= self.kept.boundary && reader.go_to_prev()? {}
            if reader.at() < self.kept.boundary && reader.go_to_data()? {
                return Ok(Some(*oid));
            }
        }
        Ok(None)
    }

    /// Makes the new file durable; returns it with its length and its index.
    pub(super) fn finish(self) -> Result<(Arc<dyn DiskFile>, u64, Index), StorageError> {
        let end = self.output.at();
        Ok((self.output.finish()?, end, self.index))
    }

    fn note_missing(&mut self, log: &Log, records: &[ScannedRecord]) -> Result<(), StorageError> {
        for record in records {
            let references = references_at(log, record.oid, record.at)?;
            let index = &self.index;
            self.missing
                .extend(references.into_iter().filter(|oid| index.position(*oid).is_none()));
        }
        Ok(())
    }

    fn plan_early(
        &self,
        log: &Log,
        records: &[ScannedRecord],
    ) -> Result<Vec<Planned>, StorageError> {
        let mut planned = Vec::new();
        for found in records {
            if self.kept.has(found.oid, found.at) {
                let payload = own_data(log, *found)?.unwrap_or(Payload::Pointer(0));
                planned.push(Planned { found: *found, payload });
            }
        }
        Ok(planned)
    }

    fn plan_late(
        &mut self,
        log: &Log,
        scanned: &ScannedTransaction<'_>,
    ) -> Result<Vec<Planned>, StorageError> {
        let mut planned = Vec::with_capacity(scanned.records.len());
        let mut new_at = self.output.at() + scanned.head.head_len();
        for found in scanned.records {
            self.moves.late(found.at, new_at);
            let new_place = match found.payload {
                ScannedPayload::Back(back) => self.moves.new_place(back),
                ScannedPayload::Deleted => Some(0),
                ScannedPayload::Data(_) => None,
            };
            let payload = match new_place {
                Some(new) => Payload::Pointer(new),
                None => own_data(log, *found)?.unwrap_or(Payload::Pointer(0)),
            };
            new_at += RECORD_HEAD as u64 + payload.len();
            planned.push(Planned { found: *found, payload });
        }
        Ok(planned)
    }

    fn write(
        &mut self,
        source: &mut Window,
        old_at: u64,
        head: TransactionHead,
        status: Status,
        records: &[Planned],
    ) -> Result<(), StorageError> {
        let transaction = self.output.at();
        let records_len: u64 =
            records.iter().map(|record| RECORD_HEAD as u64 + record.payload.len()).sum();
        let len = head.head_len() + records_len;
        self.output.put(&TransactionHead { len, status, ..head }.to_bytes())?;
        let meta_len = head.meta_len() as u64;
        self.output.copy(source, old_at + TRANSACTION_HEAD as u64, meta_len)?;
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            places.push((record.found.oid, self.output.at()));
            self.write_record(source, transaction, record)?;
        }
        self.output.put(&len.to_be_bytes())?;
        // The index is updated last: a record's predecessor is the record that was current before
        // the transaction.
        for (oid, at) in places {
            self.index.insert(oid, at);
        }
        Ok(())
    }

    fn write_record(
        &mut self,
        source: &mut Window,
        transaction: u64,
        record: &Planned,
    ) -> Result<(), StorageError> {
        let ScannedRecord { oid, at, tid, .. } = record.found;
        let early = at < self.kept.boundary;
        if self.kept.older.contains(&at) {
            self.moves.early(at, self.output.at());
        }
        let prev = if early { None } else { self.index.position(oid) };
        let data_len = match record.payload {
            Payload::Data { len, .. } => len,
            Payload::Pointer(_) => 0,
        };
        let prev = prev.unwrap_or(0);
        let head = RecordHead { oid, tid, prev, transaction, version_len: 0, data_len };
        self.output.put(&head.to_bytes())?;
        match record.payload {
            Payload::Data { at, len } => self.output.copy(source, at, len),
            Payload::Pointer(pointer) => self.output.put(&pointer.to_be_bytes()),
        }
    }
}

impl Payload {
    fn len(self) -> u64 {
        match self {
            Self::Data { len, .. } => len,
            Self::Pointer(_) => POINTER as u64,
        }
    }
}

/// Whether a record, or the one that holds its data, is that of a blob. Reads only the beginning of
/// long records.
fn is_blob(log: &Log, found: ScannedRecord) -> Result<bool, StorageError> {
    let Some(Payload::Data { at, len }) = own_data(log, found)? else { return Ok(false) };
    let mut data =
        BytesMut::zeroed(usize::try_from(len).unwrap_or(usize::MAX).min(CLASS_BYTES_MAX));
    log.exact(&mut data, at, Patience::Wait)?;
    Ok(is_blob_record(&data.freeze()))
}

/// The location of a record's data, following back pointers; `None` if the object does not exist.
fn own_data(log: &Log, found: ScannedRecord) -> Result<Option<Payload>, StorageError> {
    if let ScannedPayload::Data(len) = found.payload {
        return Ok(Some(Payload::Data { at: found.at + RECORD_HEAD as u64, len }));
    }
    let mut reader = RecordReader::new(log, found.oid, found.at, Patience::Wait)?;
    let exists = reader.go_to_data()?;
    let at = reader.at() + RECORD_HEAD as u64;
    Ok(exists.then_some(Payload::Data { at, len: reader.head().data_len }))
}
