//! The calls that make, write and remove temporary files of the storage.
//!
//! All of them may wait for the disk, and none waits for its turn: what goes into a file is in memory
//! until it is written.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::job::{Schedule, StorageJob};
use crate::ids::{Oid, Tid};
use crate::server::caller::Caller;
use crate::server::ids::Ticket;
use crate::server::vote::Operation;
use crate::storage::{BlobStore, Patience, Scratch, Storage, StorageError, Voted};

/// An upload of a blob, numbered by its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct UploadId(pub(in crate::server) u64);

/// The record that a blob comes with, and the call that waits for the end of its upload.
#[derive(Debug)]
pub(in crate::server) struct BlobRecord {
    pub(in crate::server) caller: Caller,
    pub(in crate::server) oid: Oid,
    pub(in crate::server) serial: Tid,
    pub(in crate::server) data: Bytes,
}

impl BlobRecord {
    /// The operation that stores the record with its blob, and the caller.
    pub(in crate::server) fn with_blob(self, blob: Arc<dyn Scratch>) -> (Caller, Operation) {
        let Self { caller, oid, serial, data } = self;
        (caller, Operation::StoreBlob { oid, serial, data: data.into(), blob })
    }
}

/// Makes an empty file for the records of a big transaction.
#[derive(Debug)]
pub(in crate::server) struct CreateSpool(pub(in crate::server) Ticket);

/// Makes an empty file for an upload.
#[derive(Debug)]
pub(in crate::server) struct CreateUpload(pub(in crate::server) UploadId);

/// Takes over a file that the client has put into the blob directory.
#[derive(Debug)]
pub(in crate::server) struct FindShared {
    pub(in crate::server) id: UploadId,
    pub(in crate::server) name: String,
    pub(in crate::server) record: Box<BlobRecord>,
}

/// The answer to [`FindShared`].
pub(in crate::server) struct FoundShared {
    pub(in crate::server) id: UploadId,
    pub(in crate::server) record: Box<BlobRecord>,
    pub(in crate::server) found: Result<Arc<dyn Scratch>, StorageError>,
}

/// The writer of a temporary file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Writer {
    /// The transaction with this ticket, for its records.
    Spool(Ticket),
    Upload(UploadId),
}

/// Writes bytes to a temporary file.
#[derive(Debug)]
pub(in crate::server) struct WriteScratch {
    pub(in crate::server) writer: Writer,
    pub(in crate::server) file: Arc<dyn Scratch>,
    pub(in crate::server) at: u64,
    pub(in crate::server) chunks: Vec<Bytes>,
}

/// Drops files that are not needed any more, where waiting for the disk is allowed.
#[derive(Debug)]
pub(in crate::server) struct Discard(pub(in crate::server) Leftovers);

/// Files of an aborted transaction, and the vote that may share them. Dropping the last owner removes
/// a file, which may take long.
#[derive(Debug, Default)]
pub(in crate::server) struct Leftovers {
    pub(in crate::server) files: Vec<Arc<dyn Scratch>>,
    pub(in crate::server) voted: Option<Voted>,
}

impl Leftovers {
    /// Whether nothing has to be dropped.
    pub(in crate::server) const fn is_empty(&self) -> bool {
        self.files.is_empty() && self.voted.is_none()
    }
}

impl StorageJob for CreateSpool {
    /// No file means that the storage has none of the kind.
    type Answer = (Ticket, Result<Option<Arc<dyn Scratch>>, StorageError>);

    const SCHEDULE: Schedule = Schedule::AtOnce;

    fn run(self, storage: &dyn Storage, patience: Patience) -> Result<Self::Answer, Self> {
        if patience == Patience::Now { Err(self) } else { Ok((self.0, storage.scratch())) }
    }
}

impl StorageJob for CreateUpload {
    type Answer = (UploadId, Result<Arc<dyn Scratch>, StorageError>);

    const SCHEDULE: Schedule = Schedule::AtOnce;

    fn run(self, storage: &dyn Storage, patience: Patience) -> Result<Self::Answer, Self> {
        if patience == Patience::Now {
            return Err(self);
        }
        Ok((self.0, blobs(storage).and_then(BlobStore::upload)))
    }
}

impl StorageJob for FindShared {
    type Answer = FoundShared;

    const SCHEDULE: Schedule = Schedule::AtOnce;

    fn run(self, storage: &dyn Storage, patience: Patience) -> Result<FoundShared, Self> {
        if patience == Patience::Now {
            return Err(self);
        }
        let Self { id, name, record } = self;
        let found = blobs(storage).and_then(|blobs| blobs.shared_upload(record.oid, &name));
        Ok(FoundShared { id, record, found })
    }
}

impl StorageJob for WriteScratch {
    type Answer = (Writer, Result<(), StorageError>);

    const SCHEDULE: Schedule = Schedule::AtOnce;

    fn run(self, _: &dyn Storage, patience: Patience) -> Result<Self::Answer, Self> {
        if patience == Patience::Now {
            return Err(self);
        }
        Ok((self.writer, self.file.write(self.at, &self.chunks)))
    }
}

impl StorageJob for Discard {
    type Answer = ();

    const SCHEDULE: Schedule = Schedule::AtOnce;

    fn run(self, _: &dyn Storage, patience: Patience) -> Result<(), Self> {
        if patience == Patience::Now {
            return Err(self);
        }
        drop(self.0);
        Ok(())
    }
}

/// Sessions make such calls only to storages that say that they keep blobs.
pub(super) fn blobs(storage: &dyn Storage) -> Result<&dyn BlobStore, StorageError> {
    storage.blobs().ok_or(StorageError::Unsupported("loadBlob"))
}
