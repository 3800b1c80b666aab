//! What a Rust type needs to be the state of persistent objects.

use alloc::sync::Arc;
use core::any::Any;
use core::fmt::Debug;

use crate::class::Class;
use crate::error::{StateError, WriteError};
use crate::state_writer::StateWriter;
use crate::value::PyValue;

/// A Rust type for the state of persistent objects: it reads what `__setstate__` gets in Python, and
/// writes what `__getstate__` returns.
pub trait ObjectState: Clone + Debug + Send + Sync + 'static {
    /// Reads the state of an object of `class`.
    ///
    /// # Errors
    /// [`StateError`], if the class or the state is not one of this type.
    fn read(class: &Class, state: &PyValue) -> Result<Self, StateError>;

    /// Writes the state.
    ///
    /// # Errors
    /// Those of the writer.
    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError>;
}

/// A state of any type.
pub(crate) trait AnyState: Any + Debug + Send + Sync {
    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError>;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<T: ObjectState> AnyState for T {
    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        ObjectState::write(self, writer)
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The state as a value, whatever its form: for objects of classes that have no type of their own.
/// Writing another value replaces the whole state.
impl ObjectState for PyValue {
    fn read(_class: &Class, state: &PyValue) -> Result<Self, StateError> {
        Ok(state.clone())
    }

    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        writer.state(self)
    }
}
