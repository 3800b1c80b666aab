//! The calls that read a blob.

use alloc::sync::Arc;

use bytes::Bytes;

use super::job::{Schedule, StorageJob, unless_blocked};
use super::scratch::blobs;
use crate::ids::{Oid, Tid};
use crate::storage::{BlobFile, Patience, Storage, StorageError};

#[derive(Debug)]
pub(in crate::server) struct OpenBlob {
    pub(in crate::server) oid: Oid,
    pub(in crate::server) serial: Tid,
}

/// The answer to [`OpenBlob`].
pub(in crate::server) type OpenedBlob = Result<Arc<dyn BlobFile>, StorageError>;

/// Reads the next bytes of a blob.
#[derive(Debug)]
pub(in crate::server) struct ReadBlob {
    pub(in crate::server) file: Arc<dyn BlobFile>,
    pub(in crate::server) at: u64,
    pub(in crate::server) len: usize,
}

/// The answer to [`ReadBlob`]: the file, to be read on, and what was read.
pub(in crate::server) type ReadBlobPart = (Arc<dyn BlobFile>, Result<Bytes, StorageError>);

impl StorageJob for OpenBlob {
    type Answer = OpenedBlob;

    fn run(self, storage: &dyn Storage, patience: Patience) -> Result<OpenedBlob, Self> {
        if patience == Patience::Now {
            return Err(self);
        }
        Ok(blobs(storage).and_then(|blobs| blobs.open(self.oid, self.serial)))
    }
}

impl StorageJob for ReadBlob {
    type Answer = ReadBlobPart;

    const SCHEDULE: Schedule = Schedule::BlobRead;

    fn run(self, _: &dyn Storage, patience: Patience) -> Result<ReadBlobPart, Self> {
        let result = self.file.read(self.at, self.len, patience);
        unless_blocked(self, result, |job, result| (job.file, result))
    }
}
