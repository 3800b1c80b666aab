//! File operations that several modules of the blob directory share.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Access, Disk, FileKind};

/// Bytes copied at once.
const COPIED_BYTES: usize = 1 << 20;

/// Links a file to a second name, or copies it where the file system has no hard links. The new name
/// must be free.
pub(super) fn link_or_copy(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    match disk.link(from, to) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) =>
        {
            Err(error)
        }
        Err(error) => {
            tracing::debug!(%error, from = %from.display(), "the file cannot be linked; it is copied");
            copy(disk, from, to)
        }
        Ok(()) => Ok(()),
    }
}

/// Copies a file and syncs the copy.
pub(super) fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let source = disk.open(from, Access::ReadPlain)?;
    let target = disk.open(to, Access::CreateNew)?;
    let mut buffer = vec![0; COPIED_BYTES];
    let mut at = 0;
    loop {
        let filled = source.read_at(&mut buffer, at)?;
        if filled == 0 {
            return target.sync();
        }
        target.write_at(&[&buffer[..filled]], at)?;
        at += filled as u64;
    }
}

/// Removes a file, a symbolic link (not its target), or a directory with everything in it.
pub(super) fn remove_tree(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.metadata(path)?.map(|found| found.kind) {
        None => Ok(()),
        Some(FileKind::Directory) => {
            for name in disk.names(path)? {
                remove_tree(disk, &path.join(name))?;
            }
            disk.remove_directory(path)
        }
        Some(FileKind::File | FileKind::Other) => disk.remove(path),
    }
}

/// The content of a file; `None` if there is no such file.
pub(super) fn read_whole(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
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

/// The path with a suffix added to its last component. A slash at the end of the path does not count.
pub(super) fn with_suffix(base: &Path, suffix: &str) -> PathBuf {
    let mut name = base.components().as_path().as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
