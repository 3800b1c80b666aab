//! What others do with a worker that is dead (T15).
//!
//! Who is dead is decided by those who watch the beats: a beat whose revision stays the same for long
//! enough, by the clock of the one that watches. Here the record decides whether that is still so.

use rzeo_core::{Oid, Tid, UnixTime};
use rzeo_objects::Snapshot;

use super::active::key;
use super::record::WorkerRecord;
use crate::attempt::{crashes_with, interrupt};
use crate::error::{Error, Refusal};
use crate::job::Job;
use crate::layout::Queue;
use crate::state::{JobState, WorkerState};

/// Declares a worker gone, whose last beat has the revision that was `seen`. From then on it takes and
/// settles nothing.
///
/// # Errors
/// [`Refusal::WorkerAlive`], [`Refusal::WorkerState`] if it is gone already, [`Refusal::NoWorker`],
/// [`LayoutError`](crate::LayoutError).
pub fn mark_gone(snapshot: &mut Snapshot, queue: &Queue, id: &str, seen: Tid) -> Result<(), Error> {
    let worker = WorkerRecord::open(snapshot, queue, id)?;
    worker.check_not_gone(snapshot)?;
    if worker.beat != seen {
        return Err(Refusal::WorkerAlive.into());
    }
    snapshot.check_current(worker.ping)?;
    worker.write_state(snapshot, WorkerState::Gone)
}

/// Takes a running job from a worker that is gone, and returns the job's new state. The death counts against
/// the job, but not as an attempt. The entry in `active` stays until [`close`](super::close) removes it.
///
/// # Errors
/// [`Refusal::WorkerState`] if the worker is not gone; [`Refusal::NotActive`]; [`Refusal::Fenced`] if it is
/// not running, or another worker has it; [`Refusal::NoWorker`]; [`LayoutError`](crate::LayoutError).
pub fn reap(
    snapshot: &mut Snapshot,
    queue: &Queue,
    id: &str,
    job: Oid,
    now: UnixTime,
) -> Result<JobState, Error> {
    snapshot.attempt(|snapshot| {
        let worker = WorkerRecord::open(snapshot, queue, id)?;
        worker.check(snapshot, WorkerState::Gone)?;
        if worker.active.get(snapshot, key(job))?.is_none() {
            return Err(Refusal::NotActive(job.into()).into());
        }
        let job = Job::read(snapshot, job)?;
        if job.state() != JobState::Running || job.owner.as_deref() != Some(id) {
            return Err(Refusal::Fenced(job.state()).into());
        }
        interrupt(snapshot, &job, &crashes_with(&job, now), now)
    })
}

/// Removes a worker that is gone and has no jobs any more.
///
/// # Errors
/// [`Refusal::WorkerState`] if the worker is not gone, [`Refusal::WorkerActive`], [`Refusal::NoWorker`],
/// [`LayoutError`](crate::LayoutError).
pub fn forget(snapshot: &mut Snapshot, queue: &Queue, id: &str) -> Result<(), Error> {
    let worker = WorkerRecord::open(snapshot, queue, id)?;
    worker.check(snapshot, WorkerState::Gone)?;
    if !worker.active.is_empty(snapshot)? {
        return Err(Refusal::WorkerActive.into());
    }
    snapshot.check_current(worker.active.id())?;
    queue.workers.remove(snapshot, id)?;
    Ok(())
}
