//! One job that the worker has: from its claim until its outcome is stored.
//!
//! ```text
//!   Running ──► Concluding ──► gone
//!      ▲  │          │ unknown, lost, conflict
//!      │  ▼          ▼
//!   waits for     waits to conclude again
//!   execution
//! ```

use core::time::Duration;

use rzeo_core::{Instant, Oid, Tid};
use rzeo_objects::PyValue;

use super::backoff::Backoff;
use super::conclusion::{Concluded, Conclusion, End};
use super::context::Context;
use super::event::{JobEvent, JobInfo};
use super::input::{Ended, NotCommitted};
use super::output::{Output, StopReason, Task};
use crate::error::{Error, Refusal};
use crate::failure::Failure;
use crate::job::{Job, Lease};
use crate::retry::Retry;
use crate::state::JobState;

/// Number of times that a function whose changes conflicted is executed again at once.
const CONFLICTS_AT_ONCE: u32 = 5;

/// Delays before a function whose changes conflicted again is executed again, and before a commit is
/// repeated.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));

/// A job that the worker has.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) job: Oid,
    pub(super) lease: Lease,
    pub(super) info: JobInfo,
    task: Task,
    /// The option `retry` of the job.
    retry: Option<Retry>,
    /// When the attempt is over.
    timeout: Option<Instant>,
    began: Instant,
    state: State,
    /// The function was asked to stop, and is abandoned at this time.
    stop: Option<(StopReason, Instant)>,
    backoff: Backoff,
}

#[derive(Debug)]
enum State {
    /// The function is executed.
    Running,
    /// It is executed again at this time, when the storage can be reached.
    Waiting(Instant),
    /// The end of the attempt is committed.
    Concluding(End),
    /// It is committed again at this time, when the storage can be reached.
    ConcludingAgain(End, Instant),
    /// The outcome is stored, or others have the job.
    Over,
}

impl Execution {
    /// Begins to execute a job that was claimed.
    pub(super) fn begin(cx: &mut Context, job: Job, lease: Lease, claimed: Tid) -> Option<Self> {
        let oid = job.object().oid()?;
        let info = JobInfo {
            oid,
            id: job.id.as_str().into(),
            call: job.call.as_str().into(),
            attempt: job.attempt,
        };
        let timeout = job.options.timeout.map(|seconds| {
            let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            cx.now.after(wait)
        });
        let task = Task {
            job: oid,
            lease,
            id: job.id,
            call: job.call,
            args: job.args,
            kwargs: job.kwargs,
            attempt: job.attempt,
            claimed,
        };
        let mut execution = Self {
            job: oid,
            lease,
            info,
            task,
            retry: job.options.retry,
            timeout,
            began: cx.now,
            state: State::Over,
            stop: None,
            backoff: AGAIN,
        };
        execution.execute(cx);
        Some(execution)
    }

    /// Whether it can be forgotten.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether the function is executed, or will be.
    const fn is_executing(&self) -> bool {
        matches!(self.state, State::Running | State::Waiting(_))
    }

    fn execute(&mut self, cx: &mut Context) {
        self.state = State::Running;
        cx.output(Output::Execute(self.task.clone()));
    }

    fn conclude(&mut self, cx: &mut Context, end: End) {
        self.state = State::Concluding(end.clone());
        cx.conclude(Conclusion { job: self.job, lease: self.lease, end });
    }

    fn over(&mut self, cx: &mut Context, what: JobEvent) {
        self.state = State::Over;
        cx.job_event(&self.info, what);
    }

    /// Asks the function to stop, unless that was done already.
    pub(super) fn stop(&mut self, cx: &mut Context, reason: StopReason) {
        if !self.is_executing() || self.stop.is_some() {
            return;
        }
        let grace = cx.now.after(cx.settings.grace);
        self.stop = Some((reason, grace));
        if matches!(self.state, State::Waiting(_)) {
            // The function does not run now.
            self.stopped(cx, reason);
        } else {
            cx.output(Output::Stop { job: self.job, lease: self.lease, reason });
        }
    }

    /// A function that was asked to stop is abandoned at this time at the latest.
    pub(super) fn abandon_at(&mut self, latest: Instant) {
        if let Some((_, at)) = &mut self.stop {
            *at = latest.min(*at);
        }
    }

