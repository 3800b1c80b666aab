//! One line of the log for each event.

use std::time::Duration;

use rzeo_zasync::machine::{Event, JobEvent, JobInfo};

/// Writes an event of a worker to the log.
pub(super) fn event(worker: &str, event: &Event) {
    match event {
        Event::Registered { worker } => tracing::info!(worker, "worker registered"),
        Event::DeclaredGone { worker } => {
            tracing::warn!(worker, "worker was taken for dead; it registers again");
        }
        Event::Job { job: info, what } => job(worker, info, what),
        Event::Reaped { worker: dead, job, state } => {
            let state = state.map(|state| state.text());
            tracing::warn!(worker, dead, %job, state, "job taken from a dead worker");
        }
        Event::Forgotten { worker: dead } => tracing::warn!(worker, dead, "dead worker removed"),
        Event::Returned { jobs } => {
            tracing::warn!(worker, jobs = %list(jobs), "jobs of an unknown commit given back");
        }
        Event::Tended { operation, jobs } => {
            tracing::info!(worker, operation, jobs = %list(jobs), "jobs without a worker tended");
        }
        Event::Malformed { error } => tracing::error!(worker, error, "malformed job"),
        Event::Trouble { operation, error } => {
            tracing::warn!(worker, operation, error, "transaction failed; it is tried again");
        }
        Event::Left => tracing::info!(worker, "worker left"),
    }
}

fn list(jobs: &[rzeo_core::Oid]) -> String {
    jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn job(worker: &str, info: &JobInfo, what: &JobEvent) {
    let JobInfo { oid, id, call, attempt } = info;
    macro_rules! log {
        ($level:ident, $text:literal $(, $($field:tt)*)?) => {
            tracing::$level!(job = %id, %oid, %call, attempt, worker, $($($field)*,)? $text)
        };
    }
    match what {
        JobEvent::Taken { waited } => log!(info, "job taken", wait_ms = milliseconds(*waited)),
        JobEvent::Done { ran } => log!(info, "job done", run_ms = milliseconds(*ran)),
        JobEvent::Retried { at, message } => {
            log!(warn, "attempt failed; the job is executed again", at = at.0, error = message);
        }
        JobEvent::Failed { kind, message } => log!(error, "job failed", kind, error = message),
        JobEvent::Snoozed { until } => log!(info, "job goes on later", until = until.0),
        JobEvent::Conflicted => log!(info, "changes conflicted; the function is executed again"),
        JobEvent::Died { message } => log!(error, "process died", error = message),
        JobEvent::Cancelled => log!(info, "job cancelled"),
        JobEvent::Expired => log!(info, "job expired"),
        JobEvent::GivenBack => log!(info, "job given back"),
        JobEvent::Fenced => log!(warn, "job lost to another worker"),
        JobEvent::Abandoned => log!(error, "function does not stop; it is abandoned"),
    }
}
