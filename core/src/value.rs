//! Plain values, as both encodings carry them.
//!
//! A [`Value`] is a tree: shared parts of a pickle are repeated, and a pickle that contains itself
//! has no value. Byte strings are slices of the frame or record that they came in; keeping one
//! keeps all of it in memory.
//!
//! Comparing, printing, writing and dropping a tree is recursive, so readers limit its depth, and
//! its size too: see [`ReadLimits`].

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::size_of;

use bytes::Bytes;

use crate::ids::{Oid, Tid};

/// A value in a message. Byte strings share the frame they came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Python's `None`.
    None,
    /// Python's `bool`.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// Any other integer: two's complement, little-endian, minimal length.
    BigInt(Bytes),
    /// A Python float.
    Float(f64),
    /// Python's `bytes`.
    Bytes(Bytes),
    /// Text. A lone surrogate, which Python's text can hold, is read as U+FFFD.
    Str(String),
    /// A tuple. Msgpack arrays are read as tuples, as Python does.
    Tuple(Vec<Self>),
    /// Python's `list`.
    List(Vec<Self>),
    /// A dict, in insertion order. Repeated keys, which no Python peer writes, are kept: the last
    /// one counts, see [`Value::item`].
    Dict(Vec<(Self, Self)>),
    /// An object that only Python can build (pickle only): it can be named or refused, but is never
    /// executed.
    Opaque(Box<Opaque>),
}

/// A pickled object that is not a plain value.
#[derive(Clone, Debug, PartialEq)]
pub enum Opaque {
    /// A class or function by name.
    Global {
        /// Module of the class or function.
        module: String,
        /// Name of the class or function in the module.
        name: String,
    },
    /// The result of a call (REDUCE, OBJ, INST).
    Call {
        /// The callable, by which Python makes the object.
        callable: Value,
        /// Its arguments, as a tuple.
        args: Value,
    },
    /// An instance made without calling its class (NEWOBJ).
    New {
        /// The class of the instance.
        class: Value,
        /// The arguments of its `__new__`, as a tuple.
        args: Value,
    },
    /// An object whose state is set (BUILD).
    Build {
        /// The object that changes.
        object: Value,
        /// The state to set.
        state: Value,
    },
    /// An object other than a list, with items appended (APPEND, APPENDS).
    Extend {
        /// The object that changes.
        object: Value,
        /// The items, in order.
        items: Vec<Value>,
    },
    /// An object other than a dict, with items set (SETITEM, SETITEMS).
    Update {
        /// The object that changes.
        object: Value,
        /// The items, in order.
        items: Vec<(Value, Value)>,
    },
    /// A persistent reference (BINPERSID, PERSID).
    Reference(Value),
}

impl Value {
    /// A text value.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Str(text.into())
    }

    /// An oid, as the eight bytes that it is on the wire.
    #[must_use]
    pub fn oid(oid: Oid) -> Self {
        Self::Bytes(Bytes::copy_from_slice(&oid.to_bytes()))
    }

    /// A tid, as the eight bytes that it is on the wire.
    #[must_use]
    pub fn tid(tid: Tid) -> Self {
        Self::Bytes(Bytes::copy_from_slice(&tid.to_bytes()))
    }

    /// The truth value that Python's `bool()` gives.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(bool) => *bool,
            Self::Int(int) => *int != 0,
            Self::Float(float) => *float != 0.0,
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::Str(text) => !text.is_empty(),
            Self::Tuple(items) | Self::List(items) => !items.is_empty(),
            Self::Dict(items) => !items.is_empty(),
            Self::BigInt(_) | Self::Opaque(_) => true,
        }
    }

    /// Whether the value contains no Python object, so that every peer can read it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        match self {
            Self::Opaque(_) => false,
            Self::Tuple(items) | Self::List(items) => items.iter().all(Self::is_plain),
            Self::Dict(items) => items.iter().all(|(key, item)| key.is_plain() && item.is_plain()),
            _ => true,
        }
    }

    /// The name of its Python type, for error messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Bytes(_) => "bytes",
            Self::Str(_) => "str",
            Self::Tuple(_) => "tuple",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
            Self::Opaque(_) => "object",
        }
    }

    /// The value of a text key in a dict; `None` also if this is not a dict.
    #[must_use]
    pub fn item(&self, key: &str) -> Option<&Self> {
        let Self::Dict(items) = self else { return None };
        items.iter().rev().find(|(k, _)| matches!(k, Self::Str(k) if k == key)).map(|(_, v)| v)
    }

    /// An integer from two's complement, little-endian bytes of any length.
    #[must_use]
    pub fn from_le_bytes(bytes: Bytes) -> Self {
        match Integer::from_le_bytes(bytes) {
            Integer::Small(number) => Self::Int(number),
            Integer::Big(minimal) => Self::BigInt(minimal),
        }
    }
}

/// An integer as [`Value`] holds it: [`Value::Int`] if 64 bits are enough, else [`Value::BigInt`].
pub(crate) enum Integer {
    Small(i64),
    /// The least number of little-endian bytes.
    Big(Bytes),
}

