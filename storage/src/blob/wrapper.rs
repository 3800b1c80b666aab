//! BlobStorage: adds a directory of blobs to a storage without them.
//!
//! After a pack it looks up the record of each blob in the storage, as Python's `BlobStorage` does,
//! and removes the files without one. (If the storage cannot undo, Python keeps only the newest
//! file of an object; here the older ones stay as long as their records do.)
//!
//! If the storage loses its records when it is closed, the files of its blobs stay until a store
//! overwrites them or a pack removes them.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rzeo_core::record::is_blob_record;
use rzeo_core::storage::{
    BlobStore, Committed, Description, Finishing, Load, Patience, PreparedPack, RecordData,
    Scratch, Storage, StorageError, StorageLayer, TransactionMeta, Vote, Voted,
};
use rzeo_core::{Oid, Tid, UnixTime};

use super::commit::{Plan, Prepared};
use super::store::Blobs;
use crate::disk::{Disk, RealDisk};

const RESTOREABLE: (&str, &str) = ("ZODB.interfaces", "IStorageRestoreable");

/// A storage with blobs over one without.
pub struct BlobStorage {
    base: Arc<dyn Storage>,
    blobs: Blobs,
    pending: PendingCleanUp,
}

/// The last commit before a pack, until the files of the removed blobs are removed.
type PendingCleanUp = Arc<Mutex<Option<Tid>>>;

impl BlobStorage {
    /// Keeps the blobs of a storage in a directory, which is created if it does not exist.
    ///
    /// # Errors
    /// `Disk`, also if the directory's layout is unknown.
    pub fn open(
        disk: Arc<dyn Disk>,
        path: &Path,
        base: Arc<dyn Storage>,
    ) -> Result<Self, StorageError> {
        let read_only = base.description().read_only;
        let is_known = |oid, tid| has_revision(&*base, oid, tid);
        let blobs = Blobs::open(disk, path, read_only, false, &is_known)?;
        Ok(Self { base, blobs, pending: Arc::default() })
    }

    /// The same with the operating system's files.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_directory(path: &Path, base: Arc<dyn Storage>) -> Result<Self, StorageError> {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self::open(Arc::new(RealDisk), &absolute, base)
    }
}

fn has_revision(base: &dyn Storage, oid: Oid, tid: Tid) -> Result<bool, StorageError> {
    match base.load_serial(oid, tid, Patience::Wait) {
        Ok(_) => Ok(true),
        Err(StorageError::NoSuchObject(_) | StorageError::NoSuchRevision(..)) => Ok(false),
        Err(error) => Err(error),
    }
}

impl std::fmt::Debug for BlobStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobStorage").field("blobs", &self.blobs).finish_non_exhaustive()
    }
}

impl StorageLayer for BlobStorage {
    fn below(&self) -> &dyn Storage {
        &*self.base
    }

    /// The interfaces are those of Python's proxy: only blobs, unless the storage below can
    /// restore.
    fn description(&self) -> Description {
        let base = self.base.description();
        let blobs = ("ZODB.interfaces", "IBlobStorage");
        let interfaces = if base.interfaces.contains(&RESTOREABLE) {
            let restoreable = ("ZODB.interfaces", "IBlobStorageRestoreable");
            [restoreable, blobs].into_iter().chain(base.interfaces).collect()
        } else {
            vec![blobs, ("zope.interface", "Interface")]
        };
        Description { interfaces, ..base }
    }

