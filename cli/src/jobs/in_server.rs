//! A worker in the process of the server.
//!
//! Its own clients connect to the server's host directly, its Python processes through a Unix socket in a
//! directory that only this user can enter. So it does not depend on the server's addresses and certificates. It
//! has a thread with a runtime of its own. The server ends it before it ends connections:
//!
//! ```text
//!   signal ─► jobs get the time of stop-timeout ─► worker ends ─► connections end ─► storages close
//! ```

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rzeo_client::{ClientOptions, ConnectError};
use rzeo_host::{Host, LOCAL_PEER};
use rzeo_net::Address;
use rzeo_tasks::python::StartError;
use rzeo_tasks::{Tasks, TasksError, Worker, WorkerEnd};
use rzeo_tokio::serve_stream;
use rzeo_zconfig::python::repr;
use thiserror::Error;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::options::ServerJobsOptions;
use super::worker::JobWorker;
use crate::config::ServerConfig;
use crate::signals::log;

/// Name of the queue if none is named.
const DEFAULT_QUEUE: &str = "default";

/// How long to wait before accepting again when the system is out of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why a server cannot execute jobs.
#[derive(Debug, Error)]
pub(crate) enum JobsError {
    #[error("--tasks: the server is read-only; execute jobs on a server that can write")]
    ReadOnly,
    #[error("--tasks-storage: there is no storage {}; there are {there}", repr(name))]
    NoStorage { name: String, there: String },
    #[error("--tasks: {0}")]
    Client(#[from] ConnectError),
    #[error("--tasks: {0}")]
    Queue(#[from] TasksError),
    #[error("--tasks: {0}")]
    Python(#[from] StartError),
    #[error("--tasks: {0}")]
    System(#[from] io::Error),
}

impl JobsError {
    /// Whether other options are the remedy.
    pub(crate) const fn is_usage_error(&self) -> bool {
        matches!(self, Self::ReadOnly | Self::NoStorage { .. })
    }
}

/// Checks, without an effect, that a server of this configuration can execute jobs. Returns the name of the storage.
pub(crate) fn check(
    options: &ServerJobsOptions,
    config: &ServerConfig,
) -> Result<String, JobsError> {
    if config.read_only {
        return Err(JobsError::ReadOnly);
    }
    let mut names = config.storages.iter().map(|storage| &storage.name);
    let found = match &options.tasks_storage {
        None => names.clone().next(),
        Some(name) => names.clone().find(|known| *known == name),
    };
    found.cloned().ok_or_else(|| JobsError::NoStorage {
        name: options.tasks_storage.clone().unwrap_or_default(),
        there: names.by_ref().map(|name| repr(name)).collect::<Vec<_>>().join(", "),
    })
}

/// The worker of a server.
pub(crate) struct ServerJobs {
    worker: Worker,
    grace: Duration,
    stop_grace: Duration,
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

impl ServerJobs {
    /// Starts a worker of the storage. Creates the queue if it does not exist.
    pub(crate) fn start(
        options: &ServerJobsOptions,
        storage: &str,
        host: Arc<Host>,
    ) -> Result<Self, JobsError> {
        let grace = host.stop_time_max();
        let directory = tempfile::Builder::new().prefix("rzeo-jobs-").tempdir()?;
        let socket = directory.path().join("socket");
        let job_worker = job_worker(options, storage, grace, Address::unix(&*socket));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop_grace = job_worker.stop_grace();
        let (to_started, started) = std::sync::mpsc::channel();
        let (to_ended, ended) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                match start(&host, &job_worker, &socket).await {
                    Ok((worker, end)) => {
                        let _ = to_started.send(Ok(worker));
                        end.await;
                    }
                    Err(error) => drop(to_started.send(Err(error))),
                }
            });
            drop(directory);
            // The server may have stopped waiting.
            let _ = to_ended.send(());
        };
        let thread = std::thread::Builder::new().name("jobs".to_owned()).spawn(run)?;
        let died = |_| JobsError::System(io::Error::other("the thread of the worker has panicked"));
        let worker = started.recv().map_err(died)??;
        Ok(Self { worker, grace, stop_grace, ended, thread })
    }

    /// Takes no more jobs. Those that run have the time of `stop-timeout` to end; none, once `hurry` is ready.
    pub(crate) async fn end(mut self, hurry: impl Future<Output = ()>) {
        self.worker.drain(self.grace, self.stop_grace);
        tokio::select! {
            _ = &mut self.ended => {}
            () = hurry => {
                self.worker.drain(Duration::ZERO, Duration::ZERO);
                let _ = self.ended.await;
            }
        }
        if self.thread.join().is_err() {
            tracing::error!("the thread of the worker has panicked");
        }
    }
}

/// Starts a worker of a host, on the current runtime.
async fn start(
    host: &Arc<Host>,
    job_worker: &JobWorker,
    socket: &Path,
) -> Result<(Worker, WorkerEnd), JobsError> {
    let open = || {
        let options = ClientOptions {
            storage: job_worker.storage.clone(),
            label: Some("rzeo worker".to_owned()),
            ..ClientOptions::default()
        };
        rzeo_tokio::open_local_client(host.clone(), options)
    };
    let bookkeeper = open()?;
    if Tasks::new(bookkeeper.clone(), &job_worker.queue).create().await? {
        log(&format!("created the queue {}", repr(&job_worker.queue)));
    }
    let pool = (0..job_worker.pool()).map(|_| open()).collect::<Result<_, _>>()?;
    tokio::spawn(accept(UnixListener::bind(socket)?, host.clone()));
    Ok(job_worker.start(bookkeeper, pool).await?)
}

/// Serves the connections of Python processes.
async fn accept(listener: UnixListener, host: Arc<Host>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_stream(host.clone(), stream, LOCAL_PEER.to_owned()));
            }
            // Out of descriptors or memory. A process that cannot connect is started again.
            Err(error) => {
                host.accept_failed(&error);
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn job_worker(
    options: &ServerJobsOptions,
    storage: &str,
    grace: Duration,
    address: Address,
) -> JobWorker {
    let queue = options.tasks_queue.as_deref().unwrap_or(DEFAULT_QUEUE);
    let python = options.tasks.clone().unwrap_or_default();
    let usual = JobWorker::new(queue, storage, address, python);
    JobWorker {
        paths: options.tasks_path.clone(),
        accept: options.tasks_accept.clone(),
        slots: options.tasks_slots.unwrap_or(usual.slots),
        grace,
        ..usual
    }
}
