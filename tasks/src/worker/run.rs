//! The loop of a worker.

use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant as Clock};

use futures_channel::{mpsc, oneshot};
use futures_core::Stream as _;
use futures_lite::future::block_on;
use parking_lot::Mutex;
use rzeo_client::{ClientEvent, Subscription};
use rzeo_core::{Instant, Oid, Tid};
use rzeo_net::{Runtime, Timer as _};
use rzeo_zasync::machine::{self, Ended, Input, Operation, Outcome, Output, Task};
use rzeo_zasync::{Error, Lease};

use super::settings::{Spawn, WorkerOptions};
use super::{execute, log};
use crate::database::{Committed, Database, KeptSnapshot, Uncommitted};
use crate::functions::{Context, Kind};
use crate::library::random;

/// Number of times that a transaction of the worker is repeated before the conflict is reported to the machine.
const REPEATS: u32 = 3;

/// A running worker. It goes on if this is dropped.
#[derive(Clone, Debug)]
pub struct Worker {
    inputs: mpsc::UnboundedSender<Input>,
}

/// Is ready when the worker has ended.
#[derive(Debug)]
pub struct WorkerEnd(oneshot::Receiver<()>);

impl Future for WorkerEnd {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        // A loop that has panicked has ended, too.
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Worker {
    /// Starts a worker on a runtime.
    pub fn start<R>(runtime: R, spawn: &Spawn, options: WorkerOptions) -> (Self, WorkerEnd)
    where
        R: Runtime + Clone + Send + Sync + 'static,
        R::Timer: Send,
    {
        let (inputs, received) = mpsc::unbounded();
        let (done, end) = oneshot::channel();
        let driver = Driver::new(runtime, spawn.clone(), options, inputs.clone());
        spawn(Box::pin(async move {
            driver.run(received).await;
            // The receiver may have been dropped.
            let _ = done.send(());
        }));
        (Self { inputs }, WorkerEnd(end))
    }

    /// Ends the worker: it takes no more jobs. Jobs that run have the time `within` to end; then they are
    /// asked to stop, and what does not stop after `grace` is given back. A second call can only shorten these
    /// times.
    pub fn drain(&self, within: Duration, grace: Duration) {
        // A worker that has ended has nothing to drain.
        let _ = self.inputs.unbounded_send(Input::Drain { within, grace });
    }
}

/// What tasks of the worker share.
struct Shared<R> {
    runtime: R,
    spawn: Spawn,
    options: WorkerOptions,
    inputs: mpsc::UnboundedSender<Input>,
    bookkeeper: Database,
    pool: Vec<Database>,
    next: AtomicUsize,
    /// The contexts of functions that are executed, by lease.
    contexts: Mutex<HashMap<u64, Context>>,
}

struct Driver<R> {
    shared: Arc<Shared<R>>,
    start: Clock,
    machine: machine::Worker,
    /// The bookkeeper's snapshot; a transaction takes it and puts it back.
    kept: Arc<Mutex<Option<KeptSnapshot>>>,
    events: Subscription,
    /// The last commit of other clients that the bookkeeper has to see: those of ended attempts.
    seen: Tid,
}

impl<R> Driver<R>
where
    R: Runtime + Clone + Send + Sync + 'static,
    R::Timer: Send,
{
    fn new(
        runtime: R,
        spawn: Spawn,
        options: WorkerOptions,
        inputs: mpsc::UnboundedSender<Input>,
    ) -> Self {
        let client = &options.bookkeeper;
        let events = client.subscribe();
        let kept = Arc::new(Mutex::new(Some(KeptSnapshot::new(client))));
        let settings = options.settings.clone();
        let machine = machine::Worker::new(Instant::START, settings, random());
        let bookkeeper = Database::new(client.clone());
        let pool: Vec<Database> = options.pool.iter().cloned().map(Database::new).collect();
        let pool = if pool.is_empty() { vec![bookkeeper.clone()] } else { pool };
        let shared = Arc::new(Shared {
            runtime,
            spawn,
            options,
            inputs,
            bookkeeper,
            pool,
            next: AtomicUsize::new(0),
            contexts: Mutex::default(),
        });
        Self { shared, start: Clock::now(), machine, kept, events, seen: Tid::ZERO }
    }

    fn now(&self) -> Instant {
        Instant(self.start.elapsed())
    }

    async fn run(mut self, mut received: mpsc::UnboundedReceiver<Input>) {
        let client = self.shared.options.bookkeeper.clone();
        if client.is_connected() {
            self.machine.handle_input(self.now(), Input::Connected { tid: client.last_tid() });
        }
        let runtime = self.shared.runtime.clone();
        let mut timer = pin!(runtime.timer());
        loop {
            while let Some(output) = self.machine.poll_output() {
                if self.obey(output) {
                    return;
                }
            }
            let deadline = self.machine.poll_timeout();
            if let Some(deadline) = deadline {
                timer.as_mut().set_after(deadline.since(self.now()));
            }
            let next = poll_fn(|cx| {
                if let Poll::Ready(Some(input)) = Pin::new(&mut received).poll_next(cx) {
                    return Poll::Ready(Next::Input(input));
                }
                if let Poll::Ready(event) = Pin::new(&mut self.events).poll_next(cx) {
                    return Poll::Ready(event.map_or(Next::Closed, Next::Event));
                }
                match deadline {
                    Some(_) => timer.as_mut().poll_expired(cx).map(|()| Next::Timeout),
                    None => Poll::Pending,
                }
            });
            match next.await {
                Next::Input(input) => {
                    self.seen = self.seen.max(ended_at(&input).unwrap_or(Tid::ZERO));
                    self.machine.handle_input(self.now(), input);
                }
                Next::Event(event) => {
                    if let Some(input) = input_of(event, || client.last_tid()) {
                        self.machine.handle_input(self.now(), input);
                    }
                }
                Next::Timeout => self.machine.handle_timeout(self.now()),
                Next::Closed => return,
            }
        }
    }

    /// Does what an output of the machine asks for. Returns whether the machine has ended.
    fn obey(&mut self, output: Output) -> bool {
        match output {
            Output::Keep(operation) => self.keep(operation),
            Output::Conclude { job, lease, operation } => self.conclude(job, lease, operation),
            Output::Execute(task) => self.execute(task),
            Output::Stop { lease, reason, .. } => {
                if let Some(context) = self.shared.contexts.lock().get(&lease.0) {
                    context.stop();
                }
                if let Some(executor) = &self.shared.options.executor {
                    executor.stop(lease, reason);
                }
            }
            Output::Abandon { lease, .. } => {
                self.shared.contexts.lock().remove(&lease.0);
                if let Some(executor) = &self.shared.options.executor {
                    executor.abandon(lease);
                }
            }
            Output::Event(event) => log::event(self.machine.id(), &event),
            Output::Ended => return true,
        }
        false
    }

    fn spawn(&self, task: impl Future<Output = Input> + Send + 'static) {
        let inputs = self.shared.inputs.clone();
        (self.shared.spawn)(Box::pin(async move {
            let input = task.await;
            // The loop may have ended.
            let _ = inputs.unbounded_send(input);
        }));
    }

    fn run_blocking(&self, work: impl FnOnce() -> Input + Send + 'static) {
        let inputs = self.shared.inputs.clone();
        self.shared.runtime.spawn_blocking(move || {
            let _ = inputs.unbounded_send(work());
        });
    }

    /// Commits an operation. After a panic, which is a bug here, the outcome is not known.
    fn commit(
        &self,
        committing: impl Future<Output = Outcome> + Send + 'static,
        input: impl FnOnce(Outcome) -> Input + Send + 'static,
    ) {
        self.spawn(
            async move { input(catch(Box::pin(committing)).await.unwrap_or(Outcome::Unknown)) },
        );
    }

    fn keep(&self, operation: Operation) {
        let (shared, kept, seen) = (self.shared.clone(), self.kept.clone(), self.seen);
        let committing = async move {
            let database = &shared.bookkeeper;
            let taken = kept.lock().take();
            let mut snapshot = taken.unwrap_or_else(|| KeptSnapshot::new(database.client()));
            let outcome = match snapshot.advance(database, seen).await {
                Ok(snapshot) => commit(database, snapshot, &operation).await,
                Err(_) => Outcome::Lost,
            };
            *kept.lock() = Some(snapshot);
            outcome
        };
        self.commit(committing, Input::Kept);
    }

    fn conclude(&self, job: Oid, lease: Lease, operation: Operation) {
        let shared = self.shared.clone();
        let committing = async move {
            let database = shared.any();
            // Another client has claimed the job.
            let claimed = shared.options.bookkeeper.last_tid();
            match database.snapshot(claimed).await {
                Ok(mut snapshot) => commit(database, &mut snapshot, &operation).await,
                Err(_) => Outcome::Lost,
            }
        };
        self.commit(committing, move |outcome| Input::Concluded { job, lease, outcome });
    }

    fn execute(&self, task: Task) {
        let (job, lease) = (task.job, task.lease);
        let executed = move |ended| Input::Executed { job, lease, ended };
        let shared = self.shared.clone();
        match self.shared.options.functions.get(&task.call).cloned() {
            Some(Kind::Plain(function)) => {
                let context = shared.begin(&task);
                self.run_blocking(move || {
                    let arguments = execute::arguments(&task);
                    let ended = execute::call(&*function, &context, &arguments);
                    shared.contexts.lock().remove(&lease.0);
                    executed(ended)
                });
            }
            Some(Kind::Async(function)) => {
                let context = shared.begin(&task);
                self.spawn(async move {
                    let (given, arguments) = (context.clone(), execute::arguments(&task));
                    // The call can panic, too.
                    let called = async move { function(given, &arguments).await };
                    let called = catch(Box::pin(called)).await;
                    let called = called.unwrap_or_else(|panic| Err(execute::panicked(&*panic)));
                    shared.contexts.lock().remove(&lease.0);
                    executed(execute::ended(called, &context))
                });
            }
            // A function that computes for long would keep the tasks of this thread waiting.
            Some(Kind::InTransaction(function)) => self.run_blocking(move || {
                let executing = execute::in_transaction(shared.any(), &*function, &task);
                executed(block_on(executing))
            }),
            None => match &self.shared.options.executor {
                Some(executor) => {
                    let inputs = shared.inputs.clone();
                    let done = move |ended| drop(inputs.unbounded_send(executed(ended)));
                    executor.execute(task, Box::new(done));
                }
                None => {
                    let ended = execute::unknown(&task);
                    self.spawn(async move { executed(ended) });
                }
            },
        }
    }
}

impl<R> Shared<R> {
    /// A client of the pool.
    fn any(&self) -> &Database {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        &self.pool[next % self.pool.len()]
    }

