//! The record of a job.
//!
//! ```text
//! job: PersistentMapping
//!   from the program that enqueues it   id call args kwargs state='pending'
//!     if it wants                       begin_after begin_by deadline timeout priority retry unique
//!   from workers                        owner lease attempt interruptions crashes started ended
//!                                       result | failure, errors, cancel
//!   side: PersistentMapping             then settled, and notes of applications
//! ```
//!
//! Times are seconds since 1970 by the clock of the storage. [`Job`] is what was read; operations change
//! single items of the record, and keep items and attributes that they do not know.
//!
//! This record alone decides who may do what with the job. Every claim writes a new [`Lease`], and what
//! the worker writes at the end is refused if the record has another one by then.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rzeo_core::UnixTime;
use rzeo_objects::{ObjectId, PersistentMapping, PyValue, Snapshot, View};

use crate::deferred::{Deferred, name_and_value};
use crate::entry_key::{PRIORITY_DEFAULT, PRIORITY_MAX};
use crate::error::{Error, LayoutError, Refusal};
use crate::fields::{Fields, number};
use crate::follow_up::Call;
use crate::layout::{Place, ShardTree};
use crate::retry::Retry;
use crate::state::JobState;

/// A random number that one claim of a job writes into its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(pub u64);

/// How a job is executed. All of it can be left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobOptions {
    /// The job begins at this time at the earliest.
    pub begin_after: Option<UnixTime>,
    /// A job that did not begin before this time expires.
    pub begin_by: Option<UnixTime>,
    /// A job that is not executed before this time expires, and is not repeated.
    pub deadline: Option<UnixTime>,
    /// Maximum seconds of an attempt.
    pub timeout: Option<f64>,
    /// From 0, which is taken first, to [`PRIORITY_MAX`].
    pub priority: Option<u8>,
    /// What happens after a failure, if not what the function's registration says.
    pub retry: Option<Retry>,
    /// As long as a job with this text is pending, no other one is enqueued.
    pub unique: Option<String>,
}

/// A job to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// A text that no other job has.
    pub id: String,
    /// What is called.
    pub call: Call,
    /// How it is executed.
    pub options: JobOptions,
}

/// A job as its record has it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its state and outcome.
    pub deferred: Deferred,
    /// A text that no other job has.
    pub id: String,
    /// The function: `module.path:name`.
    pub call: String,
    /// Positional arguments.
    pub args: Vec<PyValue>,
    /// Keyword arguments.
    pub kwargs: Vec<(String, PyValue)>,
    /// How it is executed.
    pub options: JobOptions,
    /// The worker that has the job.
    pub owner: Option<String>,
    /// The last claim.
    pub lease: Option<Lease>,
    /// Number of attempts that count, with the present one.
    pub attempt: u32,
    /// How often an attempt did not end.
    pub interruptions: u32,
    /// When workers died that had the job.
    pub crashes: Vec<UnixTime>,
    /// When the present or last attempt began.
    pub started: Option<UnixTime>,
    /// Failures of earlier attempts.
    pub errors: Vec<PyValue>,
    /// The entry of a job that waits or is held.
    pub(crate) parked: Option<(i64, i64)>,
}

impl JobOptions {
    pub(crate) fn priority(&self) -> u8 {
        self.priority.unwrap_or(PRIORITY_DEFAULT)
    }

    /// Fails if an option is outside of its limits.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let refuse = |option, found, expected| Err(Refusal::Option { option, found, expected });
        let times = [
            ("begin_after", self.begin_after),
            ("begin_by", self.begin_by),
            ("deadline", self.deadline),
        ];
        for (option, time) in times {
            if let Some(time) = time.filter(|time| !time.0.is_finite()) {
                return refuse(option, format!("{}", time.0), "a finite time");
            }
        }
        if let Some(timeout) = self.timeout.filter(|timeout| !(0.0..f64::MAX).contains(timeout)) {
            return refuse("timeout", format!("{timeout}"), "a number of seconds from 0");
        }
        if let Some(priority) = self.priority.filter(|priority| *priority > PRIORITY_MAX) {
            return refuse("priority", format!("{priority}"), "a number from 0 to 7");
        }
        self.retry.as_ref().map_or(Ok(()), Retry::check)
    }

    fn read(fields: &Fields) -> Result<Self, LayoutError> {
        let priority = match fields.int("priority")? {
            Some(priority) => match u8::try_from(priority) {
                Ok(priority) if priority <= PRIORITY_MAX => Some(priority),
                _ => {
                    let (path, found) = (fields.path_of("priority"), priority.into());
                    return Err(LayoutError::malformed(path, &found, "a number from 0 to 7"));
                }
            },
            None => None,
        };
        let retry = fields.value("retry");
        let retry = retry.map(|value| Retry::read(value, fields.path_of("retry"))).transpose()?;
        Ok(Self {
            begin_after: fields.time("begin_after")?,
            begin_by: fields.time("begin_by")?,
            deadline: fields.time("deadline")?,
            timeout: fields.number("timeout")?,
            priority,
            retry,
            unique: fields.text("unique")?,
        })
    }

    fn write(&self, record: &mut PersistentMapping) {
        let numbers = [
            ("begin_after", self.begin_after.map(|time| time.0)),
            ("begin_by", self.begin_by.map(|time| time.0)),
            ("deadline", self.deadline.map(|time| time.0)),
            ("timeout", self.timeout),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                record.insert(key, number);
            }
        }
        if let Some(priority) = self.priority {
            record.insert("priority", i64::from(priority));
        }
        if let Some(retry) = self.retry {
            record.insert("retry", retry.to_value());
        }
        if let Some(unique) = &self.unique {
            record.insert("unique", unique.as_str());
        }
    }
}

