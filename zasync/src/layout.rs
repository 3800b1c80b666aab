//! Where the objects of queues are in a database.
//!
//! ```text
//! root['zasync']            PersistentMapping
//!   format: 1
//!   queues: OOBTree         name -> queue
//! queue                     PersistentMapping
//!   inbox: OOBTree          number -> shard
//!   workers: OOBTree        id -> worker
//!   unique: OOBTree         text -> job
//!   ctl: PersistentMapping  paused: set by the people who operate the queue
//! shard                     PersistentMapping
//!   ready: LOBTree          key -> job, whatever can be taken
//!   later: LOBTree          key -> job, what begins later, by its time
//!   parked: LOBTree         key -> job, what waits for something else than time
//!   done, failed: LOBTree   key -> job, what has ended, by its time
//! worker                    PersistentMapping
//!   id, state, accept, started, ...
//!   want: PersistentMapping slots: set by the people who operate the queue
//!   ping: PersistentMapping n, time, ...: written with every beat
//!   active: LOBTree         oid -> job
//! ```
//!
//! All classes are those of `persistent` and `BTrees`, so every Python application can enqueue, read
//! and cancel jobs without another package. The shards keep programs that enqueue at the same time from
//! conflicting: each program uses one of them until it conflicts, and then another one. A program with
//! long transactions adds a shard of its own.
//!
//! Opening a queue reads the objects above its shards. An object that is not as above is a
//! [`LayoutError`] with the path from `root['zasync']`, such as `queues/default/inbox[3]/ready`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::btree::{BTree, Family};
use rzeo_objects::{ObjectId, PersistentMapping, PyValue, Snapshot};

use crate::entry_key;
use crate::error::{Error, LayoutError, Refusal, at};
use crate::fields::Fields;
use crate::tree::NamedTree;

/// Version of the layout that this crate reads and writes.
pub const FORMAT: i64 = 1;

/// Number of shards of a new queue.
pub const SHARDS: i64 = 32;

/// Name of the item of the root object.
const ROOT_KEY: &str = "zasync";

/// Which tree of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardTree {
    /// Jobs that can be taken.
    Ready,
    /// Jobs that begin later.
    Later,
    /// Jobs that wait for something else than time.
    Parked,
    /// Jobs that have a result.
    Done,
    /// Jobs that have ended in another way.
    Failed,
}

/// The place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the shard.
    pub shard: i64,
    /// Tree of the shard.
    pub tree: ShardTree,
    /// Key in the tree.
    pub key: i64,
}

impl Place {
    /// The time of the key: when the job was due, begins, or has ended.
    #[must_use]
    pub fn time(&self) -> UnixTime {
        entry_key::time(self.key)
    }
}

/// A queue of the snapshot.
#[derive(Clone, Debug)]
pub struct Queue {
    name: String,
    inbox: NamedTree,
    pub(crate) workers: NamedTree,
    pub(crate) unique: NamedTree,
    ctl: ObjectId,
}

impl ShardTree {
    /// All trees, those of jobs that have not ended first.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Later, Self::Parked, Self::Done, Self::Failed];

