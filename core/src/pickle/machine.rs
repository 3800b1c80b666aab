//! The general pickle machine: a stack, marks, and a memo, over the nodes of an [`Arena`].
//!
//! It reads every opcode of protocols 0 to 3 and executes nothing: classes are names, calls are
//! recorded. One machine reads several consecutive pickles with one memo, as required for records
//! (class first, then state).
//!
//! Where Python looks at the type of an object, this machine records the operation: APPENDS on an
//! object that is not a list makes a [`Node::Extend`]. So the machine accepts everything that
//! Python accepts with the right classes installed, and more.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::arena::{Arena, Node, NodeId, Span};
use super::cursor::Cursor;
use super::error::{PROTOCOL, Unreadable};
use super::{opcode as op, text};
use crate::value::Integer;

/// Reads pickles into an arena.
pub(crate) struct Machine<'a> {
    arena: &'a mut Arena,
    source: u32,
    cursor: Cursor<'a>,
    /// Position of the current opcode.
    at: usize,
    opcode: u8,
    stack: Vec<NodeId>,
    marks: Vec<usize>,
    memo: Memo,
    references: Vec<NodeId>,
}

impl<'a> Machine<'a> {
    /// A machine at the beginning of `input`.
    pub(crate) fn new(arena: &'a mut Arena, input: &'a Bytes) -> Result<Self, Unreadable> {
        let source = arena.add_source(input.clone())?;
        Ok(Self {
            arena,
            source,
            cursor: Cursor::new(input),
            at: 0,
            opcode: op::STOP,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Memo::default(),
            references: Vec::new(),
        })
    }

    /// Reads up to the next STOP, and keeps the memo.
    pub(crate) fn load(&mut self) -> Result<NodeId, Unreadable> {
        self.stack.clear();
        self.marks.clear();
        loop {
            self.at = self.cursor.at();
            self.opcode = self.cursor.u8()?;
            if self.opcode == op::STOP {
                return self.pop();
            }
            self.step()?;
        }
    }

    /// The values of all references so far, in order of appearance.
    pub(crate) fn into_references(self) -> Vec<NodeId> {
        self.references
    }

    fn step(&mut self) -> Result<(), Unreadable> {
        match self.opcode {
            op::PROTO => self.protocol(),
            op::MARK => self.mark(),
            op::POP => self.pop_or_unmark(),
            op::POP_MARK => self.pop_mark().map(drop),
            op::DUP => self.top().and_then(|top| self.push(top)),
            op::NONE => self.push_node(Node::None),
            op::NEWTRUE => self.push_node(Node::Bool(true)),
            op::NEWFALSE => self.push_node(Node::Bool(false)),
            op::INT
            | op::LONG
            | op::BININT
            | op::BININT1
            | op::BININT2
            | op::LONG1
            | op::LONG4
            | op::FLOAT
            | op::BINFLOAT => self.number(),
            op::STRING
            | op::BINSTRING
            | op::SHORT_BINSTRING
            | op::UNICODE
            | op::BINUNICODE
            | op::BINBYTES
            | op::SHORT_BINBYTES => self.string(),
            op::PUT | op::BINPUT | op::LONG_BINPUT => self.put(),
            op::GET | op::BINGET | op::LONG_BINGET => self.get(),
            op::EMPTY_TUPLE | op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => self.tuple(),
            op::EMPTY_LIST | op::LIST => self.list(),
            op::EMPTY_DICT | op::DICT => self.dict(),
            op::APPEND | op::APPENDS => self.append(),
            op::SETITEM | op::SETITEMS => self.set_items(),
            op::GLOBAL | op::INST => self.named(),
            op::OBJ => self.object(),
            op::REDUCE | op::NEWOBJ => self.call(),
            op::BUILD => self.build(),
            op::PERSID | op::BINPERSID => self.reference(),
            op::EXT1 | op::EXT2 | op::EXT4 => self.extension(),
            opcode => Err(Unreadable::UnknownOpcode { opcode, at: self.at }),
        }
    }

