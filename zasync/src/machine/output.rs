//! What the driver of a worker is to do.

use alloc::string::String;
use alloc::vec::Vec;

use rzeo_core::{Oid, Tid};
use rzeo_objects::PyValue;

use super::event::Event;
use super::operation::Operation;
use crate::job::Lease;

/// Something to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Commit this operation, then report [`Input::Kept`](super::Input::Kept). There is one at a time.
    Keep(Operation),
    /// Commit this operation beside others, then report [`Input::Concluded`](super::Input::Concluded).
    /// There is one at a time for each job.
    Conclude {
        /// The job.
        job: Oid,
        /// The claim that it belongs to.
        lease: Lease,
        /// What to do.
        operation: Operation,
    },
    /// Execute a function, then report [`Input::Executed`](super::Input::Executed).
    Execute(Task),
    /// Ask a function that is executed to stop.
    Stop {
        /// The job.
        job: Oid,
        /// The claim that it belongs to.
        lease: Lease,
        /// Why.
        reason: StopReason,
    },
    /// The function does not stop. Leave it alone, or kill what executes it: the job is no longer this
    /// worker's, and what the function commits is refused.
    Abandon {
        /// The job.
        job: Oid,
        /// The claim that it belongs to.
        lease: Lease,
    },
    /// Something to be logged.
    Event(Event),
    /// The worker has left the queue. There is nothing more to do.
    Ended,
}

/// A function to be executed.
#[derive(Clone, Debug)]
pub struct Task {
    /// The job record.
    pub job: Oid,
    /// The claim.
    pub lease: Lease,
    /// The id of the job.
    pub id: String,
    /// The function: `module.path:name`.
    pub call: String,
    /// Positional arguments.
    pub args: Vec<PyValue>,
    /// Keyword arguments.
    pub kwargs: Vec<(String, PyValue)>,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Execute it on a snapshot that has this commit, in which the job was claimed.
    pub claimed: Tid,
}

/// Why a function is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Cancelling the job was requested.
    Cancelled,
    /// The attempt has taken longer than the option `timeout` allows.
    Timeout,
    /// The worker stops.
    Draining,
    /// Another program has the job, or it has ended.
    Fenced,
}
