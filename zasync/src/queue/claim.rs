//! What a program does with an entry that [`choose`](super::choose) has found.

use rzeo_core::UnixTime;
use rzeo_objects::{ObjectId, PersistentMapping, Snapshot};

use crate::deferred::{Deferred, create_side, end};
use crate::error::{Error, LayoutError, Refusal};
use crate::failure::Failure;
use crate::job::{Job, Lease};
use crate::layout::Queue;
use crate::state::JobState;

/// Takes a job (the queue's part of T2). The attempt belongs to the program that has the lease, a number
/// that is random for every claim.
///
/// # Errors
/// [`Refusal::Paused`], [`Refusal::NotPending`], [`Refusal::NotDue`], [`Refusal::Expired`],
/// [`LayoutError`].
pub fn claim(
    snapshot: &mut Snapshot,
    queue: &Queue,
    job: impl Into<ObjectId>,
    owner: &str,
    lease: Lease,
    now: UnixTime,
) -> Result<Job, Error> {
    let object = job.into();
    snapshot.attempt(|snapshot| {
        queue.check_not_paused(snapshot)?;
        let job = Job::read(snapshot, object)?;
        if job.state() != JobState::Pending {
            return Err(Refusal::NotPending(job.state()).into());
        }
        if job.is_overdue(now) {
            return Err(Refusal::Expired.into());
        }
        if let Some(begin) = job.options.begin_after.filter(|_| !job.is_due(now)) {
            return Err(Refusal::NotDue(begin).into());
        }
        snapshot.modify(object, |record: &mut PersistentMapping| {
            record.insert("state", JobState::Running.text());
            record.insert("owner", owner);
            record.insert("lease", lease.0.cast_signed());
            record.insert("attempt", i64::from(job.attempt.saturating_add(1)));
            record.insert("started", now.0);
        })?;
        if job.deferred.side.is_none() {
            // Notes and follow-ups that are added while the job runs must not write its record.
            create_side(snapshot, object)?;
        }
        Job::read(snapshot, object)
    })
}

/// Ends a job that did not begin in time, or whose deadline is over (T11).
///
/// # Errors
/// [`Refusal::TooLate`]; [`Refusal::NotPending`] of a running job, whose worker ends it;
/// [`Refusal::NotExpired`]; [`LayoutError`].
pub fn expire(
    snapshot: &mut Snapshot,
    job: impl Into<ObjectId>,
    now: UnixTime,
) -> Result<(), Error> {
    let job = Job::read(snapshot, job)?;
    match job.state() {
        state if state.is_final() => Err(Refusal::TooLate(state).into()),
        state @ JobState::Running => Err(Refusal::NotPending(state).into()),
        _ if !job.is_overdue(now) => Err(Refusal::NotExpired.into()),
        _ => end(snapshot, job.object(), JobState::Expired, None, now),
    }
}

/// Ends a job whose record is not as it should be: its failure says what is wrong. It is not executed.
///
/// # Errors
/// [`Refusal::NotMalformed`]; [`Refusal::TooLate`]; or what prevents writing it, such as
/// [`LayoutError::Dangling`] and [`LayoutError::Unusable`] of an object that is not a mapping.
pub fn reject(
    snapshot: &mut Snapshot,
    job: impl Into<ObjectId>,
    now: UnixTime,
) -> Result<(), Error> {
    let job = job.into();
    let error = match Job::read(snapshot, job) {
        Ok(_) => return Err(Refusal::NotMalformed.into()),
        Err(error @ (Error::Refused(_) | Error::Layout(LayoutError::Missing { .. }))) => error,
        Err(error @ Error::Layout(LayoutError::Malformed { .. })) => error,
        // What an item refers to is not there.
        Err(error @ Error::Layout(LayoutError::Dangling { oid, .. })) if job.oid() != Some(oid) => {
            error
        }
        Err(error) => return Err(error),
    };
    let deferred = Deferred::read(snapshot, job);
    if let Ok(deferred) = &deferred
        && deferred.state.is_final()
    {
        return Err(Refusal::TooLate(deferred.state).into());
    }
    let failure = Failure::new("malformed", error).to_value(0, None, now);
    if deferred.is_err() {
        // Without them the record can be settled.
        snapshot.modify(job, |record: &mut PersistentMapping| {
            record.remove("side");
            record.remove("settled");
        })?;
    }
    snapshot.modify(job, |record: &mut PersistentMapping| record.remove("owner"))?;
    end(snapshot, job, JobState::Failed, Some(("failure", failure)), now)
}
