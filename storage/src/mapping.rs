//! MappingStorage: a database in memory, lost when its process ends.
//!
//! Two sorted maps hold everything. `objects` has each object's revisions by tid; `transactions`
//! has each transaction's header and, by oid in the order of the stores, what it wrote. A pack
//! removes entries from both. There are no files, so no method ever waits. `undo` and `restore` are
//! not supported.
//!
//! It is meant for experiments, and because it is simple the tests also use it as the model of a
//! FileStorage. It does two things that Python's does not: it can delete objects, and it does not
//! allocate an oid that a client has already stored.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use rzeo_core::record::references;
use rzeo_core::storage::{
    Committed, CurrentRecord, Description, Finishing, HistoryEntry, HistoryShape, Info, Load,
    Patience, PreparedPack, Record, RecordData, RecordIterator, Revision, Storage, StorageError,
    TransactionHeader, TransactionIterator, TransactionMeta, Vote, Voted,
};
use rzeo_core::{Oid, Tid, UnixTime};

/// Bytes that Python counts for an object in `getSize`, independent of its records.
const OBJECT_BYTES: u64 = 50;
/// Bytes that Python counts for a revision in addition to its record.
const REVISION_BYTES: u64 = 100;
/// Python's name of a MappingStorage without a configured name.
const DEFAULT_NAME: &str = "Mapping Storage";

/// A storage in memory. See the documentation of the module.
#[derive(Debug)]
pub struct MappingStorage {
    name: String,
    state: Arc<RwLock<State>>,
    collects: bool,
}

impl MappingStorage {
    /// An empty storage with Python's default name.
    #[must_use]
    pub fn new() -> Self {
        Self::named(DEFAULT_NAME)
    }

    /// An empty storage with this name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), state: Arc::default(), collects: true }
    }

    /// Limits packs to old revisions: objects of another storage may refer to objects of this one.
    #[must_use]
    pub fn without_garbage_collection(self) -> Self {
        Self { collects: false, ..self }
    }
}

impl Default for MappingStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl Storage for MappingStorage {
    fn description(&self) -> Description {
        Description {
            name: self.name.clone(),
            read_only: false,
            supports_undo: false,
            supports_record_iternext: false,
            interfaces: vec![
                ("ZODB.interfaces", "IStorage"),
                ("ZODB.interfaces", "IStorageIteration"),
                ("zope.interface", "Interface"),
            ],
            history: HistoryShape::MappingStorage,
            is_proxy: false,
        }
    }

    fn info(&self) -> Info {
        self.state.read().info()
    }

    fn last_tid(&self) -> Tid {
        self.state.read().last_tid
    }

    fn recent(&self, _count: usize) -> Result<Option<Vec<(Tid, Vec<Oid>)>>, StorageError> {
        Ok(None)
    }

    fn load_before(&self, oid: Oid, before: Tid, _: Patience) -> Result<Load, StorageError> {
        let state = self.state.read();
        let revisions = state.revisions(oid)?;
        let end = revisions.range(before..).next().map(|(tid, _)| *tid);
        Ok(match (revisions.range(..before).next_back(), end) {
            (Some((&serial, Some(data))), end) => {
                Load::Found(Revision { data: data.clone(), serial, end })
            }
            (Some((&serial, None)), end) => Load::Deleted { serial, end },
            (None, Some(first)) => Load::Younger { first },
            (None, None) => return Err(StorageError::NoSuchObject(oid)),
        })
    }

    fn load_serial(&self, oid: Oid, serial: Tid, _: Patience) -> Result<Bytes, StorageError> {
        let missing = StorageError::NoSuchRevision(oid, serial);
        match self.state.read().objects.get(&oid).and_then(|revisions| revisions.get(&serial)) {
            Some(Some(data)) => Ok(data.clone()),
            Some(None) | None => Err(missing),
        }
    }

    fn current_serial(&self, oid: Oid, _: Patience) -> Result<Tid, StorageError> {
        self.state.read().current_serial(oid)
    }

    fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, StorageError> {
        let state = self.state.read();
        let newest_first = state.revisions(oid)?.iter().rev().take(size);
        Ok(newest_first.map(|(tid, data)| state.history_entry(*tid, data.as_ref())).collect())
    }

