//! Pickles as ZEO's peers write them: protocol 3 without memo, every occurrence of a value in full.
//!
//! The functions for single values are shared with the writers that have a memo.

use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;

use super::{PROTOCOL, opcode as op};
use crate::value::Value;

/// Items of a list or dict that Python's pickler puts behind one mark.
pub(crate) const BATCH: usize = 1000;

/// Where encoded bytes go.
pub(crate) trait Sink {
    /// Appends a copy.
    fn put(&mut self, bytes: &[u8]);

    /// Appends bytes that may be shared instead of copied.
    fn put_shared(&mut self, bytes: &Bytes) {
        self.put(bytes);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A sink that only counts, to know a frame's length before it is written.
#[derive(Debug, Default)]
pub(crate) struct Count(pub(crate) usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }
}

/// A value that an encoding has no way to say, or that the peer would not understand.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unwritable {
    /// A class, an object or a reference: no peer has use for what we cannot vouch for.
    #[error("objects are not sent")]
    Opaque,
    /// Bytes, text or a container too long for its length field.
    #[error("{length} bytes or items are more than a length field holds")]
    TooLong {
        /// How many.
        length: usize,
    },
    /// Msgpack has no integers above 64 bits.
    #[error("an integer of {length} bytes is too wide")]
    IntTooWide {
        /// Its length.
        length: usize,
    },
    /// Python's msgpack reader accepts only text and bytes as keys.
    #[error("a dict key is neither text nor bytes, but {kind}")]
    BadKey {
        /// What it is instead.
        kind: &'static str,
    },
}

/// Writes a whole pickle.
pub(crate) fn write(sink: &mut impl Sink, value: &Value) -> Result<(), Unwritable> {
    header(sink);
    write_value(sink, value)?;
    sink.put(&[op::STOP]);
    Ok(())
}

/// Writes what leaves a value on the stack.
pub(crate) fn write_value(sink: &mut impl Sink, value: &Value) -> Result<(), Unwritable> {
    match value {
        Value::None => sink.put(&[op::NONE]),
        Value::Bool(true) => sink.put(&[op::NEWTRUE]),
        Value::Bool(false) => sink.put(&[op::NEWFALSE]),
        Value::Int(number) => int(sink, *number),
        Value::BigInt(bytes) => long(sink, bytes)?,
        Value::Float(number) => float(sink, *number),
        Value::Bytes(data) => bytes(sink, data)?,
        Value::Str(string) => text(sink, string.as_bytes())?,
        Value::Tuple(items) => {
            if items.len() > 3 {
                sink.put(&[op::MARK]);
            }
            items.iter().try_for_each(|item| write_value(sink, item))?;
            sink.put(&[tuple_opcode(items.len())]);
        }
        Value::List(items) => {
            sink.put(&[op::EMPTY_LIST]);
            batches(sink, items, [op::APPEND, op::APPENDS], |sink, item| write_value(sink, item))?;
        }
        Value::Dict(items) => {
            sink.put(&[op::EMPTY_DICT]);
            batches(sink, items, [op::SETITEM, op::SETITEMS], |sink, (key, value)| {
                write_value(sink, key)?;
                write_value(sink, value)
            })?;
        }
        Value::Opaque(_) => return Err(Unwritable::Opaque),
    }
    Ok(())
}

/// The opcode that starts a pickle.
pub(crate) fn header(sink: &mut impl Sink) {
    sink.put(&[op::PROTO, PROTOCOL]);
}

pub(crate) fn int(sink: &mut impl Sink, number: i64) {
    if let Ok(byte) = u8::try_from(number) {
        return sink.put(&[op::BININT1, byte]);
    }
    if let Ok(short) = u16::try_from(number) {
        let [low, high] = short.to_le_bytes();
        return sink.put(&[op::BININT2, low, high]);
    }
    if let Ok(int) = i32::try_from(number) {
        sink.put(&[op::BININT]);
        return sink.put(&int.to_le_bytes());
    }
    let bytes = number.to_le_bytes();
    let len = signed_len(&bytes);
    sink.put(&[op::LONG1, len]);
    sink.put(&bytes[..len.into()]);
}

/// How many bytes of a little-endian number are needed, its sign included.
fn signed_len(bytes: &[u8; 8]) -> u8 {
    let negative = bytes[7] & 0x80 != 0;
    let padding = if negative { 0xff } else { 0 };
    let mut len = 8;
    for pair in bytes.windows(2).rev() {
        if pair[1] != padding || (pair[0] & 0x80 != 0) != negative {
            break;
        }
        len -= 1;
    }
    len
}

