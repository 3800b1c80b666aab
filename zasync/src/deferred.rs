//! A deferred: an outcome that is known later, and what follows it.
//!
//! A deferred is a `PersistentMapping` with a `state` that changes until it is final, and then a
//! `result` or a `failure`. Every job is one. A *bare* deferred has no call: a program fires it by hand,
//! for example when a person has agreed to something. Nothing here depends on queues or workers.
//!
//! ```text
//!   held ──► waiting ──► pending ──► running ──► done, failed, cancelled, expired ──► settled
//!               └────────────── fire, fail ─────────────┘
//! ```
//!
//! What is guaranteed:
//!
//! - A final state, its result and its failure never change. All operations write the record of the
//!   deferred, so of two that race one conflicts, and is refused when it is repeated.
//! - A follow-up is a deferred of its own, with its own outcome. It is dispatched exactly once, by the
//!   transaction that marks the deferred as settled. That mark and the list of follow-ups are in one
//!   record, the *side* record, so a follow-up that is added while the deferred is settled conflicts and
//!   is dispatched when that is repeated.
//! - Cancelling a running job is a request: the job record decides whether the request or the result
//!   was first.
//!
//! Without a side record there are no follow-ups, and the mark is in the record of the deferred itself. There it
//! stays if the deferred gets a side record later, for a note.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rzeo_core::UnixTime;
use rzeo_objects::{ObjectId, PersistentMapping, PyValue, Snapshot, View};

pub use crate::deferred_record::Deferred;
use crate::error::{Error, LayoutError, Refusal};
use crate::failure::Failure;
use crate::fields::Fields;
use crate::follow_up::{self, FollowUp, FollowUpQueue};
use crate::layout::create_mapping;
use crate::state::JobState;

/// Maximum number of notes of a deferred.
pub const NOTES_MAX: usize = 100;

/// What cancelling has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The deferred is cancelled.
    Now,
    /// The worker that executes the job is asked to stop. It may be too late for that.
    Requested,
}

/// What settling a deferred has done beside dispatching its follow-ups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settlement {
    /// Follow-ups that are final now and have to be settled in their turn: they have no call for this
    /// outcome and have taken it over, or they are malformed and have failed.
    pub passed: Vec<ObjectId>,
    /// What is wrong with follow-ups that cannot be written. They are left out.
    pub lost: Vec<LayoutError>,
}

/// Creates a bare deferred. It is stored when a stored object refers to it.
pub fn create(snapshot: &mut Snapshot) -> ObjectId {
    let mut record = PersistentMapping::new();
    record.insert("state", JobState::Waiting.text());
    snapshot.create(&PersistentMapping::class(), record)
}

/// Gives a bare deferred its result.
///
/// # Errors
/// [`Refusal::TooLate`], [`Refusal::HasCall`], [`LayoutError`].
pub fn fire(
    snapshot: &mut Snapshot,
    deferred: impl Into<ObjectId>,
    result: PyValue,
    now: UnixTime,
) -> Result<(), Error> {
    let deferred = deferred.into();
    check_bare(snapshot, deferred)?;
    end(snapshot, deferred, JobState::Done, Some(("result", result)), now)
}

/// Gives a bare deferred a failure.
///
/// # Errors
/// Those of [`fire`].
pub fn fail(
    snapshot: &mut Snapshot,
    deferred: impl Into<ObjectId>,
    failure: &Failure,
    now: UnixTime,
) -> Result<(), Error> {
    let deferred = deferred.into();
    check_bare(snapshot, deferred)?;
    let failure = failure.to_value(0, None, now);
    end(snapshot, deferred, JobState::Failed, Some(("failure", failure)), now)
}

/// Cancels a deferred, or asks the worker that executes its job to stop (T10).
///
/// # Errors
/// [`Refusal::TooLate`], [`LayoutError`].
pub fn cancel(
    snapshot: &mut Snapshot,
    deferred: impl Into<ObjectId>,
    now: UnixTime,
) -> Result<Cancelled, Error> {
    let deferred = Deferred::read(snapshot, deferred)?;
    deferred.check_not_final()?;
    if deferred.state != JobState::Running {
        end(snapshot, deferred.object, JobState::Cancelled, None, now)?;
        return Ok(Cancelled::Now);
    }
    if !deferred.is_cancel_requested {
        snapshot.modify(deferred.object, |record: &mut PersistentMapping| {
            record.insert("cancel", true);
        })?;
    }
    Ok(Cancelled::Requested)
}

