//! Buckets and sets: the leaves of trees, which are also objects of their own.
//!
//! The state is a tuple of the items in ascending order (alternating keys and values in a bucket,
//! keys alone in a set), followed by a reference to the next leaf if there is one.

use alloc::vec::Vec;

use super::error::{BTreeError, ItemRole};
use super::layout::Layout;
use super::order::find;
use crate::class::Class;
use crate::error::{StateError, WriteError};
use crate::reference::ObjectId;
use crate::state::ObjectState;
use crate::state_writer::StateWriter;
use crate::value::PyValue;

/// A bucket or a set.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) layout: Layout,
    keys: Vec<PyValue>,
    /// As many as keys; none in a set.
    values: Vec<PyValue>,
    pub(super) next: Option<ObjectId>,
}

impl Bucket {
    pub(super) const fn new(layout: Layout) -> Self {
        Self { layout, keys: Vec::new(), values: Vec::new(), next: None }
    }

    /// Reads the state of a bucket of its own, or one within a tree.
    pub(super) fn of_state(layout: Layout, state: &PyValue) -> Result<Self, StateError> {
        let mut bucket = Self::new(layout);
        if state.is_none() {
            return Ok(bucket);
        }
        let parts = state.as_tuple();
        let parts = parts.ok_or(StateError::Form { part: "the state", expected: "a tuple" })?;
        let (items, next) = match &*parts {
            [items] => (items, None),
            [items, next] => (items, Some(next)),
            _ => return Err(StateError::Form { part: "the state", expected: "one or two parts" }),
        };
        let items = items.as_tuple();
        let items = items.ok_or(StateError::Form { part: "the items", expected: "a tuple" })?;
        bucket.add_items(&items)?;
        bucket.next = next.map(|next| next_bucket(layout, next)).transpose()?;
        Ok(bucket)
    }

    fn add_items(&mut self, items: &[PyValue]) -> Result<(), StateError> {
        let Layout { family, has_values } = self.layout;
        let key = |key: &PyValue| family.key().load(key, ItemRole::Key);
        if !has_values {
            self.keys = items.iter().map(key).collect::<Result<_, _>>()?;
            return Ok(());
        }
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(StateError::Form { part: "the items", expected: "pairs" });
        }
        self.keys = pairs.iter().map(|[of, _]| key(of)).collect::<Result<_, _>>()?;
        let values = pairs.iter().map(|[_, value]| family.value().load(value, ItemRole::Value));
        self.values = values.collect::<Result<_, _>>()?;
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn keys(&self) -> &[PyValue] {
        &self.keys
    }

    /// Where a key is, or where it belongs.
    pub(super) fn find(&self, key: &PyValue) -> Result<Result<usize, usize>, BTreeError> {
        find(&self.keys, key)
    }

    /// The value at a position; `None` in sets.
    pub(super) fn value(&self, at: usize) -> PyValue {
        self.values.get(at).cloned().unwrap_or(PyValue::NONE)
    }

    pub(super) fn insert(&mut self, at: usize, key: PyValue, value: PyValue) {
        self.keys.insert(at, key);
        if self.layout.has_values {
            self.values.insert(at, value);
        }
    }

    pub(super) fn replace(&mut self, at: usize, value: PyValue) {
        self.values[at] = value;
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.keys.remove(at);
        if self.layout.has_values {
            self.values.remove(at);
        }
    }

    /// Splits off the second half. The caller links the two.
    pub(super) fn split_off(&mut self) -> Self {
        let at = self.len() / 2;
        let values = if self.layout.has_values { self.values.split_off(at) } else { Vec::new() };
        Self { layout: self.layout, keys: self.keys.split_off(at), values, next: self.next }
    }

    pub(super) fn write_state(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        let items = self.keys.len() + self.values.len();
        let parts = 1 + usize::from(self.next.is_some());
        writer.start_tuple(parts);
        writer.start_tuple(items);
        for (at, key) in self.keys.iter().enumerate() {
            writer.value(key)?;
            if let Some(value) = self.values.get(at) {
                writer.value(value)?;
            }
        }
        writer.end_tuple(items);
        if let Some(next) = self.next {
            writer.reference(next, &self.layout.bucket_class())?;
        }
        writer.end_tuple(parts);
        Ok(())
    }
}

/// The next bucket. Its record tells whether it is one.
fn next_bucket(layout: Layout, next: &PyValue) -> Result<ObjectId, StateError> {
    layout.child(next).and_then(|(id, is_bucket)| is_bucket.then_some(id)).ok_or(StateError::Form {
        part: "the next bucket",
        expected: "a reference to a bucket of the same family",
    })
}

impl ObjectState for Bucket {
    fn read(class: &Class, state: &PyValue) -> Result<Self, StateError> {
        match Layout::of_class(class) {
            Some((layout, false)) => Self::of_state(layout, state),
            _ => Err(StateError::Class { expected: "a bucket or set of BTrees" }),
        }
    }

    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        self.write_state(writer)
    }
}
