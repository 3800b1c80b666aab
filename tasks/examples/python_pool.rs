//! Executes claimed jobs in Python processes, for the tests in Python (`tests/test_tasks_pool.py`). Every
//! line of the standard input and output is JSON.
//!
//! ```text
//! → {"address": "127.0.0.1:8100", "python": "python3", "path": "/app", "allow": ["app.*"], …}
//! ← {"ready": true}, or {"error": "…"}
//! → {"execute": {"job": 1, "lease": 2, "claimed": 3, "id": "a", "call": "app:f", "attempt": 1}}
//! → {"stop": 2}, {"abandon": 2}
//! ← {"lease": 2, "ended": "Committed", "tid": 4}
//! ← {"log": "a line", "job": "a"}
//! ```

use std::error::Error;
use std::fmt;
use std::io::{BufRead, Write};
use std::time::Duration;

use rzeo_core::{Oid, Tid};
use rzeo_tasks::Executor;
use rzeo_tasks::python::{PythonPool, PythonSettings};
use rzeo_zasync::Lease;
use rzeo_zasync::machine::{Ended, StopReason, Task};
use serde_json::{Map, Value as Json, json};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::registry().with(Log).init();
    let mut lines = std::io::stdin().lock().lines();
    let settings: Json = serde_json::from_str(&lines.next().ok_or("no settings")??)?;
    let pool = match PythonPool::start(read_settings(&settings)?) {
        Ok(pool) => pool,
        Err(error) => {
            send(&json!({ "error": error.to_string() }));
            return Ok(());
        }
    };
    send(&json!({ "ready": true }));
    for line in lines {
        let request: Json = serde_json::from_str(&line?)?;
        if let Some(lease) = request["stop"].as_i64() {
            pool.stop(Lease(lease.cast_unsigned()), StopReason::Cancelled);
        } else if let Some(lease) = request["abandon"].as_i64() {
            pool.abandon(Lease(lease.cast_unsigned()));
        } else {
            let task = read_task(&request["execute"]);
            let lease = task.lease.0.cast_signed();
            pool.execute(task, Box::new(move |ended| send(&described(lease, &ended))));
        }
    }
    Ok(())
}

fn described(lease: i64, ended: &Ended) -> Json {
    match ended {
        Ended::Committed(tid) => json!({ "lease": lease, "ended": "Committed", "tid": tid.0 }),
        other => json!({ "lease": lease, "ended": format!("{other:?}") }),
    }
}

fn read_settings(settings: &Json) -> Result<PythonSettings, Box<dyn Error>> {
    let allow = settings["allow"].as_array().into_iter().flatten();
    let allow = allow.filter_map(Json::as_str).map(str::to_owned).collect();
    let mut read = PythonSettings::new(vec![text(&settings["address"]).parse()?], allow);
    read.python = text(&settings["python"]).into();
    read.paths = vec![text(&settings["path"]).into()];
    read.processes = settings["processes"].as_u64().unwrap_or(2).try_into()?;
    read.jobs_per_process = settings["jobs"].as_u64();
    read.wait_timeout = Duration::from_secs_f64(settings["wait_timeout"].as_f64().unwrap_or(10.0));
    Ok(read)
}

fn read_task(task: &Json) -> Task {
    Task {
        job: Oid(task["job"].as_u64().unwrap_or_default()),
        lease: Lease(task["lease"].as_i64().unwrap_or_default().cast_unsigned()),
        id: text(&task["id"]).to_owned(),
        call: text(&task["call"]).to_owned(),
        args: Vec::new(),
        kwargs: Vec::new(),
        attempt: 1,
        claimed: Tid(task["claimed"].as_u64().unwrap_or_default()),
    }
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn send(message: &Json) {
    let mut stdout = std::io::stdout().lock();
    // The tests see it if the output is closed.
    let _ = writeln!(stdout, "{message}").and_then(|()| stdout.flush());
}

/// Writes events with their fields.
struct Log;

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= tracing::Level::INFO {
            let mut fields = Fields(Map::new());
            event.record(&mut fields);
            send(&Json::Object(fields.0));
        }
    }
}

struct Fields(Map<String, Json>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = if field.name() == "message" { "log" } else { field.name() };
        self.0.insert(name.to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}