    fn protocol(&mut self) -> Result<(), Unreadable> {
        match self.cursor.u8()? {
            0..=PROTOCOL => Ok(()),
            protocol => Err(Unreadable::ProtocolTooNew { protocol }),
        }
    }

    fn mark(&mut self) -> Result<(), Unreadable> {
        self.arena.spend(2 * size_of::<usize>())?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_or_unmark(&mut self) -> Result<(), Unreadable> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn number(&mut self) -> Result<(), Unreadable> {
        let node = match self.opcode {
            op::BININT1 => Node::Int(self.cursor.u8()?.into()),
            op::BININT2 => Node::Int(self.cursor.u16()?.into()),
            op::BININT => Node::Int(self.cursor.i32()?.into()),
            op::LONG1 => {
                let span = self.cursor.span_u8()?;
                self.integer(Arena::span(self.source, span))
            }
            op::LONG4 => {
                let span = self.cursor.span_i32()?;
                self.integer(Arena::span(self.source, span))
            }
            op::BINFLOAT => Node::Float(self.cursor.f64()?),
            op::FLOAT => {
                let line = self.line()?;
                let float = core::str::from_utf8(line).ok().and_then(|line| line.parse().ok());
                Node::Float(float.ok_or(Unreadable::BadLine { at: self.at })?)
            }
            _ => self.decimal()?,
        };
        self.push_node(node)
    }

    /// INT, which can also be a boolean, and LONG, whose line ends in an L.
    fn decimal(&mut self) -> Result<Node, Unreadable> {
        let line = self.line()?;
        let digits = match (self.opcode, line) {
            (op::INT, b"00") => return Ok(Node::Bool(false)),
            (op::INT, b"01") => return Ok(Node::Bool(true)),
            (op::LONG, [digits @ .., b'L']) => digits,
            (_, digits) => digits,
        };
        let bytes = text::decimal(digits).ok_or(Unreadable::BadLine { at: self.at })?;
        let span = self.arena.add_text(bytes)?;
        Ok(self.integer(span))
    }

    fn integer(&self, span: Span) -> Node {
        match Integer::from_le_bytes(self.arena.shared(span)) {
            Integer::Small(int) => Node::Int(int),
            Integer::Big(minimal) => Node::BigInt(span.shortened(minimal.len())),
        }
    }

    fn string(&mut self) -> Result<(), Unreadable> {
        let node = match self.opcode {
            op::SHORT_BINBYTES => Node::Bytes(self.own(Cursor::span_u8)?),
            op::BINBYTES => Node::Bytes(self.own(Cursor::span_u32)?),
            op::BINUNICODE => Node::Text(self.own(Cursor::span_u32)?),
            op::SHORT_BINSTRING => Node::OldText(self.own(Cursor::span_u8)?),
            op::BINSTRING => Node::OldText(self.own(Cursor::span_i32)?),
            op::STRING => Node::OldText(self.escaped(text::unquote)?),
            _ => Node::Text(self.escaped(text::raw_unicode)?),
        };
        self.push_node(node)
    }

    /// A range of the input as a span of the arena.
    fn own(
        &mut self,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<Range<usize>, Unreadable>,
    ) -> Result<Span, Unreadable> {
        read(&mut self.cursor).map(|range| Arena::span(self.source, range))
    }

    fn escaped(&mut self, read: fn(&[u8]) -> Option<Vec<u8>>) -> Result<Span, Unreadable> {
        let text = read(self.line()?).ok_or(Unreadable::BadLine { at: self.at })?;
        self.arena.add_text(text)
    }

    fn put(&mut self) -> Result<(), Unreadable> {
        let slot = self.slot()?;
        let top = self.top()?;
        self.arena.spend(Memo::SLOT_BYTES)?;
        self.memo.put(slot, top);
        Ok(())
    }

    fn get(&mut self) -> Result<(), Unreadable> {
        let slot = self.slot()?;
        let id = self.memo.get(slot).ok_or(Unreadable::MemoMissing { slot, at: self.at })?;
        self.push(id)
    }

    fn slot(&mut self) -> Result<u64, Unreadable> {
        match self.opcode {
            op::BINPUT | op::BINGET => self.cursor.u8().map(u64::from),
            op::LONG_BINPUT | op::LONG_BINGET => self.cursor.u32().map(u64::from),
            _ => {
                let line = core::str::from_utf8(self.line()?).ok();
                let slot = line.and_then(|line| line.parse().ok());
                slot.ok_or(Unreadable::BadLine { at: self.at })
            }
        }
    }

    fn tuple(&mut self) -> Result<(), Unreadable> {
        let items = match self.opcode {
            op::EMPTY_TUPLE => Vec::new(),
            op::TUPLE => self.pop_mark()?,
            op::TUPLE1 => self.pop_many(1)?,
            op::TUPLE2 => self.pop_many(2)?,
            _ => self.pop_many(3)?,
        };
        let tuple = self.arena.add_tuple(&items)?;
        self.push(tuple)
    }

    fn list(&mut self) -> Result<(), Unreadable> {
        let items = if self.opcode == op::LIST { self.pop_mark()? } else { Vec::new() };
        let list = self.arena.add_sequence(&items)?;
        self.push_node(Node::List(list))
    }

    fn dict(&mut self) -> Result<(), Unreadable> {
        let items = if self.opcode == op::DICT { self.pop_mark()? } else { Vec::new() };
        self.check_pairs(&items)?;
        let dict = self.arena.add_sequence(&items)?;
        self.push_node(Node::Dict(dict))
    }

    fn append(&mut self) -> Result<(), Unreadable> {
        let items = if self.opcode == op::APPEND { self.pop_many(1)? } else { self.pop_mark()? };
        let id = self.top()?;
        if items.is_empty() {
            // Python does not look at the object before the loop over the items.
            return Ok(());
        }
        if let Node::List(list) | Node::Extend { items: list, .. } = self.arena.node(id) {
            return self.arena.extend(list, &items);
        }
        let object = self.move_away(id)?;
        let items = self.arena.add_sequence(&items)?;
        self.arena.replace(id, Node::Extend { object, items });
        Ok(())
    }

    fn set_items(&mut self) -> Result<(), Unreadable> {
        let items = if self.opcode == op::SETITEM { self.pop_many(2)? } else { self.pop_mark()? };
        self.check_pairs(&items)?;
        let id = self.top()?;
        if items.is_empty() {
            return Ok(());
        }
        if let Node::Dict(dict) | Node::Update { items: dict, .. } = self.arena.node(id) {
            return self.arena.extend(dict, &items);
        }
        let object = self.move_away(id)?;
        let items = self.arena.add_sequence(&items)?;
        self.arena.replace(id, Node::Update { object, items });
        Ok(())
    }

    fn check_pairs(&self, items: &[NodeId]) -> Result<(), Unreadable> {
        if items.len().is_multiple_of(2) {
            Ok(())
        } else {
            Err(Unreadable::OddItems { at: self.at })
        }
    }

    /// GLOBAL: a class. INST: an instance of it, with arguments from the stack.
    fn named(&mut self) -> Result<(), Unreadable> {
        let module = self.own(Cursor::line)?;
        let name = self.own(Cursor::line)?;
        let class = self.arena.add_global(module, name)?;
        if self.opcode == op::GLOBAL {
            return self.push(class);
        }
        let args = self.pop_mark()?;
        let args = self.arena.add_tuple(&args)?;
        self.push_node(Node::Call { callable: class, args })
    }

    /// OBJ: class and arguments are above the mark.
    fn object(&mut self) -> Result<(), Unreadable> {
        let items = self.pop_mark()?;
        let (callable, args) = items.split_first().ok_or_else(|| self.underflow())?;
        let args = self.arena.add_tuple(args)?;
        self.push_node(Node::Call { callable: *callable, args })
    }

    fn call(&mut self) -> Result<(), Unreadable> {
        let args = self.pop()?;
        let callable = self.pop()?;
        if let Some(bytes) = self.binary(callable, args) {
            return self.push(bytes);
        }
        self.push_node(match self.opcode {
            op::REDUCE => Node::Call { callable, args },
            _ => Node::New { class: callable, args },
        })
    }

    /// Python 2 wrote `zodbpickle.binary(bytes)` for bytes; in Python 3 the result is `bytes`.
    fn binary(&self, callable: NodeId, args: NodeId) -> Option<NodeId> {
        let Node::Global(class) = self.arena.node(callable) else { return None };
        let Node::Tuple(args) = self.arena.node(args) else { return None };
        let [bytes] = self.arena.tuple(args) else { return None };
        let binary = self.arena.global(class) == (b"zodbpickle", b"binary");
        (binary && matches!(self.arena.node(*bytes), Node::Bytes(_))).then_some(*bytes)
    }

    fn build(&mut self) -> Result<(), Unreadable> {
        let state = self.pop()?;
        let id = self.top()?;
        let object = self.move_away(id)?;
        self.arena.replace(id, Node::Build { object, state });
        Ok(())
    }

    /// Copies a node to a new id, so that its old id can become a different node.
    fn move_away(&mut self, id: NodeId) -> Result<NodeId, Unreadable> {
        self.arena.add(self.arena.node(id))
    }

    fn reference(&mut self) -> Result<(), Unreadable> {
        let id = if self.opcode == op::PERSID {
            let line = self.own(Cursor::line)?;
            self.arena.add(Node::Bytes(line))?
        } else {
            self.pop()?
        };
        self.arena.spend(size_of::<NodeId>())?;
        self.references.push(id);
        self.push_node(Node::Reference(id))
    }

    fn extension(&mut self) -> Result<(), Unreadable> {
        let code = match self.opcode {
            op::EXT1 => self.cursor.u8()?.into(),
            op::EXT2 => self.cursor.u16()?.into(),
            _ => self.cursor.u32()?,
        };
        self.push_node(Node::Extension(code))
    }

    fn line(&mut self) -> Result<&'a [u8], Unreadable> {
        let line = self.cursor.line()?;
        Ok(self.cursor.bytes(line))
    }

