//! The two steps of a commit: a vote on a transaction, and the commit of a group of voted ones.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use super::{Info, RecordData, Scratch, StorageError};
use crate::ids::{Oid, Tid};

/// A transaction being checked. Operations come in the order in which the client sent them.
/// After an error other than [`StorageError::Conflict`] the vote must be dropped.
pub trait Vote {
    /// Writes a record. `serial` is the revision the client read; ignored for an unknown oid.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] (the vote stays usable), `WouldBlock`, `Quota`, `EmptyRecord`.
    fn store(&mut self, oid: Oid, serial: Tid, data: RecordData) -> Result<(), StorageError>;

    /// Writes a record with its blob, a file that this storage's [`BlobStore`] gave. The file stays
    /// where it is until the commit, so the same one can be voted again.
    ///
    /// # Errors
    /// As for [`Vote::store`], and `Unsupported` from storages without blobs.
    fn store_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: RecordData,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        let _ = (oid, serial, data, blob);
        Err(StorageError::Unsupported("blobs"))
    }

    /// Writes a deletion.
    ///
    /// # Errors
    /// `NoSuchObject`, `Conflict`, `WouldBlock`, `Quota`.
    fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), StorageError>;

    /// Refuses unless `serial` is current.
    ///
    /// # Errors
    /// `ReadConflict`, `NoSuchObject`, `WouldBlock`.
    fn check_current(&mut self, oid: Oid, serial: Tid) -> Result<(), StorageError>;

    /// Writes a record under its original tid, without conflict checks. `prev_txn` hints at a
    /// transaction with the same data.
    ///
    /// # Errors
    /// `Undo` when `prev_txn` is unknown, `WouldBlock`.
    fn restore(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: Option<RecordData>,
        prev_txn: Option<Tid>,
    ) -> Result<(), StorageError>;

    /// Writes a record and its blob, as [`Vote::restore`] and [`Vote::store_blob`]; both get this tid.
    ///
    /// # Errors
    /// As for these two; sealing refuses a revision that has a blob already with `BlobExists`.
    fn restore_blob(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: RecordData,
        prev_txn: Option<Tid>,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        let _ = (oid, tid, data, prev_txn, blob);
        Err(StorageError::Unsupported("restoreBlob"))
    }

    /// Undoes a transaction; returns the oids it touched, in file order.
    ///
    /// # Errors
    /// `Undo`, `UndoFailures`, `WouldBlock`.
    fn undo(&mut self, tid: Tid) -> Result<Vec<Oid>, StorageError>;

    /// Checks what could not be checked operation by operation, because another server does that.
    /// Returns the objects whose records are not what was stored: merged there, or undone. Called
    /// once, after the last operation and before [`Vote::seal`]. Always may wait; a storage that has to
    /// says so when the vote begins.
    ///
    /// # Errors
    /// Those of all operations. The vote must be dropped.
    fn settle(&mut self) -> Result<Vec<Oid>, StorageError> {
        Ok(Vec::new())
    }

    /// Reserves room on the disk. After this, `commit` fails only if the hardware does.
    ///
    /// # Errors
    /// `Disk` (no space), `WouldBlock`.
    fn seal(self: Box<Self>) -> Result<Voted, StorageError>;
}

/// A voted transaction. Only the storage that made it knows what is inside.
pub struct Voted(pub Box<dyn Any + Send>);

impl core::fmt::Debug for Voted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Voted")
    }
}

/// A voted transaction that got its tid.
#[derive(Debug)]
pub struct Finishing {
    /// The tid to commit under, greater than all before it (unless copied with a tid of its own). A
    /// proxy does not look at it.
    pub tid: Tid,
    /// What `seal` returned.
    pub voted: Voted,
}

/// A transaction that is durable and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its tid: the one that was given, or for a proxy, that of the server.
    pub tid: Tid,
    /// The figures after it.
    pub info: Info,
}
