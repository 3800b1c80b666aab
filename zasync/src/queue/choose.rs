//! Finds the jobs that a worker could take now, without changing anything.
//!
//! What is found in the shards is put into classes. Jobs that have expired come before any filter, so they
//! expire even if no worker accepts them. A job that a worker died with is suspect: it is only taken
//! alone, so that it cannot make other jobs suspect.

use alloc::string::String;
use alloc::vec::Vec;

use rzeo_core::UnixTime;
use rzeo_objects::{ObjectId, PyValue, Snapshot};

use crate::deferred::Deferred;
use crate::entry_key::last_due;
use crate::error::{Error, Refusal};
use crate::fields::Fields;
use crate::job::Job;
use crate::layout::{Place, Queue, ShardTree};
use crate::state::JobState;
use crate::tree::{Entries, NamedTree};

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The time of the storage.
    pub now: UnixTime,
    /// Maximum number of jobs to take.
    pub slots: usize,
    /// Number of jobs that the worker has already.
    pub running: usize,
    /// Maximum number of entries to read of each tree.
    pub scan_max: usize,
}

/// A job that can be taken.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where its entry is.
    pub place: Place,
    /// The job.
    pub job: Job,
}

/// An entry, and the record that it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the entry is.
    pub place: Place,
    /// The record.
    pub job: ObjectId,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Jobs to claim, in their order.
    pub take: Vec<Candidate>,
    /// Jobs to [expire](super::expire).
    pub expired: Vec<Entry>,
    /// Final jobs that no worker has. They have to be settled.
    pub unsettled: Vec<Entry>,
    /// Entries that [`file`](super::file) would move or remove.
    pub misplaced: Vec<Place>,
    /// Entries that are not usable jobs, and why: to [reject](super::reject) if the error is in an item of
    /// the job, to [file](super::file) otherwise.
    pub malformed: Vec<(Place, Option<ObjectId>, Error)>,
    /// When the next job begins that is not due yet.
    pub next_due: Option<UnixTime>,
    /// Whether a tree has entries that were not read.
    pub is_cut: bool,
}

/// Looks through shards for jobs that are due. `accept` says whether the worker can execute a job; it is
/// called again if records have to be loaded.
///
/// Jobs of a smaller priority number come first, then those that are due for longer.
///
/// # Errors
/// [`LayoutError`](crate::LayoutError), for what is wrong above the entries.
pub fn choose(
    snapshot: &mut Snapshot,
    queue: &Queue,
    shards: &[i64],
    search: &Search,
    mut accept: impl FnMut(&Job) -> bool,
) -> Result<Choice, Error> {
    let mut choice = Choice::default();
    let mut found = Vec::new();
    for shard in shards {
        for tree in [ShardTree::Ready, ShardTree::Later, ShardTree::Parked] {
            let named = queue.tree(snapshot, *shard, tree)?;
            choice.is_cut |= scan(snapshot, &named, tree, search, |key, value| {
                let place = Place { shard: *shard, tree, key };
                found.push(Found { place, path: named.path_of(&key.into()), value });
            })?;
            if tree == ShardTree::Later {
                choice.next_due = earlier(choice.next_due, next_later(snapshot, &named, search)?);
            }
        }
    }
    // All jobs are loaded together.
    let oids: Vec<_> = found.iter().filter_map(|found| found.value.as_object()?.oid()).collect();
    if let (false, Some(first)) = (snapshot.want(oids.iter().copied()), oids.first()) {
        return Err(rzeo_objects::Error::NotLoaded(*first).into());
    }
    let mut candidates = Vec::new();
    for Found { place, path, value } in found {
        let job = value.as_object();
        match choice.add(snapshot, place, path, job, search.now) {
            Ok(Some(job)) => candidates.push(Candidate { place, job }),
            Ok(None) => {}
            Err(Error::Objects(error)) => return Err(error.into()),
            Err(error) => choice.malformed.push((place, job, error)),
        }
    }
    candidates.sort_by(|a, b| order(a).partial_cmp(&order(b)).expect("times are finite"));
    candidates.retain(|candidate| accept(&candidate.job));
    choice.take = for_slots(candidates, search);
    Ok(choice)
}

