//! Commit of blobs: renames files together with the group of transactions that they belong to.
//!
//! A vote collects a [`Plan`]. Sealing it makes it [`Prepared`]: the files and their future
//! directories are durable, and no pack removes these directories. [`Blobs::place`] then gives the
//! files of a whole group their final names, durably; the caller reports the outcome of the commit
//! to the [`PlacedFiles`] that it returns. Groups without blobs make no calls.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rzeo_core::storage::{Patience, Scratch, StorageError, TransactionMeta};
use rzeo_core::{Oid, Tid};

use super::object_directories::DirectoryReservation;
use super::store::Blobs;
use super::upload::Upload;
use crate::disk::{failed, remove_if_there};

/// The mode assumed for a directory whose mode cannot be read: only the owner may read the file.
const NO_MODE: u32 = 0;

/// The blobs of a transaction that is being checked. A later blob of an object replaces the earlier
/// one.
#[derive(Debug)]
pub struct Plan {
    uploads: BTreeMap<Oid, Planned>,
    /// The tid that the client gives, where transactions are copied.
    tid: Option<Tid>,
}

/// A blob of a transaction that is being checked.
#[derive(Debug)]
struct Planned {
    upload: Arc<dyn Scratch>,
    /// Its tid, if it differs from its transaction's.
    tid: Option<Tid>,
}

/// The blobs of a voted transaction.
#[derive(Debug)]
pub(crate) struct Prepared {
    uploads: BTreeMap<Oid, Planned>,
    /// Keeps packs from removing the directories; never read.
    _directories: DirectoryReservation,
}

/// The renamed files of a group whose records are not committed yet.
#[derive(Debug)]
#[must_use = "the outcome of the group must be reported to it"]
pub(crate) struct PlacedFiles<'a> {
    blobs: &'a Blobs,
    entries: Vec<(Oid, Tid)>,
}

impl Plan {
    /// A plan without blobs.
    pub(crate) fn new(meta: &TransactionMeta) -> Self {
        Self { uploads: BTreeMap::new(), tid: meta.tid }
    }

    pub(crate) fn put(&mut self, oid: Oid, upload: Arc<dyn Scratch>) {
        self.uploads.insert(oid, Planned { upload, tid: None });
    }

    /// Adds a blob whose record has its own tid.
    pub(crate) fn put_at(&mut self, oid: Oid, tid: Tid, upload: Arc<dyn Scratch>) {
        self.uploads.insert(oid, Planned { upload, tid: Some(tid) });
    }

    /// Removes an object's blob from the plan.
    pub(crate) fn forget(&mut self, oid: Oid) {
        self.uploads.remove(&oid);
    }

    /// Whether the plan has no blobs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uploads.is_empty()
    }
}

impl Blobs {
    /// The upload, if this directory created it.
    fn upload_of<'a>(&self, upload: &'a Arc<dyn Scratch>) -> Result<&'a Upload, StorageError> {
        (upload.as_any().downcast_ref::<Upload>())
            .filter(|upload| upload.is_of(&self.0.handles))
            .ok_or(StorageError::Unsupported("blobs from another storage's uploads"))
    }

    /// Whether an upload can become a blob here.
    ///
    /// # Errors
    /// `WouldBlock` unless the caller can wait. `Unsupported` for another storage's upload.
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

    /// Makes durable what does not depend on the tid. `None` if there are no blobs.
    ///
    /// # Errors
    /// `NoSuchUpload` if a client removed its file, `BlobExists`, `Disk`, `WouldBlock`.
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
            let mode =
                shared.disk.metadata(&path).ok().flatten().map_or(NO_MODE, |found| found.mode);
            let upload = self.upload_of(&planned.upload)?;
            upload.secure(&shared.directory.temporary(), || self.new_name())?;
            upload.seal(mode)?;
        }
        Ok(Some(Prepared { uploads: plan.uploads, _directories: directories }))
    }

    /// A client may give a tid that is already committed; an existing blob of that tid must not
    /// change.
    fn is_free(&self, oid: Oid, tid: Option<Tid>) -> Result<(), StorageError> {
        let Some(tid) = tid else { return Ok(()) };
        let path = self.0.directory.file(oid, tid);
        match self.0.disk.exists(&path) {
            Ok(false) => Ok(()),
            Ok(true) => Err(StorageError::BlobExists { oid, serial: tid }),
            Err(error) => Err(failed(|| format!("look for {}", path.display()), &error)),
        }
    }

    /// Gives all files of a group their final names. On an error none of them keeps it.
    ///
    /// # Errors
    /// `Disk`.
    pub(crate) fn place<'a>(
        &'a self,
        group: &[(Tid, &Prepared)],
    ) -> Result<PlacedFiles<'a>, StorageError> {
        let entries: Vec<(Oid, Tid)> = (group.iter())
            .flat_map(|(tid, prepared)| prepared.revisions(*tid).map(|(oid, tid, _)| (oid, tid)))
            .collect();
        let shared = &self.0;
        let placed = PlacedFiles { blobs: self, entries };
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
    /// The blobs of the transaction with their revisions, once its tid is known.
    fn revisions(&self, tid: Tid) -> impl Iterator<Item = (Oid, Tid, &Arc<dyn Scratch>)> {
        let uploads = self.uploads.iter();
        uploads.map(move |(oid, planned)| (*oid, planned.tid.unwrap_or(tid), &planned.upload))
    }
}

impl PlacedFiles<'_> {
    fn sync(&self) -> io::Result<()> {
        let shared = &self.blobs.0;
        let directories: BTreeSet<PathBuf> =
            self.entries.iter().map(|(oid, _)| shared.directory.of_object(*oid)).collect();
        directories.iter().try_for_each(|directory| shared.disk.sync_directory(directory))
    }

    /// Reports that the group was refused: removes its files.
    pub(crate) fn roll_back(self) {
        let shared = &self.blobs.0;
        let remove = |(oid, tid): &(Oid, Tid)| {
            remove_if_there(&*shared.disk, &shared.directory.file(*oid, *tid))
        };
        let removed = self.entries.iter().map(remove).fold(Ok(()), Result::and);
        if let Err(error) = removed.and_then(|()| self.sync()) {
            tracing::warn!(%error, "cannot remove the files of a refused transaction's blobs; the next opening removes them");
            self.in_doubt();
        }
    }

    /// Reports that the outcome of the group is unknown: the next opening decides.
    pub(crate) fn in_doubt(self) {
        self.blobs.0.journal.keep_in_doubt(self.entries);
    }

    /// Reports that the group is committed.
    pub(crate) fn keep(self) {
        drop(self);
    }
}
