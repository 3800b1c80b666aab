//! A blob on its way to the server.

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

/// The bits of a mode for writing and for reading.
const WRITE: u32 = 0o222;
const READ: u32 = 0o444;
/// All that `chmod` is given.
const PERMISSIONS: u32 = 0o777;

/// How an application gives away its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// For good. It is copied only if it is in another file system.
    Move,
    /// A copy of it.
    Copy,
}

/// A file that becomes a blob if its transaction is committed. It is removed when this is dropped,
/// unless somebody made a blob of it.
#[derive(Debug)]
pub struct Upload {
    oid: Oid,
    file: TempPath,
    size: u64,
    /// The cache that it is for. Else it is in the server's directory.
    cache: Option<Arc<Cache>>,
    /// Open while it is read, since a transaction may have very many.
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

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where it is now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// What `storeBlobShared` calls it; `None` in a cache, whose uploads are sent.
    #[must_use]
    pub fn shared_name(&self) -> Option<&str> {
        if self.cache.is_some() {
            return None;
        }
        let name = self.file.file_name().and_then(|name| name.to_str());
        Some(name.expect("it is a tid and letters"))
    }

    /// Reads on. There is less than asked for only at its end.
    ///
    /// # Errors
    /// The disk's.
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

    /// Its transaction is committed: it becomes a blob of the cache, and may wait for others for
    /// that. From the server's directory the server has taken it already.
    ///
    /// # Errors
    /// The disk's, or `Locked`. The blob is lost to the cache then, not to the server.
    pub fn committed(self, tid: Tid) -> Result<(), BlobError> {
        let Some(cache) = self.cache else { return Ok(()) };
        // Before its directory is locked: this takes long.
        let opened = File::open(&self.file);
        opened.and_then(|file| file.sync_data()).map_err(doing("finish", &self.file))?;
        let path = cache.file(self.oid, tid);
        // Python's clients rely on it that nobody else puts a blob in place that they download.
        let lock = cache.lock(self.oid)?;
        settle(&self.file, &path).map_err(doing("finish", &self.file))?;
        self.file.persist(&path).map_err(|error| doing("finish", &path)(error.error))?;
        drop(lock);
        cache.count(self.size);
        Ok(())
    }
}

/// Makes a file readable to whoever may read the directory of `place`, and writable to nobody, as
/// Python does. Then it is as it will be seen in that place.
fn settle(file: &Path, place: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(file)?.permissions().mode() & PERMISSIONS;
    let directory = match place.parent() {
        Some(directory) => fs::symlink_metadata(directory)?.permissions().mode(),
        None => 0,
    };
    fs::set_permissions(file, Permissions::from_mode(mode & !WRITE | directory & READ))
}

/// Gives a file another's name. If it had to be copied, says how many bytes that were.
fn move_or_copy(from: &Path, to: &Path) -> io::Result<Option<u64>> {
    // While it can still be given back.
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

/// Copies a file over one of ours.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let mut target = File::options().write(true).truncate(true).open(to)?;
    let copied = io::copy(&mut File::open(from)?, &mut target)?;
    settle(to, to)?;
    Ok(copied)
}

/// Reads as much as there is.
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
