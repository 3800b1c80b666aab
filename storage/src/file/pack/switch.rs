//! The last step: replaces the old file with the new one while writers are held back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rzeo_core::storage::{PreparedPack, StorageError};

use super::copy::Copier;
use super::{PendingCleanUp, Temporary};
use crate::blob::RemovalList;
use crate::disk::{Disk, failed, remove_if_there};
use crate::file::FileStorage;
use crate::file::disk_space::DiskSpace;
use crate::file::index_file::{self, directory_of, with_suffix};
use crate::file::log::{DataFile, Log};
use crate::file::state::{Append, VisibleState};

/// A pack that has copied nearly all transactions.
pub(super) struct Prepared {
    state: Arc<RwLock<VisibleState>>,
    append: Arc<Mutex<Append>>,
    clean_up: Arc<Mutex<Option<PendingCleanUp>>>,
    disk_space: Arc<DiskSpace>,
    path: PathBuf,
    keep_old: bool,
    copier: Copier,
    temporary: Temporary,
}

impl Prepared {
    pub(super) fn new(storage: &FileStorage, copier: Copier, temporary: Temporary) -> Self {
        Self {
            state: Arc::clone(&storage.state),
            append: Arc::clone(&storage.append),
            clean_up: Arc::clone(&storage.clean_up),
            disk_space: Arc::clone(&storage.disk_space),
            path: storage.path.clone(),
            keep_old: storage.options.pack_keep_old,
            copier,
            temporary,
        }
    }
}

impl PreparedPack for Prepared {
    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        let Self { state, append, clean_up, disk_space, path, keep_old, mut copier, mut temporary } =
            *self;
        let mut append = append.lock();
        if let Some(why) = &append.broken {
            return Err(StorageError::Broken(why.clone()));
        }
        let log = state.read().log.clone();
        copier.copy_late(&log)?;
        if let Some(oid) = copier.lost(&log, &state.read().index)? {
            return Err(StorageError::Pack(format!(
                "object {oid}, unreachable at the pack time, was linked again while the pack was running; \
                 nothing was changed, pack again"
            )));
        }
        let removal = copier.take_removal();
        let (disk_file, end, index) = copier.finish()?;
        let disk = Arc::clone(&temporary.disk);
        let disk = &*disk;
        // Without the index only the next start is slower.
        let indexed = index_file::prepare(disk, &path, end, &index);
        if let Err(failure) = switch(disk, &path, &temporary.path, keep_old) {
            let (Failed::Before(error) | Failed::After(error)) = &failure;
            let error = failed(|| log.file.doing("replace"), error);
            if let Failed::After(_) = failure {
                append.broken = Some(error.to_string());
                temporary.keep();
                removal.into_iter().for_each(RemovalList::keep);
            }
            return Err(error);
        }
        {
            let mut state = state.write();
            let file = Arc::new(DataFile { disk_file, name: log.file.name.clone() });
            state.log = Log { file, end };
            state.index = index;
        }
        disk_space.release(&log);
        if let Err(error) = indexed.and_then(|()| index_file::install(disk, &path)) {
            tracing::warn!(%error, "cannot save the index of the packed file; the next start reads the whole file");
        }
        if let Some(removal) = removal {
            removal.keep();
            // The file was renamed, and another process may create one of this name.
            temporary.keep();
            let up_to = state.read().last_tid;
            *clean_up.lock() = Some(PendingCleanUp { up_to, _temporary: temporary });
        }
        Ok(())
    }
}

/// The state after a failed switch.
enum Failed {
    /// The old file is in place.
    Before(io::Error),
    /// It is unknown which file is in place after a crash.
    After(io::Error),
}

/// Puts the new file in place of the old one.
fn switch(disk: &dyn Disk, path: &Path, new: &Path, keep_old: bool) -> Result<(), Failed> {
    let old = with_suffix(path, ".old");
    // Otherwise, after a crash, the old index could be used for the new file.
    remove_if_there(disk, &index_file::path_of(path)).map_err(Failed::Before)?;
    remove_if_there(disk, &old).map_err(Failed::Before)?;
    if keep_old {
        // A hard link, so that the old file keeps its name until the rename replaces it.
        match disk.link(path, &old) {
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(%error, "the file system cannot link the old file; it is renamed");
                disk.rename(path, &old).map_err(Failed::Before)?;
            }
        }
    }
    if let Err(error) = disk.rename(new, path) {
        // If the old file was renamed rather than linked, renames it back.
        let back = disk.exists(path).and_then(
            |there| {
                if there { Ok(()) } else { disk.rename(&old, path) }
            },
        );
        return Err(match back {
            Ok(()) => Failed::Before(error),
            Err(error) => Failed::After(error),
        });
    }
    disk.sync_directory(directory_of(path)).map_err(Failed::After)
}
