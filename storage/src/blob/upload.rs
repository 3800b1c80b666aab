//! Uploads: files that a commit can turn into blobs.
//!
//! A client can keep an upload for any time, and there can be very many, so only the files of the
//! latest ones are open; the others are opened again for each write.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rzeo_core::storage::{Scratch, StorageError};

use crate::disk::{Access, Disk, DiskFile, FileKind, failed, remove_if_there};

/// Maximum number of uploads of a storage whose files are open at once.
const OPEN_MAX: usize = 64;
/// The bits of a mode for writing.
const WRITE: u32 = 0o222;
const READ: u32 = 0o444;

/// A file that a commit can turn into a blob. Otherwise it is removed when its last owner drops it.
pub(super) struct Upload {
    disk: Arc<dyn Disk>,
    path: Mutex<PathBuf>,
    inner: Arc<Inner>,
    /// The open files of the storage that it belongs to.
    handles: Arc<Handles>,
    /// Whether a commit turned it into a blob.
    taken: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    file: Mutex<Option<Arc<dyn DiskFile>>>,
}

/// The uploads of a storage whose files are open, oldest first.
#[derive(Debug, Default)]
pub(super) struct Handles(Mutex<VecDeque<Weak<Inner>>>);

impl Handles {
    /// Adds an upload, and closes the oldest one if there are too many.
    fn add(&self, inner: &Arc<Inner>) {
        let mut open = self.0.lock();
        open.retain(|inner| inner.strong_count() > 0);
        open.push_back(Arc::downgrade(inner));
        while open.len() > OPEN_MAX {
            let oldest = open.pop_front().and_then(|inner| inner.upgrade());
            // A thread that uses the file has its own handle.
            oldest.map(|inner| inner.file.lock().take());
        }
    }
}

impl Upload {
    /// An upload in the file of this name.
    pub(super) fn new(
        disk: &Arc<dyn Disk>,
        handles: &Arc<Handles>,
        path: PathBuf,
        file: Option<Arc<dyn DiskFile>>,
    ) -> Self {
        let is_open = file.is_some();
        let inner = Arc::new(Inner { file: Mutex::new(file) });
        if is_open {
            handles.add(&inner);
        }
        let (disk, handles) = (Arc::clone(disk), Arc::clone(handles));
        Self { disk, path: Mutex::new(path), inner, handles, taken: Mutex::new(false) }
    }

    /// Whether the upload belongs to the storage with these handles.
    pub(super) fn is_of(&self, handles: &Arc<Handles>) -> bool {
        Arc::ptr_eq(&self.handles, handles)
    }

    fn path(&self) -> PathBuf {
        self.path.lock().clone()
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} {}", self.path.lock().display())
    }

    /// Moves a client's own file to the name `temporary`, which no client uses: otherwise the
    /// client could remove it before the commit, and the whole group would be refused.
    pub(super) fn secure(
        &self,
        temporary: &Path,
        new_name: impl FnOnce() -> PathBuf,
    ) -> Result<(), StorageError> {
        let mut path = self.path.lock();
        if path.parent() == Some(temporary) {
            return Ok(());
        }
        let name = new_name();
        match self.disk.rename(&path, &name) {
            Ok(()) => {
                *path = name;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StorageError::NoSuchUpload { path: path.display().to_string() })
            }
            Err(error) => Err(failed(|| format!("take {}", path.display()), &error)),
        }
    }

    /// The file, opened for writing or, if it was settled, for reading.
    fn file(&self, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = &*self.inner.file.lock() {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(&self.path(), access)?;
        if access != Access::ReadWrite {
            return Ok(file);
        }
        *self.inner.file.lock() = Some(Arc::clone(&file));
        self.handles.add(&self.inner);
        Ok(file)
    }

    /// Makes the bytes durable, and sets permissions as Python does: readable for those who can
    /// read its directory, writable for no one.
    pub(super) fn seal(&self, directory_mode: u32) -> Result<(), StorageError> {
        let path = self.path();
        let seal = || {
            // A client may have created the file, so its name can be a link or a device.
            let file = self.disk.open(&path, Access::ReadPlain)?;
            let found = self.disk.metadata(&path)?.filter(|found| found.kind == FileKind::File);
            let mode = found.ok_or(io::ErrorKind::NotFound)?.mode;
            let settled = mode & !WRITE | directory_mode & READ;
            if settled != mode {
                match file.set_mode(settled) {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        let path = path.display();
                        tracing::warn!(%path, "cannot set the permissions of the blob file, which belongs to another user");
                    }
                    set => set?,
                }
            }
            file.sync()
        };
        seal().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                StorageError::NoSuchUpload { path: path.display().to_string() }
            }
            _ => failed(|| self.doing("make durable"), &error),
        })?;
        self.inner.file.lock().take();
        Ok(())
    }

    /// Gives the file its final name.
    pub(super) fn move_to(&self, path: &Path) -> io::Result<()> {
        let mut taken = self.taken.lock();
        self.disk.rename(&self.path(), path)?;
        *taken = true;
        Ok(())
    }
}

impl Scratch for Upload {
    fn write(&self, at: u64, chunks: &[Bytes]) -> Result<(), StorageError> {
        let slices: Vec<&[u8]> = chunks.iter().map(|chunk| &chunk[..]).collect();
        let written = self.file(Access::ReadWrite).and_then(|file| file.write_at(&slices, at));
        written.map_err(|error| failed(|| self.doing("write"), &error))
    }

    fn read(&self, at: u64, len: usize) -> Result<Bytes, StorageError> {
        let mut bytes = BytesMut::zeroed(len);
        let read = self.file(Access::ReadPlain).and_then(|file| read_exact(&*file, &mut bytes, at));
        read.map_err(|error| failed(|| self.doing("read"), &error))?;
        Ok(bytes.freeze())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if *self.taken.lock() {
            return;
        }
        // If removing fails, the next opening removes it; a client's own file is left to the
        // client.
        let path = self.path();
        if let Err(error) = remove_if_there(&*self.disk, &path) {
            let path = path.display();
            tracing::warn!(%path, %error, "cannot remove an unused upload; the next opening removes it");
        }
    }
}

/// Fills the buffer; fails if the file ends before.
pub(crate) fn read_exact(file: &dyn DiskFile, buffer: &mut [u8], at: u64) -> io::Result<()> {
    if file.read_at(buffer, at)? < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
