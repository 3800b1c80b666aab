//! Pickles as zodbpickle writes them into files: protocol 3 with a memo.
//!
//! Python's pickler gives every tuple, list, dict, text, byte string and class a memo slot when it
//! is first written, whether or not it is needed again, and refers to the slot when it meets *the
//! same object* again. This module cannot know which equal values were one object, except for those
//! that CPython never creates twice: text of one Latin-1 character, byte strings of up to one byte,
//! both when empty, and classes. With these the bytes are those that Python would write for what it
//! read from a message.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::emit::{self, Sink, Unwritable};
use super::opcode as op;
use crate::value::{Opaque, Value};

/// Writes a value, objects included.
///
/// # Errors
/// [`Unwritable::TooLong`].
pub fn dump(value: &Value) -> Result<Bytes, Unwritable> {
    let mut dump = Dump::default();
    emit::header(&mut dump.out);
    dump.value(value)?;
    dump.out.put(&[op::STOP]);
    Ok(dump.out.into())
}

/// A value that exists only once in a Python process.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Single<'a> {
    Bytes(&'a [u8]),
    Global(&'a str, &'a str),
    Text(&'a str),
}

#[derive(Default)]
struct Dump<'a> {
    out: Vec<u8>,
    slots: u32,
    singles: BTreeMap<Single<'a>, u32>,
}

impl<'a> Dump<'a> {
    fn value(&mut self, value: &'a Value) -> Result<(), Unwritable> {
        match value {
            Value::Bytes(bytes) if bytes.len() <= 1 => {
                return self.once(Single::Bytes(bytes), |out| emit::bytes(out, bytes));
            }
            Value::Str(text) if is_single(text) => {
                return self.once(Single::Text(text), |out| emit::text(out, text.as_bytes()));
            }
            Value::Bytes(bytes) => emit::bytes(&mut self.out, bytes)?,
            Value::Str(text) => emit::text(&mut self.out, text.as_bytes())?,
            Value::Tuple(items) if !items.is_empty() => {
                if items.len() > 3 {
                    self.out.put(&[op::MARK]);
                }
                items.iter().try_for_each(|item| self.value(item))?;
                self.out.put(&[emit::tuple_opcode(items.len())]);
            }
            Value::List(items) => {
                self.out.put(&[op::EMPTY_LIST]);
                self.put();
                return emit::batches(self, items, emit::LIST, Self::value);
            }
            Value::Dict(items) => {
                self.out.put(&[op::EMPTY_DICT]);
                self.put();
                return emit::batches(self, items, emit::DICT, Self::pair);
            }
            Value::Opaque(opaque) => return self.opaque(opaque),
            Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::BigInt(_)
            | Value::Float(_)
            | Value::Tuple(_) => return emit::write_value(&mut self.out, value),
        }
        self.put();
        Ok(())
    }

    fn pair(&mut self, (key, value): &'a (Value, Value)) -> Result<(), Unwritable> {
        self.value(key)?;
        self.value(value)
    }

    fn opaque(&mut self, opaque: &'a Opaque) -> Result<(), Unwritable> {
        match opaque {
            Opaque::Global { module, name } => self.once(Single::Global(module, name), |out| {
                emit::global(out, module.as_bytes(), name.as_bytes());
                Ok(())
            }),
            Opaque::Call { callable, args } => self.instance(callable, args, op::REDUCE),
            Opaque::New { class, args } => self.instance(class, args, op::NEWOBJ),
            Opaque::Build { object, state } => {
                self.changed(object)?;
                self.value(state)?;
                self.out.put(&[op::BUILD]);
                Ok(())
            }
            Opaque::Extend { object, items } => {
                self.changed(object)?;
                emit::iterated(self, items, emit::LIST, Self::value)
            }
            Opaque::Update { object, items } => {
                self.changed(object)?;
                emit::iterated(self, items, emit::DICT, Self::pair)
            }
            Opaque::Reference(id) => {
                self.value(id)?;
                self.out.put(&[op::BINPERSID]);
                Ok(())
            }
        }
    }

    /// Writes an object that the next opcode changes: always a new one, never a shared one.
    fn changed(&mut self, object: &'a Value) -> Result<(), Unwritable> {
        match object {
            Value::Bytes(_) | Value::Str(_) => {}
            Value::Opaque(opaque) if matches!(**opaque, Opaque::Global { .. }) => {}
            other => return self.value(other),
        }
        let singles = core::mem::take(&mut self.singles);
        let written = self.value(object);
        self.singles = singles;
        written
    }

