//! Putting blobs in place, together with the group of transactions that they belong to.
//!
//! A vote collects a [`Plan`]. Sealing it makes it [`Prepared`]: the files and the directories that
//! they will be in are durable, and nobody removes these directories meanwhile. [`Blobs::place`] then
//! gives the files of a whole group their final names, durably; what it returns is to be told how the
//! group fared. Groups without blobs pay for none of this.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::{Patience, Scratch, StorageError, TransactionMeta};

use super::object_directories::Reservation;
use super::store::Blobs;
use super::upload::Upload;
use crate::disk::{failed, remove_if_there};

/// The mode assumed for a directory whose mode cannot be read: nobody else may read the file.
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
    /// Keeps the directories; never read.
    _directories: Reservation,
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
    fn upload_of<'a>(&self, upload: &'a Arc<dyn Scratch>) -> Result<&'a Upload, StorageError> {
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
        self.upload_of(upload).map(|_| ())
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
        let mut directories = shared.object_directories.reservation();
        for (oid, planned) in &plan.uploads {
            self.is_free(*oid, planned.tid.or(plan.tid))?;
            let path = shared.directory.of_object(*oid);
            directories.add(&path).map_err(|error| {
                failed(|| format!("make the directory {}", path.display()), &error)
            })?;
            let mode = shared.disk.look(&path).ok().flatten().map_or(NO_MODE, |found| found.mode);
            let upload = self.upload_of(&planned.upload)?;
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
        shared.journal.write(&placed.entries).map_err(|error| {
            failed(|| format!("write {}", shared.journal.path().display()), &error)
        })?;
        for (tid, prepared) in group {
            for (oid, tid, upload) in prepared.revisions(*tid) {
                let path = shared.directory.file(oid, tid);
                let moved = self.upload_of(upload).map(|upload| upload.move_to(&path));
                let moved = moved.and_then(|moved| {
                    moved.map_err(|error| failed(|| format!("place {}", path.display()), &error))
                });
                if let Err(error) = moved {
                    placed.roll_back();
                    return Err(error);
                }
            }
        }
        if let Err(error) = placed.sync() {
            let path = shared.directory.path().display();
            let error = failed(|| format!("sync the directories of new blobs in {path}"), &error);
            placed.roll_back();
            return Err(error);
        }
        Ok(placed)
    }

    /// Stops removing files, and closes the journal.
    pub(crate) fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        drop(self.0.cleaning.lock());
        self.0.journal.close();
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
    pub(crate) fn roll_back(self) {
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
        self.blobs.0.journal.keep_in_doubt(self.entries);
    }

    /// The group is committed.
    pub(crate) fn keep(self) {
        drop(self);
    }
}