    fn push_node(&mut self, node: Node) -> Result<(), Unreadable> {
        let id = self.arena.add(node)?;
        self.push(id)
    }

    fn push(&mut self, id: NodeId) -> Result<(), Unreadable> {
        self.arena.spend(2 * size_of::<NodeId>())?;
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<NodeId, Unreadable> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn top(&self) -> Result<NodeId, Unreadable> {
        self.stack[self.mark_height()..].last().copied().ok_or_else(|| self.underflow())
    }

    /// Pops the topmost nodes.
    fn pop_many(&mut self, count: usize) -> Result<Vec<NodeId>, Unreadable> {
        let start =
            self.stack.len().checked_sub(count).filter(|start| *start >= self.mark_height());
        start.map(|start| self.stack.split_off(start)).ok_or_else(|| self.underflow())
    }

    /// Pops the last mark and all nodes above it.
    fn pop_mark(&mut self) -> Result<Vec<NodeId>, Unreadable> {
        let mark = self.marks.pop().ok_or(Unreadable::NoMark { at: self.at })?;
        Ok(self.stack.split_off(mark))
    }

    /// Height of the last mark: nodes below it cannot be popped until the mark is.
    fn mark_height(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn underflow(&self) -> Unreadable {
        Unreadable::StackUnderflow { opcode: self.opcode, at: self.at }
    }
}

/// The memo. Python numbers the slots from 0; other numbers go to a map, so that a great number
/// does not allocate a long vector.
#[derive(Default)]
struct Memo {
    dense: Vec<NodeId>,
    sparse: BTreeMap<u64, NodeId>,
}

impl Memo {
    /// Maximum bytes of memory for a slot.
    const SLOT_BYTES: usize = 24;

    fn put(&mut self, slot: u64, id: NodeId) {
        match usize::try_from(slot) {
            Ok(slot) if slot < self.dense.len() => self.dense[slot] = id,
            Ok(slot) if slot == self.dense.len() => self.dense.push(id),
            _ => {
                self.sparse.insert(slot, id);
            }
        }
    }

    fn get(&self, slot: u64) -> Option<NodeId> {
        let dense = usize::try_from(slot).ok().and_then(|slot| self.dense.get(slot));
        dense.or_else(|| self.sparse.get(&slot)).copied()
    }
}
