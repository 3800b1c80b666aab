//! The objects of a database at one tid, with the changes of one transaction.
//!
//! ```text
//!   driver ── add_record ──► stored records ──► states, as Rust types ──► operations
//!      ▲                                             │ changed states
//!      └──── oids that are lacking ◄─────────────────┤
//!      └──── Changes: stores, checks ◄── changes ◄───┘
//! ```
//!
//! An operation runs on the records at hand. If it needs one that is not there, it ends with
//! [`Error::NotLoaded`]; the driver loads what [`Snapshot::take_lacking`] names and runs the operation
//! again. In between, what the operation had changed is undone, because it runs in
//! [`Snapshot::attempt`].
//!
//! A record that no operation changes is never written, and a new object is stored only if a stored
//! object refers to it. Oids are given to new objects when the changes are collected, in the order in
//! which Python gives them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;

use bytes::Bytes;
use rzeo_core::record::class_of;
use rzeo_core::{Oid, Tid};

use crate::changes::{Changes, CurrentCheck, Store};
use crate::class::Class;
use crate::error::{Error, StateError, WriteError};
use crate::graph::Graph;
use crate::reference::{ObjectId, Reference};
use crate::state::{AnyState, ObjectState};
use crate::state_writer::{OidSource, StateWriter};
use crate::value::{PyValue, View};

/// A state and its class.
#[derive(Clone, Debug)]
struct Object {
    /// The revision that was read; zero for a new object.
    serial: Tid,
    class: Class,
    /// The class as its record has it.
    class_form: PyValue,
    state: Arc<dyn AnyState>,
    /// The state as it was read, of which `state` is one view; `None` once it has changed.
    source: Option<PyValue>,
}

/// A record at hand.
#[derive(Debug)]
struct StoredRecord {
    serial: Tid,
    record: Bytes,
    /// The object as it was first used.
    object: Option<Object>,
}

/// What an operation has changed, to undo it.
#[derive(Debug, Default)]
struct UndoLog {
    /// Changed states as they were before; `None` for objects that were not changed.
    before: BTreeMap<ObjectId, Option<Object>>,
    changed: usize,
    new: u32,
    checked: usize,
}

/// The objects of a database at one tid, and what a transaction changes in them.
#[derive(Debug)]
pub struct Snapshot {
    tid: Tid,
    stored: BTreeMap<Oid, StoredRecord>,
    absent: BTreeSet<Oid>,
    /// States that differ from the stored ones, and those of new objects.
    changed: BTreeMap<ObjectId, Object>,
    /// Stored objects in the order of their first change.
    change_order: Vec<Oid>,
    new: u32,
    /// Objects that must be current at the commit, in the order in which that was asked.
    checked: Vec<CurrentCheck>,
    checked_oids: BTreeSet<Oid>,
    undo: UndoLog,
    /// Objects whose records operations needed and did not find.
    lacking: BTreeSet<Oid>,
}

impl Snapshot {
    /// A snapshot of everything that was committed up to and including `tid`, without any records.
    #[must_use]
    pub fn new(tid: Tid) -> Self {
        Self {
            tid,
            stored: BTreeMap::new(),
            absent: BTreeSet::new(),
            changed: BTreeMap::new(),
            change_order: Vec::new(),
            new: 0,
            checked: Vec::new(),
            checked_oids: BTreeSet::new(),
            undo: UndoLog::default(),
            lacking: BTreeSet::new(),
        }
    }

    /// The last transaction that the snapshot sees. Records are loaded before `tid().next()`.
    #[must_use]
    pub const fn tid(&self) -> Tid {
        self.tid
    }

    /// Adds a record that was loaded, with the revision that it is.
    pub fn add_record(&mut self, oid: Oid, serial: Tid, record: Bytes) {
        self.stored.insert(oid, StoredRecord { serial, record, object: None });
    }

    /// Notes that the storage has no record of an object.
    pub fn add_absent(&mut self, oid: Oid) {
        self.absent.insert(oid);
    }

    /// The objects whose records are at hand, and those that the storage is known not to have.
    pub fn oids(&self) -> impl Iterator<Item = Oid> {
        self.stored.keys().chain(&self.absent).copied()
    }

