//! A worker that executes jobs whose functions are written in Python: alone, or in the process of the server.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use rzeo_client::Client;
use rzeo_net::Address;
use rzeo_net::tokio::Tokio;
use rzeo_tasks::python::{PythonPool, PythonSettings, PythonTls, StartError};
use rzeo_tasks::rzeo_zasync::worker::WorkerInfo;
use rzeo_tasks::{Functions, Spawn, Worker, WorkerEnd, WorkerOptions};
use tokio::task::spawn_blocking;

use crate::process::host_name;

/// Maximum number of clients that commit the ends of jobs.
const POOL_MAX: u32 = 8;

/// Maximum number of Python processes, however many slots people give the worker while it runs.
const PROCESSES_MAX: usize = 64;

/// A function that is asked to stop has this part of the time for the end of the worker, and at least a second.
const STOP_PART: u32 = 2;

/// A worker that executes jobs whose functions are written in Python.
#[derive(Clone, Debug)]
pub(crate) struct JobWorker {
    pub(crate) queue: String,
    pub(crate) storage: String,
    /// Where its Python processes connect.
    pub(crate) address: Address,
    pub(crate) tls: Option<PythonTls>,
    pub(crate) python: PathBuf,
    pub(crate) paths: Vec<PathBuf>,
    /// Patterns of the functions.
    pub(crate) accept: Vec<String>,
    /// Number of jobs to execute at the same time.
    pub(crate) slots: u32,
    pub(crate) name: String,
    pub(crate) beat: Duration,
    pub(crate) dead_after: Duration,
    /// How long jobs may run after the signal to end.
    pub(crate) grace: Duration,
    /// Maximum bytes of address space of a Python process.
    pub(crate) memory: Option<u64>,
    pub(crate) jobs_per_process: Option<u64>,
    /// How long a Python process waits for a connection.
    pub(crate) wait_timeout: Duration,
}

impl JobWorker {
    /// A worker of a queue, with defaults for everything that is not named.
    pub(crate) fn new(queue: &str, storage: &str, address: Address, python: PathBuf) -> Self {
        Self {
            queue: queue.to_owned(),
            storage: storage.to_owned(),
            address,
            tls: None,
            python,
            paths: Vec::new(),
            accept: Vec::new(),
            slots: processors(),
            name: host_name(),
            beat: Duration::from_secs(10),
            dead_after: Duration::from_secs(45),
            grace: Duration::from_secs(30),
            memory: None,
            jobs_per_process: None,
            wait_timeout: Duration::from_secs(30),
        }
    }

    /// Number of clients that commit the ends of jobs.
    pub(crate) fn pool(&self) -> u32 {
        self.slots.min(POOL_MAX)
    }

    /// Starts the worker on the current tokio runtime, once a Python process is connected.
    pub(crate) async fn start(
        &self,
        bookkeeper: Client,
        pool: Vec<Client>,
    ) -> Result<(Worker, WorkerEnd), StartError> {
        let settings = self.python_settings();
        let executor = spawn_blocking(|| PythonPool::start(settings)).await;
        let executor = executor.expect("starting a pool does not panic")?;
        let mut options = WorkerOptions::new(&self.queue, self.slots, Functions::new(), bookkeeper);
        options.executor = Some(Arc::new(executor));
        options.settings.name.clone_from(&self.name);
        options.settings.info = self.info();
        options.settings.beat = self.beat;
        options.settings.dead_after = self.dead_after;
        options.settings.grace = self.stop_grace();
        options.pool = pool;
        let spawn: Spawn =
            Arc::new(|task: Pin<Box<dyn Future<Output = ()> + Send>>| drop(tokio::spawn(task)));
        Ok(Worker::start(Tokio, &spawn, options))
    }

    /// How long a function may take to stop.
    pub(crate) fn stop_grace(&self) -> Duration {
        (self.grace / STOP_PART).max(Duration::from_secs(1))
    }

    fn info(&self) -> WorkerInfo {
        WorkerInfo {
            accept: self.accept.clone(),
            slots: self.slots,
            host: host_name(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn python_settings(&self) -> PythonSettings {
        PythonSettings {
            python: self.python.clone().into_os_string(),
            storage: self.storage.clone(),
            tls: self.tls.clone(),
            paths: self.paths.clone(),
            processes: PROCESSES_MAX.max(usize::try_from(self.slots).unwrap_or(usize::MAX)),
            jobs_per_process: self.jobs_per_process,
            memory: self.memory,
            wait_timeout: self.wait_timeout,
            label: format!("rzeo worker {}", self.name),
            ..PythonSettings::new(vec![self.address.clone()], self.accept.clone())
        }
    }
}

fn processors() -> u32 {
    let number = available_parallelism().map_or(1, |number| number.get());
    u32::try_from(number).unwrap_or(u32::MAX)
}
