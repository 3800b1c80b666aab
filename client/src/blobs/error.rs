//! Errors of the files of blobs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// Why an operation on a blob's file failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The share of the cache that is kept free is all of it, or more.
    #[error("blob_cache_size_check is {0} percent; it must be less than 100 percent")]
    CheckPercent(u8),
    /// A call of the operating system failed.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// The operation, as a verb.
        what: &'static str,
        /// Path of the file or directory.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The directory does not have the layout for its use.
    #[error("{} has the layout {found:?} instead of {wanted}; use another directory", path.display())]
    Layout {
        /// Path of the directory.
        path: PathBuf,
        /// Name of its layout.
        found: String,
        /// The layouts that are possible.
        wanted: &'static str,
    },
    /// A directory stayed locked for too long.
    #[error("{} is still locked after {waited:?}; the file has the process id of the holder", path.display())]
    Locked {
        /// Path of the lock, which contains the process id of its holder.
        path: PathBuf,
        /// How long the client has waited.
        waited: Duration,
    },
    /// The blob is not in the directory that is shared with the server.
    #[error("no blob file at {}", path.display())]
    NoFile {
        /// Path that the blob would have.
        path: PathBuf,
    },
    /// An upload is a directory, a pipe or a symbolic link.
    #[error("{} is not a plain file", path.display())]
    NotAFile {
        /// Path of the refused file.
        path: PathBuf,
    },
}

/// For `map_err`: adds the operation and its file to an error.
pub(super) fn doing(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |error| BlobError::Io { what, path, error }
}

/// Accepts that a file to remove does not exist.
pub(super) fn or_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
