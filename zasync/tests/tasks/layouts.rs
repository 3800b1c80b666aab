//! Creating and opening queues, and damaged layouts.

use bytes::Bytes;
use rzeo_core::{Oid, Tid};
use rzeo_objects::btree::{BTree, Family};
use rzeo_objects::{Class, Instance, PersistentList, PersistentMapping, PyValue, Snapshot};
use rzeo_zasync::queue::{self, Enqueued};
use rzeo_zasync::{Error, LayoutError, NewJob, Queue, Refusal, layout};

use crate::database::Database;
use crate::tasks::{NOW, Tasks};

#[test]
fn a_queue_is_created_once() {
    let mut tasks = Tasks::new();
    assert_eq!(tasks.run(layout::create), Err(Refusal::AlreadyCreated.into()));
    let created = tasks.run(|snapshot| layout::create_queue(snapshot, "default"));
    assert_eq!(created, Err(Refusal::QueueExists("default".into()).into()));
    tasks.run(|snapshot| layout::create_queue(snapshot, "slow")).unwrap();
    assert_eq!(tasks.run(layout::queue_names).unwrap(), ["default", "slow"]);
    let shards = tasks.on_queue(|snapshot, queue| queue.shards(snapshot)).unwrap();
    assert_eq!(shards, (0..layout::SHARDS).collect::<Vec<_>>());
}

#[test]
fn a_database_without_queues_is_refused_with_the_reason() {
    let mut database = Database::new();
    let mut snapshot = Snapshot::new(database.tid);
    let (tid, root): (Tid, Bytes) = database.records.remove(&Oid::ROOT).unwrap();
    snapshot.add_record(Oid::ROOT, tid, root);
    let opened = Queue::open(&mut snapshot, "default").map(|_| ());
    assert_eq!(opened, Err(LayoutError::Absent.into()));
    let mut tasks = Tasks::new();
    let opened = tasks.run(|snapshot| Queue::open(snapshot, "other").map(|_| ()));
    assert_eq!(opened, Err(LayoutError::NoQueue("other".into()).into()));
}

#[test]
fn programs_add_shards_of_their_own_and_remove_them_when_they_are_empty() {
    let mut tasks = Tasks::new();
    tasks.on_queue(|snapshot, queue| queue.add_shard(snapshot, 900)).unwrap();
    let again = tasks.on_queue(|snapshot, queue| queue.add_shard(snapshot, 900));
    assert_eq!(again, Err(Refusal::ShardExists(900).into()));
    let enqueue = |snapshot: &mut Snapshot| {
        let queue = Queue::open(snapshot, "default")?;
        let placement = queue::Placement { queue: &queue, shard: 900, now: NOW, random: 1 };
        queue::enqueue(snapshot, &placement, &NewJob::new("1", "app:go"))
    };
    let (_, changes) = tasks.prepare(enqueue).unwrap();
    let remove =
        |snapshot: &mut Snapshot| Queue::open(snapshot, "default")?.remove_shard(snapshot, 900);
    let (_, removal) = tasks.prepare(remove).unwrap();
    tasks.run(remove).unwrap();
    assert!(!tasks.commit(&changes), "the job would be lost");
    tasks.on_queue(|snapshot, queue| queue.add_shard(snapshot, 900)).unwrap();
    tasks.run(enqueue).unwrap();
    assert!(!tasks.commit(&removal), "the shard is another one");
    let removed = tasks.on_queue(|snapshot, queue| queue.remove_shard(snapshot, 900));
    assert_eq!(removed, Err(Refusal::ShardNotEmpty(900).into()));
    let fixed = tasks.on_queue(|snapshot, queue| queue.remove_shard(snapshot, 31));
    assert_eq!(fixed, Err(Refusal::FixedShard(31).into()));
    let gone = tasks.on_queue(|snapshot, queue| queue.remove_shard(snapshot, 901));
    let shard = LayoutError::NoShard { queue: "default".into(), shard: 901 };
    assert_eq!(gone, Err(shard.into()));
}

