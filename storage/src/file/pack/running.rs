//! The state of a running pack: the flag that allows one pack at a time, and the file that it
//! writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rzeo_core::Tid;
use rzeo_core::storage::{PackProgress, PackStep, StorageError};

use super::progress::Progress;
use crate::disk::Disk;

/// Set while a pack is running.
#[derive(Debug, Default)]
pub(crate) struct PackFlag {
    is_set: Arc<AtomicBool>,
    pub(super) progress: Progress,
}

/// Clears the flag on drop.
pub(super) struct Packing(Arc<AtomicBool>);

impl PackFlag {
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// The progress of the running pack, if there is one.
    pub(crate) fn progress(&self) -> Option<PackProgress> {
        self.is_set().then(|| self.progress.read())
    }

    pub(super) fn set(&self) -> Result<Packing, StorageError> {
        if self.is_set.swap(true, Ordering::AcqRel) {
            return Err(StorageError::AlreadyPacking);
        }
        self.progress.begin(PackStep::Survey, 0);
        Ok(Packing(Arc::clone(&self.is_set)))
    }
}

impl Drop for Packing {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A file that is removed on drop, unless it is kept.
pub(super) struct Temporary {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) keep: bool,
    /// Dropped after the file is removed.
    pub(super) _packing: Packing,
}

impl Temporary {
    /// Keeps the file: if the old one has another name, this file tells the next opening that a
    /// database exists.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // The file may be renamed by now. If it cannot be removed, the next pack overwrites it.
        let _ = self.disk.remove(&self.path);
    }
}

/// The work after the switch of a pack: removing the files of blobs. The pack counts as running
/// until it is done.
pub(crate) struct PendingCleanUp {
    /// The last commit before the switch.
    pub(super) up_to: Tid,
    pub(super) _temporary: Temporary,
}
