//! A program with a worker: it does what a driver does, one step at a time.

use rzeo_core::{Instant, Oid, Tid};
use rzeo_objects::{Changes, Snapshot};
use rzeo_zasync::Lease;
use rzeo_zasync::machine::{
    Answer, Ended, Event, Input, NotCommitted, Operation, Outcome, Output, StopReason, Task,
    Worker, WorkerSettings,
};
use std::time::Duration;

use crate::functions::{Behaviour, Functions};
use crate::storage::{Prepared, Storage};

/// Number of times that a driver repeats an operation that conflicted, before it reports that.
const REPEATS: u32 = 2;

/// A worker and its driver.
pub(crate) struct Program {
    pub(crate) worker: Worker,
    /// World time when its clock was zero, and how fast it goes.
    start: f64,
    rate: f64,
    /// Number of commits that it has seen.
    pub(crate) seen: usize,
    pub(crate) is_connected: bool,
    /// It does nothing before this world time.
    pub(crate) frozen_until: f64,
    pub(crate) has_ended: bool,
    doing: Vec<Doing>,
    /// The records that the bookkeeper has loaded.
    snapshot: Snapshot,
    pub(crate) events: Vec<Event>,
}

struct Doing {
    what: What,
    attempts: u32,
    prepared: Option<Ready>,
}

enum What {
    Keep(Operation),
    Conclude(Oid, Lease, Operation),
    Execute(Execution),
}

/// A function that is executed.
struct Execution {
    task: Task,
    has_begun: bool,
    stop: Option<StopReason>,
}

impl Execution {
    /// Goes on with the function.
    fn behave(&mut self, functions: &mut Functions, time: f64) -> Behaviour {
        if !std::mem::replace(&mut self.has_begun, true) {
            functions.begin(&self.task);
        }
        functions.behave(&self.task, self.stop, time)
    }
}

/// What is to be committed.
struct Ready {
    answer: Option<Answer>,
    changes: Option<Changes>,
    read: Vec<Oid>,
}

/// What the connection does when it is lost while a transaction is committed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Committed,
    Dropped,
    Late,
}

impl Program {
    pub(crate) fn new(time: f64, rate: f64, settings: WorkerSettings, seed: u64) -> Self {
        Self {
            worker: Worker::new(Instant::START, settings, seed),
            start: time,
            rate,
            seen: 0,
            is_connected: false,
            frozen_until: 0.0,
            has_ended: false,
            doing: vec![],
            snapshot: Snapshot::new(Tid::ZERO),
            events: vec![],
        }
    }

    fn now(&self, time: f64) -> Instant {
        Instant(Duration::from_secs_f64(((time - self.start) * self.rate).max(0.0)))
    }

    /// World time of the next timeout.
    pub(crate) fn timeout(&self) -> Option<f64> {
        let timeout = self.worker.poll_timeout()?;
        Some(timeout.0.as_secs_f64().min(1e9) / self.rate + self.start + 1e-6)
    }

    pub(crate) fn input(&mut self, time: f64, input: Input) {
        self.worker.handle_input(self.now(time), input);
        self.take_outputs();
    }

    pub(crate) fn wake(&mut self, time: f64) {
        let now = self.now(time);
        if self.worker.poll_timeout().is_some_and(|at| at <= now) {
            self.worker.handle_timeout(now);
            self.take_outputs();
        }
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.worker.poll_output() {
            let what = match output {
                Output::Keep(operation) => What::Keep(operation),
                Output::Conclude { job, lease, operation } => What::Conclude(job, lease, operation),
                Output::Execute(task) => {
                    What::Execute(Execution { task, has_begun: false, stop: None })
                }
                Output::Stop { job, lease, reason } => {
                    for doing in &mut self.doing {
                        if let What::Execute(execution) = &mut doing.what
                            && (execution.task.job, execution.task.lease) == (job, lease)
                        {
                            execution.stop = Some(reason);
                        }
                    }
                    continue;
                }
                Output::Abandon { job, lease } => {
                    self.doing.retain(|doing| match &doing.what {
                        What::Execute(Execution { task, .. }) => {
                            (task.job, task.lease) != (job, lease)
                        }
                        _ => true,
                    });
                    continue;
                }
                Output::Event(event) => {
                    self.events.push(event);
                    continue;
                }
                Output::Ended => {
                    self.has_ended = true;
                    continue;
                }
            };
            self.doing.push(Doing { what, attempts: 0, prepared: None });
        }
    }

    /// Sees some of the commits that it has not seen, at least up to `until`.
    pub(crate) fn deliver(&mut self, time: f64, storage: &Storage, until: usize) {
        while self.seen < until.min(storage.log.len()) {
            let (tid, oids) = &storage.log[self.seen];
            self.seen += 1;
            let oids = oids.as_slice().into();
            self.input(time, Input::Invalidated { tid: *tid, oids });
        }
    }

    pub(crate) fn connect(&mut self, time: f64, storage: &Storage) {
        self.seen = storage.log.len();
        self.is_connected = true;
        self.input(time, Input::Connected { tid: storage.tid() });
    }

    /// Number of things that can go on.
    pub(crate) fn doing(&self) -> usize {
        self.doing.len()
    }

    /// Does the next step of one thing.
    pub(crate) fn step(
        &mut self,
        time: f64,
        at: usize,
        storage: &mut Storage,
        functions: &mut Functions,
    ) {
        if !self.is_connected {
            return self.step_offline(time, at, functions);
        }
        let mut doing = self.doing.swap_remove(at);
        match doing.prepared.take() {
            None => self.prepare(time, doing, storage, functions),
            Some(ready) => self.commit(time, doing, ready, storage),
        }
    }

