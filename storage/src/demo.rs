//! DemoStorage: changes over a base that does not change.
//!
//! ```text
//!   loads    ──► changes ──► base      the first that knows the object
//!   commits  ──► changes
//! ```
//!
//! Two databases look like one. Objects that were never changed are read from the base, all others
//! from the changes. The end of a base revision comes from the changes, which hold the revision
//! that replaced it. Conflicts are checked here, before a store is passed to the changes, because
//! the changes do not have the revisions of the base.
//!
//! New oids do not follow the base's last one, because the base itself may later be used for new
//! objects: allocation starts at a random oid that neither side has used, and continues from there.
//!
//! Deleting objects and restoring records is not supported, as in Python. A pack does not remove
//! unreachable objects: an object of the base may refer to an object of the changes, and the pack
//! reads only the changes. (Python collects garbage in temporary changes nevertheless, and loses
//! such objects.) Only [`MappingStorage`]s over an empty base are collected, see
//! [`temporary_changes`].

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rzeo_core::storage::{
    BlobFile, BlobStore, Committed, CurrentRecord, Description, Finishing, HistoryEntry, Info,
    Load, PackProgress, Patience, PreparedPack, RecordData, RecordIterator, Revision, Scratch,
    Storage, StorageError, TransactionHeader, TransactionIterator, TransactionMeta, Vote, Voted,
};
use rzeo_core::{Oid, Tid, UnixTime};

use crate::MappingStorage;

/// Python's name of a mapping storage that a demo storage creates for its changes.
pub const DEFAULT_MAPPING_NAME: &str = "MappingStorage";
/// Maximum random oid, as in Python; the oids above it leave room to continue from there.
const RANDOM_OID_MAX: u64 = 1 << 62;

/// Changes over a base. See the documentation of the module.
pub struct DemoStorage {
    name: String,
    base: Arc<dyn Storage>,
    changes: Arc<dyn Storage>,
    oids: Mutex<Oids>,
}

/// Changes in memory, for a demo storage without configured changes. A pack collects garbage only
/// if the base is empty.
#[must_use]
pub fn temporary_changes(base: &dyn Storage) -> MappingStorage {
    let changes = MappingStorage::named(DEFAULT_MAPPING_NAME);
    if base.info().length == 0 && base.last_tid() == Tid::ZERO {
        changes
    } else {
        changes.without_garbage_collection()
    }
}

impl DemoStorage {
    /// Puts changes over a base. The changes decide whether a pack collects garbage; they should do
    /// so only if the base is empty. `seed` seeds the generator of oids and should be random, or
    /// two servers over the same base allocate the same oids. The default name is Python's, made of
    /// the names of both.
    #[must_use]
    pub fn new(
        name: Option<String>,
        base: Arc<dyn Storage>,
        changes: Arc<dyn Storage>,
        seed: u64,
    ) -> Self {
        let name = name.unwrap_or_else(|| {
            let names = [&base, &changes].map(|storage| repr(&storage.description().name));
            format!("DemoStorage({}, {})", names[0], names[1])
        });
        Self { name, base, changes, oids: Mutex::new(Oids::new(seed)) }
    }

    /// Whether neither side has ever used an oid. The oid of a deleted object is not free. Does not
    /// wait.
    fn is_free(&self, oid: Oid) -> bool {
        [&self.changes, &self.base].iter().all(|storage| {
            let load = storage.load_before(oid, Tid::MAX, Patience::Now);
            matches!(load, Err(StorageError::NoSuchObject(_)))
        })
    }

