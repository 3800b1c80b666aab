//! The processes of a worker, and the jobs that wait for one of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rzeo_core::{Tid, UnixTime};
use rzeo_zasync::machine::{Ended, NotCommitted, StopReason, Task};
use rzeo_zasync::{Failure, JobState, Lease, Refusal, Retry};

use super::message::{End, MessageError, Report, Request};
use super::process::{Handle, JobName, Process, StartError};
use super::settings::PythonSettings;
use crate::executor::{Done, Executor};

/// How long to wait before a process is started again that could not be started; doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Number of processes that may die before they begin with a job.
const STARTS_MAX: u32 = 3;

/// Processes that execute Python functions.
///
/// A first process is started at once, others when there is a job for them.
#[derive(Debug)]
pub struct PythonPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: PythonSettings,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Work>,
    running: HashMap<u64, Running>,
    /// Number of runners, and of those that wait for a job.
    runners: usize,
    idle: usize,
    is_closed: bool,
}

/// A job to be executed.
struct Work {
    task: Task,
    done: Done,
    /// Number of processes that have died before they began with it.
    starts: u32,
}

/// A job that a process has.
#[derive(Debug)]
struct Running {
    handle: Arc<Handle>,
    /// Whether the process has received the job.
    is_sent: bool,
    /// Why the function is asked to stop.
    stop: Option<StopReason>,
    is_abandoned: bool,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("task", &self.task).finish_non_exhaustive()
    }
}

impl PythonPool {
    /// Starts a first process, and waits until it is connected to the database.
    ///
    /// # Errors
    /// Why that is not possible.
    pub fn start(settings: PythonSettings) -> Result<Self, StartError> {
        if settings.allow.is_empty() {
            return Err(StartError::NothingAllowed);
        }
        let process = Process::start(&settings)?;
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { settings, state, changed: Condvar::new() });
        add_runner(&shared, &mut shared.state.lock(), Some(process));
        Ok(Self(shared))
    }
}

impl Executor for PythonPool {
    fn execute(&self, task: Task, done: Done) {
        let mut state = self.0.state.lock();
        state.waiting.push_back(Work { task, done, starts: 0 });
        if state.idle < state.waiting.len() && state.runners < self.0.settings.processes {
            add_runner(&self.0, &mut state, None);
        }
        self.0.changed.notify_one();
    }

    fn stop(&self, lease: Lease, reason: StopReason) {
        let mut state = self.0.state.lock();
        if let Some(work) = state.take_waiting(lease) {
            drop(state);
            return (work.done)(Ended::Stopped);
        }
        let Some(running) = state.running.get_mut(&lease.0) else { return };
        running.stop = Some(reason);
        // Otherwise the request is sent after the job.
        if running.is_sent {
            let handle = Arc::clone(&running.handle);
            drop(state);
            send_stop(&handle, lease, reason);
        }
    }

    fn abandon(&self, lease: Lease) {
        let mut state = self.0.state.lock();
        if let Some(work) = state.take_waiting(lease) {
            drop(state);
            return (work.done)(Ended::Stopped);
        }
        let Some(running) = state.running.get_mut(&lease.0) else { return };
        running.is_abandoned = true;
        let handle = Arc::clone(&running.handle);
        drop(state);
        handle.kill();
    }
}

/// Kills all processes.
impl Drop for PythonPool {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_closed = true;
        state.waiting.clear();
        for running in state.running.values() {
            running.handle.kill();
        }
        self.0.changed.notify_all();
    }
}

impl State {
    /// Removes a job that waits for a process.
    fn take_waiting(&mut self, lease: Lease) -> Option<Work> {
        let at = self.waiting.iter().position(|work| work.task.lease == lease)?;
        self.waiting.remove(at)
    }
}

/// Adds a thread that executes jobs in a process.
fn add_runner(shared: &Arc<Shared>, state: &mut State, process: Option<Process>) {
    state.runners += 1;
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        run(&shared, process);
        shared.state.lock().runners -= 1;
    });
}

/// Executes jobs until the pool is closed.
fn run(shared: &Shared, mut first: Option<Process>) {
    let mut pause = PAUSE_MIN;
    loop {
        let started = first.take().map_or_else(|| Process::start(&shared.settings), Ok);
        match started {
            Ok(process) => {
                pause = PAUSE_MIN;
                execute_jobs(shared, process);
            }
            Err(error) => {
                let seconds = pause.as_secs();
                tracing::error!("no Python process: {error}; trying again in {seconds} seconds");
                let mut state = shared.state.lock();
                if !state.is_closed {
                    shared.changed.wait_for(&mut state, pause);
                }
                pause = PAUSE_MAX.min(pause * 2);
            }
        }
        if shared.state.lock().is_closed {
            return;
        }
    }
}

/// Executes jobs in a process, until it has to be replaced or the pool is closed.
fn execute_jobs(shared: &Shared, mut process: Process) {
    let mut jobs = 0;
    while let Some(work) = shared.next(&process.handle) {
        if !execute_job(shared, &mut process, work) {
            return;
        }
        jobs += 1;
        if shared.settings.jobs_per_process.is_some_and(|max| jobs >= max) {
            return;
        }
    }
}

