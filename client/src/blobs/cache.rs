//! A cache of blobs that clients of one machine share.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rzeo_core::{Oid, Tid};
use tempfile::{Builder, NamedTempFile, TempDir, TempPath};

use super::blob_file::{Blob, any_mode, names, open_if_there, touch};
use super::error::{BlobError, doing, or_missing};
use super::lock::Lock;
use super::names::{LOCK, Layout, MARKER, PART_SUFFIX, TEMPORARY, is_cache_directory, marker};
use super::options::BlobOptions;

/// Content of the marker of a cache.
const NAME: &str = "zeocache";
/// Prefix of the directories in `tmp` that rzeo makes.
const SESSION_PREFIX: &str = "rzeo-";
/// Maximum number of attempts to make a directory in `tmp`; another client may remove it before it is locked.
const TRIES: usize = 10;

#[derive(Debug)]
pub(super) struct Cache {
    pub(super) root: PathBuf,
    pub(super) bound: Option<Bound>,
    lock_wait: Duration,
    session: Session,
}

/// The limit of a cache, and when it is swept.
#[derive(Debug)]
pub(super) struct Bound {
    /// Maximum size in bytes after a sweep.
    pub(super) target: u64,
    /// Number of new bytes after which a sweep is due.
    share: u64,
    /// Number of new bytes since the last sweep.
    loaded: AtomicU64,
    due: AtomicBool,
}

impl Bound {
    fn new(size: u64, percent: u8) -> Result<Self, BlobError> {
        if percent >= 100 {
            return Err(BlobError::CheckPercent(percent));
        }
        let share = u128::from(size) * u128::from(percent) / 100;
        let share = u64::try_from(share).expect("a share is less than the whole");
        let (loaded, due) = (AtomicU64::new(0), AtomicBool::new(true));
        Ok(Self { target: size - share, share, loaded, due })
    }
}

impl Cache {
    pub(super) fn open(options: &BlobOptions) -> Result<Self, BlobError> {
        let bound = options.cache_size.map(|size| Bound::new(size, options.check_percent));
        let bound = bound.transpose()?;
        let path = &options.path;
        let root = std::path::absolute(path).map_err(doing("find", path))?;
        fs::create_dir_all(&root).map_err(doing("create", &root))?;
        let is_marked = check_layout(&root)?;
        let temporary = root.join(TEMPORARY);
        fs::create_dir_all(&temporary).map_err(doing("create", &temporary))?;
        remove_dead_sessions(&temporary)?;
        let session = Session::new(&temporary)?;
        if !is_marked {
            mark(&root, session.path()).map_err(doing("mark the layout of", &root))?;
        }
        remove_dead_downloads(&root)?;
        Ok(Self { root, bound, lock_wait: options.lock_wait, session })
    }

    pub(super) fn temporary(&self) -> &Path {
        self.session.path()
    }

    pub(super) fn file(&self, oid: Oid, serial: Tid) -> PathBuf {
        Layout::Zeocache.file(&self.root, oid, serial)
    }

    pub(super) fn lookup(&self, oid: Oid, serial: Tid) -> Result<Option<Blob>, BlobError> {
        let found = open_if_there(self.file(oid, serial))?;
        if let Some(blob) = &found {
            touch(&blob.file);
        }
        Ok(found)
    }

    /// Makes the directory of an object, and returns the path of its lock.
    pub(super) fn lock_file(&self, oid: Oid) -> Result<PathBuf, BlobError> {
        let directory = Layout::Zeocache.directory(&self.root, oid);
        fs::create_dir_all(&directory).map_err(doing("create", &directory))?;
        Ok(directory.join(LOCK))
    }

    /// Takes the lock of an object's directory.
    pub(super) fn lock(&self, oid: Oid) -> Result<Lock, BlobError> {
        Lock::take(&self.lock_file(oid)?, self.lock_wait)
    }

