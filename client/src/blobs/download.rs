//! A blob on its way into a cache.

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

/// What Python gives to a blob that was downloaded.
const MODE: u32 = 0o400;

/// What became of the wish to download a blob.
#[derive(Debug)]
pub enum Fetch {
    /// It is here already.
    Here(Blob),
    /// It is to be asked for, and to be put in here.
    Missing(Download),
}

/// A download in progress. Its directory is locked, and what has come is removed, until it is
/// finished or dropped.
#[derive(Debug)]
pub struct Download {
    cache: Arc<Cache>,
    path: PathBuf,
    file: File,
    // In this order: removed before it is unlocked.
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
        // Whoever had the lock may have been after the same blob.
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
        // As we have the lock it belongs to nobody.
        or_missing(fs::remove_file(&name)).map_err(doing("remove", &name))?;
        let file = File::create_new(&name).map_err(doing("create", &name))?;
        let part = TempPath::try_from_path(&name).map_err(doing("create", &name))?;
        Ok(Self { cache, path, file, part, lock })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The disk's.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.file.write_all(bytes).map_err(doing("write", &self.part))?;
        self.cache.count(bytes.len() as u64);
        Ok(())
    }

    /// Begins again, if the server does.
    ///
    /// # Errors
    /// The disk's.
    pub fn restart(&mut self) -> Result<(), BlobError> {
        let restarted = self.file.set_len(0).and_then(|()| self.file.rewind());
        restarted.map_err(doing("empty", &self.part))
    }

    /// All has come: it becomes a blob of the cache.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(self) -> Result<Blob, BlobError> {
        // In this order, for the same reason: the last is dropped first.
        let Self { lock, part, file, path, .. } = self;
        let settle = || -> io::Result<()> {
            file.set_permissions(Permissions::from_mode(MODE))?;
            touch(&file);
            // Else a power failure could leave half of it under its final name.
            file.sync_data()
        };
        settle().map_err(doing("finish", &part))?;
        part.persist(&path).map_err(|error| doing("finish", &path)(error.error))?;
        let file = File::open(&path).map_err(doing("open", &path))?;
        // A sweep may take its name now.
        drop(lock);
        Ok(Blob { path, file })
    }
}
