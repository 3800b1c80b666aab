//! Names and layouts of a directory of blobs.
//!
//! Both layouts are Python's. An empty directory becomes bushy; a directory without the marker that
//! is not empty is lawn, which once was the only layout.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rzeo_core::storage::StorageError;
use rzeo_core::{Oid, Tid};

use crate::disk::{Access, Disk, FileKind, failed};

/// The file that names the layout.
pub(super) const MARKER: &str = ".layout";
/// The file that lists the blobs which a commit is putting in place. It is not in `tmp`, because clients
/// that share the directory expect only uploads there.
pub(super) const JOURNAL: &str = ".rzeo-journal";
/// The file that lists the blobs which a pack removes.
pub(super) const REMOVED: &str = ".removed";
/// The directory of uploads.
pub(super) const TEMPORARY: &str = "tmp";
/// The beginning of the names of this server's uploads in `tmp`.
pub(super) const UPLOAD_PREFIX: &str = "rzeo-";
/// The end of the name of a blob's file.
pub(super) const SUFFIX: &str = ".blob";

/// Directory levels of the bushy layout, one for each byte of an oid.
const OID_BYTES: usize = 8;

/// A directory of blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobDirectory {
    path: PathBuf,
    layout: Layout,
}

/// The layout of a directory of blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A directory level for each byte of the oid.
    Bushy,
    /// One directory for each oid.
    Lawn,
}

impl BlobDirectory {
    /// Opens a directory of blobs. Creates it, unless `read_only`.
    ///
    /// # Errors
    /// `Disk`, also if the layout is unknown.
    pub fn open(disk: &dyn Disk, path: &Path, read_only: bool) -> Result<Self, StorageError> {
        let fail = |error: io::Error| failed(|| format!("open {}", path.display()), &error);
        let (layout, marked) = match marker(disk, path).map_err(fail)? {
            Some(layout) => (layout, true),
            None if holds_blobs(disk, path).map_err(fail)? => (Layout::Lawn, false),
            None => (Layout::Bushy, false),
        };
        if !read_only {
            let missing = if marked { Vec::new() } else { missing(disk, path).map_err(fail)? };
            disk.create_directory(&path.join(TEMPORARY)).map_err(fail)?;
            if !marked {
                // The marker is written last: it shows that the directory and its parents are
                // durable.
                missing.iter().try_for_each(|above| disk.sync_directory(above)).map_err(fail)?;
                mark(disk, path, layout).map_err(fail)?;
            }
        }
        Ok(Self { path: path.to_owned(), layout })
    }

    /// The layout that the directory was made with.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The directory of uploads: in the same file system, so that a rename can move them.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.path.join(TEMPORARY)
    }

    /// The journal of commits.
    pub(super) fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// The list of blobs that a pack removes.
    pub(super) fn removal_list(&self) -> PathBuf {
        self.path.join(REMOVED)
    }

    /// The path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of an object's revisions.
    #[must_use]
    pub fn of_object(&self, oid: Oid) -> PathBuf {
        let mut path = self.path.clone();
        match self.layout {
            Layout::Bushy => {
                path.extend(oid.to_bytes().map(|byte| format!("0x{byte:02x}")));
            }
            Layout::Lawn => path.push(oid.short().to_string()),
        }
        path
    }

    /// The path of a revision's file.
    #[must_use]
    pub fn file(&self, oid: Oid, tid: Tid) -> PathBuf {
        let mut path = self.of_object(oid);
        path.push(format!("{}{SUFFIX}", tid.short()));
        path
    }

    /// The objects that have directories.
    pub(super) fn objects(&self, disk: &dyn Disk) -> io::Result<Vec<Oid>> {
        let levels = match self.layout {
            Layout::Bushy => OID_BYTES,
            Layout::Lawn => 1,
        };
        let mut found = vec![(self.path.clone(), 0)];
        for _ in 0..levels {
            let mut below = Vec::new();
            for (path, above) in found {
                for name in disk.names(&path)? {
                    let digits = name.to_str().and_then(|name| name.strip_prefix("0x"));
                    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                    let fits = number.filter(|number| levels == 1 || *number <= u8::MAX.into());
                    let is_directory = || {
                        let found = disk.metadata(&path.join(&name));
                        found.map(|found| found.is_some_and(|it| it.kind == FileKind::Directory))
                    };
                    if let Some(number) = fits
                        && is_directory()?
                    {
                        let above = if levels == 1 { 0 } else { above << 8 };
                        below.push((path.join(&name), above | number));
                    }
                }
            }
            found = below;
        }
        let oids = found.into_iter().map(|(path, number)| (path, Oid(number)));
        // A directory with another spelling of the oid does not belong to the layout.
        Ok(oids.filter(|(path, oid)| *path == self.of_object(*oid)).map(|(_, oid)| oid).collect())
    }

    /// The revision that a file of this name, in an object's directory, belongs to.
    #[must_use]
    pub fn revision(name: &str) -> Option<Tid> {
        let digits = name.strip_suffix(SUFFIX)?.strip_prefix("0x")?;
        u64::from_str_radix(digits, 16).ok().map(Tid)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bushy => "bushy",
            Self::Lawn => "lawn",
        })
    }
}

