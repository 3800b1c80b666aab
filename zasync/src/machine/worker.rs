//! The outer machine: it owns the parts and routes between them.

use rzeo_core::Instant;

use super::input::Input;
use super::output::Output;
use super::settings::WorkerSettings;

/// A worker of one queue.
#[derive(Debug)]
pub struct Worker {
    settings: WorkerSettings,
}

/// The four methods of a machine.
impl Worker {
    /// A worker that waits for [`Input::Connected`]. Its random numbers follow from `seed`, which must be
    /// another one for every process.
    #[must_use]
    pub fn new(now: Instant, settings: WorkerSettings, seed: u64) -> Self {
        let _ = (now, seed);
        Self { settings }
    }

    /// Tells the worker what happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let _ = (now, input);
    }

    /// The next thing to do. Call it until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When to call [`Self::handle_timeout`], if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Tells the worker that time has passed. Calling early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }
}
