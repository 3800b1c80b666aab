//! Removes the files of revisions that a pack removed.
//!
//! While it copies, the pack lists the blob records that it leaves out in `BLOBS/.removed`, as
//! Python does: a line of 32 digits, oid and tid, for each. The list is durable before the switch.
//! The listed files are removed afterwards, beside commits:
//!
//! - a file is removed only if its revision is not in the database at that time, and not newer than
//!   the switch. So a leftover list of any pack does no harm, and an opening that finds one
//!   continues with it;
//! - a directory that became empty is removed too, unless a voted transaction has reserved it.
//!
//! With `pack-keep-old` the files are not deleted but moved to `BLOBS.old`, and the files that stay
//! get a hard link there: `BLOBS.old` has the blobs of `PATH.old`. The `BLOBS.old` of the previous
//! pack is first renamed to `BLOBS.old.gone`, and deleted last; if it exists after a crash, the
//! files in `BLOBS.old` belong to the interrupted pack and are kept.
//!
//! Python moves or deletes the whole directory of an object, also if the object was stored again
//! meanwhile.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rzeo_core::storage::StorageError;
use rzeo_core::{Oid, Tid};

use super::directory::{BlobDirectory, MARKER, SUFFIX, TEMPORARY};
use super::files::{copy, link_or_copy, read_whole, remove_tree, with_suffix};
use super::object_directories::ObjectDirectories;
use crate::disk::{Access, Disk, DiskFile, FileKind, failed, remove_if_there};

/// Bytes of a list gathered before each write.
const CHUNK_BYTES: usize = 64 << 10;
/// Digits of an oid.
const OBJECT_DIGITS: usize = 16;
const REVISION_DIGITS: usize = 32;

/// Answers whether a revision is in the database.
pub(crate) type IsKnown<'a> = dyn Fn(Oid, Tid) -> Result<bool, StorageError> + 'a;

/// The list of the blobs that a pack removes. Its file is removed on drop, unless it was kept.
pub(crate) struct RemovalList {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    text: String,
    written: u64,
    keep: bool,
}

