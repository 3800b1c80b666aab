//! Vote: checks a transaction, without writing to the file.
//!
//! A vote collects the records that the transaction will consist of. Each operation is checked
//! against the committed state, not against earlier operations of the same transaction, as in
//! Python's FileStorage. So a transaction may store an object twice. (An undo is the exception, see
//! [`super::undo`].)
//!
//! The commit decides the positions of the records, and which records they replace. The vote
//! decides what a record points back to; the positions of committed records do not change, because
//! no pack switches while a transaction is between vote and finish.

use std::sync::Arc;

use bytes::Bytes;
use rzeo_core::storage::{
    Patience, RecordData, Scratch, StorageError, TransactionMeta, Vote, Voted,
};
use rzeo_core::{Oid, Tid};

use super::FileStorage;
use super::disk_space::SpaceReservation;
use super::format::{POINTER, RECORD_HEAD, RecordHead, Status, TransactionHead};
use super::log::Meta;
use super::read;
use crate::blob::{Plan, Prepared};

/// A record to be written.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) oid: Oid,
    /// The record's tid, if it differs from its transaction's.
    pub(super) tid: Option<Tid>,
    pub(super) content: Content,
}

/// The content of a record.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// The state of the object. It may be in a spool file, from which the commit copies it.
    Data(RecordData),
    /// The position of an earlier record with the same state.
    Back(u64),
    /// The record deletes the object.
    Deleted,
}

/// The header of a transaction with its metadata.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) meta: Meta,
    /// The commit fills in length and tid.
    pub(super) head: TransactionHead,
}

/// A transaction that passed all checks.
#[derive(Debug)]
pub(super) struct VotedTransaction {
    pub(super) frame: Frame,
    pub(super) records: Vec<Planned>,
    pub(super) blobs: Option<Prepared>,
    /// Length of the transaction in the file, in bytes.
    pub(super) bytes: u64,
    /// Never read; holds the space until the transaction is committed or aborted.
    _reservation: SpaceReservation,
}

/// A transaction whose operations are being checked.
pub(super) struct FileVote<'a> {
    pub(super) storage: &'a FileStorage,
    pub(super) patience: Patience,
    /// Whether an undo may resolve conflicts with later changes.
    pub(super) may_merge: bool,
    frame: Frame,
    pub(super) records: Vec<Planned>,
    pub(super) blobs: Plan,
    /// Length of `records` in the file, in bytes.
    record_bytes: u64,
}

impl Planned {
    /// Length of the record in the file, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        (RECORD_HEAD + self.payload_bytes()) as u64
    }

    fn payload_bytes(&self) -> usize {
        match &self.content {
            Content::Data(data) => data.len(),
            Content::Back(_) | Content::Deleted => POINTER,
        }
    }

    /// The payload's length as the header has it.
    pub(super) fn data_len(&self) -> u64 {
        match &self.content {
            Content::Data(data) => data.len() as u64,
            Content::Back(_) | Content::Deleted => 0,
        }
    }
}

impl Frame {
    fn new(meta: &TransactionMeta) -> Result<Self, StorageError> {
        let head = TransactionHead {
            tid: Tid::ZERO,
            len: 0,
            status: status(meta.status)?,
            user_len: len16("user name too long", &meta.user)?,
            description_len: len16("description too long", &meta.description)?,
            extension_len: len16("too much extension data", &meta.extension)?,
        };
        let TransactionMeta { user, description, extension, .. } = meta.clone();
        Ok(Self { meta: Meta { user, description, extension }, head })
    }
}

/// Accepts only a status that an opening takes for committed; 0 stands for the default.
fn status(status: u8) -> Result<Status, StorageError> {
    match Status(status) {
        Status(0) => Ok(Status::COMMITTED),
        status if status.is_final() => Ok(status),
        _ => Err(StorageError::Unsupported("transaction status other than space and p")),
    }
}

fn len16(field: &'static str, text: &Bytes) -> Result<u16, StorageError> {
    u16::try_from(text.len()).map_err(|_| StorageError::MetadataTooLong { field, len: text.len() })
}

impl<'a> FileVote<'a> {
    pub(super) fn new(
        storage: &'a FileStorage,
        meta: &TransactionMeta,
        patience: Patience,
    ) -> Result<Self, StorageError> {
        // If a commit is in progress, it reports the failure itself.
        if let Some(append) = storage.append.try_lock()
            && let Some(why) = &append.broken
        {
            return Err(StorageError::Broken(why.clone()));
        }
        let frame = Frame::new(meta)?;
        let may_merge = meta.resolve_conflicts;
        let (records, blobs) = (Vec::new(), Plan::new(meta));
        Ok(Self { storage, patience, may_merge, frame, records, blobs, record_bytes: 0 })
    }

