//! Messages in either of the two encodings.
//!
//! Every message is a tuple of four: message id, flag, name, arguments. Which encoding a connection
//! uses is settled by the client's handshake. What is written is byte for byte what Python's ZEO
//! would write; what is read may be spelled in any way that Python understands.
//!
//! A message's length stands before it, and large byte strings in it are chained rather than copied
//! ([`Outgoing`]), so a message is walked twice: once to be measured, once to be written. What cannot
//! be written is found by the first walk, before anything is in the output.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Malformed, Outgoing, Unwritable, msgpack};
use crate::pickle::{self, Count, Sink, opcode as op};
use crate::value::{ReadLimits, Value};

/// How messages are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `M5`.
    Msgpack,
    /// `Z5`.
    Pickle,
}

/// What kind of message it is, as our side says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The result of a call: the integer 0.
    Reply,
    /// A call failed: the integer 2.
    Error,
    /// No answer is expected: True.
    Oneway,
    /// An answer is expected: False, as Python's client sends it.
    Call,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The sender's name for the call; comes back as it is.
    pub msgid: Value,
    /// In a request: one-way. In a reply: an error. By Python's truth.
    pub flag: bool,
    /// A method, or `.reply`.
    pub name: String,
    /// A tuple of arguments, or the bare result.
    pub args: Value,
}

impl Codec {
    /// Reads the payload of one frame.
    ///
    /// # Errors
    /// [`Malformed`]: the stream may still be in step, but its sender is not to be trusted.
    pub fn read(self, frame: &Bytes, limits: &ReadLimits) -> Result<Envelope, Malformed> {
        let value = self.read_value(frame, limits)?;
        let kind = value.kind();
        let (Value::Tuple(parts) | Value::List(parts)) = value else {
            return Err(Malformed::NotATuple { kind });
        };
        let [msgid, flag, name, args] = <[Value; 4]>::try_from(parts)
            .map_err(|parts| Malformed::NotFourParts { parts: parts.len() })?;
        let Value::Str(name) = name else {
            return Err(Malformed::NameNotText { kind: name.kind() });
        };
        Ok(Envelope { msgid, flag: flag.is_true(), name, args })
    }

    /// Appends one message as a complete frame, or nothing.
    ///
    /// # Errors
    /// [`Unwritable`], for values that the encoding has no room for, and for objects.
    pub fn write(
        self,
        out: &mut Outgoing,
        msgid: &Value,
        flag: Flag,
        name: &str,
        args: &Value,
    ) -> Result<(), Unwritable> {
        let mut count = Count::default();
        self.write_parts(&mut count, msgid, flag, name, args)?;
        let length = u32::try_from(count.0).map_err(|_| Unwritable::TooLong { length: count.0 })?;
        out.push_raw(&length.to_be_bytes());
        self.write_parts(out, msgid, flag, name, args)
    }

    /// Reads one value that is not in a message.
    ///
    /// # Errors
    /// [`Malformed::Pickle`] or [`Malformed::Msgpack`].
    pub fn read_value(self, bytes: &Bytes, limits: &ReadLimits) -> Result<Value, Malformed> {
        match self {
            Self::Msgpack => msgpack::read(bytes, limits).map_err(Malformed::Msgpack),
            Self::Pickle => pickle::load(bytes, limits).map_err(Malformed::Pickle),
        }
    }

    /// One value that is not in a message.
    ///
    /// # Errors
    /// [`Unwritable`], for values that the encoding has no room for, and for objects.
    pub fn write_value(self, value: &Value) -> Result<Bytes, Unwritable> {
        let mut bytes = Vec::new();
        match self {
            Self::Msgpack => msgpack::write(&mut bytes, value)?,
            Self::Pickle => pickle::emit::write(&mut bytes, value)?,
        }
        Ok(bytes.into())
    }

    fn write_parts(
        self,
        sink: &mut impl Sink,
        msgid: &Value,
        flag: Flag,
        name: &str,
        args: &Value,
    ) -> Result<(), Unwritable> {
        match self {
            Self::Msgpack => {
                const ARRAY_OF_FOUR: u8 = 0x94;
                sink.put(&[ARRAY_OF_FOUR]);
                msgpack::write(sink, msgid)?;
                msgpack::write(sink, &flag.value())?;
                msgpack::text(sink, name)?;
                msgpack::write(sink, args)
            }
            Self::Pickle => {
                pickle::emit::header(sink);
                sink.put(&[op::MARK]);
                pickle::emit::write_value(sink, msgid)?;
                pickle::emit::write_value(sink, &flag.value())?;
                pickle::emit::text(sink, name.as_bytes())?;
                pickle::emit::write_value(sink, args)?;
                sink.put(&[op::TUPLE, op::STOP]);
                Ok(())
            }
        }
    }
}

impl Flag {
    const fn value(self) -> Value {
        match self {
            Self::Reply => Value::Int(0),
            Self::Error => Value::Int(2),
            Self::Oneway => Value::Bool(true),
            Self::Call => Value::Bool(false),
        }
    }
}
