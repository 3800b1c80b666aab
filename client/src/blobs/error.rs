//! What can go wrong with files of blobs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// Why something with a blob's file was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlobError {
    /// A share of the cache that is all of it, or more.
    #[error("{0} percent of a blob cache cannot be kept free, it must be less than 100")]
    CheckPercent(u8),
    /// The operating system refused something.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// And why.
        error: io::Error,
    },
    /// The directory is something else than it is used for.
    #[error("{} has the layout {found:?}, but should be {wanted}", path.display())]
    Layout {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// Somebody is busy in a directory for very long.
    #[error("{} is locked, and after {waited:?} still was", path.display())]
    Locked {
        /// The lock; its holder's process id is in it.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The blob is not in the directory that is shared with the server.
    #[error("no blob file at {}", path.display())]
    NoFile {
        /// Where it would be.
        path: PathBuf,
    },
    /// A directory, a pipe, or a name that leads elsewhere cannot be made a blob.
    #[error("{} is not a plain file", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
}

/// For `map_err`: what was being done to which file.
pub(super) fn doing(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |error| BlobError::Io { what, path, error }
}

/// What is not there need not be removed.
pub(super) fn or_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