impl NewJob {
    /// A job without arguments and options.
    #[must_use]
    pub fn new(id: &str, call: &str) -> Self {
        Self { id: id.into(), call: Call::new(call), options: JobOptions::default() }
    }

    /// Creates the record, in a state in which no worker has it.
    pub(crate) fn create(
        &self,
        snapshot: &mut Snapshot,
        state: JobState,
        now: UnixTime,
    ) -> ObjectId {
        let mut record = PersistentMapping::new();
        record.insert("id", self.id.as_str());
        record.insert("call", self.call.call.as_str());
        record.insert("args", PyValue::tuple(self.call.args.clone()));
        record.insert("kwargs", self.call.kwargs_value());
        record.insert("state", state.text());
        record.insert("created", now.0);
        self.options.write(&mut record);
        snapshot.create(&PersistentMapping::class(), record)
    }
}

impl Job {
    /// Reads a job.
    ///
    /// # Errors
    /// [`LayoutError`], [`Refusal::NotAJob`].
    pub fn read(snapshot: &mut Snapshot, object: impl Into<ObjectId>) -> Result<Self, Error> {
        let object = object.into();
        Self::read_at(snapshot, object, format!("job {object}"))
    }

    /// Reads a job at a path of the layout.
    pub(crate) fn read_at(
        snapshot: &mut Snapshot,
        object: ObjectId,
        path: String,
    ) -> Result<Self, Error> {
        let fields = Fields::read(snapshot, object, path)?;
        let deferred = Deferred::from_fields(snapshot, object, &fields)?;
        let (Some(id), Some(call)) = (fields.text("id")?, call(&fields)?) else {
            return Err(Refusal::NotAJob.into());
        };
        let kwargs = fields.dict("kwargs")?.iter().map(name_and_value).collect::<Option<_>>();
        let kwargs = kwargs.ok_or_else(|| {
            let found = fields.value("kwargs").cloned().unwrap_or(PyValue::NONE);
            LayoutError::malformed(fields.path_of("kwargs"), &found, "a dict with texts as keys")
        })?;
        let time = |value: &PyValue| number(value).map(UnixTime);
        let pair =
            |place: Vec<i64>| <[i64; 2]>::try_from(place).ok().map(|[shard, key]| (shard, key));
        Ok(Self {
            deferred,
            id,
            call,
            args: fields.items("args")?,
            kwargs,
            options: JobOptions::read(&fields)?,
            owner: fields.text("owner")?,
            lease: fields.int("lease")?.map(|lease| Lease(lease.cast_unsigned())),
            attempt: fields.count("attempt")?,
            interruptions: fields.count("interruptions")?,
            crashes: fields.all("crashes", "a tuple of times", time)?,
            started: fields.time("started")?,
            errors: fields.items("errors")?,
            parked: pair(fields.all("parked", "a tuple of two integers", PyValue::as_int)?),
        })
    }

    /// The record.
    #[must_use]
    pub const fn object(&self) -> ObjectId {
        self.deferred.object
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> JobState {
        self.deferred.state
    }

    /// Whether the job may begin. The clock is that of the storage.
    #[must_use]
    pub fn is_due(&self, now: UnixTime) -> bool {
        self.options.begin_after.is_none_or(|begin| begin <= now)
    }

    /// Whether the job has not begun or ended in time.
    #[must_use]
    pub fn is_overdue(&self, now: UnixTime) -> bool {
        let is_over = |limit: Option<UnixTime>| limit.is_some_and(|limit| limit <= now);
        let has_begun = self.started.is_some();
        is_over(self.options.deadline) || !has_begun && is_over(self.options.begin_by)
    }

    /// The entry of a parked job.
    pub(crate) fn parked_place(&self) -> Option<Place> {
        let (shard, key) = self.parked?;
        Some(Place { shard, tree: ShardTree::Parked, key })
    }
}

/// The function's name. Python may store the function itself, which is a name in the record.
fn call(fields: &Fields) -> Result<Option<String>, LayoutError> {
    let Some(value) = fields.value("call") else { return Ok(None) };
    match value.view() {
        View::Text(call) => Ok(Some(call.into())),
        View::Class(class) => Ok(Some(format!("{}:{}", class.module(), class.name()))),
        _ => Err(LayoutError::malformed(fields.path_of("call"), value, "a text or a function")),
    }
}
