//! The functions of jobs, by name.

use std::collections::BTreeMap;

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::{PersistentMapping, PyValue, Snapshot};
use rzeo_zasync::machine::{Ended, StopReason, Task};
use rzeo_zasync::{Error, Failure, Retry, attempt};

/// Names that jobs call.
pub(crate) const CALLS: [&str; 8] = [
    "app:count",
    "app:count",
    "app:plain",
    "app:fail",
    "app:die",
    "app:slow",
    "app:stubborn",
    "app:snooze",
];

/// What functions have done outside of the database.
#[derive(Default)]
pub(crate) struct Functions {
    /// Number of executions of each job.
    pub(crate) executed: BTreeMap<Oid, u32>,
}

type InTransaction = Box<dyn FnMut(&mut Snapshot) -> Result<(), Error>>;

/// What a function does when it goes on.
pub(crate) enum Behaviour {
    /// It still runs.
    Goes,
    Ended(Ended),
    /// Its changes and its result are to be committed.
    Transaction(InTransaction),
}

/// The counter that is kept in the root object.
pub(crate) const COUNTER: &str = "counter";

impl Functions {
    /// An execution of a job begins.
    pub(crate) fn begin(&mut self, task: &Task) {
        *self.executed.entry(task.job).or_default() += 1;
    }

    pub(crate) fn behave(&self, task: &Task, stop: Option<StopReason>, time: f64) -> Behaviour {
        let failure = |kind| Ended::Failed { failure: Failure::new(kind, "test"), retry: None };
        Behaviour::Ended(match task.call.as_str() {
            "app:count" => return Behaviour::Transaction(count(task, time)),
            "app:fail" => failure("error"),
            "app:die" if task.attempt < 2 => Ended::Died { message: "test".into() },
            "app:slow" => match stop {
                Some(_) => Ended::Stopped,
                None => return Behaviour::Goes,
            },
            "app:stubborn" => return Behaviour::Goes,
            "app:snooze" if self.executed[&task.job] < 3 => {
                Ended::Snoozed { until: UnixTime(1_800_000_000.0 + time + 5.0) }
            }
            _ => Ended::Returned(PyValue::from(1)),
        })
    }
}

/// Adds one to the counter, in the transaction of the result.
fn count(task: &Task, time: f64) -> InTransaction {
    let (job, lease) = (task.job, task.lease);
    Box::new(move |snapshot| {
        attempt::check(snapshot, job, lease)?;
        let root = snapshot.read::<PersistentMapping>(Oid::ROOT)?;
        let counter = root.get(COUNTER).and_then(PyValue::as_int).unwrap_or(0);
        let counter = counter + 1;
        snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| {
            root.insert(COUNTER, counter);
        })?;
        attempt::finish(snapshot, job, lease, counter.into(), UnixTime(1_800_000_000.0 + time))
    })
}

/// For jobs without an option `retry`.
pub(crate) const RETRY: Retry =
    Retry::Attempts { max: 2, base: 1.0, factor: 2.0, cap: 5.0, jitter: 0.5 };
