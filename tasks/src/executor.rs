//! What executes functions for a worker.

use rzeo_zasync::Lease;
use rzeo_zasync::machine::{Ended, StopReason, Task};

/// Called once, with how an execution ended.
pub type Done = Box<dyn FnOnce(Ended) + Send>;

/// Something that executes functions.
pub trait Executor: Send + Sync {
    /// Executes a function. Returns at once.
    fn execute(&self, task: Task, done: Done);

    /// Asks a function to stop.
    fn stop(&self, lease: Lease, reason: StopReason);

    /// Kills what executes a function, or leaves it alone if that is not possible.
    fn abandon(&self, lease: Lease);
}
