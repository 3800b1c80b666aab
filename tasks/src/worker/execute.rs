//! The execution of functions in Rust.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::Snapshot;
use rzeo_zasync::machine::{Ended, NotCommitted, Task};
use rzeo_zasync::{Error, attempt};
use thiserror::Error;

use crate::database::{Database, Uncommitted};
use crate::functions::{Arguments, Context, Failed};

/// Executes a plain function. A panic is a failure.
pub(super) fn call(
    function: &(
         dyn Fn(&Context, &Arguments) -> Result<rzeo_objects::PyValue, Failed> + Send + Sync
     ),
    context: &Context,
    arguments: &Arguments,
) -> Ended {
    let called = catch_unwind(AssertUnwindSafe(|| function(context, arguments)));
    ended(called.unwrap_or_else(|panic| Err(panicked(&*panic))), context)
}

/// What became of a function that has nothing to do with transactions. One that fails after it was asked to stop
/// has stopped.
pub(super) fn ended(called: Result<rzeo_objects::PyValue, Failed>, context: &Context) -> Ended {
    if called.is_err() && context.is_stopped() { Ended::Stopped } else { outcome(called) }
}

fn outcome(called: Result<rzeo_objects::PyValue, Failed>) -> Ended {
    match called {
        Ok(result) => Ended::Returned(result),
        Err(Failed { failure, retry }) => Ended::Failed { failure, retry },
    }
}

/// A job whose function has panicked. The message is the panic's, if it is a text.
pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> Failed {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let message = text.unwrap_or_else(|| "the function panicked".to_owned());
    Failed { failure: rzeo_zasync::Failure::new("panic", message), retry: None }
}

pub(super) fn arguments(task: &Task) -> Arguments {
    Arguments { args: task.args.clone(), kwargs: task.kwargs.clone() }
}

/// Why a function in a transaction has no result.
#[derive(Debug, Error)]
enum Stopped {
    #[error(transparent)]
    Refused(#[from] Error),
    #[error("the function failed")]
    Failed(Box<Failed>),
}

impl From<rzeo_objects::Error> for Stopped {
    fn from(error: rzeo_objects::Error) -> Self {
        Self::Refused(error.into())
    }
}

/// Executes a function in the transaction that stores its result.
pub(super) async fn in_transaction(
    database: &Database,
    function: &(
         dyn Fn(&mut Snapshot, &Arguments) -> Result<rzeo_objects::PyValue, Failed> + Send + Sync
     ),
    task: &Task,
) -> Ended {
    let mut snapshot = match database.snapshot(task.claimed).await {
        Ok(snapshot) => snapshot,
        Err(_) => return Ended::NotCommitted(NotCommitted::Lost),
    };
    let arguments = arguments(task);
    let now = snapshot.tid().to_unix();
    let operation = |snapshot: &mut Snapshot| store(snapshot, function, task, &arguments, now);
    // Whether to repeat it is not decided here.
    let done = database.transact_on(&mut snapshot, &mut Vec::new(), 0, operation).await;
    match done {
        Ok(committed) => match committed.tid {
            Some(tid) => Ended::Committed(tid),
            None => Ended::NotCommitted(NotCommitted::Lost),
        },
        Err(Uncommitted::Failed(Stopped::Refused(error))) => {
            Ended::NotCommitted(NotCommitted::Refused(error))
        }
        Err(Uncommitted::Failed(Stopped::Failed(failed))) => outcome(Err(*failed)),
        Err(Uncommitted::Conflict(_)) => Ended::NotCommitted(NotCommitted::Conflict),
        Err(Uncommitted::Unknown(_)) => Ended::NotCommitted(NotCommitted::Unknown),
        Err(Uncommitted::Lost(_)) => Ended::NotCommitted(NotCommitted::Lost),
        Err(Uncommitted::Denied(error)) => {
            Ended::NotCommitted(NotCommitted::Denied(error.to_string()))
        }
        Err(error @ Uncommitted::TooLarge { .. }) => outcome(Err(Failed::finally("result", error))),
    }
}

/// The function's changes, the result and the state of the job.
fn store(
    snapshot: &mut Snapshot,
    function: &(
         dyn Fn(&mut Snapshot, &Arguments) -> Result<rzeo_objects::PyValue, Failed> + Send + Sync
     ),
    task: &Task,
    arguments: &Arguments,
    now: UnixTime,
) -> Result<(), Stopped> {
    let job: Oid = task.job;
    attempt::check(snapshot, job, task.lease)?;
    let called = catch_unwind(AssertUnwindSafe(|| function(snapshot, arguments)));
    let called = called.unwrap_or_else(|panic| Err(panicked(&*panic)));
    let result = called.map_err(|failed| Stopped::Failed(Box::new(failed)))?;
    attempt::finish(snapshot, job, task.lease, result, now)?;
    Ok(())
}

/// The function that a job calls is not there.
pub(super) fn unknown(task: &Task) -> Ended {
    let text = format!("this worker has no function {:?}", task.call);
    outcome(Err(Failed::finally("unknown-function", text)))
}
