//! Opens, touches and lists the files of blobs.

use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::{BlobError, doing};

/// A blob in a local file.
#[derive(Debug)]
pub struct Blob {
    /// Path of the file. In a cache, it may be removed at any time.
    pub path: PathBuf,
    /// The file, open for reading, which stays valid when the path is removed.
    pub file: File,
}

/// Opens a file for reading; `None` if it does not exist.
pub(super) fn open_if_there(path: PathBuf) -> Result<Option<Blob>, BlobError> {
    match File::open(&path) {
        Ok(file) => Ok(Some(Blob { path, file })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(doing("open", &path)(error)),
    }
}

/// Sets the time of the last access, which is when a blob was last looked up, not when it was last read. A sweep
/// chooses by it; an error is ignored, because a worse choice does no harm.
pub(super) fn touch(file: &File) {
    _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
}

/// The names in a directory that are text, as all names of a cache are; none if it does not exist.
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

/// Mode of new files, before the umask is applied.
pub(super) fn any_mode() -> Permissions {
    Permissions::from_mode(0o666)
}
