//! The fast path for loads: reads and writes `loadBefore` and its reply without building values.
//!
//! Most messages of most connections are these two, and all peers encode them in the same way:
//! constant pieces with ids and a record between them.
//!
//! ```text
//!   call:   START  oid before  CALL   oid before  CALL_END
//!   reply:  START  oid before  REPLY  record serial end  REPLY_END
//! ```
//!
//! The first pair is the message's id, with which clients combine equal loads. Messages in another
//! form are not recognized here and take the general path, to the same result; written messages are
//! byte for byte those of [`Codec::write`]. With this path, a server whose records are in memory
//! answers a third more loads.

use bytes::Bytes;

use super::{Codec, Outgoing, Unwritable, msgpack};
use crate::ids::{Oid, Tid};
use crate::pickle::{self, Count, Sink, opcode as op};
use crate::storage::Revision;

/// The constant pieces in one encoding. They are associated constants, so that a comparison takes a
/// few instructions instead of a call.
trait Spelling {
    const START: &[u8];
    /// The pieces before and after a pair of two ids.
    const PAIR: (&[u8], &[u8]);
    /// The piece before an id.
    const EIGHT: &[u8];
    const CALL: &[u8];
    const CALL_END: &[u8];
    const REPLY: &[u8];
    /// The piece for the end of a current revision.
    const NONE: &[u8];
    const REPLY_END: &[u8];

    fn put_record(sink: &mut impl Sink, record: &Bytes) -> Result<(), Unwritable>;

    /// Length of the record that follows, in bytes.
    fn record_length(rest: &mut Rest<'_>) -> Option<usize>;
}

struct Pickle;

impl Spelling for Pickle {
    const START: &[u8] = b"\x80\x03(";
    const PAIR: (&[u8], &[u8]) = (b"", b"\x86");
    const EIGHT: &[u8] = b"C\x08";
    const CALL: &[u8] = b"\x89X\x0a\0\0\0loadBefore";
    const CALL_END: &[u8] = b"t.";
    const REPLY: &[u8] = b"K\0X\x06\0\0\0.reply";
    const NONE: &[u8] = b"N";
    const REPLY_END: &[u8] = b"\x87t.";

    fn put_record(sink: &mut impl Sink, record: &Bytes) -> Result<(), Unwritable> {
        pickle::emit::bytes(sink, record)
    }

    fn record_length(rest: &mut Rest<'_>) -> Option<usize> {
        match rest.array()? {
            [op::SHORT_BINBYTES] => rest.array().map(|[length]| length.into()),
            [op::BINBYTES] => usize::try_from(u32::from_le_bytes(rest.array()?)).ok(),
            _ => None,
        }
    }
}

struct Msgpack;

impl Spelling for Msgpack {
    const START: &[u8] = b"\x94";
    const PAIR: (&[u8], &[u8]) = (b"\x92", b"");
    const EIGHT: &[u8] = b"\xc4\x08";
    const CALL: &[u8] = b"\xc2\xaaloadBefore";
    const CALL_END: &[u8] = b"";
    const REPLY: &[u8] = b"\0\xa6.reply\x93";
    const NONE: &[u8] = b"\xc0";
    const REPLY_END: &[u8] = b"";

    fn put_record(sink: &mut impl Sink, record: &Bytes) -> Result<(), Unwritable> {
        msgpack::bytes(sink, record)
    }

    fn record_length(rest: &mut Rest<'_>) -> Option<usize> {
        match rest.array()? {
            [0xc4] => rest.array().map(|[length]| length.into()),
            [0xc5] => Some(u16::from_be_bytes(rest.array()?).into()),
            [0xc6] => usize::try_from(u32::from_be_bytes(rest.array()?)).ok(),
            _ => None,
        }
    }
}

/// A reply with a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) oid: Oid,
    pub(crate) before: Tid,
    pub(crate) revision: Revision,
}

/// Reads a call of `loadBefore` in the usual form, whose message id repeats its arguments.
pub(crate) fn read_call(codec: Codec, frame: &[u8]) -> Option<(Oid, Tid)> {
    match codec {
        Codec::Pickle => Rest(frame).call::<Pickle>(),
        Codec::Msgpack => Rest(frame).call::<Msgpack>(),
    }
}

