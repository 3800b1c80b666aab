//! Pack: writes a new file without the revisions that are no longer needed.
//!
//! A pack has a time. Transactions committed later do not change. Of those committed earlier, an
//! object's last revision stays if the object is reachable, and so do older revisions that later
//! records point back to (an undo shares data instead of copying it). All other records are
//! removed.
//!
//! ```text
//!   survey   read up to the pack time: find each object's last revision
//!   mark     find the reachable objects (the roots are below)
//!   copy     write PATH.pack: records that stay of the early part, then the late part
//!   ───────  until here commits continue; from here the hub holds back writers ───────
//!   finish   copy the remaining transactions, sync, rename PATH.pack to PATH
//! ```
//!
//! **Reachable** are the objects that the root object reaches as of the pack time, and those that
//! any later record refers to, or points back to, as of the pack time. So an object that was
//! unreachable at the pack time and was linked again later stays. References to objects that do not
//! exist are ignored.
//!
//! **Positions** change, so all pointers are rewritten: the pack looks up pointers of late records
//! in [`moves::Moves`], which has the new position of every old record that a pointer can lead to.
//! If an undo that was committed during the pack points to a revision that was not copied, the pack
//! writes the data instead of a pointer.
//!
//! **The switch** is one rename. Before it, the new file is complete and durable and the old index
//! file is gone; after it, the old file is PATH.old, and readers that have it open keep reading it.
//! A crash at any point leaves one of the two files under the name of PATH.

mod copy;
mod kept;
mod mark;
mod moves;
mod output;
mod progress;
mod running;
mod survey;
mod switch;

use std::sync::Arc;

use rzeo_core::Tid;
use rzeo_core::storage::{PackStep, PreparedPack, StorageError};

use self::copy::Copier;
use self::running::Temporary;
pub(crate) use self::running::{PackFlag, PendingCleanUp};
use super::index_file::with_suffix;
use super::{FileStorage, read};
use crate::blob::RemovalList;

/// Maximum bytes to copy while writers are held back, except after [`ROUNDS_MAX`] rounds.
const LEFT_FOR_FINISH_BYTES: u64 = 1 << 20;
/// Maximum number of rounds to catch up with writers before they are held back.
const ROUNDS_MAX: usize = 10;

/// Does all steps that run beside writers.
pub(super) fn pack(
    storage: &FileStorage,
    stop: Tid,
) -> Result<Option<Box<dyn PreparedPack>>, StorageError> {
    // The caller did not do it after the last pack.
    clean_up(storage)?;
    let packing = storage.pack_flag.set()?;
    if storage.state.read().index.is_empty() {
        return Ok(None);
    }
    let log = storage.log();
    let gc = storage.options.pack_gc;
    let progress = &storage.pack_flag.progress;
    let Some(survey) = survey::survey(&log, stop, progress)? else {
        return Ok(None);
    };
    let kept = mark::mark(&log, survey, gc, progress)?;
    let path = with_suffix(&storage.path, ".pack");
    let temporary =
        Temporary { disk: Arc::clone(&storage.disk), path, keep: false, _packing: packing };
    let removal = new_removal(storage)?;
    let mut copier =
        Copier::new(&storage.disk, &temporary.path, kept, gc, removal, progress.clone())?;
    progress.begin(PackStep::Copy, log.end);
    if !copier.copy_early(&log)? {
        return Ok(None);
    }
    for _ in 0..ROUNDS_MAX {
        let log = storage.log();
        let left = log.end - copier.copied();
        copier.copy_late(&log)?;
        copier.sync()?;
        if left < LEFT_FOR_FINISH_BYTES {
            break;
        }
    }
    progress.begin(PackStep::Switch, 1);
    Ok(Some(Box::new(switch::Prepared::new(storage, copier, temporary))))
}

/// Removes the files of blobs that a pack has removed, unless that is done already.
pub(super) fn clean_up(storage: &FileStorage) -> Result<(), StorageError> {
    let Some(pending) = storage.clean_up.lock().take() else { return Ok(()) };
    let Some(blobs) = &storage.blobs else { return Ok(()) };
    let is_known = |oid, tid| read::has_revision_now(&storage.state, oid, tid);
    blobs.remove_listed(pending.up_to, storage.options.pack_keep_old, false, &is_known)
}

/// Creates the list of blobs to remove. First removes the files that an earlier pack could not
/// remove, since only its list names them.
fn new_removal(storage: &FileStorage) -> Result<Option<RemovalList>, StorageError> {
    let Some(blobs) = &storage.blobs else { return Ok(None) };
    let up_to = storage.state.read().last_tid;
    let is_known = |oid, tid| read::has_revision_now(&storage.state, oid, tid);
    blobs.remove_listed(up_to, storage.options.pack_keep_old, true, &is_known)?;
    blobs.removal_list().map(Some)
}