    fn instance(
        &mut self,
        callable: &'a Value,
        args: &'a Value,
        opcode: u8,
    ) -> Result<(), Unwritable> {
        self.value(callable)?;
        self.value(args)?;
        self.out.put(&[opcode]);
        self.put();
        Ok(())
    }

    /// Writes a value that exists only once, or its slot if it was written before.
    fn once(
        &mut self,
        single: Single<'a>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unwritable>,
    ) -> Result<(), Unwritable> {
        if let Some(slot) = self.singles.get(&single) {
            emit::get(&mut self.out, *slot);
            return Ok(());
        }
        write(&mut self.out)?;
        self.singles.insert(single, self.slots);
        self.put();
        Ok(())
    }

    /// Gives the value that was just written the next slot.
    fn put(&mut self) {
        emit::put(&mut self.out, self.slots);
        self.slots += 1;
    }
}

impl Sink for Dump<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out.put(bytes);
    }
}

/// Whether CPython has only one text object with this content.
fn is_single(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_none_or(|first| first <= '\u{ff}') && chars.next().is_none()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// What zodbpickle 4.5 writes for the same values.
    #[test]
    fn the_bytes_are_zodbpickle_s() {
        let list = |items: &[i64]| Value::List(items.iter().map(|int| Value::Int(*int)).collect());
        let bytes = |bytes: &'static [u8]| Value::Bytes(Bytes::from_static(bytes));
        let set = Value::from(Opaque::Global { module: "builtins".into(), name: "set".into() });
        let call = Opaque::Call { callable: set, args: Value::Tuple(vec![list(&[1])]) };
        let inner = vec![
            (Value::text("d"), bytes(b"")),
            (bytes(b""), Value::text("")),
            (Value::text("e"), Value::Tuple(vec![])),
        ];
        let two_to_70 = Value::BigInt(Bytes::from_static(b"\0\0\0\0\0\0\0\0@"));
        let items = [
            (bytes(b"a"), Value::text("x")),
            (Value::text("b"), Value::text("x")),
            (Value::text("c"), Value::Dict(inner)),
            (Value::text("f"), list(&[1])),
            (Value::text("g"), list(&[1, 2])),
            (Value::text("h"), two_to_70),
            (Value::text("i"), Value::Int(-1)),
            (Value::text("j"), Value::Float(1.5)),
            (Value::text("k"), Value::Tuple(vec![Value::Int(1), Value::Int(2)])),
            (Value::text("l"), Value::text("yy")),
            (Value::text("n"), list(&[])),
            (Value::text("o"), call.into()),
            (Value::text("é"), Value::text("é")),
        ];
        let python = b"\x80\x03}q\x00(C\x01aq\x01X\x01\0\0\0xq\x02X\x01\0\0\0bq\x03h\x02X\x01\0\0\
            \0cq\x04}q\x05(X\x01\0\0\0dq\x06C\0q\x07h\x07X\0\0\0\0q\x08X\x01\0\0\0eq\t)uX\x01\0\0\
            \0fq\n]q\x0bK\x01aX\x01\0\0\0gq\x0c]q\r(K\x01K\x02eX\x01\0\0\0hq\x0e\x8a\t\0\0\0\0\0\0\
            \0\0@X\x01\0\0\0iq\x0fJ\xff\xff\xff\xffX\x01\0\0\0jq\x10G?\xf8\0\0\0\0\0\0X\x01\0\0\
            \0kq\x11K\x01K\x02\x86q\x12X\x01\0\0\0lq\x13X\x02\0\0\0yyq\x14X\x01\0\0\0nq\x15]q\x16X\
            \x01\0\0\0oq\x17cbuiltins\nset\nq\x18]q\x19K\x01a\x85q\x1aRq\x1bX\x02\0\0\0\xc3\xa9q\
            \x1ch\x1cu.";
        assert_eq!(dump(&Value::Dict(items.into())).unwrap(), python[..]);
    }

    #[test]
    fn slots_past_255_take_four_bytes() {
        let many = Value::List((0..300).map(|_| Value::text("yy")).collect());
        let bytes = dump(&many).unwrap();
        assert!(bytes.ends_with(b"yyr\x2c\x01\0\0e."));
    }
}
