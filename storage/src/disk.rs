//! Every call to the operating system's file functions, behind one pair of traits.
//!
//! [`Disk`] has the calls on names: open, rename, remove, lock. [`DiskFile`] has the calls on an
//! open file, all at a given position and through a shared reference, so that readers and the
//! writer need no lock between them. [`RealDisk`] is the operating system; [`memory::MemoryDisk`]
//! keeps everything in memory, fails calls on request, and computes what a crash would leave.
//!
//! The storages assume the following of a disk, and the second implementation models exactly this:
//!
//! - bytes written before a successful [`DiskFile::sync`] survive a crash, also if later writes
//!   were in progress;
//! - without a sync any subset of the 512-byte sectors written may survive, and a file may be
//!   longer than what was written to it, with zeros in the gaps;
//! - a sector is written whole or not at all;
//! - creations, renames and removals happen in order, and survive once [`Disk::sync_directory`] has
//!   returned.

pub mod memory;
mod real;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rzeo_core::storage::StorageError;

pub use self::real::RealDisk;

/// Bytes of a sector. A crash can tear a write only between sectors.
pub const SECTOR_BYTES: u64 = 512;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    ReadWrite,
    /// For reading and writing; the file is truncated, or created if it does not exist.
    Create,
    /// For reading and writing, with permissions for the owner only; no file or link may have the
    /// name.
    CreateNew,
    /// For reading; it must be a regular file, not a link or a device.
    ReadPlain,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Whether it is a file, a directory or something else.
    pub kind: FileKind,
    /// The permissions: the low nine bits of the mode.
    pub mode: u32,
}

/// The types of directory entries that the storages distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a device, a socket, …
    Other,
}

impl Access {
    /// Whether opening a file in this way can change the disk.
    #[must_use]
    pub fn creates(self) -> bool {
        matches!(self, Self::Create | Self::CreateNew)
    }
}

/// A file system, or a test's model of one.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file; an existing file of the new name is replaced.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Creates a hard link; the new name must not exist.
    ///
    /// # Errors
    /// The system's, such as that the file system has no hard links.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name; open handles stay usable.
    ///
    /// # Errors
    /// The system's; `NotFound` if there is no such file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Whether a file or a directory of this name exists.
    ///
    /// # Errors
    /// The system's.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Type and permissions of a directory entry, without following links; `None` if there is none.
    ///
    /// # Errors
    /// The system's.
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The system's, such as that the directory is not empty.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and its parents; succeeds if it exists.
    ///
    /// # Errors
    /// The system's.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// The system's; `NotFound` if there is no such directory.
    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Makes creations, renames and removals in a directory durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Locks a file as Python's `zc.lockfile` does: creates it if it does not exist, locks it with
    /// `flock(2)`, and writes `" PID\n"`. Dropping the returned value releases the lock; the file
    /// stays.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds the lock; otherwise the system's.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// The system's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads at a position; returns fewer bytes than the buffer holds only at the end of the file.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Reads from the page cache without waiting for the disk; returns fewer bytes than the buffer
    /// holds if the file ends or the rest is not cached. Waits where the system does not know what is cached.
    ///
    /// # Errors
    /// `WouldBlock` if the first byte is not cached; otherwise the system's.
    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all slices one after the other, starting at a position.
    ///
    /// # Errors
    /// The system's; some of the bytes may have been written.
    fn write_at(&self, slices: &[&[u8]], at: u64) -> io::Result<()>;

    /// Truncates the file, or extends it with zeros.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sets the permissions: the low nine bits of the mode.
    ///
    /// # Errors
    /// The system's.
    fn set_mode(&self, mode: u32) -> io::Result<()>;

    /// Makes the written bytes and the length durable.
    ///
    /// # Errors
    /// The system's. It is then unknown which writes since the last successful sync are durable.
    fn sync(&self) -> io::Result<()>;

    /// Allocates blocks from `from` on without making the file longer, so that later writes there
    /// cannot fail for lack of space. Succeeds without effect where the file system does not
    /// support this.
    ///
    /// # Errors
    /// The system's, such as no space left.
    fn reserve(&self, from: u64, len: u64) -> io::Result<()>;
}

/// Removes a file if it exists.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Converts an I/O error into a [`StorageError`]. `doing` names the operation and the file.
pub fn failed(doing: impl FnOnce() -> String, error: &io::Error) -> StorageError {
    if error.kind() == io::ErrorKind::WouldBlock {
        return StorageError::WouldBlock;
    }
    StorageError::Disk { doing: doing(), text: error.to_string(), code: error.raw_os_error() }
}
