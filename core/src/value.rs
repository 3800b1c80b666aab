//! Plain values, as both encodings carry them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Oid, Tid};

/// What a message is made of. Byte strings share the frame they came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Python's `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// Any other integer: two's complement, little-endian, minimal length.
    BigInt(Bytes),
    /// A double.
    Float(f64),
    /// Bytes.
    Bytes(Bytes),
    /// Text.
    Str(String),
    /// A tuple. Msgpack arrays are read as tuples, as Python does.
    Tuple(Vec<Value>),
    /// A list.
    List(Vec<Value>),
    /// A dict, in insertion order.
    Dict(Vec<(Value, Value)>),
    /// Something that only Python could build (pickle only): kept to be named or refused, never
    /// executed.
    Opaque(Box<Opaque>),
}

/// A pickled thing that is not a plain value.
#[derive(Clone, Debug, PartialEq)]
pub enum Opaque {
    /// A class or function by name.
    Global {
        /// Its module.
        module: String,
        /// Its name there.
        name: String,
    },
    /// A call or instantiation (REDUCE, NEWOBJ, OBJ, INST).
    Call {
        /// What is called.
        callable: Value,
        /// With what.
        args: Value,
    },
    /// An object whose state is set (BUILD).
    Build {
        /// The object.
        object: Value,
        /// Its state.
        state: Value,
    },
    /// A persistent reference (BINPERSID, PERSID).
    Reference(Value),
}

impl Value {
    /// Text.
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

    /// Python's truth.
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

    /// The name of its Python type, for messages.
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
}