    fn next_record(&self, _from: Oid) -> Result<CurrentRecord, StorageError> {
        Err(StorageError::Unsupported("record_iternext"))
    }

    fn new_oids(&self, count: usize, _: Patience) -> Result<Vec<Oid>, StorageError> {
        let mut state = self.state.write();
        let first = state.max_oid.0 + 1;
        let oids: Vec<_> = (first..).take(count).map(Oid).collect();
        state.max_oid = oids.last().copied().unwrap_or(state.max_oid);
        Ok(oids)
    }

    fn undo_log(
        &self,
        _visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        Err(StorageError::Unsupported("undoLog"))
    }

    fn iterate(
        &self,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Box<dyn TransactionIterator>, StorageError> {
        let (start, stop) = (start.unwrap_or(Tid::ZERO), stop.unwrap_or(Tid(u64::MAX)));
        let snapshot =
            if start <= stop { self.state.read().snapshot(start, stop) } else { Vec::new() };
        Ok(Box::new(MappingTransactions { rest: snapshot.into_iter(), records: Vec::new() }))
    }

    fn begin_vote<'a>(
        &'a self,
        meta: &TransactionMeta,
        _: Patience,
    ) -> Result<Box<dyn Vote + 'a>, StorageError> {
        Ok(Box::new(MappingVote { storage: self, checked: Checked::new(meta.clone()) }))
    }

    fn commit(&self, group: Vec<Finishing>) -> Result<Vec<Committed>, StorageError> {
        let mut state = self.state.write();
        let committed = group.into_iter().map(|Finishing { tid, voted }| {
            let checked = voted.0.downcast::<Checked>().expect("only our own votes are committed");
            state.apply(tid, *checked);
            Committed { tid, info: state.info() }
        });
        Ok(committed.collect())
    }

    fn pack(&self, time: UnixTime) -> Result<Option<Box<dyn PreparedPack>>, StorageError> {
        let stop = Tid::from_unix(time);
        let state = self.state.read();
        if state.objects.is_empty() || state.last_pack == Some(stop) {
            return Ok(None);
        }
        if state.last_pack > Some(stop) {
            return Err(StorageError::Pack("Already packed to a later time".into()));
        }
        let (state, collects) = (Arc::clone(&self.state), self.collects);
        Ok(Some(Box::new(MappingPack { state, stop, collects })))
    }

    fn close(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// An object's records by tid; `None` is a deletion. Never empty.
type Revisions = BTreeMap<Tid, Option<Bytes>>;

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Oid, Revisions>,
    transactions: BTreeMap<Tid, Transaction>,
    last_tid: Tid,
    max_oid: Oid,
    last_pack: Option<Tid>,
    /// Bytes as Python counts them, without [`OBJECT_BYTES`] for each object.
    revision_bytes: u64,
}

#[derive(Debug)]
struct Transaction {
    meta: TransactionMeta,
    packed: bool,
    /// Oids of its records that no pack removed, in the order in which they were first stored.
    oids: Vec<Oid>,
}

impl State {
    fn info(&self) -> Info {
        let length = self.objects.len() as u64;
        Info { length, size: length * OBJECT_BYTES + self.revision_bytes }
    }

    fn revisions(&self, oid: Oid) -> Result<&Revisions, StorageError> {
        self.objects.get(&oid).ok_or(StorageError::NoSuchObject(oid))
    }

    /// Tid and record of the newest revision, which may be a deletion.
    fn newest(&self, oid: Oid) -> Option<(Tid, Option<&Bytes>)> {
        let (tid, data) = self.objects.get(&oid)?.last_key_value()?;
        Some((*tid, data.as_ref()))
    }

    fn current_serial(&self, oid: Oid) -> Result<Tid, StorageError> {
        match self.newest(oid) {
            Some((tid, Some(_))) => Ok(tid),
            Some((_, None)) | None => Err(StorageError::NoSuchObject(oid)),
        }
    }

