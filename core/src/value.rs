//! Plain values, as both encodings carry them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

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
