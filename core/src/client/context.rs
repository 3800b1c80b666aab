//! What the parts of a client have in common: the time, the settings, the cache, the outputs, the numbers
//! of calls.
//!
//! The outer machine owns it and lends it to the part that handles something.

use alloc::collections::VecDeque;
use alloc::string::String;

use super::answer::{Answer, Call};
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
#[derive(Debug)]
pub(super) struct Caller<A> {
    pub(super) call: Call<A>,
    /// Since when it waits.
    pub(super) since: Instant,
    /// Number of connections that were lost since it was asked on the first.
    pub(super) losses: u8,
}

impl<A> Clone for Caller<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Caller<A> {}

impl Context {
    pub(super) const fn new(now: Instant, settings: ClientSettings, cache: Cache) -> Self {
        Self { now, settings, cache, outputs: VecDeque::new(), last_call: 0 }
    }

    pub(super) const fn new_call<A>(&mut self) -> Call<A> {
        self.last_call += 1;
        Call::new(CallId(self.last_call))
    }

    pub(super) const fn new_caller<A>(&mut self) -> Caller<A> {
        Caller { call: self.new_call(), since: self.now, losses: 0 }
    }

    pub(super) fn answer<A: Into<Answer>>(&mut self, call: Call<A>, result: Result<A, CallError>) {
        self.event(Event::Answered { call: call.id, result: result.map(Into::into) });
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
