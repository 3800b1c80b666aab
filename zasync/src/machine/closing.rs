//! Jobs whose attempt is over: they are settled and removed from `active`, several in one transaction.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use rzeo_core::{Instant, Oid};

use super::bookkeeping::ClosedJob;
use super::context::Context;
use super::event::Event;

/// How long a job waits for others to be settled with it.
const WAIT: Duration = Duration::from_millis(50);

/// Maximum number of jobs that are settled in one transaction, and number of jobs that do not wait for
/// others.
const JOBS_MAX: usize = 64;

/// Jobs to be settled.
#[derive(Debug, Default)]
pub(super) struct Closing {
    jobs: BTreeSet<Oid>,
    since: Option<Instant>,
}

impl Closing {
    pub(super) fn add(&mut self, now: Instant, jobs: Vec<Oid>) {
        if !jobs.is_empty() {
            self.since.get_or_insert(now);
            self.jobs.extend(jobs);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = Oid> {
        self.jobs.iter().copied()
    }

    /// When the jobs are to be settled. Without other jobs that could end there is nothing to wait for.
    pub(super) fn at(&self, are_others_running: bool) -> Option<Instant> {
        let since = self.since?;
        let is_due = !are_others_running || self.jobs.len() >= JOBS_MAX;
        Some(if is_due { since } else { since.after(WAIT) })
    }

    pub(super) fn next(&self) -> Vec<Oid> {
        self.jobs.iter().copied().take(JOBS_MAX).collect()
    }

    /// Jobs that the worker has after all are for the audit.
    pub(super) fn closed(&mut self, cx: &mut Context, closed: Vec<(Oid, ClosedJob)>) {
        for (job, closed) in closed {
            self.jobs.remove(&job);
            match closed {
                ClosedJob::Settled(lost) => {
                    for error in lost {
                        cx.event(Event::Malformed { error });
                    }
                }
                ClosedJob::Malformed(error) => cx.event(Event::Malformed { error }),
                ClosedJob::Released | ClosedJob::Running => {}
            }
        }
        self.since = (!self.jobs.is_empty()).then_some(cx.now);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