impl Integer {
    /// From two's complement, little-endian bytes of any length.
    pub(crate) fn from_le_bytes(bytes: Bytes) -> Self {
        let negative = bytes.last().is_some_and(|top| top & 0x80 != 0);
        let padding = if negative { 0xff } else { 0 };
        let mut len = bytes.len();
        // A top byte is redundant if it only repeats the sign bit of the byte below.
        while len > 1 && bytes[len - 1] == padding && (bytes[len - 2] & 0x80 != 0) == negative {
            len -= 1;
        }
        if len > 8 {
            return Self::Big(bytes.slice(..len));
        }
        let mut wide = [padding; 8];
        wide[..len].copy_from_slice(&bytes[..len]);
        Self::Small(i64::from_le_bytes(wide))
    }
}

impl From<Opaque> for Value {
    fn from(opaque: Opaque) -> Self {
        Self::Opaque(Box::new(opaque))
    }
}

/// Limits for readers of untrusted bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Maximum depth of nested values. serde_json also has 128.
    pub depth_max: u32,
    /// Maximum bytes of memory for the values, in addition to the input. Every value counts, so
    /// that a message of a million one-byte values is measured by the memory that it takes.
    pub memory_bytes_max: usize,
}

impl ReadLimits {
    /// The defaults allow about one and a half million values in a message, far more than peers
    /// send.
    pub const DEFAULT: Self = Self { depth_max: 128, memory_bytes_max: 64 << 20 };
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The unused part of [`ReadLimits::memory_bytes_max`] while a reader runs.
#[derive(Debug)]
pub(crate) struct Budget(usize);

/// The budget is exhausted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spent;

impl Budget {
    pub(crate) const fn new(limits: &ReadLimits) -> Self {
        Self(limits.memory_bytes_max)
    }

    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Spent> {
        self.0 = self.0.checked_sub(bytes).ok_or(Spent)?;
        Ok(())
    }

    /// Subtracts the memory of `count` values, without what they own.
    pub(crate) fn spend_values(&mut self, count: usize) -> Result<(), Spent> {
        self.spend(count.checked_mul(size_of::<Value>()).ok_or(Spent)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    /// Any plain value that both pickle and its reader can hold.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        any_leaf().prop_recursive(5, 60, 10, |inner| {
            let items = prop::collection::vec(inner.clone(), 0..10);
            prop_oneof![
                items.clone().prop_map(Value::Tuple),
                items.prop_map(Value::List),
                prop::collection::vec((inner.clone(), inner), 0..10).prop_map(Value::Dict),
            ]
        })
    }

    /// Any plain value that msgpack can hold as well and gives back the same.
    pub(crate) fn any_msgpack_value() -> impl Strategy<Value = Value> {
        let text = any::<String>().prop_map(Value::Str);
        let bytes = prop::collection::vec(any::<u8>(), 0..300);
        let key = prop_oneof![text, bytes.prop_map(|bytes| Value::Bytes(bytes.into()))];
        any_leaf().prop_recursive(5, 60, 10, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Tuple),
                prop::collection::vec((key.clone(), inner), 0..20).prop_map(Value::Dict),
            ]
        })
    }

    fn any_leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::None),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<i16>().prop_map(|int| Value::Int(int.into())),
            (i64::MAX as u64 + 1..).prop_map(|int| {
                Value::from_le_bytes([&int.to_le_bytes()[..], &[0]].concat().into())
            }),
            any::<f64>()
                .prop_filter("NaN is not equal to itself", |float| !float.is_nan())
                .prop_map(Value::Float),
            any::<String>().prop_map(Value::Str),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bytes(bytes.into())),
        ]
    }

    #[test]
    fn integers_are_narrowed() {
        let int = |bytes: &'static [u8]| Value::from_le_bytes(Bytes::from_static(bytes));
        assert_eq!(int(b""), Value::Int(0));
        assert_eq!(int(b"\xff"), Value::Int(-1));
        assert_eq!(int(b"\xff\x00"), Value::Int(255));
        assert_eq!(int(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Value::Int(-1));
        assert_eq!(int(b"\x00\x00\x00\x00\x00\x00\x00\x80\xff"), Value::Int(i64::MIN));
        let big = b"\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00";
        assert_eq!(int(big), Value::BigInt(Bytes::from_static(&big[..9])));
    }

    #[test]
    fn the_last_of_repeated_keys_counts() {
        let dict = Value::Dict(vec![
            (Value::text("a"), Value::Int(1)),
            (Value::None, Value::Int(3)),
            (Value::text("a"), Value::Int(2)),
        ]);
        assert_eq!(dict.item("a"), Some(&Value::Int(2)));
        assert_eq!(dict.item("b"), None);
        assert_eq!(Value::None.item("a"), None);
    }

    #[test]
    fn truth_is_python_s() {
        let empty = [
            Value::None,
            Value::Int(0),
            Value::Float(-0.0),
            Value::text(""),
            Value::Bytes(Bytes::new()),
            Value::Tuple(vec![]),
            Value::Dict(vec![]),
        ];
        assert!(empty.iter().all(|value| !value.is_true()));
        let full = [
            Value::Int(-1),
            Value::Float(f64::NAN),
            Value::text("0"),
            Value::List(vec![Value::None]),
        ];
        assert!(full.iter().all(Value::is_true));
    }
}
