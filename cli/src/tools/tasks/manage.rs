//! The commands that look at jobs and change them.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rzeo_client::UnixTime;
use rzeo_objects::PyValue;
use rzeo_objects::convert::to_value;
use rzeo_tasks::rzeo_zasync::deferred::Cancelled;
use rzeo_tasks::rzeo_zasync::{Call, JobOptions as Options, JobState, NewJob, Retry};
use rzeo_tasks::{JobReport, Tasks, new_id};

use super::errors::refused;
use super::options::{
    EnqueueOptions, JobOptions, ListOptions, ManageAction, ShowOptions, arguments,
};
use super::show;
use crate::tools::ToolError;

pub(super) async fn run(action: &ManageAction, tasks: &mut Tasks) -> Result<ExitCode, ToolError> {
    match action {
        ManageAction::Init(options) => {
            let is_new = tasks.create().await.map_err(|error| refused(&error))?;
            let name = &options.queue.queue;
            let text = if is_new { "created" } else { "exists already" };
            print(&format!("queue {name:?} {text}\n"))
        }
        ManageAction::Enqueue(options) => enqueue(options, tasks).await,
        ManageAction::List(options) => list(options, tasks).await,
        ManageAction::Show(options) => show_job(options, tasks).await,
        ManageAction::Cancel(options) => cancel(options, tasks).await,
        ManageAction::Retry(options) => {
            let oid = tasks.retry(options.oid).await.map_err(|error| refused(&error))?;
            print(&format!("{oid}\n"))
        }
    }
}

fn print(text: &str) -> Result<ExitCode, ToolError> {
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn enqueue(options: &EnqueueOptions, tasks: &mut Tasks) -> Result<ExitCode, ToolError> {
    let job = new_job(options)?;
    let oid = tasks.enqueue(&job).await.map_err(|error| refused(&error))?;
    if !options.wait {
        return print(&format!("{oid}\n"));
    }
    let ended = tasks.wait(oid).await.map_err(|error| refused(&error))?;
    if ended.job.state() == JobState::Done {
        let result = ended.job.deferred.result.unwrap_or(PyValue::NONE);
        return print(&format!("{}\n", super::json::to_json(&result)));
    }
    Err(ToolError::Refused(show::outcome(&ended)))
}

/// The job that the command line describes.
fn new_job(options: &EnqueueOptions) -> Result<NewJob, ToolError> {
    let (args, kwargs) = arguments(&options.arguments);
    let value = |json: &serde_json::Value| {
        to_value(json).map_err(|error| ToolError::Usage(format!("{json}: {error}")))
    };
    let mut call = Call::new(&options.call);
    for arg in &args {
        call.args.push(value(arg)?);
    }
    for (name, json) in &kwargs {
        call.kwargs.push((name.clone(), value(json)?));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let after = |wait: Option<Duration>| wait.map(|wait| UnixTime((now + wait).as_secs_f64()));
    let retry = options.attempts.map(|attempts| match attempts {
        1 => Retry::Never,
        max => Retry::Attempts { max, base: 5.0, factor: 3.0, cap: 3600.0, jitter: 0.1 },
    });
    let job_options = Options {
        begin_after: after(options.delay),
        begin_by: after(options.expire),
        deadline: None,
        timeout: options.timeout.map(|timeout| timeout.as_secs_f64()),
        priority: options.priority,
        retry,
        unique: options.unique.clone(),
    };
    Ok(NewJob { id: new_id(), call, options: job_options })
}

async fn list(options: &ListOptions, tasks: &Tasks) -> Result<ExitCode, ToolError> {
    let states = options.states()?;
    let jobs = tasks.list(&states, options.limit).await.map_err(|error| refused(&error))?;
    let text = if options.json {
        jobs.iter().map(|job| format!("{}\n", show::to_json(job))).collect()
    } else {
        let workers = tasks.workers().await.map_err(|error| refused(&error))?;
        show::table(&jobs, &workers)
    };
    print(&text)
}

async fn show_job(options: &ShowOptions, tasks: &Tasks) -> Result<ExitCode, ToolError> {
    let job = tasks.job(options.job.oid).await.map_err(|error| refused(&error))?;
    print(&text_of(&job, options.json))
}

fn text_of(job: &JobReport, is_json: bool) -> String {
    if is_json { format!("{:#}\n", show::to_json(job)) } else { show::text(job) }
}

async fn cancel(options: &JobOptions, tasks: &Tasks) -> Result<ExitCode, ToolError> {
    let cancelled = tasks.cancel(options.oid).await.map_err(|error| refused(&error))?;
    print(match cancelled {
        Cancelled::Now => "cancelled\n",
        Cancelled::Requested => "the worker that executes the job is asked to stop\n",
    })
}

impl ListOptions {
    fn states(&self) -> Result<Vec<JobState>, ToolError> {
        let state = |text: &String| {
            JobState::from_text(text).ok_or_else(|| {
                let states = "held, waiting, pending, running, done, failed, cancelled, expired";
                ToolError::Usage(format!("{text:?} is not a state; the states are {states}"))
            })
        };
        self.state.iter().map(state).collect()
    }
}
