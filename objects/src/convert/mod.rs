//! Rust values to Python values and back, with serde.
//!
//! | Rust | Python | read from |
//! |---|---|---|
//! | integers | `int` | `int` within the range of the type |
//! | `f32`, `f64` | `float` | `float`, `int` |
//! | `bool` | `bool` | `bool` |
//! | `char`, `str`, `String` | `str` | `str` |
//! | bytes (`serialize_bytes`, such as `serde_bytes`) | `bytes` | `bytes` |
//! | `Vec` and other sequences | `list` | `list`, `tuple`, `bytes` |
//! | tuples, arrays, tuple structs | `tuple` | `tuple`, `list` |
//! | maps | `dict` | `dict` |
//! | structs | `dict` with the names of the fields | `dict` |
//! | `None`, `()`, unit structs | `None` | `None` |
//! | `Some(value)`, newtype structs | as the value | as the value |
//! | a unit variant | `str`, its name | `str` |
//! | another variant | `dict` of its name to its content | `dict` of one item |
//! | [`Reference`](crate::Reference) | reference to an object | reference |
//!
//! Objects of other classes, such as dates, do not convert.

mod from_value;
mod limits;
mod reference;
mod to_value;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::class::Class;
use crate::convert_error::ConvertError;
use crate::error::{StateError, WriteError};
use crate::state::ObjectState;
use crate::state_writer::StateWriter;
use crate::value::PyValue;

/// Makes a Python value of a Rust value.
///
/// # Errors
/// [`ConvertError`], for integers of more than 128 bits and values that are nested too deep.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<PyValue, ConvertError> {
    to_value::serialize(value)
}

/// Makes a Rust value of a Python value.
///
/// # Errors
/// [`ConvertError`], with the path of the part that does not convert.
pub fn from_value<T: DeserializeOwned>(value: &PyValue) -> Result<T, ConvertError> {
    from_value::deserialize(value)
}

/// The state of an object as a Rust type that serde converts, such as a struct of its attributes.
///
/// Attributes that the Rust type does not have are lost when the object is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted<T>(pub T);

impl<T> ObjectState for Converted<T>
where
    T: Serialize + DeserializeOwned + Clone + core::fmt::Debug + Send + Sync + 'static,
{
    fn read(_class: &Class, state: &PyValue) -> Result<Self, StateError> {
        Ok(Self(from_value(state)?))
    }

    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        writer.state(&to_value(&self.0)?)
    }
}
