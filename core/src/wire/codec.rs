//! Messages in either of the two encodings.
//!
//! Every message is a tuple of four: message id, flag, name, arguments. The client's handshake
//! decides the encoding of a connection. Written messages are byte for byte those of Python's ZEO;
//! read messages can have any form that Python accepts.
//!
//! The length of a message comes before it, and large byte strings are chained rather than copied
//! ([`Outgoing`]), so a message is encoded in two passes: the first measures it, the second writes
//! it. The first pass finds values that cannot be encoded, before anything is in the output.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Malformed, Outgoing, Unwritable, msgpack};
use crate::pickle::{self, Count, Sink, opcode as op};
use crate::value::{ReadLimits, Value};

/// The encodings of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `M5`.
    Msgpack,
    /// `Z5`.
    Pickle,
}

/// The kind of a message that this side sends.
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

/// A received message, of which only the outermost tuple was read by its meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The sender's id of the call; the reply has the same.
    pub msgid: Value,
    /// The truth value of the flag. In a request: whether it is one-way. In a reply: whether it is
    /// an error.
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
    /// [`Malformed`]: the connection must be closed.
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

    /// Appends one message as a complete frame, or nothing on an error. The pickle encoding also
    /// has Python objects.
    ///
    /// # Errors
    /// [`Unwritable`], for values that the encoding cannot represent.
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
        out.push_length(count.0)?;
        self.write_parts(out, msgid, flag, name, args)
    }

    /// Reads one value outside of a message.
    ///
    /// # Errors
    /// [`Malformed::Pickle`] or [`Malformed::Msgpack`].
    pub fn read_value(self, bytes: &Bytes, limits: &ReadLimits) -> Result<Value, Malformed> {
        match self {
            Self::Msgpack => msgpack::read(bytes, limits).map_err(Malformed::Msgpack),
            Self::Pickle => pickle::load(bytes, limits).map_err(Malformed::Pickle),
        }
    }

    /// Encodes one value outside of a message.
    ///
    /// # Errors
    /// [`Unwritable`], for values that the encoding cannot represent.
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

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::value::Opaque;
    use crate::value::tests::{any_msgpack_value, any_value};
    use crate::wire::{Deframer, SHARED_FROM};

    const LIMITS: ReadLimits = ReadLimits::DEFAULT;

    fn stream(mut out: Outgoing) -> Vec<u8> {
        core::iter::from_fn(|| out.take_chunk()).flatten().collect()
    }

    fn round_trip(codec: Codec, msgid: Value, args: Value) {
        let mut out = Outgoing::new();
        codec.write(&mut out, &msgid, Flag::Error, "name", &args).expect("these can be written");
        let mut deframer = Deframer::new(u32::MAX);
        deframer.push(&stream(out));
        let frame = deframer.next_frame().expect("no limit").expect("the whole frame is there");
        assert_eq!(deframer.buffered(), 0);
        let envelope = Envelope { msgid, flag: true, name: "name".into(), args };
        assert_eq!(codec.read(&frame, &LIMITS), Ok(envelope));
    }

    #[test]
    fn a_record_is_neither_copied_on_its_way_in_nor_out() {
        let record = Value::Bytes(vec![7; SHARED_FROM].into());
        for codec in [Codec::Msgpack, Codec::Pickle] {
            let mut out = Outgoing::new();
            let reply = Value::Tuple(vec![record.clone(), Value::None]);
            codec.write(&mut out, &Value::Int(1), Flag::Reply, ".reply", &reply).unwrap();
            let len = out.len();
            let chunks: Vec<_> = core::iter::from_fn(|| out.take_chunk()).collect();
            assert_eq!(chunks.len(), 3);
            let Value::Bytes(record) = &record else { unreachable!("it was made of bytes") };
            assert_eq!(chunks[1].as_ptr(), record.as_ptr());

            let frame = Bytes::from(chunks.concat()).slice(4..);
            assert_eq!(frame.len(), len - 4);
            let envelope = codec.read(&frame, &LIMITS).unwrap();
            let Value::Tuple(parts) = envelope.args else { unreachable!("it was a tuple") };
            let Value::Bytes(record) = &parts[0] else { unreachable!("it was made of bytes") };
            assert!(frame.as_ptr_range().contains(&record.as_ptr()));
        }
    }

    #[test]
    fn a_message_that_cannot_be_written_leaves_nothing_behind() {
        let args = Value::Tuple(vec![Value::text("a"), Opaque::Reference(Value::None).into()]);
        let mut out = Outgoing::new();
        let refused = Codec::Msgpack.write(&mut out, &Value::None, Flag::Call, "x", &args);
        assert_eq!(refused, Err(Unwritable::Opaque));
        assert!(out.is_empty());
    }

    #[test]
    fn malformed_messages_are_refused_with_the_reason() {
        let read = |codec: Codec, bytes: &'static [u8]| {
            codec.read(&Bytes::from_static(bytes), &LIMITS).expect_err("this is no message")
        };
        assert_eq!(read(Codec::Pickle, b"N."), Malformed::NotATuple { kind: "None" });
        assert_eq!(read(Codec::Pickle, b"K\x01\x85."), Malformed::NotFourParts { parts: 1 });
        assert_eq!(read(Codec::Pickle, b"(NNNNt."), Malformed::NameNotText { kind: "None" });
        let truncated = pickle::Unreadable::Truncated { at: 0 };
        assert_eq!(read(Codec::Pickle, b""), Malformed::Pickle(truncated));
        let left_over = msgpack::Unreadable::LeftOver { left: 1 };
        assert_eq!(read(Codec::Msgpack, b"\xc0\xc0"), Malformed::Msgpack(left_over));
    }

    #[test]
    fn a_list_of_four_is_a_message_too() {
        let list = Bytes::from_static(b"](K\x01K\x07X\x04\0\0\0nameNe.");
        let envelope =
            Envelope { msgid: Value::Int(1), flag: true, name: "name".into(), args: Value::None };
        assert_eq!(Codec::Pickle.read(&list, &LIMITS), Ok(envelope));
    }

    proptest! {
        #[test]
        fn messages_survive_pickle(msgid in any_value(), args in any_value()) {
            round_trip(Codec::Pickle, msgid, args);
        }

        #[test]
        fn messages_survive_msgpack(msgid in any_msgpack_value(), args in any_msgpack_value()) {
            round_trip(Codec::Msgpack, msgid, args);
        }
    }
}
