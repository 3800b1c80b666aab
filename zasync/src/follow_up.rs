//! What follows a deferred: a call for a result, a call for a failure, or both.
//!
//! A follow-up is stored as a job that waits, with its calls under `ok` and `err`. When the deferred
//! that it follows is final, one of them becomes its call, with the outcome as the first argument.
//! Without a call for that outcome the follow-up takes the outcome over, so that what follows *it*
//! sees the failure, or the result.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rzeo_objects::{ObjectId, PersistentMapping, PyValue, Snapshot};

use crate::deferred_record::Deferred;
use crate::error::{Error, LayoutError, Refusal, at};
use crate::fields::{Fields, sequence};
use crate::state::JobState;

/// Where jobs that follow others are kept, and go when they can be executed.
pub trait FollowUpQueue {
    /// Keeps a waiting job reachable, whatever becomes of the deferred that it follows.
    ///
    /// # Errors
    /// Those of the queue.
    fn park(&mut self, snapshot: &mut Snapshot, job: ObjectId) -> Result<(), Error>;

    /// Has a pending job executed. It may have been parked.
    ///
    /// # Errors
    /// Those of the queue.
    fn dispatch(&mut self, snapshot: &mut Snapshot, job: ObjectId) -> Result<(), Error>;
}

/// A function by name, with arguments.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function: `module.path:name`.
    pub call: String,
    /// Positional arguments.
    pub args: Vec<PyValue>,
    /// Keyword arguments.
    pub kwargs: Vec<(String, PyValue)>,
}

/// What to call when a deferred is final.
#[derive(Clone, Debug)]
pub struct FollowUp {
    /// The id of the follow-up's own job.
    pub id: String,
    /// Called with the result.
    pub ok: Option<Call>,
    /// Called with the failure, a dict. A deferred that is cancelled or expired has one without a
    /// trace.
    pub err: Option<Call>,
}

impl Call {
    /// A call without arguments.
    #[must_use]
    pub fn new(call: &str) -> Self {
        Self { call: call.into(), args: Vec::new(), kwargs: Vec::new() }
    }

    pub(crate) fn kwargs_value(&self) -> PyValue {
        let items = self.kwargs.iter().map(|(name, value)| (name.as_str().into(), value.clone()));
        PyValue::dict(items.collect())
    }

    fn to_value(&self) -> PyValue {
        PyValue::dict(Vec::from([
            ("call".into(), self.call.as_str().into()),
            ("args".into(), PyValue::tuple(self.args.clone())),
            ("kwargs".into(), self.kwargs_value()),
        ]))
    }
}

impl FollowUp {
    /// Creates the job that waits.
    pub(crate) fn create(&self, snapshot: &mut Snapshot) -> ObjectId {
        let mut record = PersistentMapping::new();
        record.insert("id", self.id.as_str());
        record.insert("state", JobState::Waiting.text());
        for (key, call) in [("ok", &self.ok), ("err", &self.err)] {
            if let Some(call) = call {
                record.insert(key, call.to_value());
            }
        }
        snapshot.create(&PersistentMapping::class(), record)
    }
}

/// Makes a pending job of a follow-up, or gives it the outcome. Returns its new state.
pub(crate) fn decide(
    snapshot: &mut Snapshot,
    follow_up: ObjectId,
    followed: &Deferred,
) -> Result<JobState, Error> {
    let path = format!("job {follow_up}");
    let fields = Fields::read(snapshot, follow_up, path.clone())?;
    let state = Deferred::from_fields(snapshot, follow_up, &fields)?.state;
    if state != JobState::Waiting {
        return Err(Refusal::TooLate(state).into());
    }
    let is_ok = followed.state == JobState::Done;
    let (side, key) = if is_ok { ("ok", "result") } else { ("err", "failure") };
    let outcome = if is_ok { &followed.result } else { &followed.failure }.clone();
    let outcome = outcome.unwrap_or_else(|| without_outcome(followed.state));
    let call = call_of(&fields, side)?;
    snapshot
        .modify(follow_up, |record: &mut PersistentMapping| match call {
            Some((call, args, kwargs)) => {
                record.remove("ok");
                record.remove("err");
                let args = core::iter::once(outcome).chain(args).collect();
                record.insert("state", JobState::Pending.text());
                record.insert("call", call);
                record.insert("args", PyValue::tuple(args));
                record.insert("kwargs", kwargs);
                JobState::Pending
            }
            None => {
                record.insert("state", followed.state.text());
                record.insert(key, outcome);
                followed.state
            }
        })
        .map_err(|error| at(&path, error))
}

/// What is passed on for a deferred that has neither result nor failure.
fn without_outcome(state: JobState) -> PyValue {
    match state {
        JobState::Cancelled | JobState::Expired | JobState::Failed => {
            PyValue::dict(Vec::from([("kind".into(), state.text().into())]))
        }
        _ => PyValue::NONE,
    }
}

/// Function, positional and keyword arguments of one side.
fn call_of(
    fields: &Fields,
    side: &str,
) -> Result<Option<(PyValue, Vec<PyValue>, PyValue)>, LayoutError> {
    if fields.value(side).is_none() {
        return Ok(None);
    }
    let items = fields.dict(side)?;
    let item = |name| items.iter().find(|(key, _)| key.as_text() == Some(name));
    let path = |name| format!("{}/{name}", fields.path_of(side));
    let Some((_, call)) = item("call") else {
        return Err(LayoutError::Missing { path: path("call") });
    };
    let args = match item("args") {
        Some((_, args)) => sequence(args)
            .ok_or_else(|| LayoutError::malformed(path("args"), args, "a tuple or list"))?
            .into_owned(),
        None => Vec::new(),
    };
    let kwargs = item("kwargs").map(|(_, kwargs)| kwargs.clone());
    Ok(Some((call.clone(), args, kwargs.unwrap_or_else(|| PyValue::dict(Vec::new())))))
}
