//! Objects whose state is the dict of their attributes, as it is for most classes.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::class::Class;
use crate::error::{StateError, WriteError};
use crate::state::ObjectState;
use crate::state_writer::StateWriter;
use crate::value::{PyValue, View};

/// The attributes of an instance of any persistent class that does not define its own
/// `__getstate__`.
///
/// Changing them does what assigning to the attributes does in Python, without running properties or
/// other code of the class.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// Names and values, in the order of the state.
    attributes: Vec<(PyValue, PyValue)>,
}

impl Instance {
    /// An instance without attributes.
    #[must_use]
    pub const fn new() -> Self {
        Self { attributes: Vec::new() }
    }

    /// Sets an attribute. A new one is the last.
    pub fn set(&mut self, name: &str, value: impl Into<PyValue>) {
        let value = value.into();
        match self.position(name) {
            Some(at) => self.attributes[at].1 = value,
            None => self.attributes.push((name.into(), value)),
        }
    }

    /// Removes an attribute, and returns its value if it was there.
    pub fn remove(&mut self, name: &str) -> Option<PyValue> {
        self.position(name).map(|at| self.attributes.remove(at).1)
    }

    /// The value of an attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&PyValue> {
        self.position(name).map(|at| &self.attributes[at].1)
    }

    /// Number of attributes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.attributes.len()
    }

    /// Whether there are no attributes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// Names and values, in the order of the state. A name that is not text is possible, but not for
    /// a state that Python has written.
    pub fn iter(&self) -> impl Iterator<Item = (&PyValue, &PyValue)> {
        self.attributes.iter().map(|(name, value)| (name, value))
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.attributes.iter().position(|(other, _)| other.as_text() == Some(name))
    }

    /// Writes the attributes, where `data` writes the value of the attribute of that name.
    pub(crate) fn write_with(
        &self,
        writer: &mut StateWriter<'_>,
        mut data: impl FnMut(&mut StateWriter<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        writer.dict(None, &self.attributes, |writer, (name, value)| match name.as_text() {
            Some("data") => {
                writer.interned("data")?;
                data(writer)
            }
            Some(name) => {
                writer.interned(name)?;
                writer.value(value)
            }
            None => {
                writer.value(name)?;
                writer.value(value)
            }
        })
    }

    /// The attributes of a mapping or list, whose items are in the attribute `data`. In databases
    /// from before 2001 it is `_container`, which Python renames when it reads `data`.
    pub(crate) fn with_data(state: &PyValue) -> Result<(Self, PyValue), StateError> {
        let mut attributes = Self::from_state(state)?;
        if attributes.get("data").is_none()
            && let Some(items) = attributes.remove("_container")
        {
            attributes.set("data", items);
        }
        let data = attributes.get("data").cloned();
        let data =
            data.ok_or(StateError::Form { part: "the attribute data", expected: "there" })?;
        Ok((attributes, data))
    }

    fn from_state(state: &PyValue) -> Result<Self, StateError> {
        match state.view() {
            View::Dict(attributes) => Ok(Self { attributes: Cow::into_owned(attributes) }),
            _ => Err(StateError::Form { part: "the state", expected: "a dict of attributes" }),
        }
    }
}

impl ObjectState for Instance {
    fn read(_class: &Class, state: &PyValue) -> Result<Self, StateError> {
        Self::from_state(state)
    }

    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        let data = self.get("data");
        self.write_with(writer, |writer| match data {
            Some(data) => writer.value(data),
            None => Ok(()),
        })
    }
}