/// Reads a reply with a record in the usual form. The record shares the memory of the frame.
pub(crate) fn read_reply(codec: Codec, frame: &Bytes) -> Option<Loaded> {
    match codec {
        Codec::Pickle => Rest(frame).reply::<Pickle>(frame),
        Codec::Msgpack => Rest(frame).reply::<Msgpack>(frame),
    }
}

/// Appends a call of `loadBefore` whose message id repeats its arguments.
pub(crate) fn write_call(codec: Codec, out: &mut Outgoing, oid: Oid, before: Tid) {
    fn write<S: Spelling>(out: &mut Outgoing, pair: (Oid, Tid)) {
        let mut count = Count::default();
        put_call::<S>(&mut count, pair);
        out.push_length(count.0).expect("a call is short");
        put_call::<S>(out, pair);
    }
    match codec {
        Codec::Pickle => write::<Pickle>(out, (oid, before)),
        Codec::Msgpack => write::<Msgpack>(out, (oid, before)),
    }
}

/// Appends a reply with a record, or nothing on an error.
///
/// # Errors
/// [`Unwritable::TooLong`].
pub(crate) fn write_reply(
    codec: Codec,
    out: &mut Outgoing,
    pair: (Oid, Tid),
    revision: &Revision,
) -> Result<(), Unwritable> {
    fn write<S: Spelling>(
        out: &mut Outgoing,
        pair: (Oid, Tid),
        revision: &Revision,
    ) -> Result<(), Unwritable> {
        let mut count = Count::default();
        put_reply::<S>(&mut count, pair, revision)?;
        out.push_length(count.0)?;
        put_reply::<S>(out, pair, revision)
    }
    match codec {
        Codec::Pickle => write::<Pickle>(out, pair, revision),
        Codec::Msgpack => write::<Msgpack>(out, pair, revision),
    }
}

fn put_call<S: Spelling>(sink: &mut impl Sink, pair: (Oid, Tid)) {
    sink.put(S::START);
    put_pair::<S>(sink, pair);
    sink.put(S::CALL);
    put_pair::<S>(sink, pair);
    sink.put(S::CALL_END);
}

fn put_reply<S: Spelling>(
    sink: &mut impl Sink,
    pair: (Oid, Tid),
    revision: &Revision,
) -> Result<(), Unwritable> {
    sink.put(S::START);
    put_pair::<S>(sink, pair);
    sink.put(S::REPLY);
    S::put_record(sink, &revision.data)?;
    put_eight::<S>(sink, revision.serial.to_bytes());
    match revision.end {
        Some(end) => put_eight::<S>(sink, end.to_bytes()),
        None => sink.put(S::NONE),
    }
    sink.put(S::REPLY_END);
    Ok(())
}

fn put_pair<S: Spelling>(sink: &mut impl Sink, (oid, before): (Oid, Tid)) {
    sink.put(S::PAIR.0);
    put_eight::<S>(sink, oid.to_bytes());
    put_eight::<S>(sink, before.to_bytes());
    sink.put(S::PAIR.1);
}

fn put_eight<S: Spelling>(sink: &mut impl Sink, eight: [u8; 8]) {
    sink.put(S::EIGHT);
    sink.put(&eight);
}

