//! `rzeo tasks worker`: executes jobs whose functions are written in Python.

use std::process::ExitCode;
use std::time::Duration;

use rzeo_client::Client;
use rzeo_eventlog::{Conventions, EventLog, Log, LogFormat, RecordFormat, Style};
use rzeo_tasks::Tasks;
use rzeo_tasks::python::PythonTls;

use super::errors::refused;
use super::options::WorkerOptions;
use crate::jobs::JobWorker;
use crate::signals;
use crate::tools::ToolError;
use crate::tools::server_query::runtime;

pub(super) fn run(options: &WorkerOptions) -> Result<ExitCode, ToolError> {
    install_log()?;
    let endings = signals::watch(None)?;
    runtime()?.block_on(async {
        let bookkeeper = options.queue.connect("rzeo worker").await?;
        check(&bookkeeper, options).await?;
        let job_worker = options.job_worker()?;
        let open = |_| options.queue.open_client("rzeo worker");
        let pool = (0..job_worker.pool()).map(open).collect::<Result<_, _>>()?;
        let started = job_worker.start(bookkeeper, pool).await;
        let (worker, end) = started.map_err(|error| ToolError::Refused(error.to_string()))?;
        let drain = async {
            let _ = endings.first.await;
            worker.drain(options.grace, job_worker.stop_grace());
            endings.second.received().await;
            worker.drain(Duration::ZERO, Duration::ZERO);
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

impl WorkerOptions {
    fn job_worker(&self) -> Result<JobWorker, ToolError> {
        let tls = self.queue.tls.paths()?.map(|files| PythonTls {
            authenticate: files.authenticate,
            certificate: files.certificate,
            key: files.key,
            password: files.password,
            check_hostname: true,
            server_hostname: files.server_hostname,
        });
        let queue = &self.queue;
        let (address, python) = (queue.address.clone(), self.python.clone());
        let usual = JobWorker::new(&queue.queue, &queue.storage, address, python);
        Ok(JobWorker {
            tls,
            paths: self.path.clone(),
            accept: self.accept.clone(),
            slots: self.slots.unwrap_or(usual.slots),
            name: self.name.clone().unwrap_or(usual.name),
            beat: self.beat,
            dead_after: self.dead_after,
            grace: self.grace,
            memory: self.memory.map(|mib| u64::from(mib) << 20),
            jobs_per_process: self.process_jobs,
            wait_timeout: queue.connect_timeout,
            ..usual
        })
    }
}