    /// Notes that operations will need the records of these objects, so that the driver can load them
    /// together. Returns whether all of them are here.
    pub fn want(&mut self, oids: impl IntoIterator<Item = Oid>) -> bool {
        let is_here = |oid: &Oid| self.stored.contains_key(oid) || self.absent.contains(oid);
        let lacking: Vec<Oid> = oids.into_iter().filter(|oid| !is_here(oid)).collect();
        let all_here = lacking.is_empty();
        self.lacking.extend(lacking);
        all_here
    }

    /// The objects whose records were needed and not found since the last call, for the driver to
    /// load.
    pub fn take_lacking(&mut self) -> Vec<Oid> {
        core::mem::take(&mut self.lacking).into_iter().collect()
    }

    /// Moves the snapshot to a later tid, without its changes. `invalidated` are all objects that
    /// transactions after [`tid`](Self::tid) have changed, an own one included; the records of others
    /// are kept.
    pub fn advance(&mut self, tid: Tid, invalidated: impl IntoIterator<Item = Oid>) {
        let unchanged = Self {
            stored: core::mem::take(&mut self.stored),
            absent: core::mem::take(&mut self.absent),
            ..Self::new(tid)
        };
        *self = unchanged;
        for oid in invalidated {
            self.stored.remove(&oid);
            self.absent.remove(&oid);
        }
    }

    /// Drops the records for which `is_dropped` returns true, to bound the memory of a snapshot that
    /// lives long. They are loaded again when an operation needs them. Changed objects stay.
    pub fn drop_records(&mut self, mut is_dropped: impl FnMut(Oid) -> bool) {
        let changed = &self.changed;
        self.stored.retain(|oid, _| changed.contains_key(&(*oid).into()) || !is_dropped(*oid));
    }

    /// The class of an object.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), except [`Error::State`].
    pub fn class(&mut self, id: impl Into<ObjectId>) -> Result<Class, Error> {
        self.object(id.into()).map(|object| object.class.clone())
    }

    /// A reference to an object, as a value for the state of another one.
    ///
    /// # Errors
    /// Those of [`class`](Self::class).
    pub fn reference(&mut self, id: impl Into<ObjectId>) -> Result<PyValue, Error> {
        let id = id.into();
        let object = self.object(id)?;
        // Python leaves the class to the record if creating an instance takes arguments.
        let class = matches!(object.class_form.view(), View::Class(_));
        let class = class.then(|| object.class.clone());
        Ok(Reference::Strong { id, class }.into())
    }

    /// The revision of an object that was read; zero for a new object.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], [`Error::NoSuchObject`].
    pub fn serial(&mut self, id: impl Into<ObjectId>) -> Result<Tid, Error> {
        let id = id.into();
        if let Some(object) = self.changed.get(&id) {
            return Ok(object.serial);
        }
        let oid = id.oid().ok_or(Error::UnknownNew(id))?;
        match self.stored.get(&oid).map(|stored| stored.serial) {
            Some(serial) => Ok(serial),
            None => Err(self.lacks(oid)),
        }
    }

    /// The state of an object.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], [`Error::NoSuchObject`], [`Error::Unreadable`], [`Error::State`].
    pub fn read<T: ObjectState>(&mut self, id: impl Into<ObjectId>) -> Result<Arc<T>, Error> {
        let id = id.into();
        let object = self.object(id)?;
        let state = object.state.clone().into_any();
        let state = match state.downcast::<T>() {
            Ok(state) => return Ok(state),
            Err(state) => state,
        };
        let value = match state.downcast::<PyValue>() {
            Ok(value) => Some((*value).clone()),
            Err(_) => object.source.clone(),
        };
        let failed = |error| Error::State { id, class: object.class.clone(), error };
        let changed = StateError::ChangedAs { expected: core::any::type_name::<T>() };
        let value = value.ok_or_else(|| failed(changed))?;
        let state = T::read(&object.class, &value).map(Arc::new).map_err(failed)?;
        object.state = state.clone();
        Ok(state)
    }

    /// Replaces the state of an object, which is stored at the commit.
    ///
    /// # Errors
    /// Those of [`class`](Self::class): the object must have been read.
    pub fn write<T: ObjectState>(
        &mut self,
        id: impl Into<ObjectId>,
        state: impl Into<Arc<T>>,
    ) -> Result<(), Error> {
        let id = id.into();
        self.object(id)?;
        self.change(id).state = state.into();
        Ok(())
    }

