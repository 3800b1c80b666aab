//! Settings of a worker.

use alloc::string::String;
use core::time::Duration;

use crate::retry::Retry;
use crate::worker::WorkerInfo;

/// Settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Name of the queue.
    pub queue: String,
    /// Beginning of the worker's id, such as the name of its host. A random part follows.
    pub name: String,
    /// What its record contains: which calls it executes, and how many at the same time.
    pub info: WorkerInfo,
    /// For jobs without an option `retry` whose function has no default either.
    pub retry: Retry,
    /// Time from one beat to the next.
    pub beat: Duration,
    /// A worker is dead if its beat has stayed the same for this time, by the clock of the one that
    /// watches, and during four of its own beats.
    pub dead_after: Duration,
    /// How long a function may go on after it was asked to stop. Then it is abandoned.
    pub grace: Duration,
}
