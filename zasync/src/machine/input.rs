//! What happens to a worker.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use rzeo_core::{Oid, Tid, UnixTime};
use rzeo_objects::PyValue;

use super::operation::Answer;
use crate::error::Error;
use crate::failure::Failure;
use crate::job::Lease;
use crate::retry::Retry;

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The storage can be reached. `tid` is its last commit that is known.
    Connected {
        /// The last commit.
        tid: Tid,
    },
    /// The storage cannot be reached.
    Disconnected,
    /// Others have changed these objects.
    Invalidated {
        /// The commit.
        tid: Tid,
        /// The objects.
        oids: Arc<[Oid]>,
    },
    /// Anything may have changed up to this commit.
    InvalidatedAll {
        /// The commit.
        tid: Tid,
    },
    /// How the operation of the last [`Output::Keep`](super::Output::Keep) ended.
    Kept(Outcome),
    /// How the operation of an [`Output::Conclude`](super::Output::Conclude) ended.
    Concluded {
        /// The job.
        job: Oid,
        /// The claim that it belongs to.
        lease: Lease,
        /// How it ended.
        outcome: Outcome,
    },
    /// How an execution ended. Each [`Output::Execute`](super::Output::Execute) has exactly one, also after
    /// [`Output::Stop`](super::Output::Stop); one that comes after
    /// [`Output::Abandon`](super::Output::Abandon) is ignored.
    Executed {
        /// The job.
        job: Oid,
        /// The claim that it belongs to.
        lease: Lease,
        /// How it ended.
        ended: Ended,
    },
    /// The worker takes no more jobs, and ends when it has none. What runs after `within` is asked to
    /// stop, and abandoned after `grace`. A second time can only shorten these times.
    Drain {
        /// The time for jobs to end by themselves.
        within: Duration,
        /// The time after that for functions to stop.
        grace: Duration,
    },
}

/// How a transaction ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is committed, or had nothing to commit.
    Committed {
        /// The commit; `None` if nothing was changed.
        tid: Option<Tid>,
        /// The result of the operation.
        answer: Answer,
        /// The objects that the operation has read: a change of one of them can change the result.
        read: Vec<Oid>,
    },
    /// The operation refused to do it.
    Refused(Error),
    /// Others have changed what it read, again and again.
    Conflict,
    /// The connection was lost while it was committed. It may be committed, also later.
    Unknown,
    /// The storage could not be reached. Nothing is committed.
    Lost,
    /// The storage does not commit it, for example because its disk is full or the record too large.
    Denied(String),
}

/// How the execution of a function ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The function has returned a value, which is not stored yet.
    Returned(PyValue),
    /// What the function has changed and its result are committed, with the state of the job.
    Committed(Tid),
    /// The function has failed. Nothing of it is stored.
    Failed {
        /// Why.
        failure: Failure,
        /// The function's default, for a job without an option `retry`.
        retry: Option<Retry>,
    },
    /// The function is to be called again later, at its own wish.
    Snoozed {
        /// When.
        until: UnixTime,
    },
    /// The function has stopped because it was asked to.
    Stopped,
    /// What executed the function died.
    Died {
        /// Why, for people.
        message: String,
    },
    /// The transaction of the function's changes and its result was not committed.
    NotCommitted(NotCommitted),
}

/// Why the changes of a function are not stored with its result.
#[derive(Clone, Debug)]
pub enum NotCommitted {
    /// Others have changed what it read.
    Conflict,
    /// The connection was lost while it was committed. It may be committed, also later.
    Unknown,
    /// The storage could not be reached.
    Lost,
    /// The job does not belong to this claim any more, or cancelling it was requested.
    Refused(Error),
    /// The storage does not commit it, for example because its disk is full or the record too large.
    Denied(String),
}
