//! A process that executes jobs: started, spoken to, killed.

use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use thiserror::Error;

use super::message::{self, MessageError, Report, Request, VERSION};
use super::output::{self, LastLines, Piece};
use super::settings::PythonSettings;

/// The program that the process runs.
const SCRIPT: &str = include_str!("child.py");

/// Reads the program from standard input, which keeps it out of lists of processes.
const START: &str = "import sys; exec(compile(sys.stdin.buffer.read(int(sys.argv[1])), 'rzeo-job-process', 'exec'))";

/// Why there is no process.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// There are no patterns of functions that may be called.
    #[error("no Python function is allowed; name those that jobs may call, such as 'app.*'")]
    NothingAllowed,
    /// The interpreter cannot be executed.
    #[error(
        "{program} cannot be executed: {error}; name the Python of the application with --python"
    )]
    NoPython {
        /// The interpreter.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// The process reports that it cannot execute jobs.
    #[error("{0}")]
    Unusable(String),
    /// The process has ended before it was ready.
    #[error("{program} {status} before it was ready: {said}")]
    Ended {
        /// The interpreter.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines that it has printed.
        said: String,
    },
    /// The process has sent something else than was expected.
    #[error("the Python process has sent a message that is not understood: {0}")]
    Protocol(String),
}

/// How often and how long to wait for the end of a process whose output has ended.
const END_TRIES: u32 = 100;
const END_PAUSE: Duration = Duration::from_millis(10);

/// The job that a process executes, for the log.
#[derive(Clone, Debug)]
pub(super) struct JobName {
    pub(super) lease: i64,
    pub(super) id: String,
    pub(super) call: String,
}

/// The ends of a process that other threads use.
#[derive(Debug)]
pub(super) struct Handle {
    /// Absent after it was waited for: its number may be another one's then.
    child: Mutex<Option<Child>>,
    pid: u32,
    stdin: Mutex<ChildStdin>,
    job: Mutex<Option<JobName>>,
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) handle: Arc<Handle>,
    stdout: ChildStdout,
}

impl Process {
    /// Starts a process, and waits until it is connected to the database.
    pub(super) fn start(settings: &PythonSettings) -> Result<Self, StartError> {
        let program = || settings.python.to_string_lossy().into_owned();
        let mut child = Command::new(&settings.python)
            .args(["-c", START, &SCRIPT.len().to_string()])
            // Signals from a terminal are for the worker, and all processes of a job can be killed.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| StartError::NoPython { program: program(), error })?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, child.stderr.take()) else {
            return Err(StartError::Protocol("it has no pipes".to_owned()));
        };
        let handle = Arc::new(Handle {
            pid: child.id(),
            child: Mutex::new(Some(child)),
            stdin: Mutex::new(stdin),
            job: Mutex::new(None),
        });
        let logged = Arc::clone(&handle);
        let logging = thread::spawn(move || log(stderr, &logged));
        let mut process = Self { handle, stdout };
        match process.open(settings) {
            Ok(true) => Ok(process),
            Ok(false) => {
                let status = process.end();
                // No job was executed, so no other process can keep the output open.
                let said = logging.join().unwrap_or_default();
                Err(StartError::Ended { program: program(), status, said })
            }
            Err(error) => {
                process.end();
                Err(error)
            }
        }
    }

    /// The first messages. False if the process has ended.
    fn open(&mut self, settings: &PythonSettings) -> Result<bool, StartError> {
        // An error of writing shows as the end of what can be read.
        let _ = self.handle.stdin.lock().write_all(SCRIPT.as_bytes());
        match self.receive().map_err(|error| StartError::Protocol(error.to_string()))? {
            Some(Report::Hello { version: VERSION, python }) => {
                tracing::debug!(pid = self.handle.pid, "started a process of Python {python}");
            }
            None => return Ok(false),
            Some(other) => return Err(StartError::Protocol(format!("{other:?}"))),
        }
        let _ = self.handle.send(&Request::Open(&settings.message()));
        match self.receive().map_err(|error| StartError::Protocol(error.to_string()))? {
            Some(Report::Ready) => Ok(true),
            Some(Report::Unusable { message }) => Err(StartError::Unusable(message)),
            None => Ok(false),
            Some(other) => Err(StartError::Protocol(format!("{other:?}"))),
        }
    }

    /// The next message; `None` if the process has closed its end.
    pub(super) fn receive(&mut self) -> Result<Option<Report>, MessageError> {
        message::read(&mut self.stdout)
    }

    /// Waits for the end of a process whose output has ended. Returns how it ended.
    pub(super) fn end(&self) -> String {
        for _ in 0..END_TRIES {
            if self.handle.has_ended() {
                break;
            }
            thread::sleep(END_PAUSE);
        }
        self.handle.kill();
        self.handle.wait()
    }
}

/// A process does not outlive its worker.
impl Drop for Process {
    fn drop(&mut self) {
        self.handle.kill();
        self.handle.wait();
    }
}

impl Handle {
    pub(super) fn send(&self, request: &Request<'_>) -> Result<(), MessageError> {
        // The process always reads, and the messages of a job are much smaller than a pipe.
        message::write(&mut *self.stdin.lock(), request)
    }

    /// Kills the process and those that it has started.
    pub(super) fn kill(&self) {
        if let Some(group) = self.child.lock().as_ref().and_then(pid) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Whether the process has ended. It is not waited for here, so its number stays reserved.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let of = self.child.lock().as_ref().and_then(pid).map(WaitId::Pid);
        of.is_none_or(|of| !matches!(waitid(of, options), Ok(None)))
    }

    /// Waits for the end of a process that was killed. Returns how it ended.
    fn wait(&self) -> String {
        let mut child = self.child.lock();
        let waited = child.as_mut().map(Child::wait);
        *child = None;
        match waited {
            Some(Ok(status)) => ended(status),
            _ => "has ended in an unknown way".to_owned(),
        }
    }

    /// Which job is executed from now on.
    pub(super) fn name_job(&self, job: JobName) {
        *self.job.lock() = Some(job);
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// How a process has ended, for people.
fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("has ended with exit status {code}"),
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        _ => format!("has ended: {status}"),
    }
}

/// Logs what a process prints, until its output ends. Returns the last lines.
fn log(stderr: impl io::Read, handle: &Handle) -> String {
    let (mut last, mut job) = (LastLines::default(), None::<JobName>);
    output::read(stderr, |piece| match piece {
        Piece::Job(lease) => {
            let named = handle.job.lock().clone();
            job = named.filter(|job| Some(job.lease) == lease);
        }
        Piece::Line(line) => {
            last.push(&line);
            match &job {
                Some(JobName { id, call, .. }) => tracing::info!(job = id, call, "{line}"),
                None => tracing::info!(process = handle.pid, "{line}"),
            }
        }
    });
    last.text()
}
