//! The transactions of a worker, as values.

use rzeo_objects::Snapshot;

use crate::error::Error;

/// A function of a snapshot, with its arguments. Can be applied any number of times.
#[derive(Clone, Debug)]
pub struct Operation(pub(crate) ());

/// The result of an operation.
#[derive(Clone, Debug)]
pub struct Answer(pub(crate) ());

impl Operation {
    /// What it does, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        ""
    }

    /// Does it.
    ///
    /// # Errors
    /// Those of the function.
    pub fn apply(&self, snapshot: &mut Snapshot) -> Result<Answer, Error> {
        let _ = snapshot;
        Ok(Answer(()))
    }
}
