//! How a FileStorage is opened.

use std::path::PathBuf;

/// How a FileStorage is opened.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Change nothing, take no lock; a writer may be at work at the same time.
    pub read_only: bool,
    /// Start with an empty database, whatever the file and the directory of blobs hold.
    pub create: bool,
    /// Refuse to grow once the file is longer than this.
    pub quota: Option<u64>,
    /// Whether a pack removes unreachable objects too, or only old revisions.
    pub pack_gc: bool,
    /// Whether a pack keeps the previous file as `PATH.old`.
    pub pack_keep_old: bool,
    /// Where blobs are.
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
