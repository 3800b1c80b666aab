//! Adds entries to a shard.

use rzeo_core::UnixTime;
use rzeo_objects::{ObjectId, PersistentMapping, PyValue, Snapshot};

use crate::entry_key::{by_priority, by_time};
use crate::error::Error;
use crate::follow_up::FollowUpQueue;
use crate::job::{Job, JobOptions};
use crate::layout::{Place, Queue, ShardTree};

/// Where and when a transaction adds entries. Different programs use different shards; one that
/// conflicts tries again with another one.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    /// The queue.
    pub queue: &'a Queue,
    /// Number of the shard.
    pub shard: i64,
    /// The time of the storage.
    pub now: UnixTime,
    /// Any number. Two that are equal at the same time only give a conflict more.
    pub random: u64,
}

impl Placement<'_> {
    /// Adds an entry to the tree that the options of the job ask for.
    pub(crate) fn add(
        &self,
        snapshot: &mut Snapshot,
        job: ObjectId,
        options: &JobOptions,
    ) -> Result<Place, Error> {
        match options.begin_after.filter(|begin| *begin > self.now) {
            Some(begin) => {
                let key = by_time(begin, self.random);
                self.add_to(snapshot, ShardTree::Later, key, job)
            }
            None => {
                let due = options.begin_after.unwrap_or(self.now);
                let key = by_priority(options.priority(), due, self.random);
                self.add_to(snapshot, ShardTree::Ready, key, job)
            }
        }
    }

    /// Adds an entry to `parked`, and writes its place into the job.
    pub(crate) fn add_parked(
        &self,
        snapshot: &mut Snapshot,
        job: ObjectId,
    ) -> Result<Place, Error> {
        let key = by_time(self.now, self.random);
        let place = self.add_to(snapshot, ShardTree::Parked, key, job)?;
        let parked = PyValue::tuple([place.shard.into(), place.key.into()].into());
        snapshot.modify(job, |record: &mut PersistentMapping| record.insert("parked", parked))?;
        Ok(place)
    }

    /// Moves a job out of `parked`, if it is there, to where it can be taken.
    pub(crate) fn unpark(&self, snapshot: &mut Snapshot, job: ObjectId) -> Result<Place, Error> {
        let read = Job::read(snapshot, job)?;
        if let Some(parked) = read.parked_place() {
            let tree = self.queue.tree(snapshot, parked.shard, parked.tree)?;
            if tree.get(snapshot, parked.key)?.and_then(|entry| entry.as_object()) == Some(job) {
                tree.remove(snapshot, parked.key)?;
            }
            snapshot.modify(job, |record: &mut PersistentMapping| record.remove("parked"))?;
        }
        self.add(snapshot, job, &read.options)
    }

    fn add_to(
        &self,
        snapshot: &mut Snapshot,
        tree: ShardTree,
        key: i64,
        job: ObjectId,
    ) -> Result<Place, Error> {
        let entry = snapshot.reference(job)?;
        let named = self.queue.tree_to_add(snapshot, self.shard, tree)?;
        let key = named.add(snapshot, key, &entry)?;
        Ok(Place { shard: self.shard, tree, key })
    }
}

impl FollowUpQueue for Placement<'_> {
    fn park(&mut self, snapshot: &mut Snapshot, job: ObjectId) -> Result<(), Error> {
        self.add_parked(snapshot, job).map(|_| ())
    }

    fn dispatch(&mut self, snapshot: &mut Snapshot, job: ObjectId) -> Result<(), Error> {
        self.unpark(snapshot, job).map(|_| ())
    }
}
