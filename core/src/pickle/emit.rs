//! Pickles as ZEO's peers write them: protocol 3 without memo, every occurrence of a value in full.
//! Objects are written as they were read.
//!
//! The functions for single values are shared with the writers that have a memo.

use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;

use super::error::PROTOCOL;
use super::opcode as op;
use crate::value::{Integer, Opaque, Value};

/// Maximum number of items that Python's pickler writes after one mark.
pub(crate) const BATCH: usize = 1000;

/// The opcodes that add one item, and all items after a mark, to a list.
pub(crate) const LIST: [u8; 2] = [op::APPEND, op::APPENDS];

/// The opcodes that add one item, and all items after a mark, to a dict.
pub(crate) const DICT: [u8; 2] = [op::SETITEM, op::SETITEMS];

/// A destination for encoded bytes.
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

/// A value that cannot be encoded, or that the peer cannot read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unwritable {
    /// A class, an object or a reference, where only plain values are allowed.
    #[error("a Python object cannot be sent in a message")]
    Opaque,
    /// Bytes, text or a container too long for its length field.
    #[error("{length} bytes or items exceed the maximum of the length field")]
    TooLong {
        /// Number of bytes or items that the value has.
        length: usize,
    },
    /// Msgpack has no integers above 64 bits.
    #[error("an integer of {length} bytes exceeds the maximum of 8 bytes")]
    IntTooWide {
        /// Length of the integer in bytes.
        length: usize,
    },
    /// Python's msgpack reader accepts only text and bytes as keys.
    #[error("a dict key is neither text nor bytes, but {kind}")]
    BadKey {
        /// Type of the key.
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

/// Writes the opcodes that push a value on the stack.
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
            batches(sink, items, LIST, |sink, item| write_value(sink, item))?;
        }
        Value::Dict(items) => {
            sink.put(&[op::EMPTY_DICT]);
            batches(sink, items, DICT, write_pair)?;
        }
        Value::Opaque(opaque) => write_opaque(sink, opaque)?,
    }
    Ok(())
}

fn write_opaque(sink: &mut impl Sink, opaque: &Opaque) -> Result<(), Unwritable> {
    match opaque {
        Opaque::Global { module, name } => {
            global(sink, module.as_bytes(), name.as_bytes());
            Ok(())
        }
        Opaque::Call { callable, args } => combined(sink, callable, args, op::REDUCE),
        Opaque::New { class, args } => combined(sink, class, args, op::NEWOBJ),
        Opaque::Build { object, state } => combined(sink, object, state, op::BUILD),
        Opaque::Extend { object, items } => {
            write_value(sink, object)?;
            iterated(sink, items, LIST, |sink, item| write_value(sink, item))
        }
        Opaque::Update { object, items } => {
            write_value(sink, object)?;
            iterated(sink, items, DICT, write_pair)
        }
        Opaque::Reference(id) => {
            write_value(sink, id)?;
            sink.put(&[op::BINPERSID]);
            Ok(())
        }
    }
}

/// Writes two values, and the opcode that combines them into one.
fn combined(
    sink: &mut impl Sink,
    first: &Value,
    second: &Value,
    opcode: u8,
) -> Result<(), Unwritable> {
    write_value(sink, first)?;
    write_value(sink, second)?;
    sink.put(&[opcode]);
    Ok(())
}

