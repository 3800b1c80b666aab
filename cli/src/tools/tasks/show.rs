//! Jobs and workers as text and as JSON.

use std::fmt::Write as _;

use jiff::Timestamp;
use rzeo_client::UnixTime;
use rzeo_objects::PyValue;
use rzeo_tasks::{JobReport, WorkerReport};
use serde_json::{Map, Value as Json, json};

use super::json::to_json as value_to_json;

/// Maximum characters of arguments in a table.
const SHOWN_MAX: usize = 40;

/// A job with everything that is known of it.
pub(super) fn to_json(report: &JobReport) -> Json {
    let JobReport { oid, job, notes } = report;
    let time = |time: Option<UnixTime>| time.map_or(Json::Null, |time| shown_time(time).into());
    let kwargs: Map<String, Json> =
        job.kwargs.iter().map(|(name, value)| (name.clone(), value_to_json(value))).collect();
    let notes: Map<String, Json> =
        notes.iter().map(|(name, value)| (name.clone(), value_to_json(value))).collect();
    let value = |value: &Option<PyValue>| value.as_ref().map_or(Json::Null, value_to_json);
    json!({
        "oid": oid.to_string(),
        "id": job.id,
        "call": job.call,
        "args": job.args.iter().map(value_to_json).collect::<Vec<_>>(),
        "kwargs": kwargs,
        "state": job.state().text(),
        "worker": job.owner,
        "attempt": job.attempt,
        "interruptions": job.interruptions,
        "begin_after": time(job.options.begin_after),
        "started": time(job.started),
        "result": value(&job.deferred.result),
        "failure": value(&job.deferred.failure),
        "errors": job.errors.iter().map(value_to_json).collect::<Vec<_>>(),
        "cancel": job.deferred.is_cancel_requested,
        "settled": job.deferred.is_settled,
        "notes": notes,
    })
}

/// The same as lines; what is not there is left out.
pub(super) fn text(report: &JobReport) -> String {
    let Json::Object(items) = to_json(report) else { return String::new() };
    let mut text = String::new();
    for (key, value) in &items {
        match value {
            Json::Null | Json::Bool(false) => {}
            Json::Array(items) if items.is_empty() => {}
            Json::Object(items) if items.is_empty() => {}
            Json::Object(items) => {
                let _ = writeln!(text, "{key}:");
                for (key, value) in items {
                    let _ = writeln!(text, "  {key}: {}", indented(value));
                }
            }
            value => {
                let _ = writeln!(text, "{key}: {}", indented(value));
            }
        }
    }
    text
}

/// Texts as they are, with their further lines below each other.
fn indented(value: &Json) -> String {
    match value.as_str() {
        Some(text) => text.trim_end().replace('\n', "\n    "),
        None => value.to_string(),
    }
}

/// Why a job has no result.
pub(super) fn outcome(report: &JobReport) -> String {
    let state = report.job.state();
    let failure = report.job.deferred.failure.as_ref().map(value_to_json).unwrap_or_default();
    let part = |key: &str| failure.get(key).and_then(Json::as_str).map(str::to_owned);
    match (part("kind"), part("message")) {
        (Some(kind), Some(message)) => format!("the job is {state}: {kind}: {message}"),
        _ => format!("the job is {state}"),
    }
}

/// Jobs, then workers, in aligned columns.
pub(super) fn table(jobs: &[JobReport], workers: &[WorkerReport]) -> String {
    let mut rows = vec![["oid", "state", "attempt", "call", "arguments"].map(str::to_owned)];
    for JobReport { oid, job, .. } in jobs {
        let args: Vec<String> = job.args.iter().map(|arg| value_to_json(arg).to_string()).collect();
        let (oid, state) = (oid.to_string(), job.state().text().to_owned());
        rows.push([oid, state, job.attempt.to_string(), job.call.clone(), short(&args.join(" "))]);
    }
    let mut text = aligned(&rows);
    if !workers.is_empty() {
        text.push('\n');
        let mut rows = vec![["worker", "state", "last beat", "jobs"].map(str::to_owned)];
        for WorkerReport { id, state, beat, jobs } in workers {
            let state = state.map_or("malformed", rzeo_tasks::rzeo_zasync::WorkerState::text);
            let (beat, jobs) = (shown_time(beat.to_unix()), jobs.len().to_string());
            rows.push([id.clone(), state.to_owned(), beat, jobs]);
        }
        text += &aligned(&rows);
    }
    text
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn shown_time(time: UnixTime) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds fit many times over")]
    let time = Timestamp::from_millisecond((time.0 * 1e3) as i64);
    time.map_or_else(|_| "no time".to_owned(), |time| format!("{time:.3}"))
}