/// Stores a note with a deferred (T16): a small value under a name, in place of an earlier one of that
/// name. It writes the side record alone, so it does not conflict with the worker that has the job.
///
/// # Errors
/// [`Refusal::TooManyNotes`], [`LayoutError`].
pub fn note(
    snapshot: &mut Snapshot,
    deferred: impl Into<ObjectId>,
    name: &str,
    value: PyValue,
) -> Result<(), Error> {
    let deferred = deferred.into();
    snapshot.attempt(|snapshot| {
        let side = match Deferred::read(snapshot, deferred)?.side {
            Some(side) => side,
            None => create_side(snapshot, deferred)?,
        };
        let mut notes = notes_of(snapshot, deferred, side)?;
        let at = notes.iter().position(|(key, _)| key.as_text() == Some(name));
        match at {
            Some(at) => notes[at].1 = value,
            None if notes.len() >= NOTES_MAX => return Err(Refusal::TooManyNotes(NOTES_MAX).into()),
            None => notes.push((name.into(), value)),
        }
        snapshot.modify(side, |side: &mut PersistentMapping| {
            side.insert("notes", PyValue::dict(notes));
        })?;
        Ok(())
    })
}

/// The notes of a deferred, by name.
///
/// # Errors
/// [`LayoutError`].
pub fn notes(
    snapshot: &mut Snapshot,
    deferred: impl Into<ObjectId>,
) -> Result<Vec<(String, PyValue)>, Error> {
    let deferred = Deferred::read(snapshot, deferred)?;
    let Some(side) = deferred.side else { return Ok(Vec::new()) };
    let notes = notes_of(snapshot, deferred.object, side)?;
    Ok(notes.iter().filter_map(name_and_value).collect())
}

fn notes_of(
    snapshot: &mut Snapshot,
    deferred: ObjectId,
    side: ObjectId,
) -> Result<Vec<(PyValue, PyValue)>, Error> {
    let fields = Fields::read(snapshot, side, format!("job {deferred}/side"))?;
    match fields.value("notes") {
        Some(_) => Ok(fields.dict("notes")?),
        None => Ok(Vec::new()),
    }
}

/// Adds a follow-up, and returns its deferred (T17). If the deferred is settled, the follow-up is
/// dispatched at once.
///
/// # Errors
/// [`LayoutError`], and errors of the queue of follow-ups.
pub fn then(
    snapshot: &mut Snapshot,
    deferred: impl Into<ObjectId>,
    follow_up: &FollowUp,
    queue: &mut impl FollowUpQueue,
) -> Result<ObjectId, Error> {
    let deferred = deferred.into();
    snapshot.attempt(|snapshot| {
        let deferred = Deferred::read(snapshot, deferred)?;
        let added = follow_up.create(snapshot);
        if deferred.is_settled {
            if follow_up::decide(snapshot, added, &deferred)?.is_final() {
                // The follow-up is new, so nothing follows it.
                settled(snapshot, added)?;
            } else {
                queue.dispatch(snapshot, added)?;
            }
            return Ok(added);
        }
        let side = match deferred.side {
            Some(side) => side,
            None => create_side(snapshot, deferred.object)?,
        };
        let path = format!("job {}/side", deferred.object);
        let mut follow_ups = Fields::read(snapshot, side, path)?.items("then")?;
        follow_ups.push(snapshot.reference(added)?);
        snapshot.modify(side, |side: &mut PersistentMapping| {
            side.insert("then", PyValue::tuple(follow_ups));
        })?;
        queue.park(snapshot, added)?;
        Ok(added)
    })
}

