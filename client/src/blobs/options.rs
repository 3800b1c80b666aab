//! Options of a directory of blobs.

use std::path::PathBuf;
use std::time::Duration;

/// How long to wait for the lock of a directory, as in Python.
const LOCK_WAIT: Duration = Duration::from_secs(600);
/// Percentage of its size that is loaded into a cache until it is swept, as in Python.
const CHECK_PERCENT: u8 = 10;

/// Options of a directory of blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobOptions {
    /// Path of the directory (`blob_dir`).
    pub path: PathBuf,
    /// Whether it is the server's own (`shared_blob_dir`). The other options have no effect then.
    pub shared: bool,
    /// Maximum size of the cache in bytes (`blob_cache_size`); `None` for no limit.
    pub cache_size: Option<u64>,
    /// Percentage of the maximum size (`blob_cache_size_check`): the cache is swept when this much has
    /// been loaded, down to this much below its maximum size. Less than 100.
    pub check_percent: u8,
    /// How long to wait for a directory that another client has locked.
    pub lock_wait: Duration,
}

impl BlobOptions {
    /// Options of a cache without a limit.
    #[must_use]
    pub fn cache(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            shared: false,
            cache_size: None,
            check_percent: CHECK_PERCENT,
            lock_wait: LOCK_WAIT,
        }
    }

    /// Options of a directory that is shared with the server.
    #[must_use]
    pub fn shared(path: impl Into<PathBuf>) -> Self {
        Self { shared: true, ..Self::cache(path) }
    }
}
