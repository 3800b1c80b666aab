//! Adds jobs to a queue (T1).
//!
//! The transaction may have any other changes of the application, and any number of jobs: they are all
//! stored, or nothing is.

use rzeo_objects::{ObjectId, PersistentMapping, Snapshot};

use super::placement::Placement;
use crate::deferred::Deferred;
use crate::error::{Error, LayoutError, Refusal};
use crate::job::{Job, NewJob};
use crate::layout::Place;
use crate::state::JobState;

/// What enqueueing has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// The job is in the queue. The application keeps the reference if it wants to know the outcome.
    New(ObjectId, Place),
    /// A job with the same `unique` is pending. It must still be pending when the transaction commits,
    /// so that it sees what the transaction has changed.
    Existing(ObjectId),
}

impl Enqueued {
    /// The job, new or not.
    #[must_use]
    pub const fn job(self) -> ObjectId {
        match self {
            Self::New(job, _) | Self::Existing(job) => job,
        }
    }
}

/// Adds a job that is taken when it is due.
///
/// # Errors
/// [`Refusal::Option`], [`LayoutError`].
pub fn enqueue(
    snapshot: &mut Snapshot,
    placement: &Placement<'_>,
    job: &NewJob,
) -> Result<Enqueued, Error> {
    add(
        snapshot,
        job,
        |snapshot| {
            let object = job.create(snapshot, JobState::Pending, placement.now);
            Ok((object, placement.add(snapshot, object, &job.options)?))
        },
        placement,
    )
}

/// Adds a job that is not taken before it is [released](release).
///
/// # Errors
/// Those of [`enqueue`].
pub fn enqueue_held(
    snapshot: &mut Snapshot,
    placement: &Placement<'_>,
    job: &NewJob,
) -> Result<Enqueued, Error> {
    add(
        snapshot,
        job,
        |snapshot| {
            let object = job.create(snapshot, JobState::Held, placement.now);
            Ok((object, placement.add_parked(snapshot, object)?))
        },
        placement,
    )
}

/// Makes a held job pending.
///
/// # Errors
/// [`Refusal::NotHeld`], [`LayoutError`].
pub fn release(
    snapshot: &mut Snapshot,
    placement: &Placement<'_>,
    job: impl Into<ObjectId>,
) -> Result<Place, Error> {
    let job = job.into();
    snapshot.attempt(|snapshot| {
        let state = Job::read(snapshot, job)?.state();
        if state != JobState::Held {
            return Err(Refusal::NotHeld(state).into());
        }
        snapshot.modify(job, |record: &mut PersistentMapping| {
            record.insert("state", JobState::Pending.text());
        })?;
        placement.unpark(snapshot, job)
    })
}

fn add(
    snapshot: &mut Snapshot,
    job: &NewJob,
    create: impl FnOnce(&mut Snapshot) -> Result<(ObjectId, Place), Error>,
    placement: &Placement<'_>,
) -> Result<Enqueued, Error> {
    job.options.check()?;
    snapshot.attempt(|snapshot| {
        let unique = job.options.unique.as_deref();
        if let Some(unique) = unique
            && let Some(pending) = pending_unique(snapshot, placement, unique)?
        {
            snapshot.check_current(pending)?;
            return Ok(Enqueued::Existing(pending));
        }
        let (object, place) = create(snapshot)?;
        if let Some(unique) = unique {
            let reference = snapshot.reference(object)?;
            placement.queue.unique.set(snapshot, unique, reference)?;
        }
        Ok(Enqueued::New(object, place))
    })
}

/// The pending job with this `unique`. One that an undo has removed does not count.
fn pending_unique(
    snapshot: &mut Snapshot,
    placement: &Placement<'_>,
    unique: &str,
) -> Result<Option<ObjectId>, Error> {
    let Some(job) = placement.queue.unique.object(snapshot, &unique.into())? else {
        return Ok(None);
    };
    match Deferred::read(snapshot, job) {
        Ok(deferred) => Ok((deferred.state == JobState::Pending).then_some(job)),
        Err(Error::Layout(LayoutError::Dangling { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}
