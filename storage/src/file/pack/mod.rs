//! Packing: a new file without the revisions that nobody needs any more.
//!
//! A pack has a time. What was committed later stays as it is. Of what was committed earlier, an
//! object's last revision stays if the object can be reached, and so do those older ones that later
//! records point back to (an undo shares data instead of copying it). All else goes.
//!
//! ```text
//!   survey   walk up to the pack time: where is each object's last revision?
//!   mark     what can be reached? (the roots are below)
//!   copy     write PATH.pack: what stays of the early part, then the late part as it is
//!   ───────  until here commits go on; from here writers are kept out ───────
//!   finish   copy what was committed meanwhile, sync, PATH.pack becomes PATH
//! ```
//!
//! **What counts as reachable**: what the root object reaches as of the pack time, and whatever any
//! later record refers to, or points back to, as of the pack time. So an object that was out of reach
//! at the pack time and was linked again later stays. References that lead nowhere are ignored.
//!
//! **Positions** change, so everything that holds one is rewritten: pointers of late records are
//! looked up in [`moves::Moves`], which is_known the new place of every old record that anybody can point
//! to. Where an undo that was committed during the pack points to a revision that was not copied,
//! the data are written in its place.
//!
//! **The switch** is one rename. Before it, the new file is complete and durable and the old index
//! file is gone; after it, the old file lives on as PATH.old and in the hands of those who still read
//! it. A crash at any point leaves one of the two under the name of PATH.

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

use rzeo_core::ids::Tid;
use rzeo_core::storage::{PackStep, PreparedPack, StorageError};

use self::copy::Copier;
use self::running::Temporary;
pub(crate) use self::running::{PackFlag, PendingCleanUp};
use super::index_file::with_suffix;
use super::{FileStorage, read};
use crate::blob::RemovalList;

/// When so little is left that writers can be kept out while it is copied.
const LEFT_FOR_FINISH_BYTES: u64 = 1 << 20;
/// How often to catch up with writers before keeping them out.
const ROUNDS_MAX: usize = 10;

/// Does what can be done without stopping writers.
pub(super) fn pack(
    storage: &FileStorage,
    stop: Tid,
) -> Result<Option<Box<dyn PreparedPack>>, StorageError> {
    // Nobody asked for it after the last pack.
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

/// Removes the files of blobs that a pack has removed, if that is still to be done.
pub(super) fn clean_up(storage: &FileStorage) -> Result<(), StorageError> {
    let Some(pending) = storage.clean_up.lock().take() else { return Ok(()) };
    let Some(blobs) = &storage.blobs else { return Ok(()) };
    let is_known = |oid, tid| read::has_revision_now(&storage.state, oid, tid);
    blobs.remove_listed(pending.up_to, storage.options.pack_keep_old, false, &is_known)
}

/// A new list of blobs to be removed. What an earlier pack could not get removed goes first, since
/// only the list is_known of it.
fn new_removal(storage: &FileStorage) -> Result<Option<RemovalList>, StorageError> {
    let Some(blobs) = &storage.blobs else { return Ok(None) };
    let up_to = storage.state.read().last_tid;
    let is_known = |oid, tid| read::has_revision_now(&storage.state, oid, tid);
    blobs.remove_listed(up_to, storage.options.pack_keep_old, true, &is_known)?;
    blobs.removal_list().map(Some)
}