    fn begin_vote<'a>(
        &'a self,
        meta: &TransactionMeta,
        patience: Patience,
    ) -> Result<Box<dyn Vote + 'a>, StorageError> {
        let base = self.base.begin_vote(meta, patience)?;
        Ok(Box::new(BlobVote { storage: self, base, patience, plan: Plan::new(meta) }))
    }

    fn commit(&self, group: Vec<Finishing>) -> Result<Vec<Committed>, StorageError> {
        let split = |Finishing { tid, voted }| {
            let ready: Box<CheckedVote> =
                voted.0.downcast().expect("only our own votes are committed");
            (Finishing { tid, voted: ready.base }, ready.blobs)
        };
        let (group, blobs): (Vec<_>, Vec<_>) = group.into_iter().map(split).unzip();
        let with_tids = group.iter().zip(&blobs);
        let prepared: Vec<_> =
            with_tids.filter_map(|(one, blobs)| Some((one.tid, blobs.as_ref()?))).collect();
        if prepared.is_empty() {
            return self.base.commit(group);
        }
        let placed = self.blobs.place(&prepared)?;
        let committed = self.base.commit(group);
        match &committed {
            Ok(_) => placed.keep(),
            Err(_) if self.base.broken().is_some() => placed.in_doubt(),
            Err(_) => placed.roll_back(),
        }
        committed
    }

    fn pack(&self, time: UnixTime) -> Result<Option<Box<dyn PreparedPack>>, StorageError> {
        let Some(prepared) = self.base.pack(time)? else { return Ok(None) };
        let (base, pending) = (Arc::clone(&self.base), Arc::clone(&self.pending));
        Ok(Some(Box::new(BlobPack { prepared, base, pending })))
    }

    fn blobs(&self) -> Option<&dyn BlobStore> {
        Some(&self.blobs)
    }

    fn clean_up_due(&self) -> bool {
        self.pending.lock().is_some() || self.base.clean_up_due()
    }

    fn clean_up(&self) -> Result<(), StorageError> {
        self.base.clean_up()?;
        let Some(up_to) = self.pending.lock().take() else { return Ok(()) };
        self.blobs.remove_unknown(up_to, &|oid, tid| has_revision(&*self.base, oid, tid))
    }

    fn close(&self) -> Result<(), StorageError> {
        self.blobs.close();
        self.base.close()
    }
}

/// A transaction that passed all checks.
#[derive(Debug)]
struct CheckedVote {
    base: Voted,
    blobs: Option<Prepared>,
}

struct BlobVote<'a> {
    storage: &'a BlobStorage,
    base: Box<dyn Vote + 'a>,
    patience: Patience,
    plan: Plan,
}

impl Vote for BlobVote<'_> {
    fn store(&mut self, oid: Oid, serial: Tid, data: RecordData) -> Result<(), StorageError> {
        self.base.store(oid, serial, data)
    }

    fn store_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: RecordData,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        self.storage.blobs.accepts(blob, self.patience)?;
        self.base.store(oid, serial, data)?;
        self.plan.put(oid, Arc::clone(blob));
        Ok(())
    }

    fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), StorageError> {
        self.base.delete(oid, serial)?;
        self.plan.forget(oid);
        Ok(())
    }

    fn check_current(&mut self, oid: Oid, serial: Tid) -> Result<(), StorageError> {
        self.base.check_current(oid, serial)
    }

    fn restore(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: Option<RecordData>,
        prev_txn: Option<Tid>,
    ) -> Result<(), StorageError> {
        self.base.restore(oid, tid, data, prev_txn)
    }

    fn restore_blob(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: RecordData,
        prev_txn: Option<Tid>,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        self.storage.blobs.accepts(blob, self.patience)?;
        self.base.restore(oid, tid, Some(data), prev_txn)?;
        self.plan.put_at(oid, tid, Arc::clone(blob));
        Ok(())
    }

    /// An object that was a blob before the undone transaction gets that blob again.
    fn undo(&mut self, tid: Tid) -> Result<Vec<Oid>, StorageError> {
        let oids = self.base.undo(tid)?;
        for oid in &oids {
            match self.storage.base.load_before(*oid, tid, Patience::Wait)? {
                Load::Found(before) if is_blob_record(&before.data) => {
                    self.plan.put(*oid, self.storage.blobs.copy_of(*oid, before.serial)?);
                }
                Load::Found(_) | Load::Younger { .. } | Load::Deleted { .. } => {
                    self.plan.forget(*oid);
                }
            }
        }
        Ok(oids)
    }

    fn seal(self: Box<Self>) -> Result<Voted, StorageError> {
        let Self { storage, base, patience, plan } = *self;
        let blobs = storage.blobs.prepare(plan, patience)?;
        Ok(Voted(Box::new(CheckedVote { base: base.seal()?, blobs })))
    }
}

struct BlobPack {
    prepared: Box<dyn PreparedPack>,
    base: Arc<dyn Storage>,
    pending: PendingCleanUp,
}

impl PreparedPack for BlobPack {
    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        let Self { prepared, base, pending } = *self;
        prepared.finish()?;
        *pending.lock() = Some(base.last_tid());
        Ok(())
    }
}
