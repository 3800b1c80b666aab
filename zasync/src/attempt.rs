//! The end of an attempt at a job: transactions of the worker that has claimed it.
//!
//! Each function here changes the job record alone (T3 to T7). It is called in the same transaction as
//! the changes of the function that was executed, if there are any: then these changes, the result and
//! the state are stored together or not at all.
//!
//! An attempt may end only what it has begun: the job is running, with the lease of this claim.
//! Everything else is [`Refusal::Fenced`], and then the caller drops what it did. Since the claim, the
//! reaper and a request to cancel write the same record, the commit conflicts if one of them comes
//! between; the operation is repeated then and refused.

use core::time::Duration;

use alloc::vec::Vec;

use rzeo_core::UnixTime;
use rzeo_objects::{ObjectId, PersistentMapping, PyValue, Snapshot};

use crate::deferred::end;
use crate::error::{Error, Refusal};
use crate::failure::Failure;
use crate::job::{Job, Lease};
use crate::retry::Retry;
use crate::state::JobState;

/// Maximum number of failures that a job record keeps.
const ERRORS_MAX: usize = 10;

/// Maximum number of workers that may die within [`CRASH_WINDOW`] while they have a job: with the last one
/// the job has failed, as `poison`.
pub const CRASHES_MAX: usize = 3;

/// How long a death counts against the jobs that the worker had, up to [`CRASHES_MAX`].
pub const CRASH_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// What becomes of a job whose attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AfterFailure {
    /// It is executed again at this time.
    Retry(UnixTime),
    /// It has failed.
    Failed,
    /// It is cancelled, as was requested.
    Cancelled,
}

/// Fails unless the attempt still has the job and may finish it. A program calls it before it executes
/// the function in a transaction, and reads the job.
///
/// # Errors
/// [`Refusal::Fenced`], [`Refusal::CancelRequested`], [`LayoutError`](crate::LayoutError).
pub fn check(
    snapshot: &mut Snapshot,
    job: impl Into<ObjectId>,
    lease: Lease,
) -> Result<Job, Error> {
    let job = owned(snapshot, job.into(), lease)?;
    if job.deferred.is_cancel_requested {
        return Err(Refusal::CancelRequested.into());
    }
    Ok(job)
}

/// Stores the result (T3 with changes of other objects in the transaction, T4 without).
///
/// # Errors
/// [`Refusal::Fenced`]; [`Refusal::CancelRequested`], then the caller drops the changes and calls
/// [`stop`]; [`LayoutError`](crate::LayoutError).
pub fn finish(
    snapshot: &mut Snapshot,
    job: impl Into<ObjectId>,
    lease: Lease,
    result: PyValue,
    now: UnixTime,
) -> Result<(), Error> {
    let job = check(snapshot, job, lease)?;
    end(snapshot, job.object(), JobState::Done, Some(("result", result)), now)
}

/// Stores a failure, after which the job is executed again (T5) or has failed (T6). `default` is for jobs
/// without an option `retry`.
///
/// # Errors
/// [`Refusal::Fenced`], [`LayoutError`](crate::LayoutError).
pub fn fail(
    snapshot: &mut Snapshot,
    job: impl Into<ObjectId>,
    lease: Lease,
    failure: &Failure,
    default: &Retry,
    now: UnixTime,
    random: u64,
) -> Result<AfterFailure, Error> {
    let job = owned(snapshot, job.into(), lease)?;
    if job.deferred.is_cancel_requested {
        end(snapshot, job.object(), JobState::Cancelled, None, now)?;
        return Ok(AfterFailure::Cancelled);
    }
    let retry = job.options.retry.unwrap_or(*default);
    let at = retry.delay(job.attempt, random).map(|delay| after(now, delay));
    let at = at.filter(|at| job.options.deadline.is_none_or(|deadline| *at < deadline));
    let failure = failure.to_value(job.attempt, job.owner.as_deref(), now);
    let Some(at) = at else {
        end(snapshot, job.object(), JobState::Failed, Some(("failure", failure)), now)?;
        return Ok(AfterFailure::Failed);
    };
    let mut errors: Vec<PyValue> = job.errors.clone();
    errors.push(failure);
    let errors = errors.split_off(errors.len().saturating_sub(ERRORS_MAX));
    snapshot.modify(job.object(), |record: &mut PersistentMapping| {
        put_back(record);
        record.insert("begin_after", at.0);
        record.insert("errors", PyValue::tuple(errors));
    })?;
    Ok(AfterFailure::Retry(at))
}

/// Ends an attempt at the job's own wish; it goes on later, with another attempt that counts as the same
/// one (T7).
///
/// # Errors
/// [`Refusal::Fenced`], [`Refusal::CancelRequested`], [`LayoutError`](crate::LayoutError).
pub fn snooze(
    snapshot: &mut Snapshot,
    job: impl Into<ObjectId>,
    lease: Lease,
    until: UnixTime,
) -> Result<(), Error> {
    if !until.0.is_finite() {
        let found = alloc::format!("{}", until.0);
        return Err(Refusal::Option { option: "until", found, expected: "a finite time" }.into());
    }
    let job = check(snapshot, job, lease)?;
    snapshot.modify(job.object(), |record: &mut PersistentMapping| {
        put_back(record);
        give_attempt_back(record, &job);
        record.insert("begin_after", until.0);
    })?;
    Ok(())
}

