//! Values read as what they have to be.
//!
//! Errors are texts that say what is wrong with the value; the caller knows what it belongs to.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Oid, Tid};
use crate::value::Value;

/// Says what is odd.
pub(super) fn expected(what: &str, found: &Value) -> String {
    format!("{what} was expected, not {}", found.kind())
}

/// Values read as what they have to be; errors are what to say of others.
pub(super) trait Reading: Sized {
    fn into_items(self) -> Result<Vec<Value>, String>;
    fn into_dict(self) -> Result<Vec<(Value, Value)>, String>;
    fn into_bytes(self) -> Result<Bytes, String>;
    fn into_text_bytes(self) -> Result<Bytes, String>;
    fn into_number(self) -> Result<u64, String>;
    fn into_tid(self) -> Result<Tid, String>;
    fn into_oid(self) -> Result<Oid, String>;

    /// So many items.
    fn into_parts<const N: usize>(self) -> Result<[Value; N], String> {
        let items = self.into_items()?;
        <[Value; N]>::try_from(items)
            .map_err(|items| format!("{N} items were expected, not {}", items.len()))
    }

    /// All items, each read.
    fn into_list<T>(self, read: impl Fn(Value) -> Result<T, String>) -> Result<Vec<T>, String> {
        self.into_items()?.into_iter().map(read).collect()
    }

    /// `None`, or what `read` reads.
    fn into_maybe<T>(
        self,
        read: impl FnOnce(Self) -> Result<T, String>,
    ) -> Result<Option<T>, String>;
}

impl Reading for Value {
    fn into_items(self) -> Result<Vec<Value>, String> {
        match self {
            Self::Tuple(items) | Self::List(items) => Ok(items),
            other => Err(expected("a sequence", &other)),
        }
    }

    fn into_dict(self) -> Result<Vec<(Value, Value)>, String> {
        match self {
            Self::Dict(items) => Ok(items),
            other => Err(expected("a dict", &other)),
        }
    }

    fn into_bytes(self) -> Result<Bytes, String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(expected("bytes", &other)),
        }
    }

    fn into_text_bytes(self) -> Result<Bytes, String> {
        match self {
            Self::Str(text) => Ok(text.into()),
            other => other.into_bytes(),
        }
    }

    fn into_number(self) -> Result<u64, String> {
        match self {
            Self::Int(number) if number >= 0 => Ok(number.unsigned_abs()),
            other => Err(expected("a number", &other)),
        }
    }

    fn into_tid(self) -> Result<Tid, String> {
        let bytes = self.into_bytes()?;
        let of = |bytes: &Bytes| format!("a tid has eight bytes, not {}", bytes.len());
        Tid::from_slice(&bytes).ok_or_else(|| of(&bytes))
    }

    fn into_oid(self) -> Result<Oid, String> {
        let bytes = self.into_bytes()?;
        let of = |bytes: &Bytes| format!("an oid has eight bytes, not {}", bytes.len());
        Oid::from_slice(&bytes).ok_or_else(|| of(&bytes))
    }

    fn into_maybe<T>(
        self,
        read: impl FnOnce(Self) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self {
            Self::None => Ok(None),
            other => read(other).map(Some),
        }
    }
}
