//! Mending a directory of blobs: what a crash has left is removed when the storage is opened.

use std::io;
use std::path::Path;

use rzeo_core::storage::StorageError;

use super::commit::parse_journal;
use super::directory::{BlobDirectory, MARKER};
use super::store::Knows;
use super::{JOURNAL, PREFIX, REMOVED, pack};
use crate::disk::{Access, Disk, Kind, failed, remove_if_there};

/// Finishes what a pack began, then removes uploads, and files whose records were not committed.
pub(super) fn recover(
    disk: &dyn Disk,
    directory: &BlobDirectory,
    keep_old: bool,
    knows: &Knows<'_>,
) -> Result<(), StorageError> {
    pack::resume(disk, directory, keep_old, knows)?;
    let temporary = directory.temporary();
    let fail = |error: io::Error| failed(|| format!("clean up {}", temporary.display()), &error);
    let journal = directory.path().join(JOURNAL);
    if let Some(bytes) = read(disk, &journal).map_err(fail)? {
        for (oid, tid) in parse_journal(&bytes) {
            let path = directory.file(oid, tid);
            if !disk.exists(&path).map_err(fail)? || knows(oid, tid)? {
                continue;
            }
            tracing::info!(path = %path.display(), "a blob that was not committed is removed");
            disk.remove(&path).map_err(fail)?;
            disk.sync_directory(&directory.of_object(oid)).map_err(fail)?;
        }
    }
    for name in disk.names(&temporary).map_err(fail)? {
        if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            remove_if_there(disk, &temporary.join(name)).map_err(fail)?;
        }
    }
    // Last: it has done its duty.
    remove_if_there(disk, &journal).map_err(fail)
}

/// Removes all blobs, with the word on how they are laid out. What is somebody else's stays.
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

/// Removes whatever is behind a name, links not followed.
pub(super) fn remove_tree(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.look(path)?.map(|found| found.kind) {
        None => Ok(()),
        Some(Kind::Directory) => {
            for name in disk.names(path)? {
                remove_tree(disk, &path.join(name))?;
            }
            disk.remove_directory(path)
        }
        Some(Kind::File | Kind::Other) => disk.remove(path),
    }
}

pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Access::ReadPlain) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    let filled = file.read_at(&mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(Some(bytes))
}
