//! Moves entries to where they belong (T13).
//!
//! Entries of jobs that have ended go to `done` or `failed`, and those of jobs that begin later to `later`
//! and back. The worker that is at home in a shard does so now and then, for several entries in one
//! transaction and not for the newest ones, so that it seldom conflicts with programs that enqueue.

use rzeo_core::UnixTime;
use rzeo_objects::{ObjectId, PyValue, Snapshot};

use crate::deferred::Deferred;
use crate::entry_key::{by_priority, by_time};
use crate::error::{Error, LayoutError};
use crate::fields::Fields;
use crate::job::Job;
use crate::layout::{Place, Queue, ShardTree};
use crate::state::JobState;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filed {
    /// It is where it belongs.
    Kept,
    /// There is no entry.
    Absent,
    /// It is at another place now.
    Moved(Place),
    /// It did not refer to a mapping, and is gone.
    Dropped,
}

/// Moves an entry to where it belongs.
///
/// # Errors
/// [`LayoutError`], also of a job whose record is not as it should be.
pub fn file(
    snapshot: &mut Snapshot,
    queue: &Queue,
    place: Place,
    now: UnixTime,
    random: u64,
) -> Result<Filed, Error> {
    snapshot.attempt(|snapshot| {
        let tree = queue.tree(snapshot, place.shard, place.tree)?;
        let Some(value) = tree.get(snapshot, place.key)? else { return Ok(Filed::Absent) };
        let job = match usable(snapshot, &value)? {
            Some(job) => job,
            None => {
                tree.remove(snapshot, place.key)?;
                return Ok(Filed::Dropped);
            }
        };
        let Some((target, key)) = belongs(snapshot, job, place.tree, now, random)? else {
            return Ok(Filed::Kept);
        };
        tree.remove(snapshot, place.key)?;
        let key = queue.tree(snapshot, place.shard, target)?.add(snapshot, key, &value)?;
        Ok(Filed::Moved(Place { shard: place.shard, tree: target, key }))
    })
}

/// The mapping that an entry refers to; `None` if it refers to none.
fn usable(snapshot: &mut Snapshot, value: &PyValue) -> Result<Option<ObjectId>, Error> {
    let Some(job) = value.as_object() else { return Ok(None) };
    match Fields::read(snapshot, job, alloc::format!("job {job}")) {
        Ok(_) => Ok(Some(job)),
        Err(Error::Layout(LayoutError::Dangling { .. } | LayoutError::Unusable { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where an entry belongs, if that is another tree.
fn belongs(
    snapshot: &mut Snapshot,
    job: ObjectId,
    tree: ShardTree,
    now: UnixTime,
    random: u64,
) -> Result<Option<(ShardTree, i64)>, Error> {
    let deferred = Deferred::read(snapshot, job)?;
    if deferred.state.is_final() {
        let is_filed = matches!(tree, ShardTree::Done | ShardTree::Failed);
        if is_filed || !deferred.is_settled {
            return Ok(None);
        }
        let is_done = deferred.state == JobState::Done;
        let target = if is_done { ShardTree::Done } else { ShardTree::Failed };
        let ended = ended(snapshot, job)?.unwrap_or(now);
        return Ok(Some((target, by_time(ended, random))));
    }
    if deferred.state != JobState::Pending {
        return Ok(None);
    }
    let options = Job::read(snapshot, job)?.options;
    let begin = options.begin_after;
    let (target, key) = match begin.filter(|begin| *begin > now) {
        Some(begin) => (ShardTree::Later, by_time(begin, random)),
        None => {
            let due = begin.unwrap_or(now);
            (ShardTree::Ready, by_priority(options.priority(), due, random))
        }
    };
    if target == tree {
        return Ok(None);
    }
    // The job is not final, so it must not lose its entry to a change that is not seen here.
    snapshot.check_current(job)?;
    Ok(Some((target, key)))
}

fn ended(snapshot: &mut Snapshot, job: ObjectId) -> Result<Option<UnixTime>, Error> {
    Ok(Fields::read(snapshot, job, alloc::format!("job {job}"))?.time("ended")?)
}