impl RemovalList {
    /// Creates an empty list.
    ///
    /// # Errors
    /// `Disk`.
    pub(super) fn create(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self, StorageError> {
        let file = (disk.open(&path, Access::Create))
            .map_err(|error| failed(|| format!("create {}", path.display()), &error))?;
        Ok(Self { disk, path, file, text: String::new(), written: 0, keep: false })
    }

    /// Adds a blob record that is left out.
    pub(crate) fn note(&mut self, oid: Oid, tid: Tid) -> Result<(), StorageError> {
        self.text.push_str(&format!("{:016x}{:016x}\n", oid.0, tid.0));
        if self.text.len() < CHUNK_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        (self.file.write_at(&[self.text.as_bytes()], self.written))
            .map_err(|error| failed(|| format!("write {}", self.path.display()), &error))?;
        self.written += self.text.len() as u64;
        self.text.clear();
        Ok(())
    }

    /// Makes the list durable, which must happen before the switch.
    pub(crate) fn make_durable(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        let directory = self.path.parent().unwrap_or(Path::new(""));
        (self.file.sync())
            .and_then(|()| self.disk.sync_directory(directory))
            .map_err(|error| failed(|| format!("sync {}", self.path.display()), &error))
    }

    /// Keeps the list, because the switch has happened, or may have.
    pub(crate) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for RemovalList {
    fn drop(&mut self) {
        if !self.keep {
            // If this fails, the next opening finds all listed revisions in the database.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Continues a removal that a crash has interrupted.
pub(super) fn resume(
    disk: &Arc<dyn Disk>,
    directory: &BlobDirectory,
    keep_old: bool,
    is_known: &IsKnown<'_>,
) -> Result<(), StorageError> {
    let object_directories = ObjectDirectories::new(Arc::clone(disk), directory.path());
    let remover = Remover {
        disk: &**disk,
        directory,
        object_directories: &object_directories,
        up_to: Tid::MAX,
        is_known,
        closing: &AtomicBool::new(false),
    };
    remover.clean(keep_old, true)
}

/// Removes files of packed revisions.
pub(super) struct Remover<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) directory: &'a BlobDirectory,
    pub(super) object_directories: &'a ObjectDirectories,
    /// The greatest tid of revisions that may be removed.
    pub(super) up_to: Tid,
    pub(super) is_known: &'a IsKnown<'a>,
    /// Whether the storage is being closed.
    pub(super) closing: &'a AtomicBool,
}

impl Remover<'_> {
    pub(super) fn failed(&self, error: &io::Error) -> StorageError {
        let base = self.directory.path();
        failed(|| format!("remove packed blobs from {}", base.display()), error)
    }

    pub(super) fn clean(&self, keep_old: bool, resumed: bool) -> Result<(), StorageError> {
        let base = self.directory.path();
        let fail = |error: io::Error| self.failed(&error);
        let list = self.directory.removal_list();
        let (old, gone) = (with_suffix(base, ".old"), with_suffix(base, ".old.gone"));
        let there = |path: &Path| self.disk.metadata(path).map(|found| found.is_some());
        if let Some(text) = read_whole(self.disk, &list).map_err(fail)? {
            let removable = self.removable(&text)?;
            let under_way = there(&gone).map_err(fail)?;
            if resumed && removable.is_empty() && !under_way {
                // The pack did not switch, or had nothing to remove.
                return remove_if_there(self.disk, &list).map_err(fail);
            }
            if keep_old {
                if !(resumed && under_way) {
                    self.put_aside(&old, &gone).map_err(fail)?;
                }
                self.move_to(&old, &removable).map_err(fail)?;
            } else {
                remove_tree(self.disk, &old).map_err(fail)?;
                let delete = |path: &PathBuf| self.check_open().and_then(|()| self.delete(path));
                removable.iter().try_for_each(delete).map_err(fail)?;
            }
            self.disk.sync_directory(base).map_err(fail)?;
            self.disk.remove(&list).map_err(fail)?;
            self.disk.sync_directory(base).map_err(fail)?;
        }
        remove_tree(self.disk, &gone).map_err(fail)
    }

    /// The listed files that exist and whose revisions are not in the database, each once: a blob
    /// that was stored through a server has two records in its transaction, so it is listed twice.
    fn removable(&self, text: &[u8]) -> Result<BTreeSet<PathBuf>, StorageError> {
        let mut removable = BTreeSet::new();
        for line in text.split(|byte| *byte == b'\n') {
            let Some((oid, tid)) = parse_line(line) else { continue };
            let listed = match tid {
                Some(tid) => vec![tid],
                None => self.revisions(oid)?,
            };
            for tid in listed {
                let path = self.directory.file(oid, tid);
                let there = (self.disk.exists(&path))
                    .map_err(|error| failed(|| format!("look for {}", path.display()), &error))?;
                if tid <= self.up_to && there && !(self.is_known)(oid, tid)? {
                    removable.insert(path);
                }
            }
        }
        Ok(removable)
    }

    /// The revisions of an object that have files.
    pub(super) fn revisions(&self, oid: Oid) -> Result<Vec<Tid>, StorageError> {
        let path = self.directory.of_object(oid);
        let names = match self.disk.names(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => {
                names.map_err(|error| failed(|| format!("list {}", path.display()), &error))?
            }
        };
        let tids = names.iter().filter_map(|name| BlobDirectory::revision(name.to_str()?));
        Ok(tids.collect())
    }

    /// Renames the previous `BLOBS.old`, to start a new one.
    fn put_aside(&self, old: &Path, gone: &Path) -> io::Result<()> {
        remove_tree(self.disk, gone)?;
        if self.disk.metadata(old)?.is_some() {
            self.disk.rename(old, gone)?;
        } else {
            self.disk.create_directory(gone)?;
        }
        self.disk.sync_directory(old.parent().unwrap_or(Path::new("")))
    }

    fn move_to(&self, old: &Path, removable: &BTreeSet<PathBuf>) -> io::Result<()> {
        let base = self.directory.path();
        let moved = |path: &Path| old.join(path.strip_prefix(base).unwrap_or(path));
        self.disk.create_directory(old)?;
        match link_or_copy(self.disk, &base.join(MARKER), &old.join(MARKER)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => linked?,
        }
        for path in removable {
            let to = moved(path);
            self.check_open()?;
            self.disk.create_directory(to.parent().unwrap_or(old))?;
            self.move_file(path, &to)?;
            self.delete(path)?;
        }
        self.link_all(base, old)
    }

    /// Moves a file to `BLOBS.old`, which may be in another file system.
    fn move_file(&self, from: &Path, to: &Path) -> io::Result<()> {
        let Err(error) = self.disk.rename(from, to) else { return Ok(()) };
        if error.kind() != io::ErrorKind::CrossesDevices {
            return Err(error);
        }
        // A file with the final name is always complete.
        let part = with_suffix(to, ".part");
        remove_if_there(self.disk, &part)?;
        copy(self.disk, from, &part)?;
        self.disk.rename(&part, to)
    }

    /// Fails if the storage is being closed. The next opening continues.
    pub(super) fn check_open(&self) -> io::Result<()> {
        if self.closing.load(Ordering::Acquire) {
            return Err(io::Error::other("the storage is being closed"));
        }
        Ok(())
    }

    /// Links all blobs that stay into `to`. No pack can remove one meanwhile, since only one pack
    /// runs at a time.
    fn link_all(&self, from: &Path, to: &Path) -> io::Result<()> {
        for name in self.disk.names(from)? {
            self.check_open()?;
            let (path, target) = (from.join(&name), to.join(&name));
            match self.disk.metadata(&path)?.map(|found| found.kind) {
                Some(FileKind::Directory) if name != TEMPORARY => {
                    self.link_all(&path, &target)?;
                }
                Some(FileKind::File) if name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()) => {
                    self.disk.create_directory(to)?;
                    match self.disk.link(&path, &target) {
                        Ok(()) => {}
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        Err(error) => {
                            let path = path.display();
                            tracing::warn!(%path, %error, "cannot link a blob into the directory of old blobs; it is left out there");
                            return Ok(());
                        }
                    }
                }
                Some(FileKind::Directory | FileKind::File | FileKind::Other) | None => {}
            }
        }
        Ok(())
    }

    /// Deletes a file, and the directories that become empty.
    pub(super) fn delete(&self, path: &Path) -> io::Result<()> {
        remove_if_there(self.disk, path)?;
        self.object_directories.remove_empty_above(path)
    }
}

/// The revision that a line of the list names. A line that Python wrote may name an object only.
fn parse_line(line: &[u8]) -> Option<(Oid, Option<Tid>)> {
    let text = std::str::from_utf8(line).ok()?;
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    match text.len() {
        OBJECT_DIGITS => Some((Oid(number(text)?), None)),
        REVISION_DIGITS => {
            let (oid, tid) = text.split_at(OBJECT_DIGITS);
            Some((Oid(number(oid)?), Some(Tid(number(tid)?))))
        }
        _ => None,
    }
}
