//! Where a client has its blobs: a cache of its own, or the server's directory.
//!
//! ```text
//!   CACHE/.layout                       the word zeocache
//!   CACHE/234/                          a directory for each rest of an oid divided by 997
//!   CACHE/234/.lock                     whoever downloads into it, or removes from it, has this
//!   CACHE/234/1.03f6fcd22ddddddd.blob   oid 1231 (1 · 997 + 234), the revision of that tid
//!   CACHE/234/1.….blob.dl               a download in progress
//!   CACHE/tmp/rzeo-XXXXXX/              what belongs to one opening of ours: uploads
//!   CACHE/check_size.lock               whoever brings the cache down to its size has this
//!   CACHE/check_size.attempt            somebody else wanted to
//! ```
//!
//! All of this is Python's, but for the directories in `tmp`: Python's clients and ours can use one
//! cache at the same time. Locks are `flock`, on files that stay; who dies leaves his lock free.
//!
//! A file has its final name only when it is whole and on the disk, and is never written again. So
//! whoever opened one may read it to its end, whatever becomes of its name; a [`Blob`] is an open
//! file for that reason. A crash leaves a `.dl`, whose lock is free, and a directory in `tmp`,
//! whose lock is free as well (it is on the directory itself): the next opening removes both. What
//! a dead Python client leaves of its uploads nobody can tell from those of a living one, and it
//! stays.
//!
//! A directory that is shared with the server is the server's, bushy or lawn. Nothing is
//! transferred then and there is no cache to care for: an upload is a file that is put beside the
//! object's other revisions under a temporary name, for the server to take.
//!
//! Everything here may wait for the disk, and [`BlobDir::download`] and [`Upload::committed`] for
//! other clients. No blob is ever in memory. There is no thread here: who owns a [`BlobDir`] asks
//! [`BlobDir::sweep_is_due`] after bytes have come, and runs [`BlobDir::sweep`] where waiting is
//! allowed.

mod cache;
mod download;
mod error;
mod lock;
mod names;
mod shared;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rzeo_core::ids::{Oid, Tid};

use self::cache::Cache;
pub use self::download::{Download, Fetch};
pub use self::error::BlobError;
use self::error::doing;
use self::shared::Shared;
pub use self::sweep::Sweep;
pub use self::upload::{Take, Upload};

/// How long Python waits for the lock of a directory.
const LOCK_WAIT: Duration = Duration::from_secs(600);
/// How much of its size is loaded into a cache until it is swept, as in Python.
const CHECK_PERCENT: u8 = 10;

/// What a directory of blobs is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobOptions {
    /// Where it is (`blob_dir`).
    pub path: PathBuf,
    /// Whether it is the server's own (`shared_blob_dir`). The rest does not matter then.
    pub shared: bool,
    /// How many bytes of blobs to keep (`blob_cache_size`); all if it is not said.
    pub cache_size: Option<u64>,
    /// When this percentage of the size has been loaded, the cache is swept, down to so much below
    /// its size (`blob_cache_size_check`). Less than 100.
    pub check_percent: u8,
    /// How long to wait for a directory in which somebody else is busy.
    pub lock_wait: Duration,
}

impl BlobOptions {
    /// A cache without a limit.
    #[must_use]
    pub fn cache(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            shared: false,
            cache_size: None,
            check_percent: CHECK_PERCENT,
            lock_wait: LOCK_WAIT,
        }
    }

    /// The server's directory.
    #[must_use]
    pub fn shared(path: impl Into<PathBuf>) -> Self {
        Self { shared: true, ..Self::cache(path) }
    }
}

/// A blob that is here.
#[derive(Debug)]
pub struct Blob {
    /// Its file. In a cache, the name may be gone at any time.
    pub path: PathBuf,
    /// The same, open for reading: that stays.
    pub file: File,
}

/// A directory of blobs. Clones are the same.
#[derive(Clone, Debug)]
pub struct BlobDir(Place);

#[derive(Clone, Debug)]
enum Place {
    Cache(Arc<Cache>),
    Shared(Arc<Shared>),
}

impl BlobDir {
    /// Opens a directory of blobs; makes a cache that is not there.
    ///
    /// # Errors
    /// If it has another layout, or an option makes no sense, or the disk fails.
    pub fn open(options: &BlobOptions) -> Result<Self, BlobError> {
        Ok(Self(if options.shared {
            Place::Shared(Arc::new(Shared::open(&options.path)?))
        } else {
            Place::Cache(Arc::new(Cache::open(options)?))
        }))
    }

    /// Whether it is the server's.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Place::Shared(_))
    }

    /// The name that a blob has, or would have.
    ///
    /// # Errors
    /// If the directory is shared, and its layout cannot be read.
    pub fn path_of(&self, oid: Oid, serial: Tid) -> Result<PathBuf, BlobError> {
        match &self.0 {
            Place::Cache(cache) => Ok(cache.file(oid, serial)),
            Place::Shared(shared) => shared.file(oid, serial),
        }
    }

    /// Where an application may write what will become uploads: in the same file system, so that
    /// they need not be copied. In a cache, what is left there is removed after the last clone.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        match &self.0 {
            Place::Cache(cache) => cache.temporary(),
            Place::Shared(shared) => shared.temporary(),
        }
    }

    /// A blob, if it is here. In a cache, it counts as used now.
    ///
    /// # Errors
    /// `NoFile` if the directory is shared: what is not there is nowhere.
    pub fn lookup(&self, oid: Oid, serial: Tid) -> Result<Option<Blob>, BlobError> {
        match &self.0 {
            Place::Cache(cache) => cache.lookup(oid, serial),
            Place::Shared(shared) => shared.lookup(oid, serial).map(Some),
        }
    }

    /// Takes on to download a blob, unless somebody else did meanwhile. While others download into
    /// the same directory (those of this process are others, too) it waits.
    ///
    /// # Errors
    /// `Locked` if that takes longer than it may; `NoFile` as in [`Self::lookup`].
    pub fn download(&self, oid: Oid, serial: Tid) -> Result<Fetch, BlobError> {
        match &self.0 {
            Place::Cache(cache) => Cache::download(cache, oid, serial),
            Place::Shared(shared) => shared.lookup(oid, serial).map(Fetch::Here),
        }
    }

    /// The same without waiting: `None` while others are busy there.
    ///
    /// # Errors
    /// As [`Self::download`], but `Locked`.
    pub fn try_download(&self, oid: Oid, serial: Tid) -> Result<Option<Fetch>, BlobError> {
        match &self.0 {
            Place::Cache(cache) => Cache::try_download(cache, oid, serial),
            Place::Shared(shared) => shared.lookup(oid, serial).map(Fetch::Here).map(Some),
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
            Place::Cache(cache) => cache.sweep_is_due(),
            Place::Shared(_) => false,
        }
    }

    /// Brings the cache down to its size: what was not used for the longest time is removed. This
    /// takes a look at every file, so it is something for a thread of its own.
    ///
    /// # Errors
    /// The disk's.
    pub fn sweep(&self) -> Result<Sweep, BlobError> {
        match &self.0 {
            Place::Cache(cache) => cache.sweep(),
            Place::Shared(_) => Ok(Sweep::Unbounded),
        }
    }
}

/// A file opened for reading; `None` if it is not there.
fn open_if_there(path: PathBuf) -> Result<Option<Blob>, BlobError> {
    match File::open(&path) {
        Ok(file) => Ok(Some(Blob { path, file })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(doing("open", &path)(error)),
    }
}
