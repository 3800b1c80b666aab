//! The operating system's files.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Access, Disk, DiskFile, FileKind, Metadata};

/// Maximum number of slices in one `pwritev` (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// Flags to open a name that may not be a regular file.
const PLAIN: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);
/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o777;

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => {}
            Access::ReadWrite => _ = options.write(true),
            Access::Create => _ = options.write(true).create(true).truncate(true),
            Access::CreateNew => _ = options.write(true).create_new(true).mode(0o600),
            // Without `NONBLOCK`, opening a pipe waits for a writer.
            Access::ReadPlain => _ = options.custom_flags(PLAIN.bits().cast_signed()),
        }
        let file = options.open(path)?;
        if access == Access::ReadPlain && !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let found = match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let kind = match found.file_type() {
            kind if kind.is_file() => FileKind::File,
            kind if kind.is_dir() => FileKind::Directory,
            _ => FileKind::Other,
        };
        Ok(Some(Metadata { kind, mode: found.permissions().mode() & PERMISSIONS }))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let entries = std::fs::read_dir(directory)?;
        let mut names: Vec<_> =
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
        names.sort();
        Ok(names)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::from(io::ErrorKind::WouldBlock),
            TryLockError::Error(error) => error,
        })?;
        let text = format!(" {}\n", std::process::id());
        file.write_all(text.as_bytes())?;
        file.set_len(text.len().try_into().expect("a process id is a few digits"))?;
        Ok(Box::new(file))
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match read_cached(&self.0, buffer, at) {
            // Network and overlay file systems do not know what is cached.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.read_at(buffer, at),
            result => Ok(result?),
        }
    }

    fn write_at(&self, slices: &[&[u8]], at: u64) -> io::Result<()> {
        let mut at = at;
        let mut slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(SLICES_MAX)];
            match rustix::io::pwritev(&self.0, batch, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    at += count as u64;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.0.set_permissions(std::fs::Permissions::from_mode(mode))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn reserve(&self, from: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match allocate(&self.0, from, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }
}

#[cfg(target_os = "linux")]
fn read_cached(file: &File, buffer: &mut [u8], at: u64) -> rustix::io::Result<usize> {
    let mut slices = [io::IoSliceMut::new(buffer)];
    rustix::io::preadv2(file, &mut slices, at, rustix::io::ReadWriteFlags::NOWAIT)
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> rustix::io::Result<usize> {
    Err(Errno::OPNOTSUPP)
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, from: u64, len: u64) -> rustix::io::Result<()> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, from, len)
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File, _: u64, _: u64) -> rustix::io::Result<()> {
    Err(Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_land_one_after_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&directory.path().join("f"), Access::Create).unwrap();
        let many: Vec<&[u8]> = std::iter::repeat_n(&b"ab"[..], 3000).collect();
        file.write_at(&many, 1).unwrap();
        file.write_at(&[b"", b"x"], 0).unwrap();
        assert_eq!(file.len().unwrap(), 6001);
        let mut read = [0; 4];
        assert_eq!(file.read_at(&mut read, 5998).unwrap(), 3);
        assert_eq!(&read[..3], b"bab");
        assert_eq!(file.try_read_at(&mut read, 0).unwrap(), 4);
        assert_eq!(&read, b"xaba");
    }

    #[test]
    fn reserved_room_does_not_show() {
        let directory = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&directory.path().join("f"), Access::Create).unwrap();
        file.reserve(0, 1 << 16).unwrap();
        assert_eq!(file.len().unwrap(), 0);
    }

    #[test]
    fn what_may_be_anything_is_opened_only_if_it_is_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("f"), directory.path().join("l"));
        RealDisk.open(&file, Access::CreateNew).unwrap();
        assert!(RealDisk.open(&file, Access::CreateNew).is_err(), "it is there");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        RealDisk.open(&file, Access::ReadPlain).unwrap();
        RealDisk.open(&link, Access::Read).unwrap();
        RealDisk.open(&link, Access::ReadPlain).unwrap_err();
        RealDisk.open(directory.path(), Access::ReadPlain).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        assert!(RealDisk.open(&file, Access::CreateNew).is_ok());
        std::fs::remove_file(&file).unwrap();
        assert!(RealDisk.open(&link, Access::CreateNew).is_err(), "a link to nowhere");
    }

    #[test]
    fn modes_are_set_and_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        assert_eq!(RealDisk.metadata(&path).unwrap(), None);
        let file = RealDisk.open(&path, Access::CreateNew).unwrap();
        let metadata = |mode| Some(Metadata { kind: FileKind::File, mode });
        assert_eq!(RealDisk.metadata(&path).unwrap(), metadata(0o600));
        file.set_mode(0o444).unwrap();
        assert_eq!(RealDisk.metadata(&path).unwrap(), metadata(0o444));
        let found = RealDisk.metadata(directory.path()).unwrap().unwrap();
        assert_eq!(found.kind, FileKind::Directory);
        assert!(RealDisk.remove_directory(directory.path()).is_err(), "it is not empty");
    }

    #[test]
    fn a_lock_keeps_others_out_and_names_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("Data.fs.lock");
        std::fs::write(&path, " 1234567890123\n").unwrap();
        let lock = RealDisk.lock(&path).unwrap();
        let refused = RealDisk.lock(&path).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!(" {}\n", std::process::id()));
        drop(lock);
        drop(RealDisk.lock(&path).unwrap());
    }
}
