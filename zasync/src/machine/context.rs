//! What the parts of the machine share.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use rzeo_core::{Instant, UnixTime};

use super::clock::StorageClock;
use super::conclusion::Conclusion;
use super::event::{Event, JobEvent, JobInfo};
use super::operation::Operation;
use super::output::Output;
use super::random::Random;
use super::settings::WorkerSettings;

/// Time, random numbers, settings and outputs.
#[derive(Debug)]
pub(super) struct Context {
    /// The time of the present input.
    pub(super) now: Instant,
    pub(super) settings: WorkerSettings,
    pub(super) queue: Arc<str>,
    pub(super) clock: StorageClock,
    pub(super) random: Random,
    pub(super) outputs: VecDeque<Output>,
}

impl Context {
    /// The time of the storage.
    pub(super) fn time(&self) -> UnixTime {
        self.clock.time(self.now)
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    pub(super) fn job_event(&mut self, job: &JobInfo, what: JobEvent) {
        self.event(Event::Job { job: job.clone(), what });
    }

    /// Has the end of an attempt committed.
    pub(super) fn conclude(&mut self, conclusion: Conclusion) {
        let (job, lease) = (conclusion.job, conclusion.lease);
        let operation = Operation::conclusion(self.queue.clone(), self.time(), conclusion);
        self.output(Output::Conclude { job, lease, operation });
    }
}
