//! Values: what a key's text becomes.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::address::SocketAddress;

/// A value of a [`Kind`](crate::Kind).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// An address of a socket.
    Address(SocketAddress),
    /// True for `yes`, `true` and `on`; false for `no`, `false` and `off`.
    Boolean(bool),
    /// An integer within the bounds of its kind.
    Count(usize),
    /// A value of a type of the caller's own.
    Custom(CustomValue),
    /// A floating-point number.
    Float(f64),
    /// A signed integer without bounds of its own.
    Integer(i64),
    /// Integers, separated by commas in the file.
    Integers(Vec<i64>),
    /// A path; `~` at its beginning was replaced by the home directory.
    Path(PathBuf),
    /// A number of bytes.
    Size(u64),
    /// A text, after substitution.
    Text(String),
    /// Words, separated by blanks in the file.
    Texts(Vec<String>),
    /// A span of time, at least zero.
    Time(Duration),
}

/// A value of a type of the caller's own.
#[derive(Clone)]
pub struct CustomValue(Arc<dyn CustomType>);

/// What every such type can do.
trait CustomType: Any + fmt::Debug + Send + Sync {
    fn is_equal(&self, other: &dyn CustomType) -> bool;
}

impl<T: Any + fmt::Debug + PartialEq + Send + Sync> CustomType for T {
    fn is_equal(&self, other: &dyn CustomType) -> bool {
        (other as &dyn Any).downcast_ref::<Self>() == Some(self)
    }
}

impl CustomValue {
    /// The value, if it has that type.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        (&*self.0 as &dyn Any).downcast_ref()
    }
}

impl PartialEq for CustomValue {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_equal(&*other.0)
    }
}

impl fmt::Debug for CustomValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Value {
    /// A value of a type of the caller's own.
    pub fn custom<T: Any + fmt::Debug + PartialEq + Send + Sync>(value: T) -> Self {
        Self::Custom(CustomValue(Arc::new(value)))
    }

    /// The value of a type of the caller's own: what an implementation of [`FromValue`] returns.
    #[must_use]
    pub fn to_custom<T: Any + Clone>(&self) -> Option<T> {
        match self {
            Self::Custom(value) => value.get().cloned(),
            _ => None,
        }
    }
}

/// A type that [`Section::value`](crate::Section::value) and its siblings can return.
pub trait FromValue: Sized {
    /// `None` if the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($variant:ident => $type:ty),* $(,)?) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }
        })*
    };
}

from_value! {
    Address => SocketAddress,
    Boolean => bool,
    Count => usize,
    Float => f64,
    Integer => i64,
    Integers => Vec<i64>,
    Path => PathBuf,
    Size => u64,
    Text => String,
    Texts => Vec<String>,
    Time => Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_values_keep_their_type() {
        let value = Value::custom(('a', 1_u8));
        assert_eq!(value.to_custom(), Some(('a', 1_u8)));
        assert_eq!(value.to_custom::<u8>(), None);
        assert_eq!(Value::Boolean(true).to_custom::<bool>(), None);
        assert_eq!(value, Value::custom(('a', 1_u8)));
        assert_ne!(value, Value::custom(('a', 2_u8)));
        assert_ne!(value, Value::custom("a"));
        assert_eq!(format!("{value:?}"), "Custom(('a', 1))");
    }
}