    fn history_entry(&self, tid: Tid, data: Option<&Bytes>) -> HistoryEntry {
        let meta = &self.transactions[&tid].meta;
        HistoryEntry {
            tid,
            shape: HistoryShape::MappingStorage,
            user: meta.user.clone(),
            description: meta.description.clone(),
            extension: meta.extension.clone(),
            size: data.map_or(0, |data| data.len() as u64),
        }
    }

    fn snapshot(&self, start: Tid, stop: Tid) -> Vec<(TransactionHeader, Vec<Record>)> {
        let range = self.transactions.range(start..=stop);
        range.map(|(tid, transaction)| self.transaction(*tid, transaction)).collect()
    }

    fn transaction(&self, tid: Tid, transaction: &Transaction) -> (TransactionHeader, Vec<Record>) {
        let TransactionMeta { user, description, extension, .. } = transaction.meta.clone();
        let status = if transaction.packed { b'p' } else { b' ' };
        let header = TransactionHeader { tid, status, user, description, extension, size: 0 };
        let record =
            |&oid| Record { oid, tid, data: self.objects[&oid][&tid].clone(), data_txn: None };
        (header, transaction.oids.iter().map(record).collect())
    }

    fn apply(&mut self, tid: Tid, checked: Checked) {
        for oid in &checked.oids {
            let data = &checked.records[oid];
            self.revision_bytes += revision_bytes(data.as_ref());
            // A slice of the receive buffer would keep the whole buffer alive.
            let copy = data.as_deref().map(Bytes::copy_from_slice);
            self.objects.entry(*oid).or_default().insert(tid, copy);
        }
        let Checked { meta, oids, .. } = checked;
        self.transactions.insert(tid, Transaction { meta, packed: false, oids });
        self.last_tid = tid;
    }

    /// Removes revisions that were replaced by `stop`, then, with `collects`, objects that no
    /// revision of an object reachable from the root refers to. Makes all decisions before the
    /// first change.
    fn pack(&mut self, stop: Tid, collects: bool) -> Result<(), StorageError> {
        let replaced = self.replaced_by(stop);
        let reachable = if collects { Some(self.reachable(&replaced)?) } else { None };
        let mut obsolete: BTreeMap<Tid, BTreeSet<Oid>> = BTreeMap::new();
        for (oid, revisions) in &self.objects {
            let kept = reachable.as_ref().is_none_or(|reachable| reachable.contains(oid));
            for tid in revisions.keys().filter(|tid| !kept || replaced.contains(&(*oid, **tid))) {
                obsolete.entry(*tid).or_default().insert(*oid);
            }
        }
        for (tid, oids) in obsolete {
            self.remove(tid, &oids);
        }
        self.last_pack = Some(stop);
        Ok(())
    }

    fn replaced_by(&self, stop: Tid) -> BTreeSet<(Oid, Tid)> {
        let mut replaced = BTreeSet::new();
        for (oid, revisions) in &self.objects {
            let mut old = revisions.range(..=stop).rev();
            // The revision that was current at `stop` stays, unless it is a deletion that is still
            // current.
            let newest = revisions.keys().next_back();
            let current = old.next().filter(|(tid, data)| data.is_none() && Some(*tid) == newest);
            replaced.extend(current.map(|(tid, _)| (*oid, *tid)));
            replaced.extend(old.map(|(tid, _)| (*oid, *tid)));
        }
        replaced
    }

    fn reachable(&self, replaced: &BTreeSet<(Oid, Tid)>) -> Result<BTreeSet<Oid>, StorageError> {
        if !self.objects.contains_key(&Oid::ROOT) {
            return Err(StorageError::Pack("the root object is missing".into()));
        }
        let mut reachable = BTreeSet::from([Oid::ROOT]);
        let mut queue = vec![Oid::ROOT];
        while let Some(oid) = queue.pop() {
            for (tid, data) in self.objects.get(&oid).into_iter().flatten() {
                let Some(data) = data.as_ref().filter(|_| !replaced.contains(&(oid, *tid))) else {
                    continue;
                };
                let found = references(data)
                    .map_err(|error| StorageError::Pack(format!("object {oid}: {error}")))?;
                queue.extend(found.into_iter().filter(|oid| reachable.insert(*oid)));
            }
        }
        Ok(reachable)
    }

