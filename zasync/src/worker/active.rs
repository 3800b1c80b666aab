//! The jobs that a worker has.

use alloc::format;
use alloc::vec::Vec;

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::{ObjectId, Snapshot};

use super::record::WorkerRecord;
use crate::deferred::{self, Deferred, Settlement};
use crate::error::{Error, LayoutError, Refusal};
use crate::fields::Fields;
use crate::follow_up::FollowUpQueue;
use crate::job::{Job, Lease};
use crate::layout::Queue;
use crate::queue;
use crate::state::{JobState, WorkerState};

/// How a worker has parted from a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Closed {
    /// The job is settled.
    Settled(Settlement),
    /// Others have settled the job, or have it now, or it waits for its next attempt.
    Released,
}

/// Takes a job for a worker (T2). The transaction conflicts if the worker is declared gone, if the queue is
/// paused, or if another one takes the job.
///
/// Several claims can be in one transaction. If it conflicts, only the job that conflicted is left out
/// when it is repeated.
///
/// # Errors
/// Those of [`queue::claim`]; [`Refusal::WorkerState`], [`Refusal::NoWorker`]; and [`Refusal::NotAJob`] of
/// a job that is not stored yet.
pub fn claim(
    snapshot: &mut Snapshot,
    queue: &Queue,
    worker: &str,
    job: impl Into<ObjectId>,
    lease: Lease,
    now: UnixTime,
) -> Result<Job, Error> {
    let object = job.into();
    snapshot.attempt(|snapshot| {
        let worker = WorkerRecord::open(snapshot, queue, worker)?;
        worker.check(snapshot, WorkerState::Up)?;
        let key = key(object.oid().ok_or(Refusal::NotAJob)?);
        let job = queue::claim(snapshot, queue, object, &worker.id, lease, now)?;
        let reference = snapshot.reference(object)?;
        worker.active.set(snapshot, key, reference)?;
        Ok(job)
    })
}

/// Jobs that a worker has, in the order of their oids.
///
/// # Errors
/// [`Refusal::NoWorker`], [`LayoutError`].
pub fn active(snapshot: &mut Snapshot, queue: &Queue, worker: &str) -> Result<Vec<Oid>, Error> {
    let worker = WorkerRecord::open(snapshot, queue, worker)?;
    let (mut jobs, mut entries) = (Vec::new(), worker.active.entries(..)?);
    while let Some((key, _)) = entries.next(snapshot)? {
        jobs.push(Oid(key.as_int().expect("the keys of LO trees are integers").cast_unsigned()));
    }
    Ok(jobs)
}

/// Parts a worker from a job that it does not execute any more: settles the job if that is to be done, and
/// removes it from `active` (T12). Of a worker that is gone, another one does so.
///
/// # Errors
/// [`Refusal::StillRunning`]; [`Refusal::NotActive`]; [`Refusal::NoWorker`]; [`LayoutError`].
pub fn close(
    snapshot: &mut Snapshot,
    queue: &Queue,
    worker: &str,
    job: Oid,
    follow_ups: &mut impl FollowUpQueue,
    now: UnixTime,
) -> Result<Closed, Error> {
    snapshot.attempt(|snapshot| {
        let worker = WorkerRecord::open(snapshot, queue, worker)?;
        snapshot.check_current(worker.object)?;
        if !worker.active.remove(snapshot, key(job))? {
            return Err(Refusal::NotActive(job.into()).into());
        }
        let deferred = match Deferred::read(snapshot, job) {
            Ok(deferred) => deferred,
            // An undo has removed the job.
            Err(Error::Layout(LayoutError::Dangling { .. })) => return Ok(Closed::Released),
            Err(error) => return Err(error),
        };
        if deferred.state.is_final() && !deferred.is_settled {
            return deferred::settle(snapshot, job, follow_ups, now).map(Closed::Settled);
        }
        let fields = Fields::read(snapshot, job.into(), format!("job {job}"))?;
        if deferred.state == JobState::Running && fields.text("owner")? == Some(worker.id) {
            return Err(Refusal::StillRunning.into());
        }
        if !deferred.state.is_final() {
            // The job must not lose its entry to a change that is not seen here.
            snapshot.check_current(job)?;
        }
        Ok(Closed::Released)
    })
}

/// Removes a job from `active` whose record cannot be read, so [`close`] is not possible.
///
/// # Errors
/// [`Refusal::NotActive`], [`Refusal::NoWorker`], [`LayoutError`].
pub fn discard(
    snapshot: &mut Snapshot,
    queue: &Queue,
    worker: &str,
    job: Oid,
) -> Result<(), Error> {
    let worker = WorkerRecord::open(snapshot, queue, worker)?;
    snapshot.check_current(worker.object)?;
    if !worker.active.remove(snapshot, key(job))? {
        return Err(Refusal::NotActive(job.into()).into());
    }
    Ok(())
}

/// The key of a job in `active`.
pub(super) const fn key(job: Oid) -> i64 {
    job.0.cast_signed()
}
