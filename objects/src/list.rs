//! `persistent.list.PersistentList`: a list that is an object of its own.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use crate::class::Class;
use crate::error::{StateError, WriteError};
use crate::instance::Instance;
use crate::state::ObjectState;
use crate::state_writer::StateWriter;
use crate::value::{PyValue, View};

/// The state of a `PersistentList` or of a subclass. It is used as the vector of its items.
#[derive(Clone, Debug)]
pub struct PersistentList {
    /// All attributes; `data` is a placeholder for the items.
    attributes: Instance,
    items: Vec<PyValue>,
    /// The list that the items were read from, for values that refer to it.
    origin: Option<PyValue>,
}

impl PersistentList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        let mut attributes = Instance::new();
        attributes.set("data", PyValue::NONE);
        Self { attributes, items: Vec::new(), origin: None }
    }

    /// The class of lists that are no instances of a subclass.
    #[must_use]
    pub fn class() -> Class {
        Class::new("persistent.list", "PersistentList")
    }

    /// The attributes of the object. `data`, a placeholder for the items, is among them.
    #[must_use]
    pub const fn attributes(&self) -> &Instance {
        &self.attributes
    }
}

impl Default for PersistentList {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for PersistentList {
    type Target = Vec<PyValue>;

    fn deref(&self) -> &Self::Target {
        &self.items
    }
}

impl DerefMut for PersistentList {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.items
    }
}

impl ObjectState for PersistentList {
    fn read(_class: &Class, state: &PyValue) -> Result<Self, StateError> {
        let (attributes, data) = Instance::with_data(state)?;
        let View::List(items) = data.view() else {
            return Err(StateError::Form { part: "the attribute data", expected: "a list" });
        };
        Ok(Self { attributes, items: Cow::into_owned(items), origin: Some(data.clone()) })
    }

    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        self.attributes.write_with(writer, |writer| {
            writer.list(self.origin.as_ref(), &self.items, |writer, item| writer.value(item))
        })
    }
}
