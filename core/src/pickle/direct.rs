//! The fast path for the pickles that Python peers send: those in fast mode, which have no memo.
//!
//! Values are built directly on the stack, without the arena of the general machine; most messages
//! take well under a microsecond. A rare opcode or an error results in `None`, and the general
//! machine reads the pickle from its start. So this file returns no errors, and the two can differ
//! only in plain values.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::cursor::Cursor;
use super::error::PROTOCOL;
use super::opcode as op;
use crate::value::{Budget, ReadLimits, Value};

struct Direct<'a> {
    input: &'a Bytes,
    cursor: Cursor<'a>,
    stack: Vec<Value>,
    /// Depth of each value on the stack: 0 for a scalar, 1 for an empty list.
    depths: Vec<u32>,
    marks: Vec<usize>,
    budget: Budget,
    depth_max: u32,
}

/// Reads a pickle of plain values without memo.
pub(super) fn read(input: &Bytes, limits: &ReadLimits) -> Option<Value> {
    let mut direct = Direct {
        input,
        cursor: Cursor::new(input),
        stack: Vec::with_capacity(12),
        depths: Vec::with_capacity(12),
        marks: Vec::new(),
        budget: Budget::new(limits),
        depth_max: limits.depth_max,
    };
    loop {
        let opcode = direct.cursor.u8().ok()?;
        if opcode == op::STOP {
            return direct.pop();
        }
        direct.step(opcode)?;
    }
}

impl Direct<'_> {
    fn step(&mut self, opcode: u8) -> Option<()> {
        match opcode {
            op::PROTO => (self.cursor.u8().ok()? <= PROTOCOL).then_some(()),
            op::MARK => {
                self.marks.push(self.stack.len());
                self.budget.spend(size_of::<usize>()).ok()
            }
            op::NONE => self.push(Value::None),
            op::NEWTRUE => self.push(Value::Bool(true)),
            op::NEWFALSE => self.push(Value::Bool(false)),
            op::BININT1 => self.cursor.u8().ok().and_then(|int| self.push(Value::Int(int.into()))),
            op::BININT2 => self.cursor.u16().ok().and_then(|int| self.push(Value::Int(int.into()))),
            op::BININT => self.cursor.i32().ok().and_then(|int| self.push(Value::Int(int.into()))),
            op::LONG1 => {
                let span = self.cursor.span_u8().ok()?;
                self.push(Value::from_le_bytes(self.input.slice(span)))
            }
            op::BINFLOAT => self.cursor.f64().ok().and_then(|float| self.push(Value::Float(float))),
            op::SHORT_BINBYTES => {
                let span = self.cursor.span_u8().ok()?;
                self.push(Value::Bytes(self.input.slice(span)))
            }
            op::BINBYTES => {
                let span = self.cursor.span_u32().ok()?;
                self.push(Value::Bytes(self.input.slice(span)))
            }
            op::BINUNICODE => {
                let span = self.cursor.span_u32().ok()?;
                self.budget.spend(span.len()).ok()?;
                let text = core::str::from_utf8(self.cursor.bytes(span)).ok()?;
                self.push(Value::Str(String::from(text)))
            }
            op::EMPTY_TUPLE => self.push_tuple(self.stack.len()),
            op::TUPLE1..=op::TUPLE3 => {
                let count = usize::from(opcode - op::TUPLE1) + 1;
                self.push_tuple(self.stack.len().checked_sub(count)?)
            }
            op::TUPLE => {
                let mark = self.marks.pop()?;
                self.push_tuple(mark)
            }
            op::EMPTY_LIST => self.push_nested(Value::List(Vec::new()), 1),
            op::EMPTY_DICT => self.push_nested(Value::Dict(Vec::new()), 1),
            op::APPEND => self.append(self.stack.len().checked_sub(1)?),
            op::APPENDS => {
                let mark = self.marks.pop()?;
                self.append(mark)
            }
            op::SETITEM => self.set_items(self.stack.len().checked_sub(2)?),
            op::SETITEMS => {
                let mark = self.marks.pop()?;
                self.set_items(mark)
            }
            _ => None,
        }
    }

    fn push(&mut self, value: Value) -> Option<()> {
        self.push_nested(value, 0)
    }

    fn push_nested(&mut self, value: Value, depth: u32) -> Option<()> {
        self.budget.spend_values(1).ok()?;
        self.stack.push(value);
        self.depths.push(depth);
        (depth <= self.depth_max).then_some(())
    }

    fn pop(&mut self) -> Option<Value> {
        if self.stack.len() > self.mark_height() { self.stack.pop() } else { None }
    }

    /// Height of the last mark: values below it cannot be popped until the mark is.
    fn mark_height(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    /// Makes a tuple of everything from `start` on.
    fn push_tuple(&mut self, start: usize) -> Option<()> {
        if start < self.mark_height() {
            return None;
        }
        let depth = self.depth_from(start);
        self.budget.spend_values(self.stack.len() - start).ok()?;
        let items = self.stack.split_off(start);
        self.depths.truncate(start);
        self.push_nested(Value::Tuple(items), depth + 1)
    }

    /// Moves everything from `start` on into the list below.
    fn append(&mut self, start: usize) -> Option<()> {
        self.deepen_below(start)?;
        let (below, above) = self.stack.split_at_mut(start);
        let Some(Value::List(list)) = below.last_mut() else { return None };
        list.extend(above.iter_mut().map(take));
        self.stack.truncate(start);
        Some(())
    }

    /// Moves everything from `start` on, alternating keys and values, into the dict below.
    fn set_items(&mut self, start: usize) -> Option<()> {
        self.deepen_below(start)?;
        let (below, above) = self.stack.split_at_mut(start);
        let Some(Value::Dict(dict)) = below.last_mut() else { return None };
        let (pairs, odd) = above.as_chunks_mut::<2>();
        if !odd.is_empty() {
            return None;
        }
        dict.extend(pairs.iter_mut().map(|[key, value]| (take(key), take(value))));
        self.stack.truncate(start);
        Some(())
    }

    /// Sets the depth of the container below `start` for the values that it will contain.
    fn deepen_below(&mut self, start: usize) -> Option<()> {
        if start <= self.mark_height() {
            return None;
        }
        self.budget.spend_values(self.stack.len() - start).ok()?;
        let depth = self.depth_from(start) + 1;
        self.depths.truncate(start);
        let below = self.depths.last_mut()?;
        *below = depth.max(*below);
        (*below <= self.depth_max).then_some(())
    }

    fn depth_from(&self, start: usize) -> u32 {
        self.depths[start..].iter().copied().max().unwrap_or(0)
    }
}

fn take(value: &mut Value) -> Value {
    core::mem::replace(value, Value::None)
}
