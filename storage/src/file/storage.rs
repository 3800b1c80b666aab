//! An open FileStorage: its fields, and how to open it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use rzeo_core::Oid;
use rzeo_core::storage::StorageError;

use super::disk_space::DiskSpace;
use super::log::Log;
use super::options::FileOptions;
use super::pack::{PackFlag, PendingCleanUp};
use super::read;
use super::recover::{self, Opening};
use super::scratch::SpoolFiles;
use super::state::{Append, VisibleState};
use crate::blob::{self, Blobs};
use crate::disk::{Disk, RealDisk};

/// A database in a file. See the documentation of the module.
pub struct FileStorage {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) options: FileOptions,
    pub(crate) state: Arc<RwLock<VisibleState>>,
    /// Locked while the file is appended to or replaced. `broken` is set when a failed append
    /// cannot be rolled back.
    pub(crate) append: Arc<Mutex<Append>>,
    pub(super) pack_flag: PackFlag,
    /// The clean-up that the last pack left to do.
    pub(super) clean_up: Arc<Mutex<Option<PendingCleanUp>>>,
    /// The greatest oid that is in use or allocated.
    pub(super) last_oid: AtomicU64,
    pub(super) spools: SpoolFiles,
    pub(super) disk_space: Arc<DiskSpace>,
    pub(crate) blobs: Option<Blobs>,
    opening: Opening,
    pub(super) lock: Mutex<Option<Box<dyn Send>>>,
}

impl FileStorage {
    /// Opens a database. Creates it if it does not exist, unless it is opened read-only.
    ///
    /// # Errors
    /// `Disk` if a file cannot be opened or another process holds the lock; `Corrupt` if the file
    /// is not a FileStorage, or is damaged in a way that no interrupted write explains: then
    /// nothing was changed.
    pub fn open(
        disk: Arc<dyn Disk>,
        path: impl Into<PathBuf>,
        options: FileOptions,
    ) -> Result<Self, StorageError> {
        let path = path.into();
        let lock = recover::lock(&*disk, &path, &options)?;
        let (state, opening) = recover::open(&*disk, &path, &options)?;
        opening.log(&path);
        let last_oid = state.index.last_oid().unwrap_or_default();
        let blobs = open_blobs(&disk, &options, &state)?;
        Ok(Self {
            disk,
            path,
            options,
            state: Arc::new(RwLock::new(state)),
            append: Arc::default(),
            pack_flag: PackFlag::default(),
            clean_up: Arc::default(),
            last_oid: AtomicU64::new(last_oid.0),
            spools: SpoolFiles::default(),
            disk_space: Arc::default(),
            blobs,
            opening,
            lock: Mutex::new(lock),
        })
    }

    /// Opens a database in the operating system's files.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_file(path: impl Into<PathBuf>, options: FileOptions) -> Result<Self, StorageError> {
        let mut options = options;
        if let Some(path) = &mut options.blob_dir
            && let Ok(absolute) = std::path::absolute(&*path)
        {
            // Clients that share the directory receive this path.
            *path = absolute;
        }
        Self::open(Arc::new(RealDisk), path, options)
    }

    /// The findings when the file was opened.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The path of the file, as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The greatest oid that is in use or allocated.
    #[must_use]
    pub fn last_oid(&self) -> Oid {
        Oid(self.last_oid.load(Ordering::Relaxed))
    }

    /// Marks an oid as used: `new_oids` does not return it.
    pub(crate) fn use_oid(&self, oid: Oid) {
        self.last_oid.fetch_max(oid.0, Ordering::Relaxed);
    }

    /// A handle on the part that is committed now.
    pub(crate) fn log(&self) -> Log {
        self.state.read().log.clone()
    }

    pub(super) fn check_writable(&self) -> Result<(), StorageError> {
        if self.options.read_only { Err(StorageError::ReadOnly) } else { Ok(()) }
    }
}

impl fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStorage").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Opens the directory of blobs, if one is configured. With `create`, removes all blobs.
fn open_blobs(
    disk: &Arc<dyn Disk>,
    options: &FileOptions,
    state: &VisibleState,
) -> Result<Option<Blobs>, StorageError> {
    let Some(path) = &options.blob_dir else { return Ok(None) };
    if options.create {
        blob::clear(&**disk, path)?;
    }
    let is_known = |oid, tid| read::has_revision(state, oid, tid);
    let keep_old = options.pack_keep_old;
    Blobs::open(Arc::clone(disk), path, options.read_only, keep_old, &is_known).map(Some)
}