    const fn key(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Later => "later",
            Self::Parked => "parked",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Creates `root['zasync']`, without queues.
///
/// # Errors
/// [`Refusal::AlreadyCreated`].
pub fn create(snapshot: &mut Snapshot) -> Result<(), Error> {
    if snapshot.read::<PersistentMapping>(Oid::ROOT)?.get(ROOT_KEY).is_some() {
        return Err(Refusal::AlreadyCreated.into());
    }
    let queues = BTree::create(snapshot, Family::OO);
    let zasync = [("format", FORMAT.into()), ("queues", queues.reference())];
    let zasync = create_mapping(snapshot, zasync);
    snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| root.insert(ROOT_KEY, zasync))?;
    Ok(())
}

/// Creates a queue with [`SHARDS`] shards.
///
/// # Errors
/// [`Refusal::QueueExists`], [`LayoutError`].
pub fn create_queue(snapshot: &mut Snapshot, name: &str) -> Result<(), Error> {
    snapshot.attempt(|snapshot| {
        let queues = queues(snapshot)?;
        if queues.get(snapshot, name)?.is_some() {
            return Err(Refusal::QueueExists(name.to_string()).into());
        }
        let inbox = BTree::create(snapshot, Family::OO);
        for number in 0..SHARDS {
            let shard = create_shard(snapshot);
            inbox.insert(snapshot, number, shard)?;
        }
        let workers = BTree::create(snapshot, Family::OO);
        let unique = BTree::create(snapshot, Family::OO);
        let ctl = create_mapping(snapshot, []);
        let queue = [
            ("inbox", inbox.reference()),
            ("workers", workers.reference()),
            ("unique", unique.reference()),
            ("ctl", ctl),
        ];
        let queue = create_mapping(snapshot, queue);
        queues.set(snapshot, name, queue)?;
        Ok(())
    })
}

/// Names of all queues, in ascending order.
///
/// # Errors
/// [`LayoutError`].
pub fn queue_names(snapshot: &mut Snapshot) -> Result<Vec<String>, Error> {
    let queues = queues(snapshot)?;
    let (mut names, mut entries) = (Vec::new(), queues.entries(..)?);
    while let Some((name, _)) = entries.next(snapshot)? {
        let text = name.as_text().map(ToString::to_string);
        let malformed = || LayoutError::malformed("queues".into(), &name, "a text as name");
        names.push(text.ok_or_else(malformed)?);
    }
    Ok(names)
}

fn queues(snapshot: &mut Snapshot) -> Result<NamedTree, Error> {
    let root = snapshot.read::<PersistentMapping>(Oid::ROOT)?;
    let zasync = root.get(ROOT_KEY).ok_or(LayoutError::Absent)?;
    let Some(id) = zasync.as_object() else {
        let expected = "a reference to a PersistentMapping";
        return Err(LayoutError::malformed("root['zasync']".into(), zasync, expected).into());
    };
    // The path is empty for what is below, and the object itself has its name in Python.
    snapshot.read::<PersistentMapping>(id).map_err(|error| at("root['zasync']", error))?;
    let zasync = Fields::read(snapshot, id, String::new())?;
    let format = zasync.need("format", zasync.int("format")?)?;
    if format != FORMAT {
        return Err(LayoutError::Format { found: format, supported: FORMAT }.into());
    }
    tree_below(snapshot, &zasync, "queues", Family::OO)
}

impl Queue {
    /// Opens a queue.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn open(snapshot: &mut Snapshot, name: &str) -> Result<Self, Error> {
        let queues = queues(snapshot)?;
        let queue = queues.object(snapshot, &name.into())?;
        let queue = queue.ok_or_else(|| LayoutError::NoQueue(name.to_string()))?;
        let queue = Fields::read(snapshot, queue, format!("queues/{name}"))?;
        Ok(Self {
            name: name.to_string(),
            inbox: tree_below(snapshot, &queue, "inbox", Family::OO)?,
            workers: tree_below(snapshot, &queue, "workers", Family::OO)?,
            unique: tree_below(snapshot, &queue, "unique", Family::OO)?,
            ctl: queue.need("ctl", queue.object("ctl")?)?,
        })
    }