/// The rest of a frame.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn call<S: Spelling>(mut self) -> Option<(Oid, Tid)> {
        self.skip(S::START)?;
        let id = self.pair::<S>()?;
        self.skip(S::CALL)?;
        let args = self.pair::<S>()?;
        self.skip(S::CALL_END)?;
        (self.0.is_empty() && id == args).then_some(args)
    }

    fn reply<S: Spelling>(mut self, frame: &Bytes) -> Option<Loaded> {
        self.skip(S::START)?;
        let (oid, before) = self.pair::<S>()?;
        self.skip(S::REPLY)?;
        let length = S::record_length(&mut self)?;
        let (record, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let serial = Tid::from_bytes(self.eight::<S>()?);
        let end = match self.skip(S::NONE) {
            Some(()) => None,
            None => Some(Tid::from_bytes(self.eight::<S>()?)),
        };
        self.skip(S::REPLY_END)?;
        let data = self.0.is_empty().then(|| frame.slice_ref(record))?;
        Some(Loaded { oid, before, revision: Revision { data, serial, end } })
    }

    fn skip(&mut self, piece: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(piece)?;
        Some(())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn eight<S: Spelling>(&mut self) -> Option<[u8; 8]> {
        self.skip(S::EIGHT)?;
        self.array()
    }

    fn pair<S: Spelling>(&mut self) -> Option<(Oid, Tid)> {
        self.skip(S::PAIR.0)?;
        let (oid, before) =
            (Oid::from_bytes(self.eight::<S>()?), Tid::from_bytes(self.eight::<S>()?));
        self.skip(S::PAIR.1)?;
        Some((oid, before))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::value::Value;
    use crate::wire::Flag;
    use crate::wire::reply::Reply;

    const CODECS: [Codec; 2] = [Codec::Pickle, Codec::Msgpack];

    fn pair(oid: Oid, before: Tid) -> Value {
        Value::Tuple(vec![Value::oid(oid), Value::tid(before)])
    }

    fn stream(mut out: Outgoing) -> Bytes {
        core::iter::from_fn(|| out.take_chunk()).flatten().collect::<Vec<u8>>().into()
    }

    fn general(codec: Codec, id: &Value, flag: Flag, name: &str, args: &Value) -> Bytes {
        let mut out = Outgoing::new();
        codec.write(&mut out, id, flag, name, args).unwrap();
        stream(out)
    }

    /// Checks that any other frame is left to the codec.
    fn is_exact(frame: &Bytes, is_read: impl Fn(&Bytes) -> bool) {
        assert!(is_read(frame));
        assert!(!is_read(&frame.slice(..frame.len() - 1)));
        assert!(!is_read(&[frame, &b"."[..]].concat().into()));
    }

    #[test]
    fn other_messages_are_not_recognized() {
        let (one, two) = (pair(Oid(1), Tid(2)), pair(Oid(1), Tid(3)));
        for codec in CODECS {
            let call = |id, flag, name, args| general(codec, id, flag, name, args).slice(4..);
            assert_eq!(
                read_call(codec, &call(&one, Flag::Call, "loadBefore", &one)),
                Some((Oid(1), Tid(2)))
            );
            assert_eq!(read_call(codec, &call(&one, Flag::Call, "loadBefore", &two)), None);
            assert_eq!(read_call(codec, &call(&one, Flag::Oneway, "loadBefore", &one)), None);
            assert_eq!(read_call(codec, &call(&one, Flag::Call, "loadSerial", &one)), None);
            assert_eq!(
                read_call(codec, &call(&Value::Int(1), Flag::Call, "loadBefore", &one)),
                None
            );
            let nothing = call(&one, Flag::Reply, ".reply", &Value::None);
            assert_eq!(read_reply(codec, &nothing), None);
            let refused = Reply::Loaded(Revision { data: Bytes::new(), serial: Tid(1), end: None });
            let refused = call(&one, Flag::Error, ".reply", &refused.into_value());
            assert_eq!(read_reply(codec, &refused), None);
        }
    }

    proptest! {
        #[test]
        fn calls_are_the_codec_s(oid: u64, before: u64) {
            let (oid, before) = (Oid(oid), Tid(before));
            for codec in CODECS {
                let mut out = Outgoing::new();
                write_call(codec, &mut out, oid, before);
                let written = stream(out);
                let args = pair(oid, before);
                prop_assert_eq!(&written, &general(codec, &args, Flag::Call, "loadBefore", &args));
                is_exact(&written.slice(4..), |frame| read_call(codec, frame) == Some((oid, before)));
            }
        }

        #[test]
        fn replies_are_the_codec_s(
            oid: u64,
            before: u64,
            length in prop_oneof![0..300usize, 65_500..65_600usize],
            serial: u64,
            end: Option<u64>,
        ) {
            let data = Bytes::from(vec![b'.'; length]);
            let revision = Revision { data, serial: Tid(serial), end: end.map(Tid) };
            let loaded = Loaded { oid: Oid(oid), before: Tid(before), revision: revision.clone() };
            let id = pair(loaded.oid, loaded.before);
            for codec in CODECS {
                let mut out = Outgoing::new();
                write_reply(codec, &mut out, (loaded.oid, loaded.before), &revision).unwrap();
                let written = stream(out);
                let args = Reply::Loaded(revision.clone()).into_value();
                prop_assert_eq!(&written, &general(codec, &id, Flag::Reply, ".reply", &args));
                let frame = written.slice(4..);
                is_exact(&frame, |frame| read_reply(codec, frame).as_ref() == Some(&loaded));
            }
        }
    }
}
