//! The open directory of blobs of a storage.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rzeo_core::storage::{BlobFile, BlobStore, Patience, Scratch, StorageError};
use rzeo_core::{Oid, Tid};

use super::directory::{BlobDirectory, UPLOAD_PREFIX};
use super::files::link_or_copy;
use super::journal::Journal;
use super::object_directories::ObjectDirectories;
use super::recover::recover;
use super::removal::IsKnown;
use super::upload::{Handles, Upload, read_exact};
use crate::disk::{Access, Disk, DiskFile, failed};

/// An open directory of blobs; clones share it.
#[derive(Clone, Debug)]
pub struct Blobs(pub(super) Arc<Shared>);

/// The state that all clones share.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: BlobDirectory,
    pub(super) read_only: bool,
    pub(super) handles: Arc<Handles>,
    /// The number for the name of the next upload.
    next: AtomicU64,
    pub(super) object_directories: Arc<ObjectDirectories>,
    pub(super) journal: Journal,
    /// Locked while files are removed.
    pub(super) cleaning: Mutex<()>,
    /// Set by `close`: from then on no files are removed.
    pub(super) closing: AtomicBool,
}

impl Blobs {
    /// Opens a directory of blobs. Unless it is read-only, creates it and removes the files that a
    /// crash left behind. `is_known` returns whether a revision is in the database.
    ///
    /// # Errors
    /// `Disk`, also if the layout is unknown, and the errors of `is_known`.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        path: &Path,
        read_only: bool,
        keep_old: bool,
        is_known: &IsKnown<'_>,
    ) -> Result<Self, StorageError> {
        let directory = BlobDirectory::open(&*disk, path, read_only)?;
        if !read_only {
            recover(&disk, &directory, keep_old, is_known)?;
        }
        let base = directory.path();
        Ok(Self(Arc::new(Shared {
            object_directories: ObjectDirectories::new(Arc::clone(&disk), base),
            journal: Journal::new(Arc::clone(&disk), base, directory.journal()),
            disk,
            directory,
            read_only,
            handles: Arc::default(),
            next: AtomicU64::new(0),
            cleaning: Mutex::default(),
            closing: AtomicBool::new(false),
        })))
    }

    /// The names of its files.
    #[must_use]
    pub fn directory(&self) -> &BlobDirectory {
        &self.0.directory
    }

    /// A new name in `tmp`.
    pub(super) fn new_name(&self) -> PathBuf {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.directory.temporary().join(format!("{UPLOAD_PREFIX}{number}"))
    }

    /// An upload with a new name, created by `make`.
    fn new_upload<T>(
        &self,
        make: impl Fn(&Path) -> io::Result<T>,
    ) -> Result<(PathBuf, T), StorageError> {
        loop {
            let path = self.new_name();
            match make(&path) {
                // The name belongs to another process: this one uses each name once.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Ok(made) => return Ok((path, made)),
                Err(error) => {
                    return Err(failed(|| format!("create {}", path.display()), &error));
                }
            }
        }
    }

    fn check_writable(&self) -> Result<(), StorageError> {
        if self.0.read_only { Err(StorageError::ReadOnly) } else { Ok(()) }
    }

    fn no_such_blob(&self, oid: Oid, serial: Tid) -> StorageError {
        let path = self.0.directory.file(oid, serial).display().to_string();
        StorageError::NoSuchBlob { oid, serial, path }
    }

    /// An upload with the content of a committed blob: a hard link to its file, or a copy.
    pub(crate) fn copy_of(&self, oid: Oid, serial: Tid) -> Result<Arc<dyn Scratch>, StorageError> {
        let shared = &self.0;
        let from = shared.directory.file(oid, serial);
        let (path, ()) =
            self.new_upload(|path| link_or_copy(&*shared.disk, &from, path)).map_err(|error| {
                match shared.disk.exists(&from) {
                    Ok(false) => self.no_such_blob(oid, serial),
                    Ok(true) | Err(_) => error,
                }
            })?;
        Ok(Arc::new(Upload::new(&shared.disk, &shared.handles, path, None)))
    }
}

impl BlobStore for Blobs {
    fn upload(&self) -> Result<Arc<dyn Scratch>, StorageError> {
        self.check_writable()?;
        let Shared { disk, handles, .. } = &*self.0;
        let (path, file) = self.new_upload(|path| disk.open(path, Access::CreateNew))?;
        Ok(Arc::new(Upload::new(disk, handles, path, Some(file))))
    }

    fn shared_upload(&self, oid: Oid, name: &str) -> Result<Arc<dyn Scratch>, StorageError> {
        self.check_writable()?;
        let Shared { disk, directory, handles, .. } = &*self.0;
        let path = directory.of_object(oid).join(name);
        let in_its_place = path.file_name().is_some_and(|found| found == name)
            && path.parent() == Some(&directory.of_object(oid))
            // A client must not name a committed blob as its upload.
            && !name.ends_with(".blob");
        if !in_its_place {
            let path = path.display().to_string();
            return Err(StorageError::NoSuchUpload { path });
        }
        match disk.open(&path, Access::ReadPlain) {
            Ok(_) => Ok(Arc::new(Upload::new(disk, handles, path, None))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StorageError::NoSuchUpload { path: path.display().to_string() })
            }
            Err(error) => Err(failed(|| format!("open {}", path.display()), &error)),
        }
    }

    fn open(&self, oid: Oid, serial: Tid) -> Result<Arc<dyn BlobFile>, StorageError> {
        let path = self.0.directory.file(oid, serial);
        let open = || -> io::Result<_> {
            let file = self.0.disk.open(&path, Access::ReadPlain)?;
            let len = file.len()?;
            Ok((file, len))
        };
        match open() {
            Ok((file, len)) => Ok(Arc::new(OpenBlob { file, len, path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.no_such_blob(oid, serial))
            }
            Err(error) => Err(failed(|| format!("open {}", path.display()), &error)),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blobs").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// A committed blob that is open for reading.
#[derive(Debug)]
struct OpenBlob {
    file: Arc<dyn DiskFile>,
    len: u64,
    path: PathBuf,
}

impl BlobFile for OpenBlob {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, at: u64, len: usize, patience: Patience) -> Result<Bytes, StorageError> {
        let rest = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::zeroed(len.min(rest));
        let read = match patience {
            Patience::Wait => read_exact(&*self.file, &mut bytes, at),
            Patience::Now if bytes.is_empty() => Ok(()),
            Patience::Now => self.file.try_read_at(&mut bytes, at).and_then(|filled| {
                if filled < bytes.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            }),
        };
        read.map_err(|error| failed(|| format!("read {}", self.path.display()), &error))?;
        Ok(bytes.freeze())
    }
}