    /// The name that the queue was opened with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Numbers of the shards, in ascending order.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn shards(&self, snapshot: &mut Snapshot) -> Result<Vec<i64>, Error> {
        let (mut shards, mut entries) = (Vec::new(), self.inbox.entries(..)?);
        while let Some((number, _)) = entries.next(snapshot)? {
            let malformed = || {
                let path = format!("queues/{}/inbox", self.name);
                LayoutError::malformed(path, &number, "an integer of 64 bits as number")
            };
            shards.push(number.as_int().ok_or_else(malformed)?);
        }
        Ok(shards)
    }

    /// The jobs of a tree, in the order of its keys. Entries that refer to nothing are left out.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn jobs(
        &self,
        snapshot: &mut Snapshot,
        shard: i64,
        tree: ShardTree,
    ) -> Result<Vec<Oid>, Error> {
        let tree = self.tree(snapshot, shard, tree)?;
        let (mut jobs, mut entries) = (Vec::new(), tree.entries(..)?);
        while let Some((_, value)) = entries.next(snapshot)? {
            jobs.extend(value.as_object().and_then(ObjectId::oid));
        }
        Ok(jobs)
    }

    /// Adds a shard, for a program whose transactions take long: what others enqueue meanwhile is in
    /// other shards.
    ///
    /// # Errors
    /// [`Refusal::ShardExists`], [`LayoutError`].
    pub fn add_shard(&self, snapshot: &mut Snapshot, number: i64) -> Result<(), Error> {
        if self.inbox.get(snapshot, number)?.is_some() {
            return Err(Refusal::ShardExists(number).into());
        }
        let shard = create_shard(snapshot);
        self.inbox.set(snapshot, number, shard)?;
        Ok(())
    }

    /// Removes a shard that a program has added and that has no entries. A program that enqueues a job
    /// there at the same time conflicts: enqueueing checks the record of such a shard, which this writes.
    ///
    /// # Errors
    /// [`Refusal::FixedShard`], [`Refusal::ShardNotEmpty`], [`LayoutError`].
    pub fn remove_shard(&self, snapshot: &mut Snapshot, number: i64) -> Result<(), Error> {
        if is_fixed(number) {
            return Err(Refusal::FixedShard(number).into());
        }
        for tree in ShardTree::ALL {
            let tree = self.tree(snapshot, number, tree)?;
            if !tree.is_empty(snapshot)? {
                return Err(Refusal::ShardNotEmpty(number).into());
            }
            snapshot.check_current(tree.id())?;
        }
        let shard = self.shard(snapshot, number)?;
        snapshot.modify(shard, |shard: &mut PersistentMapping| shard.insert("removed", true))?;
        self.inbox.remove(snapshot, number)?;
        Ok(())
    }

    /// A tree of a shard, to add an entry. The commit fails if the shard is removed meanwhile.
    pub(crate) fn tree_to_add(
        &self,
        snapshot: &mut Snapshot,
        shard: i64,
        tree: ShardTree,
    ) -> Result<NamedTree, Error> {
        if !is_fixed(shard) {
            let object = self.shard(snapshot, shard)?;
            snapshot.check_current(object)?;
        }
        self.tree(snapshot, shard, tree)
    }

    /// A tree of a shard.
    pub(crate) fn tree(
        &self,
        snapshot: &mut Snapshot,
        shard: i64,
        tree: ShardTree,
    ) -> Result<NamedTree, Error> {
        let object = self.shard(snapshot, shard)?;
        let fields = Fields::read(snapshot, object, self.inbox.path_of(&shard.into()))?;
        tree_below(snapshot, &fields, tree.key(), Family::LO)
    }

    fn shard(&self, snapshot: &mut Snapshot, shard: i64) -> Result<ObjectId, Error> {
        let object = self.inbox.object(snapshot, &shard.into())?;
        let absent = || LayoutError::NoShard { queue: self.name.clone(), shard };
        Ok(object.ok_or_else(absent)?)
    }

    /// Fails if the queue is paused, and has the commit fail if it is paused meanwhile.
    pub(crate) fn check_not_paused(&self, snapshot: &mut Snapshot) -> Result<(), Error> {
        let ctl = Fields::read(snapshot, self.ctl, format!("queues/{}/ctl", self.name))?;
        if ctl.flag("paused") {
            return Err(Refusal::Paused.into());
        }
        Ok(snapshot.check_current(self.ctl)?)
    }
}

/// Whether a shard is one of those that every queue has. They are never removed.
const fn is_fixed(number: i64) -> bool {
    0 <= number && number < SHARDS
}

/// The tree that an item of a mapping refers to.
pub(crate) fn tree_below(
    snapshot: &mut Snapshot,
    fields: &Fields,
    key: &str,
    family: Family,
) -> Result<NamedTree, Error> {
    let id = fields.need(key, fields.object(key)?)?;
    NamedTree::open(snapshot, id, family, fields.path_of(key))
}

fn create_shard(snapshot: &mut Snapshot) -> PyValue {
    let trees =
        ShardTree::ALL.map(|tree| (tree.key(), BTree::create(snapshot, Family::LO).reference()));
    create_mapping(snapshot, trees)
}

/// Creates a mapping, and returns a reference to it.
pub(crate) fn create_mapping<const N: usize>(
    snapshot: &mut Snapshot,
    items: [(&'static str, PyValue); N],
) -> PyValue {
    let mut mapping = PersistentMapping::new();
    for (key, value) in items {
        mapping.push(PyValue::from(key), value);
    }
    let class = PersistentMapping::class();
    let id = snapshot.create(&class, mapping);
    PyValue::reference(id, &class)
}