    /// Removes these records from a transaction, and the transaction when none is left.
    fn remove(&mut self, tid: Tid, oids: &BTreeSet<Oid>) {
        for oid in oids {
            let revisions =
                self.objects.get_mut(oid).expect("the object of a revision to remove exists");
            let data = revisions.remove(&tid).expect("a revision is removed once");
            self.revision_bytes -= revision_bytes(data.as_ref());
            if revisions.is_empty() {
                self.objects.remove(oid);
            }
        }
        let transaction = self.transactions.get_mut(&tid).expect("its revisions were still there");
        transaction.packed = true;
        transaction.oids.retain(|oid| !oids.contains(oid));
        if transaction.oids.is_empty() {
            self.transactions.remove(&tid);
        }
    }
}

fn revision_bytes(data: Option<&Bytes>) -> u64 {
    REVISION_BYTES + data.map_or(0, |data| data.len() as u64)
}

/// A transaction whose operations passed their checks so far.
#[derive(Debug)]
struct Checked {
    meta: TransactionMeta,
    oids: Vec<Oid>,
    records: BTreeMap<Oid, Option<Bytes>>,
}

impl Checked {
    const fn new(meta: TransactionMeta) -> Self {
        Self { meta, oids: Vec::new(), records: BTreeMap::new() }
    }

    /// A later record of the same object replaces the earlier one.
    fn put(&mut self, oid: Oid, data: Option<Bytes>) {
        if self.records.insert(oid, data).is_none() {
            self.oids.push(oid);
        }
    }
}

struct MappingVote<'a> {
    storage: &'a MappingStorage,
    checked: Checked,
}

impl Vote for MappingVote<'_> {
    fn store(&mut self, oid: Oid, read: Tid, data: RecordData) -> Result<(), StorageError> {
        let data = data.bytes(Patience::Wait)?;
        let mut state = self.storage.state.write();
        state.max_oid = state.max_oid.max(oid);
        match state.newest(oid) {
            Some((committed, _)) if committed != read => {
                return Err(StorageError::Conflict { oid, committed, read });
            }
            Some(_) | None => {}
        }
        drop(state);
        self.checked.put(oid, Some(data));
        Ok(())
    }

    fn delete(&mut self, oid: Oid, read: Tid) -> Result<(), StorageError> {
        match self.storage.state.read().newest(oid) {
            Some((committed, _)) if committed != read => {
                return Err(StorageError::Conflict { oid, committed, read });
            }
            Some(_) => {}
            None => return Err(StorageError::NoSuchObject(oid)),
        }
        self.checked.put(oid, None);
        Ok(())
    }

    fn check_current(&mut self, oid: Oid, read: Tid) -> Result<(), StorageError> {
        let committed = self.storage.state.read().current_serial(oid)?;
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

    fn undo(&mut self, _tid: Tid) -> Result<Vec<Oid>, StorageError> {
        Err(StorageError::Unsupported("undo"))
    }

    fn seal(self: Box<Self>) -> Result<Voted, StorageError> {
        Ok(Voted(Box::new(self.checked)))
    }
}

struct MappingPack {
    state: Arc<RwLock<State>>,
    stop: Tid,
    collects: bool,
}

impl PreparedPack for MappingPack {
    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        self.state.write().pack(self.stop, self.collects)
    }
}

/// Iterates over the transactions that exist when it is created. Records share their bytes with the
/// storage.
struct MappingTransactions {
    rest: std::vec::IntoIter<(TransactionHeader, Vec<Record>)>,
    records: Vec<Record>,
}

impl TransactionIterator for MappingTransactions {
    fn next_transaction(&mut self) -> Result<Option<TransactionHeader>, StorageError> {
        let Some((header, records)) = self.rest.next() else {
            return Ok(None);
        };
        self.records = records;
        Ok(Some(header))
    }

    fn records(&self) -> Result<Box<dyn RecordIterator>, StorageError> {
        Ok(Box::new(Records(self.records.clone().into_iter())))
    }
}

struct Records(std::vec::IntoIter<Record>);

impl RecordIterator for Records {
    fn next_record(&mut self) -> Result<Option<Record>, StorageError> {
        Ok(self.0.next())
    }
}

#[cfg(test)]
mod tests;
