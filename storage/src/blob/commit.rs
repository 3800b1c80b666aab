//! Putting blobs in place, together with the group of transactions that they belong to.
//!
//! A vote collects a [`Plan`]. Sealing it makes it [`Prepared`]: the files and the directories that
//! they will be in are durable, and nobody removes these directories meanwhile. [`Blobs::place`] then
//! gives the files of a whole group their final names, durably; what it returns is to be told how the
//! group fared. Groups without blobs pay for none of this.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::{Patience, Scratch, StorageError, TransactionMeta};

use super::JOURNAL;
use super::store::{Blobs, Shared};
use super::upload::Upload;
use crate::disk::{Access, Disk, DiskFile, Kind, failed, remove_if_there};

/// How many directories are remembered to be durable.
const DURABLE_MAX: usize = 10_000;
/// What a file in a directory that cannot be looked at is readable for.
const NO_MODE: u32 = 0;

/// The blobs of a transaction that is being checked. A later one of an object replaces the earlier.
#[derive(Debug)]
pub struct Plan {
    uploads: BTreeMap<Oid, Planned>,
    /// The tid that its client wants, where transactions are copied.
    tid: Option<Tid>,
}

/// A blob of a transaction that is being checked.
#[derive(Debug)]
struct Planned {
    upload: Arc<dyn Scratch>,
    /// Its tid, where that is not its transaction's.
    tid: Option<Tid>,
}

/// The blobs of a voted transaction.
#[derive(Debug)]
pub(crate) struct Prepared {
    uploads: BTreeMap<Oid, Planned>,
    /// Never read; it keeps the directories.
    _directories: Wanted,
}

/// What is known of the directories.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Some whose names are durable, all the way up.
    durable: BTreeSet<PathBuf>,
    /// Those of voted transactions, and how often: they are not to be removed.
    wanted: BTreeMap<PathBuf, usize>,
}

/// Directories that must stay.
struct Wanted {
    blobs: Blobs,
    paths: Vec<PathBuf>,
}

/// The revisions whose files are being put in place.
#[derive(Debug, Default)]
pub(super) struct Journal {
    file: Option<Arc<dyn DiskFile>>,
    len: u64,
    /// Files of refused groups that could not be removed, or not durably.
    left: Vec<(Oid, Tid)>,
}

/// The files of a group that are in place before their records are.
#[derive(Debug)]
#[must_use = "it has to be told what became of the group"]
pub(crate) struct Placed<'a> {
    blobs: &'a Blobs,
    entries: Vec<(Oid, Tid)>,
}

impl Plan {
    /// For a transaction without blobs so far.
    pub(crate) fn new(meta: &TransactionMeta) -> Self {
        Self { uploads: BTreeMap::new(), tid: meta.tid }
    }

    /// Adds a blob.
    pub(crate) fn put(&mut self, oid: Oid, upload: Arc<dyn Scratch>) {
        self.uploads.insert(oid, Planned { upload, tid: None });
    }

    /// Adds a blob of a record with a tid of its own.
    pub(crate) fn put_at(&mut self, oid: Oid, tid: Tid, upload: Arc<dyn Scratch>) {
        self.uploads.insert(oid, Planned { upload, tid: Some(tid) });
    }

    /// Takes an object's blob away.
    pub(crate) fn forget(&mut self, oid: Oid) {
        self.uploads.remove(&oid);
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uploads.is_empty()
    }
}

