//! Blobs: uploads for the server, and downloads from it, in the client's directory.
//!
//! An upload is a file in the client's temporary directory, which is removed with its last owner. The
//! client gets a link to it.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_lite::future::block_on;
use rzeo_client::blobs::{BlobDir, BlobError};
use rzeo_client::{BlobFailure, Client};
use rzeo_core::storage::{BlobFile, BlobStore, Patience, Scratch, StorageError};
use rzeo_core::{Oid, Tid};
use tempfile::TempPath;

use crate::errors::{may_wait, storage_error};

/// The blobs of a client.
pub(crate) struct ClientBlobs {
    client: Client,
    directory: BlobDir,
}

impl ClientBlobs {
    /// `None` if the client has no directory for blobs.
    pub(crate) fn of(client: &Client) -> Option<Self> {
        let directory = client.blob_directory()?.clone();
        Some(Self { client: client.clone(), directory })
    }
}

impl BlobStore for ClientBlobs {
    fn upload(&self) -> Result<Arc<dyn Scratch>, StorageError> {
        let directory = self.directory.temporary();
        let file = tempfile::Builder::new().prefix("upload-").tempfile_in(directory);
        let file = file.map_err(failed("make a file in", directory))?;
        Ok(Arc::new(Upload(file.into_temp_path())))
    }

    /// There is such a file only in the server's own directory.
    fn shared_upload(&self, oid: Oid, name: &str) -> Result<Arc<dyn Scratch>, StorageError> {
        let of_object = self.directory.path_of(oid, Tid::ZERO).map_err(|error| of_disk(&error))?;
        let path = of_object.with_file_name(name);
        if self.directory.is_shared() && path.is_file() {
            let doing = failed("take", &path);
            Ok(Arc::new(Upload(TempPath::try_from_path(path).map_err(doing)?)))
        } else {
            Err(StorageError::NoSuchUpload { path: path.display().to_string() })
        }
    }

    fn open(&self, oid: Oid, serial: Tid) -> Result<Arc<dyn BlobFile>, StorageError> {
        let opened = block_on(self.client.open_blob(oid, serial));
        let file = opened.map_err(|error| blob_error(oid, serial, error))?;
        let len = file.metadata().map_err(failed("look at a blob", Path::new("")))?.len();
        Ok(Arc::new(OpenBlob { file, len }))
    }
}

const fn no_blobs() -> StorageError {
    StorageError::Unsupported("loadBlob")
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> StorageError + use<> {
    let doing = format!("{what} {}", path.display()).trim_end().to_owned();
    move |error| StorageError::Disk { doing, text: error.to_string(), code: error.raw_os_error() }
}

pub(crate) fn blob_error(oid: Oid, serial: Tid, error: BlobFailure) -> StorageError {
    match error {
        BlobFailure::Call(error) => storage_error(error),
        BlobFailure::File(BlobError::NoFile { path }) => {
            StorageError::NoSuchBlob { oid, serial, path: path.display().to_string() }
        }
        BlobFailure::File(error) => of_disk(&error),
        _ => no_blobs(),
    }
}

fn of_disk(error: &BlobError) -> StorageError {
    StorageError::Disk {
        doing: "use the directory of blobs".to_owned(),
        text: error.to_string(),
        code: None,
    }
}

/// A file that the client can be given. It is not kept open: there may be very many.
#[derive(Debug)]
pub(crate) struct Upload(TempPath);

impl Upload {
    fn open(&self, options: &OpenOptions) -> Result<File, StorageError> {
        options.open(&self.0).map_err(failed("open", &self.0))
    }

    /// Another name of the file, for the client to take; where the file system has no such thing, a
    /// copy.
    pub(crate) fn copy(&self) -> Result<TempPath, StorageError> {
        let path: &Path = &self.0;
        let directory = path.parent().unwrap_or(Path::new("."));
        let copy =
            tempfile::Builder::new().prefix("vote-").make_in(
                directory,
                |name| match fs::hard_link(path, name) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        fs::copy(path, name).map(drop)
                    }
                    linked => linked,
                },
            );
        Ok(copy.map_err(failed("copy", path))?.into_temp_path())
    }
}

impl Scratch for Upload {
    fn write(&self, at: u64, chunks: &[Bytes]) -> Result<(), StorageError> {
        let file = self.open(OpenOptions::new().write(true))?;
        write_all(&file, at, chunks).map_err(failed("write", &self.0))
    }

    fn read(&self, at: u64, len: usize) -> Result<Bytes, StorageError> {
        let file = self.open(OpenOptions::new().read(true))?;
        read_exact(&file, at, len).map_err(failed("read", &self.0))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A file without a name, for records.
#[derive(Debug)]
pub(crate) struct TemporaryFile(File);

impl TemporaryFile {
    pub(crate) fn create(directory: &Path) -> Result<Arc<Self>, StorageError> {
        let file = tempfile::tempfile_in(directory);
        Ok(Arc::new(Self(file.map_err(failed("make a file in", directory))?)))
    }
}

impl Scratch for TemporaryFile {
    fn write(&self, at: u64, chunks: &[Bytes]) -> Result<(), StorageError> {
        write_all(&self.0, at, chunks).map_err(failed("write a temporary file", Path::new("")))
    }

    fn read(&self, at: u64, len: usize) -> Result<Bytes, StorageError> {
        read_exact(&self.0, at, len).map_err(failed("read a temporary file", Path::new("")))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A blob in the client's directory, open for reading; its name may be gone.
#[derive(Debug)]
struct OpenBlob {
    file: File,
    len: u64,
}

impl BlobFile for OpenBlob {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, at: u64, len: usize, patience: Patience) -> Result<Bytes, StorageError> {
        may_wait(patience)?;
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        read_exact(&self.file, at, len.min(left)).map_err(failed("read a blob", Path::new("")))
    }
}

fn write_all(file: &File, mut at: u64, chunks: &[Bytes]) -> io::Result<()> {
    for chunk in chunks {
        file.write_all_at(chunk, at)?;
        at += chunk.len() as u64;
    }
    Ok(())
}

fn read_exact(file: &File, at: u64, len: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(len);
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.freeze())
}