/// Executes a job. Whether the process can execute another one.
fn execute_job(shared: &Shared, process: &mut Process, mut work: Work) -> bool {
    let lease = work.task.lease;
    let (mut has_begun, ended) = match shared.send(&process.handle, &work.task) {
        Err(MessageError::TooLarge(bytes)) => {
            let message =
                format!("the name of the function or the id of the job is too long: {bytes} bytes");
            let failure = Failure::new("malformed", message);
            (true, Some(Ended::Failed { failure, retry: Some(Retry::Never) }))
        }
        // The end of what can be read gives a better reason.
        Err(_) | Ok(()) => (false, None),
    };
    let (ended, is_usable) = match ended {
        Some(ended) => (ended, true),
        None => match receive_end(process, lease, &mut has_begun) {
            Ok(end) => {
                let is_usable = !matches!(&end, End::Failed { kind, .. } if kind == "MemoryError");
                (from_end(end), is_usable)
            }
            Err(why) => {
                let message = format!("the Python process {why}, executing {}", work.task.call);
                (Ended::Died { message }, false)
            }
        },
    };
    let mut state = shared.state.lock();
    let is_unwanted = state
        .running
        .remove(&lease.0)
        .is_none_or(|running| running.is_abandoned || running.stop.is_some());
    work.starts += 1;
    if !has_begun && !is_unwanted && work.starts < STARTS_MAX {
        state.waiting.push_front(work);
        return false;
    }
    drop(state);
    (work.done)(ended);
    is_usable
}

/// Waits for the end of a job. The error describes what happened to the process.
fn receive_end(process: &mut Process, lease: Lease, has_begun: &mut bool) -> Result<End, String> {
    let lease = signed(lease);
    loop {
        match process.receive() {
            Ok(Some(Report::Started { lease: of })) if of == lease => *has_begun = true,
            Ok(Some(Report::Ended { lease: of, end })) if of == lease => return Ok(end),
            Ok(None) => return Err(process.end()),
            Ok(Some(other)) => return Err(format!("has sent an unexpected message, {other:?}")),
            Err(error) => {
                return Err(format!("has sent a message that is not understood: {error}"));
            }
        }
    }
}

impl Shared {
    /// The next job; waits for it. `None` if the pool is closed.
    fn next(&self, handle: &Arc<Handle>) -> Option<Work> {
        let mut state = self.state.lock();
        state.idle += 1;
        let work = loop {
            if state.is_closed {
                break None;
            }
            if let Some(work) = state.waiting.pop_front() {
                break Some(work);
            }
            self.changed.wait(&mut state);
        };
        state.idle -= 1;
        if let Some(work) = &work {
            let running = Running {
                handle: Arc::clone(handle),
                is_sent: false,
                stop: None,
                is_abandoned: false,
            };
            state.running.insert(work.task.lease.0, running);
        }
        work
    }

    /// Sends a job to a process, and after it the request to stop, if there was one before.
    fn send(&self, handle: &Handle, task: &Task) -> Result<(), MessageError> {
        let lease = signed(task.lease);
        handle.name_job(JobName { lease, id: task.id.clone(), call: task.call.clone() });
        handle.send(&Request::Execute {
            job: task.job.0,
            lease,
            claimed: task.claimed.0,
            id: &task.id,
            call: &task.call,
            attempt: task.attempt,
        })?;
        let mut state = self.state.lock();
        let stop = state.running.get_mut(&task.lease.0).and_then(|running| {
            running.is_sent = true;
            running.stop
        });
        drop(state);
        if let Some(reason) = stop {
            send_stop(handle, task.lease, reason);
        }
        Ok(())
    }
}

fn send_stop(handle: &Handle, lease: Lease, reason: StopReason) {
    let reason = match reason {
        StopReason::Cancelled => "cancelled",
        StopReason::Timeout => "timeout",
        StopReason::Draining => "draining",
        StopReason::Fenced => "fenced",
    };
    // A process that is dead needs no message.
    let _ = handle.send(&Request::Stop { lease: signed(lease), reason });
}

/// A lease as records have it.
const fn signed(lease: Lease) -> i64 {
    lease.0.cast_signed()
}

fn from_end(end: End) -> Ended {
    let not_committed = match end {
        End::Committed { tid } => return Ended::Committed(Tid(tid)),
        End::Failed { kind, message, trace, is_final } => {
            let retry = is_final.then_some(Retry::Never);
            return Ended::Failed { failure: Failure { kind, message, trace }, retry };
        }
        End::Snoozed { until } => return Ended::Snoozed { until: UnixTime(until) },
        End::Stopped => return Ended::Stopped,
        End::Refused { state } => NotCommitted::Refused(refusal(&state).into()),
        End::Conflict => NotCommitted::Conflict,
        End::Lost => NotCommitted::Lost,
        End::Unknown => NotCommitted::Unknown,
        End::Denied { message } => NotCommitted::Denied(message),
    };
    Ended::NotCommitted(not_committed)
}

/// Why a process does not execute a job: `cancel`, or the state that it has found.
fn refusal(state: &str) -> Refusal {
    match JobState::from_text(state) {
        _ if state == "cancel" => Refusal::CancelRequested,
        Some(state) => Refusal::Fenced(state),
        None => Refusal::NotAJob,
    }
}