impl Choice {
    /// Puts an entry into its class. Returns the job if it can be taken.
    fn add(
        &mut self,
        snapshot: &mut Snapshot,
        place: Place,
        path: String,
        job: Option<ObjectId>,
        now: UnixTime,
    ) -> Result<Option<Job>, Error> {
        let job = job.ok_or(Refusal::NotAJob)?;
        let entry = Entry { place, job };
        let fields = Fields::read(snapshot, job, path.clone())?;
        let deferred = Deferred::from_fields(snapshot, job, &fields)?;
        match deferred.state {
            state if state.is_final() && deferred.is_settled => self.misplaced.push(place),
            // The worker that had the job settles it.
            state if state.is_final() && fields.text("owner")?.is_some() => {}
            state if state.is_final() => self.unsettled.push(entry),
            JobState::Waiting if fields.value("call").is_none() => {}
            _ => return Ok(self.add_job(entry, Job::read_at(snapshot, job, path)?, now)),
        }
        Ok(None)
    }

    fn add_job(&mut self, entry: Entry, job: Job, now: UnixTime) -> Option<Job> {
        match job.state() {
            JobState::Pending | JobState::Held | JobState::Waiting if job.is_overdue(now) => {
                self.expired.push(entry);
            }
            JobState::Pending if !job.is_due(now) => {
                self.next_due = earlier(self.next_due, job.options.begin_after);
                if entry.place.tree == ShardTree::Ready {
                    self.misplaced.push(entry.place);
                }
            }
            JobState::Pending => {
                if entry.place.tree != ShardTree::Ready {
                    self.misplaced.push(entry.place);
                }
                return Some(job);
            }
            _ => {}
        }
        None
    }
}

/// An entry as it was found.
struct Found {
    place: Place,
    path: String,
    value: PyValue,
}

/// Reads entries of one tree; of `later`, only those that can be due. Returns whether there are more.
fn scan(
    snapshot: &mut Snapshot,
    named: &NamedTree,
    tree: ShardTree,
    search: &Search,
    mut found: impl FnMut(i64, PyValue),
) -> Result<bool, Error> {
    let mut entries = match tree {
        ShardTree::Later => named.entries(..=PyValue::from(last_due(search.now)))?,
        _ => named.entries(..)?,
    };
    for _ in 0..search.scan_max {
        let Some((key, value)) = entries.next(snapshot)? else { return Ok(false) };
        found(key.as_int().expect("the keys of LO trees are integers"), value);
    }
    Ok(entries.next(snapshot)?.is_some())
}

/// When the first job of `later` begins that is not due.
fn next_later(
    snapshot: &mut Snapshot,
    later: &NamedTree,
    search: &Search,
) -> Result<Option<UnixTime>, Error> {
    let after = core::ops::Bound::Excluded(PyValue::from(last_due(search.now)));
    let mut entries: Entries<'_> = later.entries((after, core::ops::Bound::Unbounded))?;
    let Some((_, value)) = entries.next(snapshot)? else { return Ok(None) };
    let Some(job) = value.as_object() else { return Ok(None) };
    match Job::read(snapshot, job) {
        Ok(job) => Ok(job.options.begin_after),
        Err(Error::Objects(error)) => Err(error.into()),
        // It is reported when its time has come.
        Err(_) => Ok(None),
    }
}

fn earlier(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other < one { other } else { one }),
        (one, other) => one.or(other),
    }
}

fn order(candidate: &Candidate) -> (u8, f64, i64, i64) {
    let Candidate { place, job } = candidate;
    let due = job.options.begin_after.map_or(f64::NEG_INFINITY, |begin| begin.0);
    (job.options.priority(), due, place.shard, place.key)
}

/// As many candidates as there are slots; a suspect one only alone.
fn for_slots(candidates: Vec<Candidate>, search: &Search) -> Vec<Candidate> {
    let mut take: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if take.len() == search.slots {
            break;
        }
        let is_suspect = !candidate.job.crashes.is_empty();
        if !is_suspect {
            take.push(candidate);
        } else if take.is_empty() && search.running == 0 {
            take.push(candidate);
            break;
        }
    }
    take
}