impl Blobs {
    /// The upload in a file that this directory gave.
    fn own<'a>(&self, upload: &'a Arc<dyn Scratch>) -> Result<&'a Upload, StorageError> {
        (upload.as_any().downcast_ref::<Upload>())
            .filter(|upload| upload.is_of(&self.0.handles))
            .ok_or(StorageError::Unsupported("blobs from another storage's uploads"))
    }

    /// Whether an upload can become a blob here.
    ///
    /// # Errors
    /// `WouldBlock`: who cannot wait need not begin. `Unsupported` for a foreign upload.
    pub(crate) fn accepts(
        &self,
        upload: &Arc<dyn Scratch>,
        patience: Patience,
    ) -> Result<(), StorageError> {
        if patience == Patience::Now {
            return Err(StorageError::WouldBlock);
        }
        self.own(upload).map(|_| ())
    }

    /// Makes everything durable that can be before the tid is known. `None` if there are no blobs.
    ///
    /// # Errors
    /// `NoSuchUpload` if a client took its file away, `BlobExists`, `Disk`, `WouldBlock`.
    pub(crate) fn prepare(
        &self,
        plan: Plan,
        patience: Patience,
    ) -> Result<Option<Prepared>, StorageError> {
        if plan.is_empty() {
            return Ok(None);
        }
        if patience == Patience::Now {
            return Err(StorageError::WouldBlock);
        }
        let shared = &self.0;
        let mut directories = Wanted { blobs: self.clone(), paths: Vec::new() };
        for (oid, planned) in &plan.uploads {
            self.is_free(*oid, planned.tid.or(plan.tid))?;
            let path = shared.directory.of_object(*oid);
            directories.want(&path).map_err(|error| {
                failed(|| format!("make the directory {}", path.display()), &error)
            })?;
            let mode = shared.disk.look(&path).ok().flatten().map_or(NO_MODE, |found| found.mode);
            let upload = self.own(&planned.upload)?;
            upload.secure(&shared.directory.temporary(), || self.new_name())?;
            upload.settle(mode)?;
        }
        Ok(Some(Prepared { uploads: plan.uploads, _directories: directories }))
    }

    /// A tid that is given may be one that was committed already; a blob of it must stay what it is.
    fn is_free(&self, oid: Oid, tid: Option<Tid>) -> Result<(), StorageError> {
        let Some(tid) = tid else { return Ok(()) };
        let path = self.0.directory.file(oid, tid);
        match self.0.disk.exists(&path) {
            Ok(false) => Ok(()),
            Ok(true) => Err(StorageError::BlobExists { oid, serial: tid }),
            Err(error) => Err(failed(|| format!("look for {}", path.display()), &error)),
        }
    }

    /// Gives all files of a group their final names. On an error none has its.
    ///
    /// # Errors
    /// `Disk`.
    pub(crate) fn place<'a>(
        &'a self,
        group: &[(Tid, &Prepared)],
    ) -> Result<Placed<'a>, StorageError> {
        let entries: Vec<(Oid, Tid)> = (group.iter())
            .flat_map(|(tid, prepared)| prepared.revisions(*tid).map(|(oid, tid, _)| (oid, tid)))
            .collect();
        let shared = &self.0;
        let placed = Placed { blobs: self, entries };
        shared.journal.lock().write(shared, &placed.entries).map_err(|error| {
            failed(|| format!("write {}", shared.journal_path().display()), &error)
        })?;
        for (tid, prepared) in group {
            for (oid, tid, upload) in prepared.revisions(*tid) {
                let path = shared.directory.file(oid, tid);
                let moved = self.own(upload).map(|upload| upload.move_to(&path));
                let moved = moved.and_then(|moved| {
                    moved.map_err(|error| failed(|| format!("place {}", path.display()), &error))
                });
                if let Err(error) = moved {
                    placed.take_back();
                    return Err(error);
                }
            }
        }
        if let Err(error) = placed.sync() {
            let path = shared.directory.path().display();
            let error = failed(|| format!("sync the directories of new blobs in {path}"), &error);
            placed.take_back();
            return Err(error);
        }
        Ok(placed)
    }

    /// Stops removing files, and lets go of the journal, if nothing is in doubt.
    pub(crate) fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        drop(self.0.cleaning.lock());
        let mut journal = self.0.journal.lock();
        if journal.file.take().is_some() && journal.left.is_empty() {
            // Or the next opening finds everything in order.
            let _ = self.0.disk.remove(&self.0.journal_path());
        }
    }
}

impl Prepared {
    /// The blobs of the transaction, which has got its tid, by their revisions.
    fn revisions(&self, tid: Tid) -> impl Iterator<Item = (Oid, Tid, &Arc<dyn Scratch>)> {
        let uploads = self.uploads.iter();
        uploads.map(move |(oid, planned)| (*oid, planned.tid.unwrap_or(tid), &planned.upload))
    }
}