    /// The current serial, which a store must name; `None` if the object does not exist.
    fn committed(&self, oid: Oid, patience: Patience) -> Result<Option<Tid>, StorageError> {
        match self.current_serial(oid, patience) {
            Ok(serial) => Ok(Some(serial)),
            Err(StorageError::NoSuchObject(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for DemoStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoStorage").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether an error says that the object, or this revision of it, does not exist.
fn is_missing(error: &StorageError) -> bool {
    matches!(error, StorageError::NoSuchObject(_) | StorageError::NoSuchRevision(..))
}

/// Adapts the base's answer for an object whose first revision in the changes is `first`.
fn until(first: Tid, base: Result<Load, StorageError>) -> Result<Load, StorageError> {
    Ok(match base {
        Ok(Load::Found(revision)) => {
            let end = revision.end.or(Some(first));
            Load::Found(Revision { end, ..revision })
        }
        Ok(Load::Younger { first }) => Load::Younger { first },
        Ok(Load::Deleted { .. }) | Err(StorageError::NoSuchObject(_)) => Load::Younger { first },
        Err(error) => return Err(error),
    })
}

impl Storage for DemoStorage {
    fn description(&self) -> Description {
        let changes = self.changes.description();
        let mut interfaces = Vec::new();
        if self.blobs().is_some() {
            interfaces.push(("ZODB.interfaces", "IBlobStorage"));
        }
        if changes.supports_undo {
            interfaces.push(("ZODB.interfaces", "IStorageUndoable"));
        }
        interfaces.extend([
            ("ZODB.interfaces", "IStorage"),
            ("ZODB.interfaces", "IStorageIteration"),
            ("zope.interface", "Interface"),
        ]);
        Description {
            name: self.name.clone(),
            read_only: changes.read_only,
            supports_undo: changes.supports_undo,
            supports_record_iternext: false,
            interfaces,
            history: changes.history,
            is_proxy: false,
        }
    }

    fn info(&self) -> Info {
        self.changes.info()
    }

    /// Python returns the last tid of the changes unless they are empty. With changes older than
    /// their base, that would hide the base's last commits.
    fn last_tid(&self) -> Tid {
        self.changes.last_tid().max(self.base.last_tid())
    }

    fn recent(&self, count: usize) -> Result<Option<Vec<(Tid, Vec<Oid>)>>, StorageError> {
        self.changes.recent(count)
    }

    fn load_before(&self, oid: Oid, before: Tid, patience: Patience) -> Result<Load, StorageError> {
        let base = || self.base.load_before(oid, before, patience);
        match self.changes.load_before(oid, before, patience) {
            Err(StorageError::NoSuchObject(_)) => base(),
            Ok(Load::Younger { first }) => until(first, base()),
            // After an undone creation in the changes, the base's revision is current again.
            Ok(Load::Deleted { serial, end }) => Ok(match base() {
                Ok(Load::Found(revision)) => {
                    let end = revision.end.or(end);
                    Load::Found(Revision { end, ..revision })
                }
                Err(error) if !is_missing(&error) => return Err(error),
                Ok(Load::Younger { .. } | Load::Deleted { .. }) | Err(_) => {
                    Load::Deleted { serial, end }
                }
            }),
            found => found,
        }
    }

    fn load_serial(
        &self,
        oid: Oid,
        serial: Tid,
        patience: Patience,
    ) -> Result<Bytes, StorageError> {
        match self.changes.load_serial(oid, serial, patience) {
            Err(error) if is_missing(&error) => self.base.load_serial(oid, serial, patience),
            loaded => loaded,
        }
    }

    fn current_serial(&self, oid: Oid, patience: Patience) -> Result<Tid, StorageError> {
        match self.changes.current_serial(oid, patience) {
            Err(error) if is_missing(&error) => self.base.current_serial(oid, patience),
            serial => serial,
        }
    }

    fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, StorageError> {
        let mut entries = match self.changes.history(oid, size) {
            Err(error) if is_missing(&error) => Vec::new(),
            entries => entries?,
        };
        let left = size.saturating_sub(entries.len());
        if left > 0 {
            match self.base.history(oid, left) {
                Ok(older) => entries.extend(older),
                Err(error) if is_missing(&error) && !entries.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    fn next_record(&self, _from: Oid) -> Result<CurrentRecord, StorageError> {
        Err(StorageError::Unsupported("record_iternext"))
    }

    fn new_oids(&self, count: usize, _: Patience) -> Result<Vec<Oid>, StorageError> {
        if self.changes.description().read_only {
            return Err(StorageError::ReadOnly);
        }
        Ok(self.oids.lock().draw(count, |oid| self.is_free(oid)))
    }

    fn undo_log(
        &self,
        visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.changes.undo_log(visit)
    }

    fn iterate(
        &self,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Box<dyn TransactionIterator>, StorageError> {
        let current = self.base.iterate(start, stop)?;
        let next = self.changes.iterate(start, stop)?;
        Ok(Box::new(DemoTransactions { current, next: Some(next) }))
    }

    fn begin_vote<'a>(
        &'a self,
        meta: &TransactionMeta,
        patience: Patience,
    ) -> Result<Box<dyn Vote + 'a>, StorageError> {
        let changes = self.changes.begin_vote(meta, patience)?;
        Ok(Box::new(DemoVote { storage: self, changes, patience }))
    }

    fn commit(&self, group: Vec<Finishing>) -> Result<Vec<Committed>, StorageError> {
        self.changes.commit(group)
    }

    fn pack(&self, time: UnixTime) -> Result<Option<Box<dyn PreparedPack>>, StorageError> {
        self.changes.pack(time)
    }

    fn blobs(&self) -> Option<&dyn BlobStore> {
        self.changes.blobs().map(|_| self as &dyn BlobStore)
    }

    fn scratch(&self) -> Result<Option<Arc<dyn Scratch>>, StorageError> {
        self.changes.scratch()
    }

    fn clean_up_due(&self) -> bool {
        self.changes.clean_up_due()
    }

    fn clean_up(&self) -> Result<(), StorageError> {
        self.changes.clean_up()
    }

    fn pack_progress(&self) -> Option<PackProgress> {
        self.changes.pack_progress()
    }

    fn broken(&self) -> Option<String> {
        self.changes.broken()
    }

    fn close(&self) -> Result<(), StorageError> {
        let base = self.base.close();
        self.changes.close().and(base)
    }
}

/// New blobs go to the changes. Used only if these keep blobs.
impl BlobStore for DemoStorage {
    fn upload(&self) -> Result<Arc<dyn Scratch>, StorageError> {
        blobs_of(&*self.changes)?.upload()
    }

    fn shared_upload(&self, oid: Oid, name: &str) -> Result<Arc<dyn Scratch>, StorageError> {
        blobs_of(&*self.changes)?.shared_upload(oid, name)
    }

    fn open(&self, oid: Oid, serial: Tid) -> Result<Arc<dyn BlobFile>, StorageError> {
        match (blobs_of(&*self.changes)?.open(oid, serial), self.base.blobs()) {
            (Err(StorageError::NoSuchBlob { .. }), Some(base)) => base.open(oid, serial),
            (opened, _) => opened,
        }
    }
}

fn blobs_of(storage: &dyn Storage) -> Result<&dyn BlobStore, StorageError> {
    storage.blobs().ok_or(StorageError::Unsupported("blobs"))
}

/// First the base's transactions, then those of the changes.
struct DemoTransactions {
    current: Box<dyn TransactionIterator>,
    next: Option<Box<dyn TransactionIterator>>,
}

impl TransactionIterator for DemoTransactions {
    fn next_transaction(&mut self) -> Result<Option<TransactionHeader>, StorageError> {
        loop {
            if let Some(header) = self.current.next_transaction()? {
                return Ok(Some(header));
            }
            let Some(next) = self.next.take() else { return Ok(None) };
            self.current = next;
        }
    }

    fn records(&self) -> Result<Box<dyn RecordIterator>, StorageError> {
        self.current.records()
    }
}

/// A vote of the changes, with conflicts checked against both sides.
struct DemoVote<'a> {
    storage: &'a DemoStorage,
    changes: Box<dyn Vote + 'a>,
    patience: Patience,
}

impl DemoVote<'_> {
    /// An object that does not exist may have been undone in the changes: then the changes check
    /// the serial.
    fn check_serial(&self, oid: Oid, read: Tid) -> Result<(), StorageError> {
        match self.storage.committed(oid, self.patience)? {
            Some(committed) if committed != read => {
                Err(StorageError::Conflict { oid, committed, read })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The serial to pass to the changes for the one that a client read. After an undone change the
    /// client reads the base's revision, but the changes have only the tid of the undo.
    fn read_in_changes(&self, oid: Oid, read: Tid) -> Result<Tid, StorageError> {
        match self.storage.changes.load_before(oid, Tid::MAX, self.patience) {
            Ok(Load::Deleted { serial, .. }) => Ok(serial),
            Err(error) if !is_missing(&error) => Err(error),
            Ok(Load::Found(_) | Load::Younger { .. }) | Err(_) => Ok(read),
        }
    }
}

impl Vote for DemoVote<'_> {
    fn store(&mut self, oid: Oid, read: Tid, data: RecordData) -> Result<(), StorageError> {
        self.check_serial(oid, read)?;
        let read = self.read_in_changes(oid, read)?;
        self.changes.store(oid, read, data)
    }

    fn store_blob(
        &mut self,
        oid: Oid,
        read: Tid,
        data: RecordData,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        self.check_serial(oid, read)?;
        let read = self.read_in_changes(oid, read)?;
        self.changes.store_blob(oid, read, data, blob)
    }

    fn delete(&mut self, _oid: Oid, _read: Tid) -> Result<(), StorageError> {
        Err(StorageError::Unsupported("deleteObject"))
    }

    fn check_current(&mut self, oid: Oid, read: Tid) -> Result<(), StorageError> {
        let committed = self.storage.current_serial(oid, self.patience)?;
        if committed == read {
            return Ok(());
        }
        Err(StorageError::ReadConflict { oid, committed, read })
    }

    fn restore(
        &mut self,
        _oid: Oid,
        _tid: Tid,
        _data: Option<RecordData>,
        _prev_txn: Option<Tid>,
    ) -> Result<(), StorageError> {
        Err(StorageError::Unsupported("restore"))
    }

    fn undo(&mut self, tid: Tid) -> Result<Vec<Oid>, StorageError> {
        self.changes.undo(tid)
    }

    fn seal(self: Box<Self>) -> Result<Voted, StorageError> {
        self.changes.seal()
    }
}

/// Allocates new oids in runs that begin at a random oid.
#[derive(Debug)]
struct Oids {
    state: u64,
    next: u64,
    /// The runs so far: the first oid, and the one after the last.
    issued: BTreeMap<u64, u64>,
}

impl Oids {
    fn new(seed: u64) -> Self {
        let mut oids = Self { state: seed, next: 0, issued: BTreeMap::new() };
        oids.jump();
        oids
    }

    /// Allocates `count` consecutive free oids.
    fn draw(&mut self, count: usize, is_free: impl Fn(Oid) -> bool) -> Vec<Oid> {
        let count = count as u64;
        loop {
            let run = self.next..self.next.saturating_add(count);
            let taken = run.clone().find(|oid| self.was_issued(*oid) || !is_free(Oid(*oid)));
            if taken.is_none() && run.end - run.start == count {
                self.next = run.end;
                self.remember(run.start, run.end);
                return run.map(Oid).collect();
            }
            self.jump();
        }
    }

    fn was_issued(&self, oid: u64) -> bool {
        self.issued.range(..=oid).next_back().is_some_and(|(_, end)| oid < *end)
    }

    fn remember(&mut self, first: u64, end: u64) {
        match self.issued.range_mut(..first).next_back() {
            Some((_, last)) if *last == first => *last = end,
            Some(_) | None => {
                self.issued.insert(first, end);
            }
        }
    }

    /// SplitMix64, cut to `1..=RANDOM_OID_MAX`.
    fn jump(&mut self) {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.next = (mixed ^ (mixed >> 31)) % RANDOM_OID_MAX + 1;
    }
}

/// A name in quotes, as Python's `repr` shows it for ordinary names.
fn repr(name: &str) -> String {
    if name.contains('\'') && !name.contains('"') {
        format!("\"{}\"", name.replace('\\', "\\\\"))
    } else {
        format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

#[cfg(test)]
mod tests;