/// An integer from little-endian two's complement bytes of any length.
pub(crate) fn integer(sink: &mut impl Sink, bytes: &Bytes) -> Result<(), Unwritable> {
    match Value::from_le_bytes(bytes.clone()) {
        Value::Int(number) => {
            int(sink, number);
            Ok(())
        }
        Value::BigInt(minimal) => long(sink, &minimal),
        _ => unreachable!("an integer is one or the other"),
    }
}

/// An integer of more than 64 bits.
pub(crate) fn long(sink: &mut impl Sink, bytes: &[u8]) -> Result<(), Unwritable> {
    match u8::try_from(bytes.len()) {
        Ok(len) => sink.put(&[op::LONG1, len]),
        Err(_) => {
            sink.put(&[op::LONG4]);
            sink.put(&length(bytes.len())?);
        }
    }
    sink.put(bytes);
    Ok(())
}

pub(crate) fn float(sink: &mut impl Sink, number: f64) {
    sink.put(&[op::BINFLOAT]);
    sink.put(&number.to_be_bytes());
}

pub(crate) fn bytes(sink: &mut impl Sink, bytes: &Bytes) -> Result<(), Unwritable> {
    match u8::try_from(bytes.len()) {
        Ok(len) => sink.put(&[op::SHORT_BINBYTES, len]),
        Err(_) => {
            sink.put(&[op::BINBYTES]);
            sink.put(&length(bytes.len())?);
        }
    }
    sink.put_shared(bytes);
    Ok(())
}

pub(crate) fn text(sink: &mut impl Sink, utf8: &[u8]) -> Result<(), Unwritable> {
    sink.put(&[op::BINUNICODE]);
    sink.put(&length(utf8.len())?);
    sink.put(utf8);
    Ok(())
}

pub(crate) fn global(sink: &mut impl Sink, module: &[u8], name: &[u8]) {
    sink.put(&[op::GLOBAL]);
    sink.put(module);
    sink.put(b"\n");
    sink.put(name);
    sink.put(b"\n");
}

/// Puts the top of the stack into a memo slot.
pub(crate) fn put(sink: &mut impl Sink, slot: u32) {
    memo(sink, slot, [op::BINPUT, op::LONG_BINPUT]);
}

/// Gets what is in a memo slot.
pub(crate) fn get(sink: &mut impl Sink, slot: u32) {
    memo(sink, slot, [op::BINGET, op::LONG_BINGET]);
}

fn memo(sink: &mut impl Sink, slot: u32, [short, long]: [u8; 2]) {
    match u8::try_from(slot) {
        Ok(slot) => sink.put(&[short, slot]),
        Err(_) => {
            sink.put(&[long]);
            sink.put(&slot.to_le_bytes());
        }
    }
}

/// The opcode that makes a tuple of so many values; from four on they stand behind a mark.
pub(crate) const fn tuple_opcode(len: usize) -> u8 {
    match len {
        0 => op::EMPTY_TUPLE,
        1 => op::TUPLE1,
        2 => op::TUPLE2,
        3 => op::TUPLE3,
        _ => op::TUPLE,
    }
}

/// Writes the items of a list or dict as the C pickler does: a single one by the first opcode,
/// otherwise batches behind marks by the second.
pub(crate) fn batches<'a, S: Sink, T>(
    sink: &mut S,
    items: &'a [T],
    [one, many]: [u8; 2],
    mut write: impl FnMut(&mut S, &'a T) -> Result<(), Unwritable>,
) -> Result<(), Unwritable> {
    if let [item] = items {
        write(sink, item)?;
        sink.put(&[one]);
        return Ok(());
    }
    for batch in items.chunks(BATCH) {
        sink.put(&[op::MARK]);
        batch.iter().try_for_each(|item| write(sink, item))?;
        sink.put(&[many]);
    }
    Ok(())
}

fn length(length: usize) -> Result<[u8; 4], Unwritable> {
    let field = u32::try_from(length).map_err(|_| Unwritable::TooLong { length })?;
    Ok(field.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn what_is_too_long_for_its_length_field_is_refused() {
        assert_eq!(length(0xffff_ffff), Ok([0xff; 4]));
        assert_eq!(length(1 << 32), Err(Unwritable::TooLong { length: 1 << 32 }));
    }
}
