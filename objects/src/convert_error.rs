//! Conversions that fail.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

/// A value that does not convert, with the path that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertError {
    /// The path from the whole value, such as `.items[2].name`; empty for the value itself.
    path: String,
    message: String,
}

impl ConvertError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    pub(crate) fn too_deep(limit: u32) -> Self {
        Self::new(format!("values are nested deeper than the maximum of {limit} levels"))
    }

    pub(crate) fn too_many(limit: u32) -> Self {
        Self::new(format!("there are more than the maximum of {limit} values"))
    }

    /// The same error, seen from the container of an item.
    pub(crate) fn in_item(self, index: usize) -> Self {
        Self { path: format!("[{index}]{}", self.path), ..self }
    }

    /// The same error, seen from the dict or struct of a key.
    pub(crate) fn in_key(self, key: impl fmt::Display) -> Self {
        Self { path: format!(".{key}{}", self.path), ..self }
    }

    /// The path from the whole value, such as `.items[2].name`; empty for the value itself.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the value does not convert: {}", self.message),
            path => write!(f, "the value at {path} does not convert: {}", self.message),
        }
    }
}

impl core::error::Error for ConvertError {}

impl serde_core::ser::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl serde_core::de::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}
