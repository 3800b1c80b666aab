//! The download of a blob into a cache.

use std::fs::{self, File, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rzeo_core::{Oid, Tid};
use tempfile::TempPath;

use super::blob_file::{Blob, touch};
use super::cache::Cache;
use super::error::{BlobError, doing, or_missing};
use super::lock::Lock;

/// Mode of a downloaded blob, as in Python.
const MODE: u32 = 0o400;

/// The result of starting a download.
#[derive(Debug)]
pub enum Fetch {
    /// The blob is in the cache already.
    Here(Blob),
    /// The caller must request the blob and append its content.
    Missing(Download),
}

/// A download in progress. Its directory is locked until it is finished or dropped; if it is dropped, its file is
/// removed.
#[derive(Debug)]
pub struct Download {
    cache: Arc<Cache>,
    path: PathBuf,
    file: File,
    // Fields are dropped in this order: the file is removed before the lock is released.
    part: TempPath,
    lock: Lock,
}

impl Cache {
    pub(super) fn download(this: &Arc<Self>, oid: Oid, serial: Tid) -> Result<Fetch, BlobError> {
        let lock = this.lock(oid)?;
        this.fetch(oid, serial, lock)
    }

    pub(super) fn try_download(
        this: &Arc<Self>,
        oid: Oid,
        serial: Tid,
    ) -> Result<Option<Fetch>, BlobError> {
        let lock = Lock::try_take(&this.lock_file(oid)?)?;
        lock.map(|lock| this.fetch(oid, serial, lock)).transpose()
    }

    fn fetch(self: &Arc<Self>, oid: Oid, serial: Tid, lock: Lock) -> Result<Fetch, BlobError> {
        // The previous holder of the lock may have downloaded the same blob.
        if let Some(blob) = self.lookup(oid, serial)? {
            return Ok(Fetch::Here(blob));
        }
        let path = self.file(oid, serial);
        Download::begin(Arc::clone(self), path, lock).map(Fetch::Missing)
    }
}

impl Download {
    pub(super) fn begin(cache: Arc<Cache>, path: PathBuf, lock: Lock) -> Result<Self, BlobError> {
        let mut name = path.clone().into_os_string();
        name.push(".dl");
        let name = PathBuf::from(name);
        // No download can be using the file, because the lock is held.
        or_missing(fs::remove_file(&name)).map_err(doing("remove", &name))?;
        let file = File::create_new(&name).map_err(doing("create", &name))?;
        let part = TempPath::try_from_path(&name).map_err(doing("create", &name))?;
        Ok(Self { cache, path, file, part, lock })
    }

    /// Appends bytes to the content.
    ///
    /// # Errors
    /// If a disk call fails.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.file.write_all(bytes).map_err(doing("write", &self.part))?;
        self.cache.count(bytes.len() as u64);
        Ok(())
    }

    /// Drops the content so far, because the server sends the blob from its start again.
    ///
    /// # Errors
    /// If a disk call fails.
    pub fn restart(&mut self) -> Result<(), BlobError> {
        let restarted = self.file.set_len(0).and_then(|()| self.file.rewind());
        restarted.map_err(doing("empty", &self.part))
    }

    /// Makes the complete content a blob of the cache.
    ///
    /// # Errors
    /// If a disk call fails.
    pub fn finish(self) -> Result<Blob, BlobError> {
        // The last is dropped first: the file is removed before the lock is released.
        let Self { lock, part, file, path, .. } = self;
        let settle = || -> io::Result<()> {
            file.set_permissions(Permissions::from_mode(MODE))?;
            touch(&file);
            // Otherwise a power failure could leave part of it under its final name.
            file.sync_data()
        };
        settle().map_err(doing("finish", &part))?;
        part.persist(&path).map_err(|error| doing("finish", &path)(error.error))?;
        let file = File::open(&path).map_err(doing("open", &path))?;
        // From here on a sweep may remove the path.
        drop(lock);
        Ok(Blob { path, file })
    }
}
