//! Options for opening a FileStorage.

use std::path::PathBuf;

/// Options for opening a FileStorage.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Change nothing and take no lock; another process may write at the same time.
    pub read_only: bool,
    /// Start with an empty database: existing records and blobs are removed.
    pub create: bool,
    /// Maximum bytes of the file before further stores are refused.
    pub quota: Option<u64>,
    /// Whether a pack removes unreachable objects in addition to old revisions.
    pub pack_gc: bool,
    /// Whether a pack keeps the previous file as `PATH.old`.
    pub pack_keep_old: bool,
    /// The directory of the blobs; `None` for a storage without blobs.
    pub blob_dir: Option<PathBuf>,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            create: false,
            quota: None,
            pack_gc: true,
            pack_keep_old: true,
            blob_dir: None,
        }
    }
}