    /// The tid of an object's current record, which may be a deletion.
    fn committed(&self, oid: Oid) -> Result<Option<Tid>, StorageError> {
        let (log, at) = match read::locate(&self.storage.state, oid) {
            Ok(found) => found,
            Err(StorageError::NoSuchObject(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut head = [0; RECORD_HEAD];
        log.exact(&mut head, at, self.patience)?;
        let head = RecordHead::parse(&head);
        if head.oid != oid {
            return Err(log.corrupt(at, "a record belongs to another object than expected"));
        }
        Ok(Some(head.tid))
    }

    /// Adds a record to the transaction.
    pub(super) fn plan(&mut self, record: Planned) {
        self.record_bytes += record.bytes();
        self.records.push(record);
    }

    /// Adds a record, unless it starts past the quota. (So one record may exceed the quota.)
    fn plan_within_quota(&mut self, record: Planned) -> Result<(), StorageError> {
        if let Some(quota) = self.storage.options.quota {
            let before = self.frame.head.head_len() + self.record_bytes;
            if self.storage.state.read().log.end.saturating_add(before) > quota {
                return Err(StorageError::Quota { quota });
            }
        }
        self.plan(record);
        Ok(())
    }
}

impl Vote for FileVote<'_> {
    fn store(&mut self, oid: Oid, read: Tid, data: RecordData) -> Result<(), StorageError> {
        if data.is_empty() {
            return Err(StorageError::EmptyRecord(oid));
        }
        self.storage.use_oid(oid);
        match self.committed(oid)? {
            Some(committed) if committed != read => {
                Err(StorageError::Conflict { oid, committed, read })
            }
            // The serial does not matter for an object that does not exist.
            Some(_) | None => {
                self.plan_within_quota(Planned { oid, tid: None, content: Content::Data(data) })
            }
        }
    }

    fn store_blob(
        &mut self,
        oid: Oid,
        read: Tid,
        data: RecordData,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        let blobs = self.storage.blobs.as_ref().ok_or(StorageError::Unsupported("blobs"))?;
        blobs.accepts(blob, self.patience)?;
        self.store(oid, read, data)?;
        self.blobs.put(oid, Arc::clone(blob));
        Ok(())
    }

    fn delete(&mut self, oid: Oid, read: Tid) -> Result<(), StorageError> {
        let committed = self.committed(oid)?.ok_or(StorageError::NoSuchObject(oid))?;
        if committed != read {
            return Err(StorageError::Conflict { oid, committed, read });
        }
        self.blobs.forget(oid);
        self.plan_within_quota(Planned { oid, tid: None, content: Content::Deleted })
    }

    fn check_current(&mut self, oid: Oid, read: Tid) -> Result<(), StorageError> {
        let committed = read::current_serial(&self.storage.state, oid, self.patience)?;
        if committed == read {
            return Ok(());
        }
        Err(StorageError::ReadConflict { oid, committed, read })
    }

    fn restore(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: Option<RecordData>,
        prev_txn: Option<Tid>,
    ) -> Result<(), StorageError> {
        self.restore_record(oid, tid, data, prev_txn)
    }

    fn restore_blob(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: RecordData,
        prev_txn: Option<Tid>,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        let blobs = self.storage.blobs.as_ref().ok_or(StorageError::Unsupported("blobs"))?;
        blobs.accepts(blob, self.patience)?;
        self.restore_record(oid, tid, Some(data), prev_txn)?;
        self.blobs.put_at(oid, tid, Arc::clone(blob));
        Ok(())
    }

    fn undo(&mut self, tid: Tid) -> Result<Vec<Oid>, StorageError> {
        self.undo_transaction(tid)
    }

    fn seal(self: Box<Self>) -> Result<Voted, StorageError> {
        let bytes = self.frame.head.head_len() + self.record_bytes + POINTER as u64;
        let reservation =
            self.storage.disk_space.reserve(&self.storage.state, bytes, self.patience)?;
        let Self { storage, patience, mut frame, records, blobs: plan, .. } = *self;
        let blobs = match &storage.blobs {
            Some(blobs) => blobs.prepare(plan, patience)?,
            None => None,
        };
        frame.head.len = bytes - POINTER as u64;
        Ok(Voted(Box::new(VotedTransaction {
            frame,
            records,
            blobs,
            bytes,
            _reservation: reservation,
        })))
    }
}
