//! `persistent.mapping.PersistentMapping`: a dict that is an object of its own.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::class::Class;
use crate::error::{StateError, WriteError};
use crate::instance::Instance;
use crate::state::ObjectState;
use crate::state_writer::StateWriter;
use crate::value::{PyValue, View};

/// The state of a `PersistentMapping` or of a subclass. The root object of a database is one.
///
/// Items keep the order in which they were first inserted, as in Python. Finding an item compares the
/// keys one after another; large collections are BTrees.
#[derive(Clone, Debug)]
pub struct PersistentMapping {
    /// All attributes; `data` is a placeholder for the items.
    attributes: Instance,
    items: Vec<(PyValue, PyValue)>,
    /// The dict that the items were read from, for values that refer to it.
    origin: Option<PyValue>,
}

impl PersistentMapping {
    /// An empty mapping.
    #[must_use]
    pub fn new() -> Self {
        let mut attributes = Instance::new();
        attributes.set("data", PyValue::NONE);
        Self { attributes, items: Vec::new(), origin: None }
    }

    /// The class of mappings that are no instances of a subclass.
    #[must_use]
    pub fn class() -> Class {
        Class::new("persistent.mapping", "PersistentMapping")
    }

    /// The value of a text key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&PyValue> {
        self.position(key).map(|at| &self.items[at].1)
    }

    /// Sets the value of a text key, and returns the one before.
    pub fn insert(&mut self, key: &str, value: impl Into<PyValue>) -> Option<PyValue> {
        let value = value.into();
        if let Some(at) = self.position(key) {
            return Some(core::mem::replace(&mut self.items[at].1, value));
        }
        self.items.push((key.into(), value));
        None
    }

    /// Removes a text key, and returns its value if it was there.
    pub fn remove(&mut self, key: &str) -> Option<PyValue> {
        self.position(key).map(|at| self.items.remove(at).1)
    }

    /// Removes all items that `keep` refuses. Keys can be of any type here.
    pub fn retain(&mut self, mut keep: impl FnMut(&PyValue, &PyValue) -> bool) {
        self.items.retain(|(key, value)| keep(key, value));
    }

    /// Adds an item with a key of any type, which must not be in the mapping.
    pub fn push(&mut self, key: impl Into<PyValue>, value: impl Into<PyValue>) {
        self.items.push((key.into(), value.into()));
    }

    /// Keys and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&PyValue, &PyValue)> {
        self.items.iter().map(|(key, value)| (key, value))
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The attributes of the object. `data`, a placeholder for the items, is among them.
    #[must_use]
    pub const fn attributes(&self) -> &Instance {
        &self.attributes
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.items.iter().position(|(other, _)| other.as_text() == Some(key))
    }
}

impl Default for PersistentMapping {
    fn default() -> Self {
        Self::new()
    }
}

impl ObjectState for PersistentMapping {
    fn read(_class: &Class, state: &PyValue) -> Result<Self, StateError> {
        let (attributes, data) = Instance::with_data(state)?;
        let View::Dict(items) = data.view() else {
            return Err(StateError::Form { part: "the attribute data", expected: "a dict" });
        };
        Ok(Self { attributes, items: Cow::into_owned(items), origin: Some(data.clone()) })
    }

    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        self.attributes.write_with(writer, |writer| {
            writer.dict(self.origin.as_ref(), &self.items, |writer, (key, value)| {
                writer.value(key)?;
                writer.value(value)
            })
        })
    }
}
