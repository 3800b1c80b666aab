//! Why an operation has no result.
//!
//! A [`LayoutError`] is a fault of the database that people have to repair. A [`Refusal`] is an answer:
//! the operation is not possible in the state that the job, the queue or the worker has. Both leave
//! the snapshot as it was.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::{ObjectId, PyValue};
use thiserror::Error;

use crate::state::{JobState, WorkerState};

/// Maximum characters of a value in a message.
const SHOWN_CHARS_MAX: usize = 80;

/// An operation that has no result.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The snapshot lacks a record, or an object outside of the layout cannot be used.
    #[error(transparent)]
    Objects(#[from] rzeo_objects::Error),
    /// The layout of the database is absent or damaged.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The operation is not possible in the present state.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What is wrong with the objects below `root['zasync']`.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The root object has no item `zasync`.
    #[error("the database has no queues; create them first")]
    Absent,
    /// Another version of the layout.
    #[error("the queues have format {found}; this program supports format {supported}")]
    Format {
        /// The version that the database has.
        found: i64,
        /// The version that this crate reads and writes.
        supported: i64,
    },
    /// No queue has this name.
    #[error("there is no queue {0:?}")]
    NoQueue(String),
    /// A queue has no shard of this number.
    #[error("queue {queue:?} has no shard {shard}")]
    NoShard {
        /// Name of the queue.
        queue: String,
        /// The number.
        shard: i64,
    },
    /// An item that must be there is not.
    #[error("{path} is missing")]
    Missing {
        /// Where the item is expected.
        path: String,
    },
    /// An item is not what the layout has there.
    #[error("{path} is {found}, not {expected}")]
    Malformed {
        /// Where the item is.
        path: String,
        /// The value, shortened.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A reference to an object that the storage does not have.
    #[error("{path} refers to object {oid}, which does not exist")]
    Dangling {
        /// Where the reference is.
        path: String,
        /// The object.
        oid: Oid,
    },
    /// An object cannot be read or changed.
    #[error("{path} cannot be used: {error}")]
    Unusable {
        /// Where the object is.
        path: String,
        /// What is wrong with it.
        error: Box<rzeo_objects::Error>,
    },
}

/// An operation that the present state does not allow.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The database has its queues already.
    #[error("the database has queues already")]
    AlreadyCreated,
    /// A queue with this name exists.
    #[error("queue {0:?} exists already")]
    QueueExists(String),
    /// A shard with this number exists.
    #[error("shard {0} exists already")]
    ShardExists(i64),
    /// The shards that every queue has are not removed.
    #[error("shard {0} is one of those that every queue has")]
    FixedShard(i64),
    /// A shard that has entries is not removed.
    #[error("shard {0} is not empty")]
    ShardNotEmpty(i64),
    /// An option of a new job is outside of its limits.
    #[error("option {option} is {found}, not {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it can be.
        expected: &'static str,
    },
    /// The people who operate the queue have paused it.
    #[error("the queue is paused")]
    Paused,
    /// The deferred is final, so its outcome does not change any more.
    #[error("it is {0} already")]
    TooLate(JobState),
    /// Only a pending job is claimed.
    #[error("the job is {0}, not pending")]
    NotPending(JobState),
    /// Only a held job is released.
    #[error("the job is {0}, not held")]
    NotHeld(JobState),
    /// Only a waiting deferred without a call is fired by hand.
    #[error("the deferred is the result of a job, which only its worker sets")]
    HasCall,
    /// The record is a deferred without a call.
    #[error("the record has no id or no call, so it is not a job")]
    NotAJob,
    /// The job begins later.
    #[error("the job is not due before {} seconds since 1970", .0.0)]
    NotDue(UnixTime),
    /// The time to begin, or the deadline, is over.
    #[error("the job has expired")]
    Expired,
    /// The time to begin, and the deadline, are not over.
    #[error("the job has not expired")]
    NotExpired,
    /// The attempt has lost the job: another one has it, or it has ended.
    #[error("the attempt does not own the job any more, which is {0} now")]
    Fenced(JobState),
    /// Cancelling was requested, so the job has no other outcome.
    #[error("cancelling the job was requested")]
    CancelRequested,
    /// Cancelling was not requested, so the worker does not cancel the job.
    #[error("cancelling the job was not requested")]
    NotCancelled,
    /// The record is in order.
    #[error("the record is a usable job")]
    NotMalformed,
    /// Follow-ups are dispatched when the outcome is known.
    #[error("it is {0}, so it has no outcome yet")]
    NotFinal(JobState),
    /// A deferred has no more notes than this.
    #[error("it has {0} notes, which is the maximum")]
    TooManyNotes(usize),
    /// The follow-ups have been dispatched.
    #[error("it is settled already")]
    Settled,
    /// A worker with this id is registered.
    #[error("worker {0:?} is registered already")]
    WorkerExists(String),
    /// No worker with this id is registered.
    #[error("worker {0:?} is not registered")]
    NoWorker(String),
    /// The worker is in a state that does not allow the operation.
    #[error("the worker is {found}, not {expected}")]
    WorkerState {
        /// Its state.
        found: WorkerState,
        /// The state that the operation needs.
        expected: WorkerState,
    },
    /// The worker has sent a beat after the one that was seen, so it is alive.
    #[error("the worker has sent a beat")]
    WorkerAlive,
    /// A worker that has jobs is not removed.
    #[error("the worker has active jobs")]
    WorkerActive,
    /// The job is not among the active jobs of the worker.
    #[error("{0} is not an active job of the worker")]
    NotActive(ObjectId),
    /// The worker executes the job.
    #[error("the worker executes the job")]
    StillRunning,
}

impl LayoutError {
    pub(crate) fn malformed(path: String, found: &PyValue, expected: &'static str) -> Self {
        Self::Malformed { path, found: shown(found), expected }
    }
}

/// The error of an object at a path of the layout.
pub(crate) fn at(path: &str, error: rzeo_objects::Error) -> Error {
    let path = || String::from(path);
    match error {
        rzeo_objects::Error::NotLoaded(_) => Error::Objects(error),
        rzeo_objects::Error::NoSuchObject(oid) => {
            LayoutError::Dangling { path: path(), oid }.into()
        }
        error => LayoutError::Unusable { path: path(), error: Box::new(error) }.into(),
    }
}

/// A value for a message.
pub(crate) fn shown(value: &PyValue) -> String {
    let mut text = format!("{value:?}");
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARS_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}