    /// The function does not run any more, because of this.
    fn stopped(&mut self, cx: &mut Context, reason: StopReason) {
        match reason {
            StopReason::Cancelled => self.conclude(cx, End::Stop),
            StopReason::Timeout => {
                let text = "the attempt took longer than the option timeout allows";
                self.fail(cx, Failure::new("timeout", text), None);
            }
            StopReason::Draining => self.conclude(cx, End::GiveBack),
            StopReason::Fenced => self.over(cx, JobEvent::Fenced),
        }
    }

    fn fail(&mut self, cx: &mut Context, failure: Failure, default: Option<Retry>) {
        let default = default.unwrap_or(cx.settings.retry);
        let random = cx.random.next();
        self.conclude(cx, End::Fail { failure, default, random });
    }

    /// How the execution of the function ended.
    pub(super) fn executed(&mut self, cx: &mut Context, ended: Ended) {
        if !matches!(self.state, State::Running) {
            return;
        }
        let is_committed = matches!(ended, Ended::Committed(_));
        if !is_committed && matches!(self.stop, Some((StopReason::Fenced, _))) {
            return self.over(cx, JobEvent::Fenced);
        }
        match ended {
            Ended::Returned(result) => self.returned(cx, result),
            Ended::Committed(_) => {
                let ran = cx.now.since(self.began);
                self.over(cx, JobEvent::Done { ran });
            }
            Ended::Failed { failure, retry } => self.fail(cx, failure, retry),
            Ended::Snoozed { until } => self.conclude(cx, End::Snooze(until)),
            Ended::Stopped => match self.stop {
                Some((reason, _)) => self.stopped(cx, reason),
                None => {
                    let text = "the function stopped, and was not asked to";
                    self.fail(cx, Failure::new("stopped", text), None);
                }
            },
            Ended::Died { message } => {
                cx.job_event(&self.info, JobEvent::Died { message });
                self.conclude(cx, End::Crash);
            }
            Ended::NotCommitted(why) => self.not_committed(cx, why),
        }
    }

    fn returned(&mut self, cx: &mut Context, result: PyValue) {
        self.conclude(cx, End::Finish(result));
    }

    fn not_committed(&mut self, cx: &mut Context, why: NotCommitted) {
        let is_once = self.retry == Some(Retry::Never);
        match why {
            NotCommitted::Unknown => self.conclude(cx, End::Renew),
            NotCommitted::Refused(Error::Refused(Refusal::Fenced(_))) => {
                self.over(cx, JobEvent::Fenced);
            }
            NotCommitted::Refused(Error::Refused(Refusal::CancelRequested)) => {
                self.conclude(cx, End::Stop);
            }
            NotCommitted::Refused(error) => {
                self.fail(cx, Failure::new("malformed", error), Some(Retry::Never));
            }
            NotCommitted::Denied(message) => {
                let text = alloc::format!("the storage does not accept the changes: {message}");
                self.fail(cx, Failure::new("storage", text), None);
            }
            NotCommitted::Conflict | NotCommitted::Lost if is_once => {
                let text = "the changes of the function were not committed, and it is not repeated";
                self.fail(cx, Failure::new("interrupted", text), None);
            }
            NotCommitted::Conflict => {
                cx.job_event(&self.info, JobEvent::Conflicted);
                self.execute_again(cx);
            }
            NotCommitted::Lost => self.execute_later(cx),
        }
    }

    fn later(&mut self, cx: &mut Context) -> Instant {
        self.backoff.failed(cx.now, &mut cx.random)
    }

    /// Executes the function on the new state of the database. This is not another attempt.
    fn execute_again(&mut self, cx: &mut Context) {
        if self.stop.is_some() || self.backoff.failures() >= CONFLICTS_AT_ONCE {
            self.execute_later(cx);
        } else {
            self.later(cx);
            self.execute(cx);
        }
    }

    /// The same after a while, unless the function was asked to stop.
    fn execute_later(&mut self, cx: &mut Context) {
        match self.stop {
            Some((reason, _)) => self.stopped(cx, reason),
            None => self.state = State::Waiting(self.later(cx)),
        }
    }

