//! A directory of blobs, of either kind.

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

/// A directory of blobs. Clones are the same.
#[derive(Clone, Debug)]
pub struct BlobDir(Location);

impl BlobDir {
    /// Opens a directory of blobs; makes a cache that is not there.
    ///
    /// # Errors
    /// If it has another layout, or an option makes no sense, or the disk fails.
    pub fn open(options: &BlobOptions) -> Result<Self, BlobError> {
        Ok(Self(if options.shared {
            Location::Shared(Arc::new(Shared::open(&options.path)?))
        } else {
            Location::Cache(Arc::new(Cache::open(options)?))
        }))
    }

    /// Whether it is the server's.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Location::Shared(_))
    }

    /// The name that a blob has, or would have.
    ///
    /// # Errors
    /// If the directory is shared, and its layout cannot be read.
    pub fn path_of(&self, oid: Oid, serial: Tid) -> Result<PathBuf, BlobError> {
        match &self.0 {
            Location::Cache(cache) => Ok(cache.file(oid, serial)),
            Location::Shared(shared) => shared.file(oid, serial),
        }
    }

    /// Where an application may write what will become uploads: in the same file system, so that
    /// they need not be copied. In a cache, what is left there is removed after the last clone.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        match &self.0 {
            Location::Cache(cache) => cache.temporary(),
            Location::Shared(shared) => shared.temporary(),
        }
    }

    /// A blob, if it is here. In a cache, it counts as used now.
    ///
    /// # Errors
    /// `NoFile` if the directory is shared: what is not there is nowhere.
    pub fn lookup(&self, oid: Oid, serial: Tid) -> Result<Option<Blob>, BlobError> {
        match &self.0 {
            Location::Cache(cache) => cache.lookup(oid, serial),
            Location::Shared(shared) => shared.lookup(oid, serial).map(Some),
        }
    }

    /// Takes on to download a blob, unless somebody else did meanwhile. While others download into
    /// the same directory (those of this process are others, too) it waits.
    ///
    /// # Errors
    /// `Locked` if that takes longer than it may; `NoFile` as in [`Self::lookup`].
    pub fn download(&self, oid: Oid, serial: Tid) -> Result<Fetch, BlobError> {
        match &self.0 {
            Location::Cache(cache) => Cache::download(cache, oid, serial),
            Location::Shared(shared) => shared.lookup(oid, serial).map(Fetch::Here),
        }
    }

    /// The same without waiting: `None` while others are busy there.
    ///
    /// # Errors
    /// As [`Self::download`], but `Locked`.
    pub fn try_download(&self, oid: Oid, serial: Tid) -> Result<Option<Fetch>, BlobError> {
        match &self.0 {
            Location::Cache(cache) => Cache::try_download(cache, oid, serial),
            Location::Shared(shared) => shared.lookup(oid, serial).map(Fetch::Here).map(Some),
        }
    }

    /// Takes an application's file to make a blob of it. From now on it is nobody else's; if it is
    /// to be copied, there is room for it or this fails. `serial` is the revision that was read.
    ///
    /// # Errors
    /// `NotAFile`, or the disk's. The application's file is where it was then.
    pub fn take_upload(
        &self,
        oid: Oid,
        serial: Tid,
        path: &Path,
        take: Take,
    ) -> Result<Upload, BlobError> {
        Upload::take(&self.0, oid, serial, path, take)
    }

    /// Whether so much has come that the cache should be swept; says so once. Also after opening.
    #[must_use]
    pub fn sweep_is_due(&self) -> bool {
        match &self.0 {
            Location::Cache(cache) => cache.sweep_is_due(),
            Location::Shared(_) => false,
        }
    }

    /// Brings the cache down to its size: what was not used for the longest time is removed. This
    /// takes a look at every file, so it is something for a thread of its own.
    ///
    /// # Errors
    /// The disk's.
    pub fn sweep(&self) -> Result<Sweep, BlobError> {
        match &self.0 {
            Location::Cache(cache) => cache.sweep(),
            Location::Shared(_) => Ok(Sweep::Unbounded),
        }
    }
}