/// Dispatches the follow-ups of a final deferred (the deferred's part of T12). Malformed follow-ups do not
/// prevent that.
///
/// # Errors
/// [`Refusal::NotFinal`], [`Refusal::Settled`], [`LayoutError`] of the deferred itself, and errors of the
/// queue of follow-ups.
pub fn settle(
    snapshot: &mut Snapshot,
    deferred: impl Into<ObjectId>,
    queue: &mut impl FollowUpQueue,
    now: UnixTime,
) -> Result<Settlement, Error> {
    let deferred = deferred.into();
    snapshot.attempt(|snapshot| {
        let deferred = Deferred::read(snapshot, deferred)?;
        if !deferred.state.is_final() {
            return Err(Refusal::NotFinal(deferred.state).into());
        }
        if deferred.is_settled {
            return Err(Refusal::Settled.into());
        }
        let mut settlement = Settlement::default();
        let follow_ups = match deferred.side {
            Some(side) => follow_ups(snapshot, deferred.object, side)?,
            None => Ok(Vec::new()),
        };
        for added in follow_ups.unwrap_or_else(|error| {
            settlement.lost.push(error);
            Vec::new()
        }) {
            match follow_up::decide(snapshot, added, &deferred) {
                Ok(state) if state.is_final() => settlement.passed.push(added),
                Ok(_) => queue.dispatch(snapshot, added)?,
                // It was cancelled, or an undo has removed it.
                Err(Error::Refused(_) | Error::Layout(LayoutError::Dangling { .. })) => {}
                Err(Error::Layout(error @ LayoutError::Unusable { .. })) => {
                    settlement.lost.push(error);
                }
                Err(Error::Layout(error)) => {
                    let failure = Failure::new("malformed", error).to_value(0, None, now);
                    end(snapshot, added, JobState::Failed, Some(("failure", failure)), now)?;
                    settlement.passed.push(added);
                }
                Err(error) => return Err(error),
            }
        }
        settled(snapshot, deferred.object)?;
        Ok(settlement)
    })
}

/// The follow-ups in a side record, or what is wrong with their list.
fn follow_ups(
    snapshot: &mut Snapshot,
    deferred: ObjectId,
    side: ObjectId,
) -> Result<Result<Vec<ObjectId>, LayoutError>, Error> {
    let fields = Fields::read(snapshot, side, format!("job {deferred}/side"))?;
    Ok(fields.all("then", "a tuple of references to objects", PyValue::as_object))
}

/// Marks a deferred as settled.
fn settled(snapshot: &mut Snapshot, deferred: ObjectId) -> Result<(), Error> {
    let marked = Deferred::read(snapshot, deferred)?.side.unwrap_or(deferred);
    snapshot.modify(marked, |record: &mut PersistentMapping| record.insert("settled", true))?;
    Ok(())
}

/// Gives a deferred a side record.
pub(crate) fn create_side(snapshot: &mut Snapshot, deferred: ObjectId) -> Result<ObjectId, Error> {
    let side = create_mapping(snapshot, []);
    let id = side.as_object().expect("it is a reference to the new object");
    snapshot.modify(deferred, |record: &mut PersistentMapping| record.insert("side", side))?;
    Ok(id)
}

/// Writes the outcome.
pub(crate) fn end(
    snapshot: &mut Snapshot,
    deferred: ObjectId,
    state: JobState,
    outcome: Option<(&str, PyValue)>,
    now: UnixTime,
) -> Result<(), Error> {
    snapshot.modify(deferred, |record: &mut PersistentMapping| {
        record.insert("state", state.text());
        record.insert("ended", now.0);
        if let Some((key, value)) = outcome {
            record.insert(key, value);
        }
    })?;
    Ok(())
}

fn check_bare(snapshot: &mut Snapshot, deferred: ObjectId) -> Result<(), Error> {
    let fields = Fields::read(snapshot, deferred, format!("job {deferred}"))?;
    let deferred = Deferred::from_fields(snapshot, deferred, &fields)?;
    deferred.check_not_final()?;
    let is_bare = ["call", "ok", "err"].iter().all(|key| fields.value(key).is_none());
    if is_bare && deferred.state == JobState::Waiting {
        Ok(())
    } else {
        Err(Refusal::HasCall.into())
    }
}

/// The texts of names in a dict of arguments.
pub(crate) fn name_and_value((name, value): &(PyValue, PyValue)) -> Option<(String, PyValue)> {
    match name.view() {
        View::Text(name) => Some((name.into(), value.clone())),
        _ => None,
    }
}
