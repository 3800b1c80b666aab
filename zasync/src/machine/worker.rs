//! The outer machine: it owns the parts and routes between them.

use alloc::collections::VecDeque;

use rzeo_core::Instant;

use super::bookkeeper::Bookkeeper;
use super::clock::StorageClock;
use super::context::Context;
use super::execution::earlier;
use super::executions::Executions;
use super::input::{Ended, Input, Outcome};
use super::output::{Output, StopReason};
use super::random::Random;
use super::settings::WorkerSettings;

/// A worker of one queue.
#[derive(Debug)]
pub struct Worker {
    cx: Context,
    bookkeeper: Bookkeeper,
    executions: Executions,
    /// When running functions are asked to stop.
    stop_at: Option<Instant>,
    /// When functions are abandoned that were asked to stop. If the storage cannot be reached then, the worker ends
    /// without it; others reap it.
    end_by: Option<Instant>,
    has_ended: bool,
}

/// The four methods of a machine.
impl Worker {
    /// A worker that waits for [`Input::Connected`]. Its random numbers follow from `seed`, which must be
    /// another one for every process.
    #[must_use]
    pub fn new(now: Instant, settings: WorkerSettings, seed: u64) -> Self {
        let queue = settings.queue.as_str().into();
        let mut cx = Context {
            now,
            settings,
            queue,
            clock: StorageClock::default(),
            random: Random::new(seed),
            outputs: VecDeque::new(),
        };
        let bookkeeper = Bookkeeper::new(&mut cx);
        Self {
            cx,
            bookkeeper,
            executions: Executions::default(),
            stop_at: None,
            end_by: None,
            has_ended: false,
        }
    }

    /// Takes an input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.cx.now = self.cx.now.max(now);
        let Self { cx, bookkeeper, executions, .. } = self;
        match input {
            Input::Connected { tid } => {
                cx.clock.seen(cx.now, tid);
                bookkeeper.connected(cx);
            }
            Input::Disconnected => bookkeeper.disconnected(),
            Input::Invalidated { tid, oids } => {
                cx.clock.seen(cx.now, tid);
                bookkeeper.invalidated(cx, executions, &oids);
            }
            Input::InvalidatedAll { tid } => {
                cx.clock.seen(cx.now, tid);
                bookkeeper.invalidated_all(cx);
            }
            Input::Kept(outcome) => {
                see_commit(cx, &outcome);
                bookkeeper.kept(cx, executions, outcome);
            }
            Input::Concluded { job, lease, outcome } => {
                see_commit(cx, &outcome);
                executions.concluded(cx, job, lease, outcome);
            }
            Input::Executed { job, lease, ended } => {
                if let Ended::Committed(tid) = ended {
                    cx.clock.seen(cx.now, tid);
                }
                executions.executed(cx, job, lease, ended);
            }
            Input::Drain { within, grace } => {
                bookkeeper.drain();
                let stop_at = cx.now.after(within);
                self.stop_at = earlier(self.stop_at, Some(stop_at));
                self.end_by = earlier(self.end_by, Some(stop_at.after(grace)));
            }
        }
        self.advance();
    }

    /// The next thing to do. Call it until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.has_ended {
            return None;
        }
        let is_connected = self.bookkeeper.is_connected();
        let bookkeeper = self.bookkeeper.timeout(&self.cx, &self.executions);
        let stop = self.stop_at.filter(|_| self.executions.count() > 0);
        let give_up = self.end_by.filter(|_| !is_connected);
        let machine = earlier(bookkeeper, self.executions.timeout(is_connected));
        earlier(machine, earlier(stop, give_up))
    }

    /// Does what is due. Calling early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.cx.now = self.cx.now.max(now);
        self.advance();
    }

    /// The id of the worker in the queue. A worker that was declared gone gets another one.
    #[must_use]
    pub fn id(&self) -> &str {
        self.bookkeeper.id()
    }

    fn advance(&mut self) {
        if self.has_ended {
            return;
        }
        let Self { cx, bookkeeper, executions, stop_at, end_by, has_ended } = self;
        if stop_at.is_some_and(|at| at <= cx.now) {
            executions.stop_all(cx, StopReason::Draining);
            executions.abandon_at(end_by.unwrap_or(cx.now));
            // It is not asked again: what does not stop is abandoned.
            *stop_at = None;
        }
        executions.handle_timeout(cx, bookkeeper.is_connected());
        bookkeeper.over(cx, executions.take_over());
        bookkeeper.advance(cx, executions);
        let has_given_up = !bookkeeper.is_connected() && end_by.is_some_and(|at| at <= cx.now);
        if bookkeeper.has_left() || has_given_up {
            *has_ended = true;
            cx.output(Output::Ended);
        }
    }
}

fn see_commit(cx: &mut Context, outcome: &Outcome) {
    if let Outcome::Committed { tid: Some(tid), .. } = outcome {
        cx.clock.seen(cx.now, *tid);
    }
}
