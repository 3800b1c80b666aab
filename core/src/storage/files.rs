//! What is too large for memory: temporary files, records in them, and blobs.

use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

use bytes::Bytes;

use super::{Patience, StorageError};
use crate::ids::{Oid, Tid};

/// A temporary file of a storage: records that do not fit into memory, or an upload that may become
/// a blob. It is gone with its last owner, unless a commit made a blob of it.
pub trait Scratch: Send + Sync + fmt::Debug {
    /// Writes all chunks one behind the other, from a position on. Always may wait for the disk.
    ///
    /// # Errors
    /// `Disk`.
    fn write(&self, at: u64, chunks: &[Bytes]) -> Result<(), StorageError>;

    /// Reads exactly so many bytes. Always may wait for the disk.
    ///
    /// # Errors
    /// `Disk`, also if there are fewer.
    fn read(&self, at: u64, len: usize) -> Result<Bytes, StorageError>;

    /// For the storage, which has to find its own file again.
    fn as_any(&self) -> &dyn Any;
}

/// The bytes of a record on its way into a storage.
#[derive(Clone, Debug)]
pub enum RecordData {
    /// In memory.
    Memory(Bytes),
    /// In a temporary file of the storage that the record is for.
    Spooled {
        /// The file.
        file: Arc<dyn Scratch>,
        /// Where the record begins.
        at: u64,
        /// Its length.
        len: usize,
    },
}

impl RecordData {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Spooled { len, .. } => *len,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes themselves.
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

/// The blobs of a storage: for each revision of a blob object a file.
pub trait BlobStore: Send + Sync {
    /// An empty file for an upload, where a commit can make a blob of it. Always may wait.
    ///
    /// # Errors
    /// `ReadOnly`, `Disk`.
    fn upload(&self) -> Result<Arc<dyn Scratch>, StorageError>;

    /// A file that a client has put into the object's directory itself (`storeBlobShared`). `name`
    /// is a bare file name, the caller has checked it. Always may wait.
    ///
    /// # Errors
    /// `NoSuchUpload`, `ReadOnly`, `Disk`.
    fn shared_upload(&self, oid: Oid, name: &str) -> Result<Arc<dyn Scratch>, StorageError>;

    /// Opens the blob of exactly that revision. It stays readable when a pack removes it. Always may
    /// wait.
    ///
    /// # Errors
    /// `NoSuchBlob`, `Disk`.
    fn open(&self, oid: Oid, serial: Tid) -> Result<Arc<dyn BlobFile>, StorageError>;
}

/// A committed blob, open for reading.
#[expect(clippy::len_without_is_empty, reason = "nobody asks")]
pub trait BlobFile: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Reads from a position on: `len` bytes, fewer only at the end.
    ///
    /// # Errors
    /// `WouldBlock`, `Disk`.
    fn read(&self, at: u64, len: usize, patience: Patience) -> Result<Bytes, StorageError>;
}
