//! The record of a deferred, as the deferred itself, its follow-ups, queues and workers read it.

use alloc::format;

use rzeo_objects::{ObjectId, PyValue, Snapshot};

use crate::error::{Error, LayoutError, Refusal};
use crate::fields::Fields;
use crate::state::JobState;

/// What is known of a deferred.
#[derive(Clone, Debug)]
pub struct Deferred {
    /// The record.
    pub object: ObjectId,
    /// Its state.
    pub state: JobState,
    /// The result, if the state is done.
    pub result: Option<PyValue>,
    /// A dict that says what went wrong, if there is no result.
    pub failure: Option<PyValue>,
    /// Whether cancelling was requested.
    pub is_cancel_requested: bool,
    /// The side record, with notes and follow-ups.
    pub side: Option<ObjectId>,
    /// Whether the follow-ups have been dispatched.
    pub is_settled: bool,
}

impl Deferred {
    /// Reads a deferred.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn read(snapshot: &mut Snapshot, object: impl Into<ObjectId>) -> Result<Self, Error> {
        let object = object.into();
        let fields = Fields::read(snapshot, object, format!("job {object}"))?;
        Self::from_fields(snapshot, object, &fields)
    }

    pub(crate) fn from_fields(
        snapshot: &mut Snapshot,
        object: ObjectId,
        fields: &Fields,
    ) -> Result<Self, Error> {
        let side = fields.object("side")?;
        // The mark stays where it is if the deferred gets a side record later.
        let is_settled = fields.flag("settled")
            || (side.is_some() && fields.below(snapshot, "side")?.flag("settled"));
        Ok(Self {
            object,
            state: state(fields)?,
            result: fields.value("result").cloned(),
            failure: fields.value("failure").cloned(),
            is_cancel_requested: fields.flag("cancel"),
            side,
            is_settled,
        })
    }

    pub(crate) fn check_not_final(&self) -> Result<(), Refusal> {
        if self.state.is_final() { Err(Refusal::TooLate(self.state)) } else { Ok(()) }
    }
}

fn state(fields: &Fields) -> Result<JobState, LayoutError> {
    let text = fields.need("state", fields.text("state")?)?;
    let malformed = || LayoutError::Malformed {
        path: fields.path_of("state"),
        found: format!("{text:?}"),
        expected: "a state of a job",
    };
    JobState::from_text(&text).ok_or_else(malformed)
}