    /// Without a connection, only functions that need none go on.
    fn step_offline(&mut self, time: f64, at: usize, functions: &mut Functions) {
        let mut doing = self.doing.swap_remove(at);
        match &mut doing.what {
            What::Execute(execution) => match execution.behave(functions, time) {
                Behaviour::Ended(ended) => self.ended(time, doing, ended),
                Behaviour::Goes => self.doing.push(doing),
                Behaviour::Transaction(_) => {
                    self.ended(time, doing, Ended::NotCommitted(NotCommitted::Lost));
                }
            },
            _ => self.report(time, doing, Outcome::Lost),
        }
    }

    fn prepare(
        &mut self,
        time: f64,
        mut doing: Doing,
        storage: &mut Storage,
        functions: &mut Functions,
    ) {
        if let What::Execute(execution) = &doing.what {
            let claimed = execution.task.claimed;
            let claimed = storage.log.partition_point(|(tid, _)| *tid <= claimed);
            self.deliver(time, storage, claimed);
        }
        let at = storage.log[self.seen - 1].0;
        let prepared = match &mut doing.what {
            What::Keep(operation) => {
                storage.advance(&mut self.snapshot, at);
                let snapshot = &mut self.snapshot;
                storage.prepare_on(snapshot, |snapshot| operation.apply(snapshot).map(Some))
            }
            What::Conclude(_, _, operation) => {
                storage.prepare(at, |snapshot| operation.apply(snapshot).map(Some))
            }
            What::Execute(execution) => match execution.behave(functions, time) {
                Behaviour::Goes => return self.doing.push(doing),
                Behaviour::Ended(ended) => return self.ended(time, doing, ended),
                Behaviour::Transaction(mut function) => {
                    storage.prepare(at, |snapshot| function(snapshot).map(|()| None))
                }
            },
        };
        match prepared {
            Ok(Prepared { result: answer, changes, read }) => {
                doing.prepared = Some(Ready { answer, changes, read });
                self.doing.push(doing);
            }
            Err(error) => match doing.what {
                What::Execute(..) => {
                    self.ended(time, doing, Ended::NotCommitted(NotCommitted::Refused(error)));
                }
                _ => self.report(time, doing, Outcome::Refused(error)),
            },
        }
    }

    fn commit(&mut self, time: f64, mut doing: Doing, ready: Ready, storage: &mut Storage) {
        let tid = match &ready.changes {
            None => None,
            Some(changes) => match storage.commit(changes) {
                Some(tid) => Some(tid),
                None => {
                    // A driver sees what it conflicted with before it tries again.
                    self.deliver(time, storage, storage.log.len());
                    doing.attempts += 1;
                    if matches!(doing.what, What::Execute(..)) {
                        let ended = Ended::NotCommitted(NotCommitted::Conflict);
                        return self.ended(time, doing, ended);
                    }
                    if doing.attempts > REPEATS {
                        return self.report(time, doing, Outcome::Conflict);
                    }
                    return self.doing.push(doing);
                }
            },
        };
        if tid.is_some() {
            // Earlier commits are seen before it; the own commit is not delivered.
            self.deliver(time, storage, storage.log.len() - 1);
            self.seen = storage.log.len();
        }
        match (ready.answer, tid) {
            (Some(answer), tid) => {
                self.report(time, doing, Outcome::Committed { tid, answer, read: ready.read });
            }
            (None, Some(tid)) => self.ended(time, doing, Ended::Committed(tid)),
            (None, None) => unreachable!("a function in a transaction changes something"),
        }
    }

    fn report(&mut self, time: f64, doing: Doing, outcome: Outcome) {
        match doing.what {
            What::Keep(_) => self.input(time, Input::Kept(outcome)),
            What::Conclude(job, lease, _) => {
                self.input(time, Input::Concluded { job, lease, outcome });
            }
            What::Execute(..) => unreachable!("functions end"),
        }
    }

    fn ended(&mut self, time: f64, doing: Doing, ended: Ended) {
        if let What::Execute(Execution { task, .. }) = doing.what {
            self.input(time, Input::Executed { job: task.job, lease: task.lease, ended });
        }
    }

    /// Loses the connection. Each transaction that was being committed has its fate; those that come late
    /// are returned.
    pub(crate) fn disconnect(
        &mut self,
        time: f64,
        storage: &mut Storage,
        mut fate: impl FnMut() -> Fate,
    ) -> Vec<Changes> {
        self.is_connected = false;
        let mut late = vec![];
        self.input(time, Input::Disconnected);
        for mut doing in std::mem::take(&mut self.doing) {
            let Some(ready) = doing.prepared.take() else {
                self.doing.push(doing);
                continue;
            };
            if let Some(changes) = ready.changes {
                match fate() {
                    Fate::Committed => {
                        storage.commit(&changes);
                    }
                    Fate::Dropped => {}
                    Fate::Late => late.push(changes),
                }
            }
            match doing.what {
                What::Execute(..) => {
                    self.ended(time, doing, Ended::NotCommitted(NotCommitted::Unknown));
                }
                _ => self.report(time, doing, Outcome::Unknown),
            }
        }
        late
    }

    /// What is being committed when the program dies.
    pub(crate) fn die(self) -> Vec<Changes> {
        let ready = self.doing.into_iter().filter_map(|doing| doing.prepared);
        ready.filter_map(|ready| ready.changes).collect()
    }
}