    /// An empty file for an upload.
    pub(super) fn new_upload(&self) -> Result<TempPath, BlobError> {
        let temporary = self.temporary();
        Builder::new()
            .permissions(any_mode())
            .tempfile_in(temporary)
            .map(NamedTempFile::into_temp_path)
            .map_err(doing("create a file in", temporary))
    }

    /// Counts new bytes.
    pub(super) fn count(&self, bytes: u64) {
        let Some(bound) = &self.bound else { return };
        let before = bound.loaded.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) >= bound.share {
            bound.loaded.store(0, Ordering::Relaxed);
            bound.due.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn sweep_is_due(&self) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.due.swap(false, Ordering::Relaxed))
    }
}

/// Refuses a directory that is not a cache. Returns whether it is marked as one.
fn check_layout(root: &Path) -> Result<bool, BlobError> {
    let refuse = |found: String| {
        Err(BlobError::Layout { path: root.to_owned(), found, wanted: "a client's, zeocache" })
    };
    match marker(root)? {
        Some(found) if found == NAME => Ok(true),
        Some(found) => refuse(found),
        // Servers have not always marked their directories, and would refuse one with this marker.
        None if names(root)?.iter().any(|name| name.starts_with("0x")) => refuse("lawn".to_owned()),
        None => Ok(false),
    }
}

/// Writes the marker with a rename, so other programs see all of it or nothing.
fn mark(root: &Path, temporary: &Path) -> io::Result<()> {
    let mut builder = Builder::new();
    let mut file = builder.permissions(any_mode()).tempfile_in(temporary)?;
    file.write_all(NAME.as_bytes())?;
    file.persist(root.join(MARKER)).map_err(|error| error.error)?;
    Ok(())
}

/// Removes abandoned downloads, whose directory is not locked. Python's clients need this, too: they cannot download
/// a blob while its abandoned download exists.
fn remove_dead_downloads(root: &Path) -> Result<(), BlobError> {
    for name in names(root)?.iter().filter(|name| is_cache_directory(name)) {
        let directory = root.join(name);
        let parts = names(&directory)?;
        let parts: Vec<_> = parts.iter().filter(|name| name.ends_with(PART_SUFFIX)).collect();
        if parts.is_empty() {
            continue;
        }
        let Some(_lock) = Lock::try_take(&directory.join(LOCK))? else { continue };
        for part in parts {
            let path = directory.join(part);
            or_missing(fs::remove_file(&path)).map_err(doing("remove", &path))?;
        }
    }
    Ok(())
}

/// A directory in `tmp` that exists while a cache is open; its lock shows that it is in use.
#[derive(Debug)]
struct Session {
    directory: TempDir,
    _lock: File,
}

impl Session {
    fn new(temporary: &Path) -> Result<Self, BlobError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_new(temporary) {
                Ok(Some(session)) => return Ok(session),
                Ok(None) if tries < TRIES => {}
                Ok(None) => {
                    let error = io::ErrorKind::WouldBlock.into();
                    return Err(doing("lock a directory in", temporary)(error));
                }
                Err(error) => return Err(doing("create a directory in", temporary)(error)),
            }
        }
    }

    /// `None` if another client removed it as abandoned before it was locked.
    fn try_new(temporary: &Path) -> io::Result<Option<Self>> {
        let directory = Builder::new().prefix(SESSION_PREFIX).tempdir_in(temporary)?;
        let opened = match File::open(directory.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match opened.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        let found = match fs::symlink_metadata(directory.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let is_there = found.ino() == opened.metadata()?.ino();
        Ok(is_there.then_some(Self { directory, _lock: opened }))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes the directories in `tmp` of rzeo processes that have ended.
fn remove_dead_sessions(temporary: &Path) -> Result<(), BlobError> {
    for name in names(temporary)?.iter().filter(|name| name.starts_with(SESSION_PREFIX)) {
        let path = temporary.join(name);
        let Ok(directory) = File::open(&path) else { continue };
        if directory.try_lock().is_ok() {
            or_missing(fs::remove_dir_all(&path)).map_err(doing("remove", &path))?;
        }
    }
    Ok(())
}
