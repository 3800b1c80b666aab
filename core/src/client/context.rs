//! What the parts of a client have in common: the time, the settings, the cache, the outputs, the numbers
//! of calls.
//!
//! The outer machine owns it and lends it to the part that handles something.

use alloc::collections::VecDeque;
use alloc::string::String;

use super::answer::Answer;
use super::cache::Cache;
use super::error::CallError;
use super::ids::CallId;
use super::output::{Event, Output};
use super::settings::ClientSettings;
use crate::server::LogLevel;
use crate::time::Instant;

/// What the parts of a client have in common.
#[derive(Debug)]
pub(super) struct Context {
    /// When the input or command that is being handled came.
    pub(super) now: Instant,
    pub(super) settings: ClientSettings,
    pub(super) cache: Cache,
    outputs: VecDeque<Output>,
    last_call: u64,
}

/// A call that waits for a connection, or is asked again when its connection is lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) call: CallId,
    /// Since when it waits.
    pub(super) since: Instant,
    /// Number of connections that were lost since it was asked on the first.
    pub(super) losses: u8,
}

impl Context {
    pub(super) const fn new(now: Instant, settings: ClientSettings, cache: Cache) -> Self {
        Self { now, settings, cache, outputs: VecDeque::new(), last_call: 0 }
    }

    pub(super) const fn new_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    pub(super) const fn new_caller(&mut self) -> Caller {
        Caller { call: self.new_call(), since: self.now, losses: 0 }
    }

    pub(super) fn answer(&mut self, call: CallId, result: Result<Answer, CallError>) {
        self.event(Event::Answered { call, result });
    }

    pub(super) fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    pub(super) fn log(&mut self, level: LogLevel, text: String) {
        self.output(Output::Log(level, text));
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}