/// Whether a directory holds anything except the files of an empty directory of blobs.
pub(crate) fn holds_blobs(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.names(path) {
        Ok(names) => Ok(names
            .iter()
            .any(|name| name != TEMPORARY && !name.as_encoded_bytes().starts_with(b"."))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The layout named by the marker; `None` without one.
fn marker(disk: &dyn Disk, path: &Path) -> io::Result<Option<Layout>> {
    let file = match disk.open(&path.join(MARKER), Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = [0; 64];
    let filled = file.read_at(&mut text, 0)?;
    match text[..filled].trim_ascii() {
        b"bushy" => Ok(Some(Layout::Bushy)),
        b"lawn" => Ok(Some(Layout::Lawn)),
        other => {
            let name = String::from_utf8_lossy(other);
            Err(io::Error::other(format!(
                "the blob directory has the unknown layout {name:?}; the known ones are bushy and lawn"
            )))
        }
    }
}

/// The directories to sync for `path` to be durable: those in which an entry of the path is missing
/// or may not be durable.
fn missing<'a>(disk: &dyn Disk, path: &'a Path) -> io::Result<Vec<&'a Path>> {
    let mut missing = Vec::new();
    for directory in path.ancestors() {
        let Some(above) = directory.parent() else { break };
        missing.push(above);
        // A directory that exists may have a name that is not durable.
        if above.as_os_str().is_empty() || disk.metadata(above)?.is_some() {
            break;
        }
    }
    Ok(missing)
}

fn mark(disk: &dyn Disk, path: &Path, layout: Layout) -> io::Result<()> {
    let file = disk.open(&path.join(MARKER), Access::Create)?;
    file.write_at(&[layout.to_string().as_bytes()], 0)?;
    file.sync()?;
    disk.sync_directory(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    const BLOBS: &str = "blobs";

    fn open(disk: &MemoryDisk) -> Result<BlobDirectory, StorageError> {
        BlobDirectory::open(disk, Path::new(BLOBS), false)
    }

    /// Otherwise a power cut after commits could lose the whole directory.
    #[test]
    fn a_new_directory_is_durable_with_all_above_it() {
        let disk = MemoryDisk::new();
        disk.create_directory(Path::new("/srv")).unwrap();
        BlobDirectory::open(&disk, Path::new("/srv/zeo/main/blobs"), false).unwrap();
        for directory in ["/srv", "/srv/zeo", "/srv/zeo/main", "/srv/zeo/main/blobs"] {
            assert!(disk.has_synced(Path::new(directory)), "{directory}");
        }
        assert!(!disk.has_synced(Path::new("/")));
    }

    #[test]
    fn files_are_where_python_puts_them() {
        let (oid, tid) = (Oid(0x04d2), Tid(0x03f6_fcd2_3333_3333));
        let path = Path::new("b").to_owned();
        let bushy = BlobDirectory { path: path.clone(), layout: Layout::Bushy };
        let deep = "b/0x00/0x00/0x00/0x00/0x00/0x00/0x04/0xd2/0x03f6fcd233333333.blob";
        assert_eq!(bushy.file(oid, tid), Path::new(deep));
        let lawn = BlobDirectory { path, layout: Layout::Lawn };
        assert_eq!(lawn.file(oid, tid), Path::new("b/0x04d2/0x03f6fcd233333333.blob"));
    }

    #[test]
    fn an_empty_directory_becomes_bushy() {
        let disk = MemoryDisk::new();
        for _ in 0..2 {
            assert_eq!(open(&disk).unwrap().layout(), Layout::Bushy);
            assert_eq!(disk.bytes("blobs/.layout").unwrap(), b"bushy");
            assert!(disk.exists(Path::new("blobs/tmp")).unwrap());
        }
    }

    #[test]
    fn a_used_directory_without_marker_is_lawn() {
        let disk = MemoryDisk::new();
        disk.put("blobs/0x01/0x02.blob", b"");
        assert_eq!(open(&disk).unwrap().layout(), Layout::Lawn);
        assert_eq!(disk.bytes("blobs/.layout").unwrap(), b"lawn");
    }

    #[test]
    fn a_marker_is_believed_if_it_is_known() {
        let disk = MemoryDisk::new();
        disk.put("blobs/0x01/0x02.blob", b"");
        disk.put("blobs/.layout", b"bushy\n");
        assert_eq!(open(&disk).unwrap().layout(), Layout::Bushy);
        disk.put("blobs/.layout", b"zoned");
        let refused = open(&disk).unwrap_err().to_string();
        assert!(refused.contains("zoned"), "{refused}");
    }

    #[test]
    fn a_reader_makes_nothing() {
        let disk = MemoryDisk::new();
        BlobDirectory::open(&disk, Path::new(BLOBS), true).unwrap();
        assert_eq!(disk.calls(), 0);
    }
}
