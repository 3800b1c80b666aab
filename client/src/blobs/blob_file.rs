//! Files of blobs, and directories of them.

use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::{BlobError, doing};

/// A blob that is on this machine.
#[derive(Debug)]
pub struct Blob {
    /// Its file. In a cache, the name may be removed at any time.
    pub path: PathBuf,
    /// The same, open for reading, which stays valid.
    pub file: File,
}

/// A file opened for reading; `None` if it is not there.
pub(super) fn open_if_there(path: PathBuf) -> Result<Option<Blob>, BlobError> {
    match File::open(&path) {
        Ok(file) => Ok(Some(Blob { path, file })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(doing("open", &path)(error)),
    }
}

/// The time of the last access is when a blob was last asked for, not when it was last read. It
/// helps to keep the right ones; if it cannot be set, nothing else is wrong.
pub(super) fn touch(file: &File) {
    _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
}

/// The names in a directory, but those that are no text and so nobody's; none if it is not there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, BlobError> {
    let list = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names: Vec<_> = names.collect::<Result<_, _>>()?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    };
    match list() {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        listed => listed.map_err(doing("list", directory)),
    }
}

/// The mode of new files, before the umask.
pub(super) fn any_mode() -> Permissions {
    Permissions::from_mode(0o666)
}