    /// Changes the state of an object in place, which is stored at the commit.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn modify<T: ObjectState, R>(
        &mut self,
        id: impl Into<ObjectId>,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Error> {
        let id = id.into();
        let mut state = self.read::<T>(id)?;
        let object = self.change(id);
        // The only reference to a state that was changed before in this operation is this one, so it
        // is not copied.
        object.state = Arc::new(PyValue::NONE);
        let result = change(Arc::make_mut(&mut state));
        object.state = state;
        Ok(result)
    }

    /// Creates an object. It is stored if, at the commit, a stored object refers to it.
    pub fn create<T: ObjectState>(&mut self, class: &Class, state: impl Into<Arc<T>>) -> ObjectId {
        let id = ObjectId::New(self.new);
        self.new += 1;
        self.changed.insert(id, Object::new(class, state.into()));
        id
    }

    /// Creates an object with an oid, which must be unused. It is stored even if nothing refers to it,
    /// as the root object of a new database is.
    pub fn add<T: ObjectState>(&mut self, oid: Oid, class: &Class, state: impl Into<Arc<T>>) {
        let id = ObjectId::Stored(oid);
        self.undo.before.entry(id).or_insert(None);
        self.change_order.push(oid);
        self.changed.insert(id, Object::new(class, state.into()));
    }

    /// Makes the commit fail if another transaction has changed the object since it was read
    /// (`readCurrent` in Python). A new object needs no check.
    ///
    /// # Errors
    /// Those of [`serial`](Self::serial).
    pub fn check_current(&mut self, id: impl Into<ObjectId>) -> Result<(), Error> {
        let id = id.into();
        let serial = self.serial(id)?;
        if let ObjectId::Stored(oid) = id
            && self.checked_oids.insert(oid)
        {
            self.checked.push(CurrentCheck { oid, serial });
        }
        Ok(())
    }

    /// Whether the commit would store the object.
    #[must_use]
    pub fn is_changed(&self, id: impl Into<ObjectId>) -> bool {
        self.changed.contains_key(&id.into())
    }

    /// Whether a commit would store anything. Without that there is nothing to commit, even if objects
    /// must be current: all reads were of one tid.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.change_order.is_empty()
    }

    /// Runs an operation whose changes are undone if it fails.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn attempt<R, E>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> Result<R, E>,
    ) -> Result<R, E> {
        let log = UndoLog {
            before: BTreeMap::new(),
            changed: self.change_order.len(),
            new: self.new,
            checked: self.checked.len(),
        };
        let outer = core::mem::replace(&mut self.undo, log);
        let result = operation(self);
        let log = core::mem::replace(&mut self.undo, outer);
        if result.is_ok() {
            // What the surrounding operation has to restore is what was there before both.
            for (id, object) in log.before {
                self.undo.before.entry(id).or_insert(object);
            }
        } else {
            self.undo(log);
        }
        result
    }

    /// Number of oids that [`changes`](Self::changes) needs at most.
    #[must_use]
    pub fn new_objects(&self) -> usize {
        self.changed.keys().filter(|id| id.oid().is_none()).count()
    }

    /// Collects the changes for a commit. `oids` are unused oids for the new objects.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn changes(&self, oids: &[Oid]) -> Result<Changes, Error> {
        let mut collector =
            Collector { snapshot: self, oids, given: BTreeMap::new(), found: vec![] };
        let mut stores = Vec::new();
        for oid in &self.change_order {
            // New objects are stored after the object that first refers to them, the last one first.
            collector.found.push(ObjectId::Stored(*oid));
            while let Some(id) = collector.found.pop() {
                stores.push(collector.store(id)?);
            }
        }
        let unchanged = |check: &&CurrentCheck| !self.is_changed(check.oid);
        let checks = self.checked.iter().filter(unchanged).copied().collect();
        Ok(Changes { stores, checks, new_oids: collector.given })
    }

    fn object(&mut self, id: ObjectId) -> Result<&mut Object, Error> {
        // Objects are looked up twice, because the borrow checker does not see that the first borrow
        // ends.
        if self.changed.contains_key(&id) {
            return Ok(self.changed.get_mut(&id).expect("the key is there"));
        }
        let oid = id.oid().ok_or(Error::UnknownNew(id))?;
        if !self.stored.contains_key(&oid) {
            return Err(self.lacks(oid));
        }
        let stored = self.stored.get_mut(&oid).expect("the key is there");
        match &mut stored.object {
            Some(object) => Ok(object),
            unread => Ok(unread.insert(Object::read(oid, stored.serial, &stored.record)?)),
        }
    }

    fn lacks(&mut self, oid: Oid) -> Error {
        if self.absent.contains(&oid) {
            return Error::NoSuchObject(oid);
        }
        self.lacking.insert(oid);
        Error::NotLoaded(oid)
    }

    /// The object to be changed, which was read before.
    fn change(&mut self, id: ObjectId) -> &mut Object {
        let before = self.changed.get(&id);
        self.undo.before.entry(id).or_insert_with(|| before.cloned());
        self.changed.entry(id).or_insert_with(|| {
            let oid = id.oid().expect("new objects have changed when they are created");
            self.change_order.push(oid);
            let object = self.stored.get(&oid).and_then(|stored| stored.object.clone());
            let object = object.expect("an object is read before it is changed");
            Object { source: None, ..object }
        })
    }

    fn undo(&mut self, log: UndoLog) {
        for (id, object) in log.before {
            match object {
                Some(object) => self.changed.insert(id, object),
                None => self.changed.remove(&id),
            };
        }
        self.changed.retain(|id, _| !matches!(id, ObjectId::New(number) if *number >= log.new));
        self.change_order.truncate(log.changed);
        for check in self.checked.drain(log.checked..) {
            self.checked_oids.remove(&check.oid);
        }
        self.new = log.new;
    }
}

