//! What is logged.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use rzeo_core::{Oid, UnixTime};

use crate::state::JobState;

/// Something to be logged.
#[derive(Clone, Debug)]
pub enum Event {
    /// The worker is in the queue, under this id.
    Registered {
        /// The id.
        worker: String,
    },
    /// Others have declared the worker gone. It registers again, under another id.
    DeclaredGone {
        /// The id that it had.
        worker: String,
    },
    /// Something happened to a job.
    Job {
        /// The job.
        job: JobInfo,
        /// What happened.
        what: JobEvent,
    },
    /// A job is taken from a worker that is gone.
    Reaped {
        /// The id of that worker.
        worker: String,
        /// The job.
        job: Oid,
        /// The state of the job now; `None` if the worker did not execute it any more.
        state: Option<JobState>,
    },
    /// A worker that was gone is removed from the queue.
    Forgotten {
        /// The id of that worker.
        worker: String,
    },
    /// Jobs that this worker has in the database, and that it does not execute, are given back.
    Returned {
        /// The jobs.
        jobs: Vec<Oid>,
    },
    /// Jobs that no worker has were ended or settled.
    Tended {
        /// What was done.
        operation: &'static str,
        /// The jobs.
        jobs: Vec<Oid>,
    },
    /// An entry of the queue is not a usable job.
    Malformed {
        /// What is wrong.
        error: String,
    },
    /// A transaction of the worker has failed. It tries again.
    Trouble {
        /// What it wanted to do.
        operation: &'static str,
        /// Why that failed.
        error: String,
    },
    /// The worker has left the queue.
    Left,
}

/// Which job it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// The record.
    pub oid: Oid,
    /// The id.
    pub id: Arc<str>,
    /// The function.
    pub call: Arc<str>,
    /// Number of the attempt.
    pub attempt: u32,
}

/// What happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// The worker has claimed it.
    Taken {
        /// Time since the job was due, by the clock of the storage.
        waited: Duration,
    },
    /// It has a result.
    Done {
        /// Time since it was taken.
        ran: Duration,
    },
    /// An attempt has failed, and the job is executed again.
    Retried {
        /// When.
        at: UnixTime,
        /// Why it has failed.
        message: String,
    },
    /// It has failed.
    Failed {
        /// The kind of the failure.
        kind: String,
        /// The message of the failure.
        message: String,
    },
    /// It goes on later, at its own wish.
    Snoozed {
        /// When.
        until: UnixTime,
    },
    /// Its changes conflicted with others; it is executed again.
    Conflicted,
    /// What executed it died.
    Died {
        /// How.
        message: String,
    },
    /// It is cancelled.
    Cancelled,
    /// It has not begun, or ended, in time.
    Expired,
    /// The worker has given it back.
    GivenBack,
    /// The worker has lost it: others have declared the worker gone.
    Fenced,
    /// Its function does not stop.
    Abandoned,
}