    /// The context of a function that begins.
    fn begin(&self, task: &Task) -> Context {
        let context = Context::new(task, self.any().clone());
        self.contexts.lock().insert(task.lease.0, context.clone());
        context
    }
}

enum Next {
    Input(Input),
    Event(ClientEvent),
    Timeout,
    Closed,
}

/// The commit in which an attempt has ended.
const fn ended_at(input: &Input) -> Option<Tid> {
    match input {
        Input::Executed { ended: Ended::Committed(tid), .. } => Some(*tid),
        Input::Concluded { outcome: Outcome::Committed { tid, .. }, .. } => *tid,
        _ => None,
    }
}

fn input_of(event: ClientEvent, last_tid: impl FnOnce() -> Tid) -> Option<Input> {
    match event {
        ClientEvent::Invalidated { tid, oids } => Some(Input::Invalidated { tid, oids }),
        ClientEvent::InvalidatedAll { tid } => Some(Input::InvalidatedAll { tid }),
        ClientEvent::Connected { .. } => Some(Input::Connected { tid: last_tid() }),
        ClientEvent::Disconnected => Some(Input::Disconnected),
        _ => None,
    }
}

/// Commits an operation of the machine.
async fn commit(
    database: &Database,
    snapshot: &mut rzeo_objects::Snapshot,
    operation: &Operation,
) -> Outcome {
    let apply = |snapshot: &mut rzeo_objects::Snapshot| operation.apply(snapshot);
    match database.transact_on(snapshot, &mut Vec::new(), REPEATS, apply).await {
        Ok(Committed { result: answer, tid, read, .. }) => Outcome::Committed { tid, answer, read },
        Err(error) => outcome_of(error),
    }
}

fn outcome_of(error: Uncommitted<Error>) -> Outcome {
    match error {
        Uncommitted::Failed(error) => Outcome::Refused(error),
        Uncommitted::Conflict(_) => Outcome::Conflict,
        Uncommitted::Unknown(_) => Outcome::Unknown,
        Uncommitted::Lost(_) => Outcome::Lost,
        error @ (Uncommitted::Denied(_) | Uncommitted::TooLarge { .. }) => {
            Outcome::Denied(error.to_string())
        }
    }
}

/// Runs a task to its end, or to its panic.
async fn catch<T>(
    mut task: Pin<Box<dyn Future<Output = T> + Send>>,
) -> Result<T, Box<dyn Any + Send>> {
    poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}