    /// The end of the attempt is committed.
    pub(super) fn concluded(&mut self, cx: &mut Context, concluded: Concluded) {
        let State::Concluding(end) = core::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        let what = match concluded {
            Concluded::Running => {
                // The commit with unknown outcome has failed.
                return if self.retry == Some(Retry::Never) {
                    self.state = State::Running;
                    self.not_committed(cx, NotCommitted::Lost);
                } else {
                    self.execute_again(cx);
                };
            }
            Concluded::Retry(at) => match end {
                End::Fail { failure, .. } => JobEvent::Retried { at, message: failure.message },
                _ => JobEvent::Snoozed { until: at },
            },
            Concluded::Ended(state) | Concluded::Already(state) => self.ended(cx, state, end),
        };
        self.over(cx, what);
    }

    fn ended(&self, cx: &Context, state: JobState, end: End) -> JobEvent {
        match (state, end) {
            (JobState::Done, _) => JobEvent::Done { ran: cx.now.since(self.began) },
            (JobState::Failed, End::Fail { failure, .. }) => {
                JobEvent::Failed { kind: failure.kind, message: failure.message }
            }
            (JobState::Failed, End::Crash) if self.retry != Some(Retry::Never) => {
                JobEvent::Failed {
                    kind: "poison".into(),
                    message: "it died again and again".into(),
                }
            }
            (JobState::Failed, _) => JobEvent::Failed {
                kind: "interrupted".into(),
                message: "the attempt did not end".into(),
            },
            (JobState::Cancelled, _) => JobEvent::Cancelled,
            (JobState::Expired, _) => JobEvent::Expired,
            _ => JobEvent::GivenBack,
        }
    }

    /// The end of the attempt was refused.
    pub(super) fn refused(&mut self, cx: &mut Context, error: &Error) {
        if !matches!(self.state, State::Concluding(_)) {
            return;
        }
        match error {
            Error::Refused(Refusal::CancelRequested) => self.conclude(cx, End::Stop),
            Error::Refused(Refusal::NotCancelled) => self.conclude(cx, End::GiveBack),
            Error::Refused(Refusal::Option { .. }) => {
                self.fail(cx, Failure::new("snooze", error), Some(Retry::Never));
            }
            // Others have the job, or it is damaged: what the function did is dropped.
            _ => self.over(cx, JobEvent::Fenced),
        }
    }

    /// The end of the attempt is not committed, or perhaps; it is committed again later.
    pub(super) fn conclude_later(&mut self, cx: &mut Context) {
        if let State::Concluding(end) = core::mem::replace(&mut self.state, State::Over) {
            let at = self.later(cx);
            self.state = State::ConcludingAgain(end, at);
        }
    }

    /// The storage does not accept the end of the attempt.
    pub(super) fn denied(&mut self, cx: &mut Context, message: &str) {
        if let State::Concluding(End::Finish(_)) = self.state {
            let text = alloc::format!("the storage does not accept the result: {message}");
            return self.fail(cx, Failure::new("result", text), Some(Retry::Never));
        }
        self.conclude_later(cx);
    }

    /// When something has to be done. What needs the storage waits if it cannot be reached.
    pub(super) fn timeout(&self, is_connected: bool) -> Option<Instant> {
        let stored = |at: Instant| is_connected.then_some(at);
        match &self.state {
            State::Running => self.stop.map(|(_, grace)| grace).or(self.timeout),
            State::Waiting(at) => {
                earlier(stored(*at), self.timeout.filter(|_| self.stop.is_none()))
            }
            State::ConcludingAgain(_, at) => stored(*at),
            State::Concluding(_) | State::Over => None,
        }
    }

    /// Does what is due. Returns whether the function was abandoned.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context, is_connected: bool) {
        if self.timeout(is_connected).is_none_or(|at| cx.now < at) {
            return;
        }
        match core::mem::replace(&mut self.state, State::Over) {
            State::ConcludingAgain(end, _) => self.conclude(cx, end),
            state @ (State::Concluding(_) | State::Over) => self.state = state,
            State::Running => {
                self.state = State::Running;
                match self.stop {
                    None => self.stop(cx, StopReason::Timeout),
                    Some((reason, _)) => {
                        cx.output(Output::Abandon { job: self.job, lease: self.lease });
                        cx.job_event(&self.info, JobEvent::Abandoned);
                        self.stopped(cx, reason);
                    }
                }
            }
            State::Waiting(at) => {
                self.state = State::Waiting(at);
                if self.timeout.is_some_and(|timeout| timeout <= cx.now) {
                    self.stop(cx, StopReason::Timeout);
                } else {
                    self.execute(cx);
                }
            }
        }
    }
}

/// The earlier one of two times that may be unknown.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
