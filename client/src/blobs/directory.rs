//! A directory of blobs: a cache, or the server's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rzeo_core::{Oid, Tid};

use super::blob_file::Blob;
use super::cache::Cache;
use super::download::Fetch;
use super::error::BlobError;
use super::location::Location;
use super::options::BlobOptions;
use super::shared::Shared;
use super::sweep::Sweep;
use super::upload::{Take, Upload};

/// A directory of blobs. Clones share one opening of it.
#[derive(Clone, Debug)]
pub struct BlobDir(Location);

impl BlobDir {
    /// Opens a directory of blobs; makes a cache that does not exist.
    ///
    /// # Errors
    /// If the directory has another layout, an option is out of range, or a disk call fails.
    pub fn open(options: &BlobOptions) -> Result<Self, BlobError> {
        Ok(Self(if options.shared {
            Location::Shared(Arc::new(Shared::open(&options.path)?))
        } else {
            Location::Cache(Arc::new(Cache::open(options)?))
        }))
    }

    /// Whether the directory is shared with the server.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Location::Shared(_))
    }

    /// Path of a blob, whether it is in the directory or not.
    ///
    /// # Errors
    /// If the directory is shared, and its layout cannot be read.
    pub fn path_of(&self, oid: Oid, serial: Tid) -> Result<PathBuf, BlobError> {
        match &self.0 {
            Location::Cache(cache) => Ok(cache.file(oid, serial)),
            Location::Shared(shared) => shared.file(oid, serial),
        }
    }

    /// A directory for files that will become uploads. It is in the same file system, so that
    /// they need not be copied. In a cache, it is removed with the last clone.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        match &self.0 {
            Location::Cache(cache) => cache.temporary(),
            Location::Shared(shared) => shared.temporary(),
        }
    }

    /// A blob, if it is in the directory. In a cache, this counts as a use of it.
    ///
    /// # Errors
    /// `NoFile` if the directory is shared and the blob is not in it; it cannot be downloaded then.
    pub fn lookup(&self, oid: Oid, serial: Tid) -> Result<Option<Blob>, BlobError> {
        match &self.0 {
            Location::Cache(cache) => cache.lookup(oid, serial),
            Location::Shared(shared) => shared.lookup(oid, serial).map(Some),
        }
    }

    /// Starts the download of a blob, unless it is in the directory by now. It waits while another download, of this
    /// process or of another one, has the same subdirectory locked.
    ///
    /// # Errors
    /// `Locked` if the lock is not released within the time of the options; `NoFile` as in [`Self::lookup`].
    pub fn download(&self, oid: Oid, serial: Tid) -> Result<Fetch, BlobError> {
        match &self.0 {
            Location::Cache(cache) => Cache::download(cache, oid, serial),
            Location::Shared(shared) => shared.lookup(oid, serial).map(Fetch::Here),
        }
    }

    /// [`Self::download`] without waiting: `None` while the subdirectory is locked.
    ///
    /// # Errors
    /// As [`Self::download`], except `Locked`.
    pub fn try_download(&self, oid: Oid, serial: Tid) -> Result<Option<Fetch>, BlobError> {
        match &self.0 {
            Location::Cache(cache) => Cache::try_download(cache, oid, serial),
            Location::Shared(shared) => shared.lookup(oid, serial).map(Fetch::Here).map(Some),
        }
    }

    /// Takes an application's file as the content of a blob. The upload has its own file from now on; the application
    /// cannot change it. `serial` is the revision that was read.
    ///
    /// # Errors
    /// `NotAFile`, or a disk call that failed. The application's file is unchanged then.
    pub fn take_upload(
        &self,
        oid: Oid,
        serial: Tid,
        path: &Path,
        take: Take,
    ) -> Result<Upload, BlobError> {
        Upload::take(&self.0, oid, serial, path, take)
    }

    /// Whether the cache should be swept, because of the new bytes or because it was just opened; `true` once.
    #[must_use]
    pub fn sweep_is_due(&self) -> bool {
        match &self.0 {
            Location::Cache(cache) => cache.sweep_is_due(),
            Location::Shared(_) => false,
        }
    }

    /// Reduces the cache to its size by removing the least recently used blobs. This
    /// reads the metadata of every file, so call it on a thread that may block.
    ///
    /// # Errors
    /// If a disk call fails.
    pub fn sweep(&self) -> Result<Sweep, BlobError> {
        match &self.0 {
            Location::Cache(cache) => cache.sweep(),
            Location::Shared(_) => Ok(Sweep::Unbounded),
        }
    }
}