/// Gives a job back that a worker cannot end before it stops. The attempt does not count. A job whose
/// option `retry` is [`Retry::Never`] has failed.
///
/// # Errors
/// [`Refusal::Fenced`], [`LayoutError`](crate::LayoutError).
pub fn give_back(
    snapshot: &mut Snapshot,
    job: impl Into<ObjectId>,
    lease: Lease,
    now: UnixTime,
) -> Result<JobState, Error> {
    let job = owned(snapshot, job.into(), lease)?;
    interrupt(snapshot, &job, &[], now)
}

/// Ends an attempt whose program died while it executed the function. The death counts against the job,
/// as that of a worker does, and the attempt does not.
///
/// # Errors
/// [`Refusal::Fenced`], [`LayoutError`](crate::LayoutError).
pub fn crash(
    snapshot: &mut Snapshot,
    job: impl Into<ObjectId>,
    lease: Lease,
    now: UnixTime,
) -> Result<JobState, Error> {
    let job = owned(snapshot, job.into(), lease)?;
    let crashes = crashes_with(&job, now);
    interrupt(snapshot, &job, &crashes, now)
}

/// The recent deaths that count against a job, with one now.
pub(crate) fn crashes_with(job: &Job, now: UnixTime) -> Vec<UnixTime> {
    let since = now.0 - CRASH_WINDOW.as_secs_f64();
    let recent = job.crashes.iter().filter(|crash| crash.0 > since);
    recent.copied().chain([now]).collect()
}

/// Writes the record of a running job again as it is. If an earlier transaction of the attempt is still
/// on its way to the storage, one of the two conflicts: after this one is committed, the other is not.
///
/// # Errors
/// [`Refusal::Fenced`], [`LayoutError`](crate::LayoutError).
pub fn renew(snapshot: &mut Snapshot, job: impl Into<ObjectId>, lease: Lease) -> Result<(), Error> {
    let job = owned(snapshot, job.into(), lease)?;
    snapshot.modify(job.object(), |_: &mut PersistentMapping| {})?;
    Ok(())
}

/// Cancels a running job, as was requested.
///
/// # Errors
/// [`Refusal::Fenced`], [`Refusal::NotCancelled`], [`LayoutError`](crate::LayoutError).
pub fn stop(
    snapshot: &mut Snapshot,
    job: impl Into<ObjectId>,
    lease: Lease,
    now: UnixTime,
) -> Result<(), Error> {
    let job = owned(snapshot, job.into(), lease)?;
    if !job.deferred.is_cancel_requested {
        return Err(Refusal::NotCancelled.into());
    }
    end(snapshot, job.object(), JobState::Cancelled, None, now)
}

/// Ends an attempt that has no outcome, and returns the new state. `crashes` are the times of
/// unexpected deaths to be written, if there was one.
pub(crate) fn interrupt(
    snapshot: &mut Snapshot,
    job: &Job,
    crashes: &[UnixTime],
    now: UnixTime,
) -> Result<JobState, Error> {
    let fail = |kind, message| {
        Some(Failure::new(kind, message).to_value(job.attempt, job.owner.as_deref(), now))
    };
    let (state, failure) = if job.deferred.is_cancel_requested {
        (JobState::Cancelled, None)
    } else if job.options.retry == Some(Retry::Never) {
        (JobState::Failed, fail("interrupted", "the worker stopped before the job ended"))
    } else if crashes.len() >= CRASHES_MAX {
        (JobState::Failed, fail("poison", "workers died again and again while they had the job"))
    } else {
        (JobState::Pending, None)
    };
    snapshot.modify(job.object(), |record: &mut PersistentMapping| {
        record.insert("interruptions", i64::from(job.interruptions.saturating_add(1)));
        if !crashes.is_empty() {
            let times = crashes.iter().map(|time| time.0.into()).collect();
            record.insert("crashes", PyValue::tuple(times));
        }
        if state == JobState::Pending {
            put_back(record);
            give_attempt_back(record, job);
        }
    })?;
    if state.is_final() {
        end(snapshot, job.object(), state, failure.map(|failure| ("failure", failure)), now)?;
    }
    Ok(state)
}

/// The job, if it is running with this lease.
fn owned(snapshot: &mut Snapshot, job: ObjectId, lease: Lease) -> Result<Job, Error> {
    let job = Job::read(snapshot, job)?;
    if job.state() != JobState::Running || job.lease != Some(lease) {
        return Err(Refusal::Fenced(job.state()).into());
    }
    Ok(job)
}

/// Makes a running job pending. The lease stays, for a worker that does not know whether its last
/// commit succeeded.
fn put_back(record: &mut PersistentMapping) {
    record.insert("state", JobState::Pending.text());
    record.remove("owner");
}

fn give_attempt_back(record: &mut PersistentMapping, job: &Job) {
    record.insert("attempt", i64::from(job.attempt.saturating_sub(1)));
}

fn after(now: UnixTime, delay: Duration) -> UnixTime {
    UnixTime(now.0 + delay.as_secs_f64())
}