impl Placed<'_> {
    fn sync(&self) -> io::Result<()> {
        let shared = &self.blobs.0;
        let directories: BTreeSet<PathBuf> =
            self.entries.iter().map(|(oid, _)| shared.directory.of_object(*oid)).collect();
        directories.iter().try_for_each(|directory| shared.disk.sync_directory(directory))
    }

    /// The group was refused: removes its files.
    pub(crate) fn take_back(self) {
        let shared = &self.blobs.0;
        let remove = |(oid, tid): &(Oid, Tid)| {
            remove_if_there(&*shared.disk, &shared.directory.file(*oid, *tid))
        };
        let removed = self.entries.iter().map(remove).fold(Ok(()), Result::and);
        if let Err(error) = removed.and_then(|()| self.sync()) {
            tracing::warn!(%error, "files of refused blobs stay until the storage is opened anew");
            self.in_doubt();
        }
    }

    /// Nobody knows whether the group is committed: the next opening will find out.
    pub(crate) fn in_doubt(self) {
        self.blobs.0.journal.lock().left.extend(self.entries);
    }

    /// The group is committed.
    pub(crate) fn keep(self) {
        drop(self);
    }
}

impl Shared {
    pub(super) fn journal_path(&self) -> PathBuf {
        self.directory.path().join(JOURNAL)
    }
}

impl Journal {
    /// Says, durably, which files come now.
    fn write(&mut self, shared: &Shared, entries: &[(Oid, Tid)]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = shared.disk.open(&shared.journal_path(), Access::Create)?;
                shared.disk.sync_directory(shared.directory.path())?;
                self.file = Some(Arc::clone(&file));
                file
            }
        };
        let lines: String = (self.left.iter().chain(entries))
            .map(|(oid, tid)| format!("{:016x} {:016x}\n", oid.0, tid.0))
            .collect();
        let len = lines.len() as u64;
        file.write_at(&[lines.as_bytes()], 0)?;
        if len < self.len {
            file.set_len(len)?;
        }
        self.len = len;
        file.sync()
    }
}

/// The revisions that a journal names. Lines that a crash has torn name none, or none that is there.
pub(super) fn parse_journal(bytes: &[u8]) -> impl Iterator<Item = (Oid, Tid)> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let (oid, tid) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        if oid.len() != 16 || tid.len() != 16 {
            return None;
        }
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((Oid(number(oid)?), Tid(number(tid)?)))
    })
}

impl Wanted {
    /// Makes a directory, durably, and keeps it from being removed.
    fn want(&mut self, path: &Path) -> io::Result<()> {
        let shared = &self.blobs.0;
        let mut places = shared.places.lock();
        places.make(&*shared.disk, shared.directory.path(), path)?;
        *places.wanted.entry(path.to_owned()).or_default() += 1;
        self.paths.push(path.to_owned());
        Ok(())
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut places = self.blobs.0.places.lock();
        for path in &self.paths {
            if let Some(count) = places.wanted.get_mut(path) {
                *count -= 1;
                if *count == 0 {
                    places.wanted.remove(path);
                }
            }
        }
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.paths).finish()
    }
}

impl Places {
    /// Makes a directory below `base`, and its name and those above it durable. That it exists does
    /// not say that it is: another program may just have made it.
    fn make(&mut self, disk: &dyn Disk, base: &Path, path: &Path) -> io::Result<()> {
        if self.durable.contains(path) {
            return Ok(());
        }
        let missing = match disk.look(path)? {
            Some(found) if found.kind == Kind::Directory => false,
            Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
            None => true,
        };
        if missing {
            disk.create_directory(path)?;
        }
        if self.durable.len() > DURABLE_MAX {
            self.durable.clear();
        }
        let within = |above: &&Path| above.starts_with(base) && *above != base;
        for directory in path.ancestors().take_while(within) {
            if self.durable.contains(directory) {
                break;
            }
            disk.sync_directory(directory.parent().unwrap_or(base))?;
        }
        self.durable.extend(path.ancestors().take_while(within).map(Path::to_owned));
        Ok(())
    }

    /// Whether a voted transaction needs a directory, or one below it.
    pub(super) fn is_wanted(&self, path: &Path) -> bool {
        (self.wanted.range::<Path, _>((Bound::Included(path), Bound::Unbounded)).next())
            .is_some_and(|(wanted, _)| wanted.starts_with(path))
    }

    /// A directory is gone.
    pub(super) fn removed(&mut self, path: &Path) {
        self.durable.remove(path);
    }
}
