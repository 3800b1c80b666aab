//! Writes pickles of protocol 3 with a memo, opcode by opcode.
//!
//! A [`Pickler`] numbers the memo slots as Python's pickler does: every tuple, list, dict, text, byte
//! string, class and instance gets the next slot when it is written. The caller keeps the slots of the
//! values that it may write again and calls [`Pickler::get`] for those, because only the caller knows
//! which values are one object. Several pickles share one memo, as records require.

use alloc::vec::Vec;

use bytes::Bytes;

use super::emit::{self, BATCH, Unwritable};
use super::opcode as op;

/// Number of a value in the memo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// What items are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemsKind {
    /// A list: single values.
    List,
    /// A dict: keys, each followed by its value.
    Dict,
}

/// A pickle that is being written.
#[derive(Debug, Default)]
pub struct Pickler {
    out: Vec<u8>,
    slots: u32,
}

impl Pickler {
    /// Starts a pickle. The memo keeps what earlier pickles put into it.
    pub fn start(&mut self) {
        emit::header(&mut self.out);
    }

    /// Ends a pickle.
    pub fn stop(&mut self) {
        self.op(op::STOP);
    }

    /// The bytes of all pickles.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.out.into()
    }

    /// Writes what was put into a slot before.
    pub fn get(&mut self, slot: Slot) {
        emit::get(&mut self.out, slot.0);
    }

    /// Writes `None`.
    pub fn none(&mut self) {
        self.op(op::NONE);
    }

    /// Writes `True` or `False`.
    pub fn bool(&mut self, truth: bool) {
        self.op(if truth { op::NEWTRUE } else { op::NEWFALSE });
    }

    /// Writes an integer.
    pub fn int(&mut self, int: i64) {
        emit::int(&mut self.out, int);
    }

    /// Writes an integer from little-endian two's complement bytes.
    ///
    /// # Errors
    /// [`Unwritable::TooLong`].
    pub fn big_int(&mut self, bytes: &Bytes) -> Result<(), Unwritable> {
        emit::integer(&mut self.out, bytes)
    }

    /// Writes a `float`.
    pub fn float(&mut self, float: f64) {
        emit::float(&mut self.out, float);
    }

    /// Writes a byte string.
    ///
    /// # Errors
    /// [`Unwritable::TooLong`].
    pub fn bytes(&mut self, bytes: &Bytes) -> Result<Slot, Unwritable> {
        emit::bytes(&mut self.out, bytes)?;
        Ok(self.put())
    }

    /// Writes a text: UTF-8, which may have lone surrogates.
    ///
    /// # Errors
    /// [`Unwritable::TooLong`].
    pub fn text(&mut self, utf8: &[u8]) -> Result<Slot, Unwritable> {
        emit::text(&mut self.out, utf8)?;
        Ok(self.put())
    }

    /// Writes a class or a function by its name.
    pub fn global(&mut self, module: &[u8], name: &[u8]) -> Slot {
        emit::global(&mut self.out, module, name);
        self.put()
    }

    /// Starts a tuple of `len` items, which follow.
    pub fn start_tuple(&mut self, len: usize) {
        if len > 3 {
            self.op(op::MARK);
        }
    }

    /// Ends a tuple after its items. The empty tuple has no slot.
    pub fn end_tuple(&mut self, len: usize) -> Option<Slot> {
        self.op(emit::tuple_opcode(len));
        (len > 0).then(|| self.put())
    }

    /// Drops the last values, which are the items of a tuple that one of them turned out to contain, or
    /// an object that its arguments contain, and gets that from its slot.
    pub fn replace(&mut self, len: usize, slot: Slot) {
        if len > 3 {
            self.op(op::POP_MARK);
        } else {
            (0..len).for_each(|_| self.op(op::POP));
        }
        self.get(slot);
    }

    /// Writes a new list or dict without items; [`write_items`] adds them.
    pub fn empty(&mut self, kind: ItemsKind) -> Slot {
        self.op(match kind {
            ItemsKind::List => op::EMPTY_LIST,
            ItemsKind::Dict => op::EMPTY_DICT,
        });
        self.put()
    }

    /// Calls the last value but one with the last one, a tuple of arguments.
    pub fn call(&mut self) -> Slot {
        self.op(op::REDUCE);
        self.put()
    }

    /// Makes an instance of the last value but one, a class, with the last one, a tuple of arguments.
    pub fn new_instance(&mut self) -> Slot {
        self.op(op::NEWOBJ);
        self.put()
    }

    /// Gives the last value but one the last one as its state.
    pub fn build(&mut self) {
        self.op(op::BUILD);
    }

    /// Makes the last value a persistent reference.
    pub fn reference(&mut self) {
        self.op(op::BINPERSID);
    }

    fn op(&mut self, opcode: u8) {
        self.out.push(opcode);
    }

    /// Gives the value that was just written the next slot.
    fn put(&mut self) -> Slot {
        let slot = self.slots;
        emit::put(&mut self.out, slot);
        self.slots += 1;
        Slot(slot)
    }
}

/// Adds items to the last value as the C pickler does, in batches. `write` writes one item; for a
/// dict, its key and its value. `is_exact` tells lists and dicts from objects that only behave like
/// them: of these the C pickler does not know the number of items in advance.
///
/// # Errors
/// Those of `write`.
pub fn write_items<W: AsMut<Pickler>, T, E>(
    writer: &mut W,
    kind: ItemsKind,
    is_exact: bool,
    items: &[T],
    mut write: impl FnMut(&mut W, &T) -> Result<(), E>,
) -> Result<(), E> {
    let [one, many] = match kind {
        ItemsKind::List => emit::LIST,
        ItemsKind::Dict => emit::DICT,
    };
    for batch in items.chunks(BATCH) {
        let is_single = batch.len() == 1 && (!is_exact || items.len() == 1);
        if !is_single {
            writer.as_mut().op(op::MARK);
        }
        batch.iter().try_for_each(|item| write(writer, item))?;
        writer.as_mut().op(if is_single { one } else { many });
    }
    Ok(())
}
