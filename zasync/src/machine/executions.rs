//! The jobs that the worker has.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rzeo_core::{Instant, Oid, Tid};

use super::bookkeeping::Looked;
use super::context::Context;
use super::event::JobInfo;
use super::execution::{Execution, earlier};
use super::input::{Ended, Outcome};
use super::operation::Of;
use super::output::StopReason;
use crate::error::Error;
use crate::job::{Job, Lease};

/// All executions, in the order of the oids of their jobs.
#[derive(Debug, Default)]
pub(super) struct Executions {
    /// A job can be here twice: the worker may claim it again while a lost execution of it still runs.
    all: BTreeMap<(Oid, u64), Execution>,
    /// Jobs whose attempt is over, and that are still in `active`.
    over: Vec<Oid>,
}

impl Executions {
    /// Executes a job that was claimed. A record that is not stored is no job.
    pub(super) fn begin(
        &mut self,
        cx: &mut Context,
        job: Job,
        lease: Lease,
        claimed: Tid,
    ) -> Option<JobInfo> {
        let execution = Execution::begin(cx, job, lease, claimed)?;
        let info = execution.info.clone();
        self.all.insert((execution.job, lease.0), execution);
        Some(info)
    }

    /// Number of jobs that the worker has.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Jobs whose attempt is over since the last call.
    pub(super) fn take_over(&mut self) -> Vec<Oid> {
        core::mem::take(&mut self.over)
    }

    pub(super) fn contains(&self, job: Oid) -> bool {
        self.all.range((job, 0)..=(job, u64::MAX)).next().is_some()
    }

    /// All jobs with their leases.
    pub(super) fn jobs(&self) -> Vec<(Oid, Lease)> {
        self.all.values().map(|execution| (execution.job, execution.lease)).collect()
    }

    pub(super) fn executed(&mut self, cx: &mut Context, job: Oid, lease: Lease, ended: Ended) {
        self.with(cx, job, lease, |execution, cx| execution.executed(cx, ended));
    }

    pub(super) fn concluded(&mut self, cx: &mut Context, job: Oid, lease: Lease, outcome: Outcome) {
        self.with(cx, job, lease, |execution, cx| match outcome {
            Outcome::Committed { answer, .. } => match answer.0 {
                Of::Conclusion(concluded) => execution.concluded(cx, concluded),
                // The driver has mixed up two answers.
                Of::Bookkeeping(_) => execution.conclude_later(cx),
            },
            Outcome::Refused(error) => execution.refused(cx, &error),
            Outcome::Denied(message) => execution.denied(cx, &message),
            Outcome::Conflict | Outcome::Unknown | Outcome::Lost => execution.conclude_later(cx),
        });
    }

    pub(super) fn looked(&mut self, cx: &mut Context, looked: Vec<(Oid, Lease, Looked)>) {
        for (job, lease, looked) in looked {
            self.with(cx, job, lease, |execution, cx| match looked {
                Looked::Running | Looked::Ended => {}
                Looked::CancelRequested => execution.stop(cx, StopReason::Cancelled),
                Looked::Lost => execution.stop(cx, StopReason::Fenced),
            });
        }
    }

    /// Asks all functions to stop.
    pub(super) fn stop_all(&mut self, cx: &mut Context, reason: StopReason) {
        for (job, lease) in self.jobs() {
            self.with(cx, job, lease, |execution, cx| execution.stop(cx, reason));
        }
    }

    /// Functions that were asked to stop are abandoned at this time at the latest.
    pub(super) fn abandon_at(&mut self, at: Instant) {
        for execution in self.all.values_mut() {
            execution.abandon_at(at);
        }
    }

    pub(super) fn timeout(&self, is_connected: bool) -> Option<Instant> {
        let timeouts = self.all.values().map(|execution| execution.timeout(is_connected));
        timeouts.fold(None, earlier)
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context, is_connected: bool) {
        for (job, lease) in self.jobs() {
            self.with(cx, job, lease, |execution, cx| execution.handle_timeout(cx, is_connected));
        }
    }

    fn with(
        &mut self,
        cx: &mut Context,
        job: Oid,
        lease: Lease,
        act: impl FnOnce(&mut Execution, &mut Context),
    ) {
        let key = (job, lease.0);
        let Some(execution) = self.all.get_mut(&key) else { return };
        act(execution, cx);
        if execution.is_over() {
            self.all.remove(&key);
            self.over.push(job);
        }
    }
}

/// Whether the worker is not registered any more.
pub(super) const fn is_gone(error: &Error) -> bool {
    use crate::error::Refusal;
    use crate::state::WorkerState;
    matches!(
        error,
        Error::Refused(
            Refusal::WorkerState { found: WorkerState::Gone, .. } | Refusal::NoWorker(_)
        )
    )
}
