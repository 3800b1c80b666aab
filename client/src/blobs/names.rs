//! Names of files in all layouts that a client uses.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rzeo_core::{Oid, Tid};

use super::error::{BlobError, doing};

/// Name of the file that contains the name of the layout.
pub(super) const MARKER: &str = ".layout";
/// Suffix of the name of a blob.
pub(super) const SUFFIX: &str = ".blob";
/// Suffix of the name of a blob that is being downloaded.
pub(super) const PART_SUFFIX: &str = ".blob.dl";
/// Name of the lock of a cache's directory.
pub(super) const LOCK: &str = ".lock";
/// Name of the directory of uploads.
pub(super) const TEMPORARY: &str = "tmp";

/// Number of directories of a cache.
const DIRECTORIES: u64 = 997;
/// Maximum length of the name of a layout.
const MARKER_BYTES: u64 = 64;

/// The layout of a directory of blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// A client's cache, with 997 directories.
    Zeocache,
    /// A server's, with a directory level for each byte of the oid.
    Bushy,
    /// A server's, with one directory for each oid.
    Lawn,
}

impl Layout {
    /// The directory of an object. In a cache it also contains other objects.
    pub(super) fn directory(self, root: &Path, oid: Oid) -> PathBuf {
        let mut path = root.to_owned();
        match self {
            Self::Zeocache => path.push((oid.0 % DIRECTORIES).to_string()),
            Self::Bushy => path.extend(oid.to_bytes().map(|byte| format!("0x{byte:02x}"))),
            Self::Lawn => path.push(oid.short().to_string()),
        }
        path
    }

    /// The file of a revision.
    pub(super) fn file(self, root: &Path, oid: Oid, serial: Tid) -> PathBuf {
        let mut path = self.directory(root, oid);
        path.push(match self {
            Self::Zeocache => format!("{}.{:016x}{SUFFIX}", oid.0 / DIRECTORIES, serial.0),
            Self::Bushy | Self::Lawn => format!("{}{SUFFIX}", serial.short()),
        });
        path
    }
}

/// The layout that the marker of a directory names; `None` without a marker, and also while a Python client is
/// writing it.
pub(super) fn marker(root: &Path) -> Result<Option<String>, BlobError> {
    let path = root.join(MARKER);
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MARKER_BYTES).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(doing("read", &path))?,
    };
    let name = String::from_utf8_lossy(text.trim_ascii()).into_owned();
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// Whether a directory of a cache has this name.
pub(super) fn is_cache_directory(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected names are those of Python's `BlobCacheLayout`.
    #[test]
    fn a_cache_has_pythons_names() {
        let names = [
            (0, 0, "0/0.0000000000000000.blob"),
            (1, 0x03f6_fcd2_3333_3333, "1/0.03f6fcd233333333.blob"),
            (996, 0x03f6_fcd2_3333_3333, "996/0.03f6fcd233333333.blob"),
            (997, 1, "0/1.0000000000000001.blob"),
            (998, 1, "1/1.0000000000000001.blob"),
            (0x0001_e240, 0xff, "825/123.00000000000000ff.blob"),
            (u64::MAX >> 1, u64::MAX >> 1, "978/9251125413094057.7fffffffffffffff.blob"),
            (u64::MAX, u64::MAX, "960/18502250826188115.ffffffffffffffff.blob"),
        ];
        for (oid, serial, name) in names {
            let path = Layout::Zeocache.file(Path::new("c"), Oid(oid), Tid(serial));
            assert_eq!(path, Path::new("c").join(name));
        }
    }
}