impl Object {
    fn new<T: ObjectState>(class: &Class, state: Arc<T>) -> Self {
        let class_form = class.clone().into();
        Self { serial: Tid::ZERO, class: class.clone(), class_form, state, source: None }
    }

    fn read(oid: Oid, serial: Tid, record: &Bytes) -> Result<Self, Error> {
        let unreadable = |error| Error::Unreadable { oid, error };
        let (graph, parts) = Graph::read(record).map_err(unreadable)?;
        let names = class_of(&graph.arena, parts.class);
        let class = names.and_then(|(module, name)| Class::read(module, name));
        let class = class.ok_or(Error::NoClass(oid))?;
        let graph = Arc::new(graph);
        let class_form = PyValue::node(&graph, parts.class);
        let class_form = match class_form.as_tuple().as_deref() {
            // An old form for what is written as the class alone now.
            Some([class, args]) if args.is_none() && matches!(class.view(), View::Class(_)) => {
                class.clone()
            }
            _ => class_form,
        };
        let state = PyValue::node(&graph, parts.state);
        let source = Some(state.clone());
        Ok(Self { serial, class, class_form, state: Arc::new(state), source })
    }
}

/// Collects stores, and gives oids to new objects as references to them are written.
struct Collector<'a> {
    snapshot: &'a Snapshot,
    oids: &'a [Oid],
    given: BTreeMap<ObjectId, Oid>,
    /// Objects that have to be stored.
    found: Vec<ObjectId>,
}

impl Collector<'_> {
    fn store(&mut self, id: ObjectId) -> Result<Store, Error> {
        let object = &self.snapshot.changed[&id];
        let written =
            StateWriter::record(&object.class_form, self, |writer| object.state.write(writer));
        let record = written.map_err(|error| Error::Write { id, error })?;
        let oid = id.oid().unwrap_or_else(|| self.given[&id]);
        Ok(Store { oid, serial: object.serial, record })
    }
}

impl OidSource for Collector<'_> {
    fn oid(&mut self, id: ObjectId) -> Result<Oid, WriteError> {
        if let Some(oid) = id.oid().or_else(|| self.given.get(&id).copied()) {
            return Ok(oid);
        }
        if !self.snapshot.changed.contains_key(&id) {
            return Err(WriteError::UnknownNew(id));
        }
        let given = self.oids.len();
        let oid = *self.oids.get(self.given.len()).ok_or(WriteError::NoOids { given })?;
        self.given.insert(id, oid);
        self.found.push(id);
        Ok(oid)
    }

    fn without_oid(&self, id: ObjectId) -> Option<Arc<dyn Any + Send + Sync>> {
        let is_without = id.oid().is_none() && !self.given.contains_key(&id);
        let object = self.snapshot.changed.get(&id).filter(|_| is_without)?;
        Some(object.state.clone().into_any())
    }
}
