//! How an attempt ends: the transactions that write the job record alone.
//!
//! They can be repeated after an unknown outcome. Each reads the record first: if the job is not running
//! any more and still has the lease of this claim, it was this program that ended the attempt, or the
//! reaper, and the outcome stands. Otherwise it writes the record, so a commit that is still on its way
//! conflicts with it.

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::{PyValue, Snapshot};

use crate::attempt::{self, AfterFailure};
use crate::error::Error;
use crate::failure::Failure;
use crate::job::{Job, Lease};
use crate::retry::Retry;
use crate::state::JobState;

/// The end of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Conclusion {
    pub(super) job: Oid,
    pub(super) lease: Lease,
    pub(super) end: End,
}

/// What is written at the end of an attempt.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The function has returned this value.
    Finish(PyValue),
    /// The function has failed.
    Fail { failure: Failure, default: Retry, random: u64 },
    /// The function goes on later.
    Snooze(UnixTime),
    /// Cancelling was requested.
    Stop,
    /// The worker does not end it.
    GiveBack,
    /// What executed the function died.
    Crash,
    /// Nothing: the record is written as it is, to find out whether an earlier commit succeeded.
    Renew,
}

/// What has become of the job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Concluded {
    /// It has a state in which this worker does not have it any more.
    Ended(JobState),
    /// It is executed again at this time.
    Retry(UnixTime),
    /// An earlier transaction has ended the attempt.
    Already(JobState),
    /// The worker still has it.
    Running,
}

impl Conclusion {
    pub(super) const fn name(&self) -> &'static str {
        match self.end {
            End::Finish(_) => "store a result",
            End::Fail { .. } => "store a failure",
            End::Snooze(_) => "snooze a job",
            End::Stop => "cancel a job",
            End::GiveBack => "give a job back",
            End::Crash => "store a crash",
            End::Renew => "read the outcome of a commit",
        }
    }

    pub(super) fn apply(&self, snapshot: &mut Snapshot, now: UnixTime) -> Result<Concluded, Error> {
        let Self { job, lease, ref end } = *self;
        let read = Job::read(snapshot, job)?;
        if read.state() != JobState::Running && read.lease == Some(lease) {
            return Ok(Concluded::Already(read.state()));
        }
        Ok(match end {
            End::Finish(result) => {
                attempt::finish(snapshot, job, lease, result.clone(), now)?;
                Concluded::Ended(JobState::Done)
            }
            End::Fail { failure, default, random } => {
                match attempt::fail(snapshot, job, lease, failure, default, now, *random)? {
                    AfterFailure::Retry(at) => Concluded::Retry(at),
                    AfterFailure::Failed => Concluded::Ended(JobState::Failed),
                    AfterFailure::Cancelled => Concluded::Ended(JobState::Cancelled),
                }
            }
            End::Snooze(until) => {
                attempt::snooze(snapshot, job, lease, *until)?;
                Concluded::Retry(*until)
            }
            End::Stop => {
                attempt::stop(snapshot, job, lease, now)?;
                Concluded::Ended(JobState::Cancelled)
            }
            End::GiveBack => Concluded::Ended(attempt::give_back(snapshot, job, lease, now)?),
            End::Crash => Concluded::Ended(attempt::crash(snapshot, job, lease, now)?),
            End::Renew => {
                attempt::renew(snapshot, job, lease)?;
                Concluded::Running
            }
        })
    }
}
