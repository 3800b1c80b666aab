//! The two steps of a commit: a vote on a transaction, and the commit of a group of voted ones.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use super::{Info, RecordData, Scratch, StorageError};
use crate::ids::{Oid, Tid};

/// A transaction whose operations are being checked, in the order in which the client sent them.
/// After an error other than [`StorageError::Conflict`] the vote must be dropped.
pub trait Vote {
    /// Writes a record. `serial` is the revision the client read; ignored for an unknown oid.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] (the vote stays usable), `WouldBlock`, `Quota`, `EmptyRecord`.
    fn store(&mut self, oid: Oid, serial: Tid, data: RecordData) -> Result<(), StorageError>;

    /// Writes a record with its blob, a file that this storage's [`BlobStore`](super::BlobStore) created. The file
    /// does not move until the commit, so it can be voted again.
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

    /// Checks that `serial` is the current revision.
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
    /// As for these two; `seal` refuses a revision that already has a blob with `BlobExists`.
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

    /// Undoes a transaction; returns the oids of its records, in file order.
    ///
    /// # Errors
    /// `Undo`, `UndoFailures`, `WouldBlock`.
    fn undo(&mut self, tid: Tid) -> Result<Vec<Oid>, StorageError>;

    /// Lets the server behind a proxy check the transaction. Returns the objects whose records
    /// differ from those stored, because that server resolved a conflict or undid a change. Called
    /// once, after the last operation and before [`Vote::seal`]. May always wait; a storage that
    /// has to wait refuses to begin the vote with [`Patience::Now`](super::Patience::Now).
    ///
    /// # Errors
    /// Those of all operations; after an error the vote must be dropped.
    fn check_remotely(&mut self) -> Result<Vec<Oid>, StorageError> {
        Ok(Vec::new())
    }

    /// Reserves disk space. After this, `commit` fails only if the disk fails.
    ///
    /// # Errors
    /// `Disk` (no space), `WouldBlock`.
    fn seal(self: Box<Self>) -> Result<Voted, StorageError>;
}

/// A voted transaction. Only the storage that created it can read its content.
pub struct Voted(pub Box<dyn Any + Send>);

impl core::fmt::Debug for Voted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Voted")
    }
}

/// A voted transaction with its tid.
#[derive(Debug)]
pub struct Finishing {
    /// The tid to commit under, greater than all before it (unless the transaction is copied with
    /// its tid). A proxy ignores it.
    pub tid: Tid,
    /// The result of [`Vote::seal`].
    pub voted: Voted,
}

/// A transaction that is durable and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its tid: the given one, or for a proxy, that of the server behind it.
    pub tid: Tid,
    /// Number of objects and bytes after the transaction.
    pub info: Info,
}
