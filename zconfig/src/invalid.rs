//! Why a text is not a value of its key's type.

use std::error::Error;

use thiserror::Error as ThisError;

use crate::python::repr;

/// Why a text is not a value of its key's type, in the words of Python's ZConfig where they are plain.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum InvalidValue {
    /// A number, a size or a port over its maximum.
    #[error("{value} is above upper bound ({bound})")]
    AboveBound {
        /// The number in the text.
        value: i64,
        /// Maximum of the key.
        bound: i64,
    },
    /// A number, a size or a port under its minimum.
    #[error("{value} is below lower bound ({bound})")]
    BelowBound {
        /// The number in the text.
        value: i64,
        /// Minimum of the key.
        bound: i64,
    },
    /// An error of the caller's own, see [`InvalidValue::custom`].
    #[error("{0}")]
    Custom(Box<dyn Error + Send + Sync>),
    /// An integer that needs more than 64 bits.
    #[error("{0} does not fit into 64 bits")]
    IntegerTooLarge(String),
    /// A negative number of seconds.
    #[error("{0} is below lower bound (0)")]
    Negative(String),
    /// A path in a directory that does not exist.
    #[error("The directory named as part of the path {0} does not exist.")]
    NoDirectory(String),
    /// A path that is not a directory, in a directory that does not exist.
    #[error("{0} is not an existing directory")]
    NoExistingDirectory(String),
    /// A path that does not exist.
    #[error("{0} is not an existing path")]
    NoSuchPath(String),
    /// A word that cannot be a key in any section.
    #[error("value did not match regular expression: {}", repr(.0))]
    NotAKey(String),
    /// A text that is neither true nor false.
    #[error("not a valid boolean value: {}", repr(.0))]
    NotBoolean(String),
    /// A host name with blanks, or an empty one.
    #[error("not a valid host name: {}", repr(.0))]
    NotHost(String),
    /// A text that is not an integer.
    #[error("not {}: {}", if *base == 8 { "an octal number" } else { "a whole number" }, repr(.text))]
    NotInteger {
        /// The text that was found.
        text: String,
        /// The base of the notation.
        base: u32,
    },
    /// A text that is not a number.
    #[error("not a number: {}", repr(.0))]
    NotNumber(String),
    /// A word that is not in a key's list.
    #[error("must be one of {}; found {}", words.join(", "), repr(text))]
    NotOneOf {
        /// The word that was found.
        text: String,
        /// The words that the key accepts.
        words: &'static [&'static str],
    },
    /// A key or a section that the schema knows and the program refuses, with the reason.
    #[error("{0}")]
    Refused(&'static str),
}

impl InvalidValue {
    /// An error of the caller's own: an error type, or a text.
    pub fn custom(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Custom(error.into())
    }
}
