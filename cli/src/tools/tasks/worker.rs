//! `rzeo tasks worker`: executes jobs whose functions are written in Python.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use rzeo_client::Client;
use rzeo_eventlog::{Conventions, EventLog, Log, LogFormat, RecordFormat, Style};
use rzeo_net::tokio::Tokio;
use rzeo_tasks::python::{PythonPool, PythonSettings, PythonTls};
use rzeo_tasks::rzeo_zasync::worker::WorkerInfo;
use rzeo_tasks::{Functions, Spawn, Tasks, Worker, WorkerOptions as Options};

use super::errors::refused;
use super::options::WorkerOptions;
use crate::process::host_name;
use crate::signals;
use crate::tools::ToolError;
use crate::tools::server_query::runtime;

/// Maximum number of clients that commit the ends of jobs.
const POOL_MAX: u32 = 8;

/// Maximum number of Python processes, however many slots people give the worker while it runs.
const PROCESSES_MAX: usize = 64;

/// A function that is asked to stop has this part of the time of `--grace`, and at least a second.
const STOP_PART: u32 = 2;

pub(super) fn run(options: &WorkerOptions) -> Result<ExitCode, ToolError> {
    install_log()?;
    let endings = signals::watch(None)?;
    runtime()?.block_on(async {
        let bookkeeper = options.queue.connect("rzeo worker").await?;
        check(&bookkeeper, options).await?;
        let executor = PythonPool::start(options.python_settings()?)
            .map_err(|error| ToolError::Refused(error.to_string()))?;
        let mut worker =
            Options::new(&options.queue.queue, options.slots(), Functions::new(), bookkeeper);
        worker.executor = Some(Arc::new(executor));
        worker.settings.name = options.name();
        worker.settings.info = options.info();
        worker.settings.beat = options.beat;
        worker.settings.dead_after = options.dead_after;
        worker.settings.grace = (options.grace / STOP_PART).max(Duration::from_secs(1));
        for _ in 0..options.slots().min(POOL_MAX) {
            worker.pool.push(options.queue.open_client("rzeo worker")?);
        }
        let (worker, end) = Worker::start(Tokio, &spawn(), worker);
        let drain = async {
            let _ = endings.first.await;
            worker.drain(options.grace);
            let _ = endings.second.await;
            worker.drain(Duration::ZERO);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = end => Ok(ExitCode::SUCCESS),
            () = drain => Ok(ExitCode::FAILURE),
        }
    })
}

/// One line for each event, to standard error.
fn install_log() -> Result<(), ToolError> {
    let format = "%(asctime)s %(levelname)s %(message)s";
    let refused = |error: String| ToolError::Refused(error);
    let mut log = EventLog::to_stderr();
    for handler in &mut log.handlers {
        let format = RecordFormat::parse(format, Style::Classic, false);
        handler.format = format.map_err(|error| refused(error.to_string()))?;
    }
    let installed = Log::install(log, LogFormat::Text, Conventions::default());
    installed.map(|_| ()).map_err(|error| refused(error.to_string()))
}

/// Fails at once if there is no such queue; a worker would try for ever.
async fn check(client: &Client, options: &WorkerOptions) -> Result<(), ToolError> {
    let tasks = Tasks::new(client.clone(), &options.queue.queue);
    tasks.workers().await.map(|_| ()).map_err(|error| refused(&error))
}

fn spawn() -> Spawn {
    Arc::new(|task: Pin<Box<dyn Future<Output = ()> + Send>>| drop(tokio::spawn(task)))
}

impl WorkerOptions {
    fn slots(&self) -> u32 {
        let processors = || available_parallelism().map_or(1, |number| number.get());
        self.slots.unwrap_or_else(|| u32::try_from(processors()).unwrap_or(1))
    }

    fn name(&self) -> String {
        self.name.clone().unwrap_or_else(host_name)
    }

    fn info(&self) -> WorkerInfo {
        WorkerInfo {
            accept: self.accept.clone(),
            slots: self.slots(),
            host: host_name(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn python_settings(&self) -> Result<PythonSettings, ToolError> {
        let servers = vec![self.queue.address.clone()];
        let tls = self.queue.tls.paths()?.map(|files| PythonTls {
            authenticate: files.authenticate,
            certificate: files.certificate,
            key: files.key,
            password: files.password,
            check_hostname: true,
            server_hostname: files.server_hostname,
        });
        Ok(PythonSettings {
            python: self.python.clone().into_os_string(),
            storage: self.queue.storage.clone(),
            tls,
            paths: self.path.clone(),
            processes: PROCESSES_MAX.max(usize::try_from(self.slots()).unwrap_or(usize::MAX)),
            jobs_per_process: self.process_jobs,
            memory: self.memory.map(|mib| u64::from(mib) << 20),
            wait_timeout: self.queue.connect_timeout,
            label: format!("rzeo worker {}", self.name()),
            ..PythonSettings::new(servers, self.accept.clone())
        })
    }
}
