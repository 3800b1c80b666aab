//! The upload of a blob to the server.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rzeo_core::{Oid, Tid};
use tempfile::TempPath;

use super::cache::Cache;
use super::error::{BlobError, doing};
use super::location::Location;

/// The mode bits for writing.
const WRITE: u32 = 0o222;
/// The mode bits for reading.
const READ: u32 = 0o444;
/// The mode bits that `chmod` sets.
const PERMISSIONS: u32 = 0o777;

/// How an upload takes the file of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// It moves the file, and copies it only from another file system.
    Move,
    /// It copies the file.
    Copy,
}

/// A file that becomes a blob if its transaction is committed. Dropping this value removes the file, unless it has
/// become a blob.
#[derive(Debug)]
pub struct Upload {
    oid: Oid,
    file: TempPath,
    size: u64,
    /// The cache of the client; `None` if the file is in a directory that is shared with the server.
    cache: Option<Arc<Cache>>,
    /// Open only while it is read, because a transaction may have very many uploads.
    reader: Option<File>,
}

impl Upload {
    pub(super) fn take(
        location: &Location,
        oid: Oid,
        serial: Tid,
        path: &Path,
        take: Take,
    ) -> Result<Self, BlobError> {
        let found = match take {
            Take::Move => fs::symlink_metadata(path),
            Take::Copy => fs::metadata(path),
        };
        let size = match found.map_err(doing("take", path))? {
            found if found.is_file() => found.len(),
            _ => return Err(BlobError::NotAFile { path: path.to_owned() }),
        };
        let (file, cache) = match location {
            Location::Cache(cache) => (cache.new_upload()?, Some(Arc::clone(cache))),
            Location::Shared(shared) => (shared.new_upload(oid, serial)?, None),
        };
        let size = match take {
            Take::Move => move_or_copy(path, &file).map(|copied| copied.unwrap_or(size)),
            Take::Copy => copy(path, &file),
        };
        let size = size.map_err(doing("take", path))?;
        Ok(Self { oid, file, size, cache, reader: None })
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Path of the upload's own file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Name of the file for `storeBlobShared`; `None` in a cache, whose uploads are sent.
    #[must_use]
    pub fn shared_name(&self) -> Option<&str> {
        if self.cache.is_some() {
            return None;
        }
        let name = self.file.file_name().and_then(|name| name.to_str());
        Some(name.expect("it is a tid and letters"))
    }

    /// Reads the bytes from `at`: `len` of them, or fewer at the end of the file.
    ///
    /// # Errors
    /// If a disk call fails.
    pub fn read(&mut self, at: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        let file = match self.reader.take() {
            Some(file) => file,
            None => File::open(&self.file).map_err(doing("open", &self.file))?,
        };
        let mut bytes = vec![0; len];
        let filled = read_at(&file, &mut bytes, at).map_err(doing("read", &self.file))?;
        if filled == len {
            self.reader = Some(file);
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Makes the upload a blob of the cache, after its transaction was committed; this may wait for other clients.
    /// In a shared directory the server has renamed the file already.
    ///
    /// # Errors
    /// `Locked`, or a disk call that failed. The server has the blob nevertheless, and the cache can download it.
    pub fn committed(self, tid: Tid) -> Result<(), BlobError> {
        let Some(cache) = self.cache else { return Ok(()) };
        // The sync takes long, so it comes before the lock.
        let opened = File::open(&self.file);
        opened.and_then(|file| file.sync_data()).map_err(doing("finish", &self.file))?;
        let path = cache.file(self.oid, tid);
        // Python's clients rely on the lock: no other client may add a blob while they download it.
        let lock = cache.lock(self.oid)?;
        settle(&self.file, &path).map_err(doing("finish", &self.file))?;
        self.file.persist(&path).map_err(|error| doing("finish", &path)(error.error))?;
        drop(lock);
        cache.count(self.size);
        Ok(())
    }
}

/// Makes a file readable to the users who may read the directory of `place`, and writable to none, as
/// Python does.
fn settle(file: &Path, place: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(file)?.permissions().mode() & PERMISSIONS;
    let directory = match place.parent() {
        Some(directory) => fs::symlink_metadata(directory)?.permissions().mode(),
        None => 0,
    };
    fs::set_permissions(file, Permissions::from_mode(mode & !WRITE | directory & READ))
}

/// Moves a file over another one. Returns the number of bytes if it had to be copied.
fn move_or_copy(from: &Path, to: &Path) -> io::Result<Option<u64>> {
    // Before the rename, because an error must leave the application's file.
    settle(from, to)?;
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let copied = copy(from, to)?;
            fs::remove_file(from)?;
            Ok(Some(copied))
        }
        renamed => renamed.map(|()| None),
    }
}

/// Copies a file over the upload's own file.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let mut target = File::options().write(true).truncate(true).open(to)?;
    let copied = io::copy(&mut File::open(from)?, &mut target)?;
    settle(to, to)?;
    Ok(copied)
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
