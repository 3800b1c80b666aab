//! Data too large for memory: temporary files, records in them, and blobs.

use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

use bytes::Bytes;

use super::{Patience, StorageError};
use crate::ids::{Oid, Tid};

/// A temporary file of a storage: records that do not fit into memory, or an upload that may become
/// a blob. It is removed when its last owner drops it, unless a commit turned it into a blob.
pub trait Scratch: Send + Sync + fmt::Debug {
    /// Writes all chunks one after the other, starting at a position. May always wait for the disk.
    ///
    /// # Errors
    /// `Disk`.
    fn write(&self, at: u64, chunks: &[Bytes]) -> Result<(), StorageError>;

    /// Reads exactly `len` bytes. May always wait for the disk.
    ///
    /// # Errors
    /// `Disk`, also if the file ends before.
    fn read(&self, at: u64, len: usize) -> Result<Bytes, StorageError>;

    /// For the storage, which downcasts it to its own type.
    fn as_any(&self) -> &dyn Any;
}

/// The bytes of a record that is passed to a storage.
#[derive(Clone, Debug)]
pub enum RecordData {
    /// The record is in memory.
    Memory(Bytes),
    /// The record is in a temporary file of the storage that receives it.
    Spooled {
        /// The temporary file, which lasts until the transaction ends.
        file: Arc<dyn Scratch>,
        /// Position of the record in the file.
        at: u64,
        /// Length of the record in bytes.
        len: usize,
    },
}

impl RecordData {
    /// Length of the record in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Spooled { len, .. } => *len,
        }
    }

    /// Whether the record has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the record.
    ///
    /// # Errors
    /// `WouldBlock` for a spooled record, `Disk`.
    pub fn bytes(&self, patience: Patience) -> Result<Bytes, StorageError> {
        match self {
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::Spooled { .. } if patience == Patience::Now => Err(StorageError::WouldBlock),
            Self::Spooled { file, at, len } => file.read(*at, *len),
        }
    }
}

impl From<Bytes> for RecordData {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

/// The blobs of a storage: one file for each revision of a blob object.
pub trait BlobStore: Send + Sync {
    /// Creates an empty file for an upload, which a commit can turn into a blob. May always wait.
    ///
    /// # Errors
    /// `ReadOnly`, `Disk`.
    fn upload(&self) -> Result<Arc<dyn Scratch>, StorageError>;

    /// A file that a client has put into the object's directory itself (`storeBlobShared`). `name`
    /// is a bare file name, which the caller has checked. May always wait.
    ///
    /// # Errors
    /// `NoSuchUpload`, `ReadOnly`, `Disk`.
    fn shared_upload(&self, oid: Oid, name: &str) -> Result<Arc<dyn Scratch>, StorageError>;

    /// Opens the blob of exactly this revision. It stays readable when a pack removes it. May
    /// always wait.
    ///
    /// # Errors
    /// `NoSuchBlob`, `Disk`.
    fn open(&self, oid: Oid, serial: Tid) -> Result<Arc<dyn BlobFile>, StorageError>;
}

/// A committed blob that is open for reading.
#[expect(clippy::len_without_is_empty, reason = "no caller needs it")]
pub trait BlobFile: Send + Sync + fmt::Debug {
    /// Length of the blob in bytes.
    fn len(&self) -> u64;

    /// Reads `len` bytes at a position, fewer only at the end.
    ///
    /// # Errors
    /// `WouldBlock`, `Disk`.
    fn read(&self, at: u64, len: usize, patience: Patience) -> Result<Bytes, StorageError>;
}
