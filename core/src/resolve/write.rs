//! Writes the record of a merged state.
//!
//! The record has the form that zodbpickle writes: two pickles with one memo, in which every
//! shareable value gets a slot. A node that merged items share is written once, so that Python
//! loads one object.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::names;
use crate::pickle::arena::{Arena, Node, NodeId};
use crate::pickle::emit::{self, Sink, Unwritable};
use crate::pickle::opcode as op;

/// Maximum depth of nested values that are written.
const DEPTH_MAX: u32 = 100;

/// A value in the merged state.
pub(super) enum MergedValue {
    Float(f64),
    /// Little-endian two's complement of any length.
    Int(Bytes),
    /// A node of one of the three states.
    Node(NodeId),
    /// A persistent reference with the content of the node.
    Reference(NodeId),
    Tuple(Vec<Self>),
}

/// Writes a record. `None` if something in it cannot be written with certainty.
pub(super) fn record(arena: &Arena, class: NodeId, state: &MergedValue) -> Option<Bytes> {
    let mut writer = Writer {
        arena,
        out: Vec::new(),
        slots: 0,
        nodes: BTreeMap::new(),
        globals: BTreeMap::new(),
    };
    writer.pickle(|writer| writer.node(class, Globals::Allowed, DEPTH_MAX)).ok()?;
    writer.pickle(|writer| writer.merged_value(state)).ok()?;
    Some(writer.out.into())
}

struct Writer<'a> {
    arena: &'a Arena,
    out: Vec<u8>,
    slots: u32,
    /// Memo slots of the nodes written so far.
    nodes: BTreeMap<NodeId, u32>,
    /// Memo slots of classes; a class is one object, however many nodes name it.
    globals: BTreeMap<(&'a [u8], &'a [u8]), u32>,
}

/// Whether a class is allowed at a position. In references classes are only names; elsewhere Python
/// has to import them, which may fail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Globals {
    Allowed,
    Refused,
}

impl<'a> Writer<'a> {
    fn pickle(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), Unwritable>,
    ) -> Result<(), Unwritable> {
        emit::header(&mut self.out);
        write(self)?;
        self.out.put(&[op::STOP]);
        Ok(())
    }

    fn merged_value(&mut self, value: &MergedValue) -> Result<(), Unwritable> {
        match value {
            MergedValue::Float(float) => {
                emit::float(&mut self.out, *float);
                Ok(())
            }
            MergedValue::Int(bytes) => emit::integer(&mut self.out, bytes),
            MergedValue::Node(id) => self.node(*id, Globals::Refused, DEPTH_MAX),
            MergedValue::Reference(id) => self.reference(*id, DEPTH_MAX),
            MergedValue::Tuple(parts) => {
                if parts.len() > 3 {
                    self.out.put(&[op::MARK]);
                }
                parts.iter().try_for_each(|part| self.merged_value(part))?;
                self.out.put(&[emit::tuple_opcode(parts.len())]);
                self.put();
                Ok(())
            }
        }
    }

    fn node(&mut self, id: NodeId, globals: Globals, depth: u32) -> Result<(), Unwritable> {
        let depth = depth.checked_sub(1).ok_or(Unwritable::Opaque)?;
        if let Some(slot) = self.nodes.get(&id) {
            emit::get(&mut self.out, *slot);
            return Ok(());
        }
        match self.arena.node(id) {
            Node::None => self.out.put(&[op::NONE]),
            Node::Bool(true) => self.out.put(&[op::NEWTRUE]),
            Node::Bool(false) => self.out.put(&[op::NEWFALSE]),
            Node::Int(int) => emit::int(&mut self.out, int),
            Node::BigInt(span) => emit::long(&mut self.out, self.arena.bytes(span))?,
            Node::Float(float) => emit::float(&mut self.out, float),
            Node::Bytes(span) => {
                emit::bytes(&mut self.out, &self.arena.shared(span))?;
                self.put_node(id);
            }
            Node::Text(span) | Node::OldText(span) => {
                emit::text(&mut self.out, self.arena.bytes(span))?;
                self.put_node(id);
            }
            Node::Tuple(items) => self.tuple(id, self.arena.tuple(items), globals, depth)?,
            Node::List(items) => {
                self.out.put(&[op::EMPTY_LIST]);
                self.put_node(id);
                let items = self.arena.sequence(items);
                emit::batches(self, items, emit::LIST, |writer, item| {
                    writer.node(*item, globals, depth)
                })?;
            }
            Node::Dict(items) => {
                self.out.put(&[op::EMPTY_DICT]);
                self.put_node(id);
                let (items, _) = self.arena.sequence(items).as_chunks::<2>();
                emit::batches(self, items, emit::DICT, |writer, [key, value]| {
                    writer.node(*key, globals, depth)?;
                    writer.node(*value, globals, depth)
                })?;
            }
            Node::Global(first) if globals == Globals::Allowed => self.global(first),
            Node::Call { callable, args } => {
                self.node(callable, Globals::Allowed, depth)?;
                self.node(args, globals, depth)?;
                self.out.put(&[op::REDUCE]);
                self.put_node(id);
            }
            Node::Reference(id) => self.reference(id, depth)?,
            Node::Global(_)
            | Node::Extension(_)
            | Node::New { .. }
            | Node::Build { .. }
            | Node::Extend { .. }
            | Node::Update { .. } => return Err(Unwritable::Opaque),
        }
        Ok(())
    }

    fn tuple(
        &mut self,
        id: NodeId,
        items: &[NodeId],
        globals: Globals,
        depth: u32,
    ) -> Result<(), Unwritable> {
        if items.len() > 3 {
            self.out.put(&[op::MARK]);
        }
        items.iter().try_for_each(|item| self.node(*item, globals, depth))?;
        self.out.put(&[emit::tuple_opcode(items.len())]);
        if !items.is_empty() {
            self.put_node(id);
        }
        Ok(())
    }

    fn reference(&mut self, id: NodeId, depth: u32) -> Result<(), Unwritable> {
        self.node(id, Globals::Allowed, depth)?;
        self.out.put(&[op::BINPERSID]);
        Ok(())
    }

    fn global(&mut self, first: u32) {
        let (module, name) = names::present_class(self.arena.global(first));
        if let Some(slot) = self.globals.get(&(module, name)) {
            return emit::get(&mut self.out, *slot);
        }
        emit::global(&mut self.out, module, name);
        self.globals.insert((module, name), self.slots);
        self.put();
    }

    fn put_node(&mut self, id: NodeId) {
        self.nodes.insert(id, self.slots);
        self.put();
    }

    /// Gives the value that was just written the next slot.
    fn put(&mut self) {
        emit::put(&mut self.out, self.slots);
        self.slots += 1;
    }
}

impl Sink for Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out.put(bytes);
    }
}
