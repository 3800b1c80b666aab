//! `BTrees.Length`: a number that many transactions change at once. The server resolves their
//! conflicts by adding the changes.

use crate::class::Class;
use crate::error::{StateError, WriteError};
use crate::state::ObjectState;
use crate::state_writer::StateWriter;
use crate::value::PyValue;

/// The state of a `Length`, if it is an integer of 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length {
    /// The number.
    pub value: i64,
}

impl Length {
    /// The class of these objects.
    #[must_use]
    pub fn class() -> Class {
        Class::new("BTrees.Length", "Length")
    }
}

impl ObjectState for Length {
    fn read(class: &Class, state: &PyValue) -> Result<Self, StateError> {
        if !class.is("BTrees.Length", "Length") {
            return Err(StateError::Class { expected: "Length" });
        }
        let expected = "an integer of up to 64 bits";
        let value = state.as_int().ok_or(StateError::Form { part: "the state", expected })?;
        Ok(Self { value })
    }

    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        writer.int(self.value);
        Ok(())
    }
}
