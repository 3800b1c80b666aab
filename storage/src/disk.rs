//! Every call to the operating system's file functions, behind one pair of traits.
//!
//! [`Disk`] is what one does with names: open, rename, remove, lock. [`DiskFile`] is what one does
//! with an open file, always at a given position and through a shared reference, so that readers and
//! the writer need no lock between them. [`RealDisk`] is the operating system;
//! [`memory::MemoryDisk`] keeps everything in memory, refuses calls when a test says so, and can be
//! asked what a crash would have left.
//!
//! What the storages assume of a disk is what the second implementation models:
//!
//! - bytes written before a successful [`DiskFile::sync`] survive a crash, whatever was written later;
//! - without it any subset of the 512-byte sectors written may survive, and a file may be longer than
//!   what was written to it, with zeros in the gaps;
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

/// The sector size that a crash tears writes at.
pub const SECTOR_BYTES: u64 = 512;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    ReadWrite,
    /// For reading and writing, emptied; made if it does not exist.
    Create,
    /// For reading and writing, by its owner only; it must not exist, not even as a link.
    CreateNew,
    /// For reading; it must exist, and be a file: no link to one, no device.
    ReadPlain,
}

/// What is behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What it is.
    pub kind: Kind,
    /// Its permissions, of nine bits.
    pub mode: u32,
}

/// What a name can lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A link, a device, …
    Other,
}

impl Access {
    /// Whether opening may change something.
    #[must_use]
    pub fn creates(self) -> bool {
        matches!(self, Self::Create | Self::CreateNew)
    }
}

/// What holds names: a file system, or a test's idea of one.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    ///
    /// # Errors
    /// The system's, such as that the file system has no such thing.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name; those who have it open keep it.
    ///
    /// # Errors
    /// The system's; `NotFound` if there is no such file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Whether there is a file or a directory of this name.
    ///
    /// # Errors
    /// The system's.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// What is behind a name, links not followed; `None` if there is no such name.
    ///
    /// # Errors
    /// The system's.
    fn look(&self, path: &Path) -> io::Result<Option<Look>>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The system's, such as that there is something in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and those above it; fine if it exists.
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

    /// Takes a lock file as Python's `zc.lockfile` does: the file is made if need be, locked with
    /// `flock(2)`, filled with `" PID\n"`, and stays when the lock goes. The lock lasts until the
    /// returned value is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else has it; otherwise the system's.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Its length.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// The system's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads at a position; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Reads what is there without waiting for the disk: fewer bytes than asked for when the file
    /// ends or the rest is not in memory. Where the system cannot tell, it waits.
    ///
    /// # Errors
    /// `WouldBlock` if not even the first byte is in memory; otherwise the system's.
    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all slices one after the other, from a position on.
    ///
    /// # Errors
    /// The system's; some of the bytes may have been written.
    fn write_at(&self, slices: &[&[u8]], at: u64) -> io::Result<()>;

    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sets the nine bits of the permissions.
    ///
    /// # Errors
    /// The system's.
    fn set_mode(&self, mode: u32) -> io::Result<()>;

    /// Makes durable what was written, and the length.
    ///
    /// # Errors
    /// The system's. What was written since the last success is then in doubt.
    fn sync(&self) -> io::Result<()>;

    /// Sets room aside from `from` on without making the file longer, so that writing there later
    /// cannot fail for lack of space. Succeeds without effect where that is not supported.
    ///
    /// # Errors
    /// The system's, such as no space left.
    fn reserve(&self, from: u64, len: u64) -> io::Result<()>;
}

/// Removes a file that need not be there.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Turns a system's error into a storage's. `doing` says what was tried, with the file's name.
pub fn failed(doing: impl FnOnce() -> String, error: &io::Error) -> StorageError {
    if error.kind() == io::ErrorKind::WouldBlock {
        return StorageError::WouldBlock;
    }
    StorageError::Disk { doing: doing(), text: error.to_string(), code: error.raw_os_error() }
}