fn write_pair<S: Sink>(sink: &mut S, (key, value): &(Value, Value)) -> Result<(), Unwritable> {
    write_value(sink, key)?;
    write_value(sink, value)
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

/// Number of bytes that a little-endian number needs, its sign included.
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
    match Integer::from_le_bytes(bytes.clone()) {
        Integer::Small(number) => {
            int(sink, number);
            Ok(())
        }
        Integer::Big(minimal) => long(sink, &minimal),
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

/// Pushes the value of a memo slot.
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

/// The opcode that makes a tuple of `len` values; four or more are written after a mark.
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
/// otherwise batches after marks by the second.
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

/// Writes the items of an object that only behaves like a list or dict. The C pickler does not know
/// their number in advance, so the last batch may have a single item.
pub(crate) fn iterated<'a, S: Sink, T>(
    sink: &mut S,
    items: &'a [T],
    opcodes: [u8; 2],
    mut write: impl FnMut(&mut S, &'a T) -> Result<(), Unwritable>,
) -> Result<(), Unwritable> {
    items.chunks(BATCH).try_for_each(|batch| batches(sink, batch, opcodes, &mut write))
}

fn length(length: usize) -> Result<[u8; 4], Unwritable> {
    let field = u32::try_from(length).map_err(|_| Unwritable::TooLong { length })?;
    Ok(field.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn global(module: &str, name: &str) -> Value {
        Opaque::Global { module: module.into(), name: name.into() }.into()
    }

    fn written(value: impl Into<Value>) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, &value.into()).unwrap();
        bytes
    }

    /// What zodbpickle 4.5 writes with `fast = 1`, as ZEO's client does: a `datetime`, a `set`, an
    /// instance with a state, and instances of subclasses of `list` and `dict`.
    #[test]
    fn objects_are_zodbpickle_s() {
        let args = |args: &[Value]| Value::Tuple(args.into());
        let new =
            |name: &str| Value::from(Opaque::New { class: global("m", name), args: args(&[]) });
        let one = Value::List(vec![Value::Int(1)]);

        let (callable, time) = (global("datetime", "datetime"), b"\x07\xe4\x01\x01\0\0\0\0\0\0");
        let call = Opaque::Call { callable, args: args(&[Value::Bytes(Bytes::from_static(time))]) };
        let python = b"\x80\x03cdatetime\ndatetime\nC\n\x07\xe4\x01\x01\0\0\0\0\0\0\x85R.";
        assert_eq!(written(call), python);
        let call = Opaque::Call { callable: global("builtins", "set"), args: args(&[one]) };
        assert_eq!(written(call), b"\x80\x03cbuiltins\nset\n]K\x01a\x85R.");

        let state = Value::Dict(vec![(Value::text("a"), Value::Int(1))]);
        let build = Opaque::Build { object: new("P"), state };
        assert_eq!(written(build), b"\x80\x03cm\nP\n)\x81}X\x01\0\0\0aK\x01sb.");
        let list = |items: &[Value]| Opaque::Extend { object: new("L"), items: items.into() };
        assert_eq!(written(list(&[Value::Int(1)])), b"\x80\x03cm\nL\n)\x81K\x01a.");
        assert_eq!(written(list(&[Value::Int(1), Value::None])), b"\x80\x03cm\nL\n)\x81(K\x01Ne.");
        let items = [1, 2].map(|number| (Value::Int(number), Value::None));
        let update = Opaque::Update { object: new("D"), items: items.into() };
        assert_eq!(written(update), b"\x80\x03cm\nD\n)\x81(K\x01NK\x02Nu.");
        let reference = Opaque::Reference(Value::Int(1));
        assert_eq!(written(reference), b"\x80\x03K\x01Q.");
    }

    /// A list of 1001 items is written as two batches after marks; for an object that behaves like a
    /// list, the last batch is a single item without mark.
    #[test]
    fn a_last_batch_of_one_is_zodbpickle_s() {
        let items = vec![Value::None; 1 + BATCH];
        assert!(written(Value::List(items.clone())).ends_with(b"NNe(Ne."));
        let object = global("m", "L");
        assert!(
            written(Opaque::Extend { object: object.clone(), items: items.clone() })
                .ends_with(b"NNeNa.")
        );
        let dumped = super::super::dump(&Opaque::Extend { object, items }.into()).unwrap();
        assert!(dumped.ends_with(b"NNeNa."));
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn values_too_long_for_their_length_field_are_refused() {
        assert_eq!(length(0xffff_ffff), Ok([0xff; 4]));
        assert_eq!(length(1 << 32), Err(Unwritable::TooLong { length: 1 << 32 }));
    }
}