/// Damages the layout, and returns the error of enqueueing in shard 3.
fn damaged(damage: impl Fn(&mut Snapshot, &Nodes) -> Result<(), rzeo_objects::Error>) -> String {
    let mut tasks = Tasks::new();
    tasks
        .run(|snapshot| {
            let nodes = Nodes::find(snapshot)?;
            Ok(damage(snapshot, &nodes)?)
        })
        .unwrap();
    let enqueued: Result<Enqueued, Error> = tasks.run(|snapshot| {
        let queue = Queue::open(snapshot, "default")?;
        let placement = queue::Placement { queue: &queue, shard: 3, now: NOW, random: 1 };
        queue::enqueue(snapshot, &placement, &NewJob::new("1", "app:go"))
    });
    match enqueued {
        Err(Error::Layout(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The objects of the layout.
struct Nodes {
    zasync: Oid,
    queues: BTree,
    queue: Oid,
    inbox: BTree,
    shard: Oid,
}

impl Nodes {
    fn find(snapshot: &mut Snapshot) -> Result<Self, rzeo_objects::Error> {
        let zasync = child(snapshot, Oid::ROOT, "zasync")?;
        let queues = child(snapshot, zasync, "queues")?;
        let queues = BTree::open(snapshot, queues)?;
        let queue = queues.get(snapshot, "default")?.unwrap();
        let queue = queue.as_object().unwrap().oid().unwrap();
        let inbox = child(snapshot, queue, "inbox")?;
        let inbox = BTree::open(snapshot, inbox)?;
        let shard = inbox.get(snapshot, 3)?.unwrap().as_object().unwrap().oid().unwrap();
        Ok(Self { zasync, queues, queue, inbox, shard })
    }
}

fn child(snapshot: &mut Snapshot, parent: Oid, key: &str) -> Result<Oid, rzeo_objects::Error> {
    let parent = snapshot.read::<PersistentMapping>(parent)?;
    Ok(parent.get(key).unwrap().as_object().unwrap().oid().unwrap())
}

/// Sets an item of a mapping.
fn set(
    snapshot: &mut Snapshot,
    object: Oid,
    key: &str,
    value: impl Into<PyValue>,
) -> Result<(), rzeo_objects::Error> {
    snapshot.modify(object, |record: &mut PersistentMapping| {
        record.insert(key, value);
    })
}

#[test]
fn a_wrong_layout_is_refused_with_the_path_of_what_is_wrong() {
    let dangling = || PyValue::reference(Oid(0x7777), &PersistentMapping::class());
    let message = damaged(|snapshot, nodes| set(snapshot, nodes.zasync, "format", 2));
    assert_eq!(message, "the queues have format 2; this program supports format 1");
    let message = damaged(|snapshot, nodes| set(snapshot, nodes.zasync, "format", "one"));
    assert_eq!(message, "format is \"one\", not an integer of 64 bits");
    let message = damaged(|snapshot, _| set(snapshot, Oid::ROOT, "zasync", 5));
    assert_eq!(message, "root['zasync'] is 5, not a reference to a PersistentMapping");
    let message = damaged(|snapshot, _| set(snapshot, Oid::ROOT, "zasync", dangling()));
    assert_eq!(message, "root['zasync'] refers to object 0x0000000000007777, which does not exist");
    let message = damaged(|snapshot, nodes| set(snapshot, nodes.zasync, "queues", PyValue::NONE));
    assert_eq!(message, "queues is missing");
    let message = damaged(|snapshot, nodes| nodes.queues.set(snapshot, "default", 1).map(|_| ()));
    assert_eq!(message, "queues[\"default\"] is 1, not a reference to an object");
    let message = damaged(|snapshot, nodes| {
        let inbox = BTree::create(snapshot, Family::LO).reference();
        set(snapshot, nodes.queue, "inbox", inbox)
    });
    assert_eq!(message, "queues/default/inbox is BTrees.LOBTree.LOBTree, not an OOBTree");
    let message = damaged(|snapshot, nodes| set(snapshot, nodes.queue, "ctl", PyValue::NONE));
    assert_eq!(message, "queues/default/ctl is missing");
    let message = damaged(|snapshot, nodes| nodes.inbox.set(snapshot, 3, "x").map(|_| ()));
    assert_eq!(message, "queues/default/inbox[3] is \"x\", not a reference to an object");
    let message = damaged(|snapshot, nodes| nodes.inbox.set(snapshot, 3, dangling()).map(|_| ()));
    let expected =
        "queues/default/inbox[3] refers to object 0x0000000000007777, which does not exist";
    assert_eq!(message, expected);
    let message = damaged(|snapshot, nodes| nodes.inbox.remove(snapshot, 3).map(|_| ()));
    assert_eq!(message, "queue \"default\" has no shard 3");
    let message = damaged(|snapshot, nodes| {
        let list = snapshot.create(&PersistentList::class(), PersistentList::new());
        let list = snapshot.reference(list)?;
        set(snapshot, nodes.shard, "ready", list)
    });
    assert!(message.starts_with("queues/default/inbox[3]/ready cannot be used: "), "{message}");
    let message = damaged(|snapshot, nodes| {
        let other = snapshot.create(&Class::new("app", "Thing"), Instance::new());
        let other = snapshot.reference(other)?;
        nodes.inbox.set(snapshot, 3, other).map(|_| ())
    });
    assert!(message.starts_with("queues/default/inbox[3] cannot be used: "), "{message}");
}
