//! Recovery of a directory of blobs: an opening removes the files that a crash left behind.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rzeo_core::storage::StorageError;

use super::directory::{BlobDirectory, JOURNAL, MARKER, REMOVED, UPLOAD_PREFIX};
use super::files::{read_whole, remove_tree};
use super::removal::IsKnown;
use super::{journal, removal};
use crate::disk::{Disk, failed, remove_if_there};

/// Finishes an interrupted pack, then removes uploads, and files whose records were not committed.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    directory: &BlobDirectory,
    keep_old: bool,
    is_known: &IsKnown<'_>,
) -> Result<(), StorageError> {
    removal::resume(disk, directory, keep_old, is_known)?;
    let temporary = directory.temporary();
    let fail = |error: io::Error| failed(|| format!("clean up {}", temporary.display()), &error);
    let journal_path = directory.journal();
    if let Some(bytes) = read_whole(&**disk, &journal_path).map_err(fail)? {
        for (oid, tid) in journal::parse(&bytes) {
            let path = directory.file(oid, tid);
            if !disk.exists(&path).map_err(fail)? || is_known(oid, tid)? {
                continue;
            }
            tracing::info!(path = %path.display(), "removed a blob whose transaction was not committed");
            disk.remove(&path).map_err(fail)?;
            disk.sync_directory(&directory.of_object(oid)).map_err(fail)?;
        }
    }
    for name in disk.names(&temporary).map_err(fail)? {
        if name.as_encoded_bytes().starts_with(UPLOAD_PREFIX.as_bytes()) {
            remove_if_there(&**disk, &temporary.join(name)).map_err(fail)?;
        }
    }
    // Removed last: after a crash before this, the next opening repeats all steps.
    remove_if_there(&**disk, &journal_path).map_err(fail)
}

/// Removes all blobs and the layout marker. Files of other programs stay.
pub(crate) fn clear(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    let clear = || -> io::Result<()> {
        let names = match disk.names(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            names => names?,
        };
        for name in names {
            let is_object = name.as_encoded_bytes().starts_with(b"0x");
            if is_object || [MARKER, REMOVED, JOURNAL].iter().any(|ours| name == *ours) {
                remove_tree(disk, &path.join(name))?;
            }
        }
        disk.sync_directory(path)
    };
    clear().map_err(|error| failed(|| format!("empty {}", path.display()), &error))
}
