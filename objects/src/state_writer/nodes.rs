//! Writes the nodes of a record's graph.
//!
//! Objects within a state are written as Python's pickler writes them: how the object is made, then its
//! items, then its state. A pickle can also change values that are no objects; this is written back
//! too.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rzeo_core::pickle::arena::{Node, NodeId, Span};
use rzeo_core::pickle::{ItemsKind, write_items};

use super::StateWriter;
use super::memo::Identity;
use crate::error::WriteError;
use crate::graph::Graph;
use crate::value::PyValue;

impl StateWriter<'_> {
    pub(super) fn node(&mut self, graph: &Arc<Graph>, id: NodeId) -> Result<(), WriteError> {
        let identity = Identity::node(graph, id);
        let arena = &graph.arena;
        let child = |writer: &mut Self, id: &NodeId| writer.nested(&PyValue::node(graph, *id));
        match arena.node(id) {
            Node::None | Node::Bool(_) | Node::Int(_) | Node::BigInt(_) | Node::Float(_) => {
                self.nested(&PyValue::node(graph, id))
            }
            Node::Bytes(span) => self.bytes(&arena.shared(span), identity),
            Node::Text(span) => self.text(arena.bytes(span), identity),
            Node::OldText(span) => self.old_text(graph, span, identity),
            Node::Tuple(items) => self.tuple(arena.tuple(items), identity, child),
            Node::List(list) => self.items(ItemsKind::List, arena.sequence(list), identity, child),
            Node::Dict(dict) => {
                let (pairs, _) = arena.sequence(dict).as_chunks::<2>();
                self.items(ItemsKind::Dict, pairs, identity, |writer, [key, value]| {
                    child(writer, key)?;
                    child(writer, value)
                })
            }
            Node::Global(names) => {
                let (module, name) = arena.global(names);
                self.remembered(identity, |writer| Ok(writer.pickler.global(module, name)))
            }
            Node::Reference(content) => {
                child(self, &content)?;
                self.pickler.reference();
                Ok(())
            }
            Node::Extension(code) => Err(WriteError::ExtensionCode { code }),
            Node::Call { .. }
            | Node::New { .. }
            | Node::Build { .. }
            | Node::Extend { .. }
            | Node::Update { .. } => self.object(graph, id, identity),
        }
    }

    /// Writes an object: how it is made, then what is done with it. It is in the memo between the
    /// two, because its items and its state may refer to it.
    fn object(
        &mut self,
        graph: &Arc<Graph>,
        id: NodeId,
        identity: Identity,
    ) -> Result<(), WriteError> {
        if self.get(identity) {
            return Ok(());
        }
        let arena = &graph.arena;
        let mut changes = Vec::new();
        let mut made = id;
        loop {
            let node = arena.node(made);
            let (Node::Build { object, .. }
            | Node::Extend { object, .. }
            | Node::Update { object, .. }) = node
            else {
                break;
            };
            changes.push(node);
            made = object;
        }
        self.deeper(|writer| {
            let nested = |writer: &mut Self, id| writer.nested(&PyValue::node(graph, id));
            match arena.node(made) {
                Node::Call { callable: class, args } | Node::New { class, args } => {
                    nested(writer, class)?;
                    nested(writer, args)?;
                    // The arguments may contain a list that contains the object: then it is written.
                    if let Some(slot) = writer.memo.values.get(&identity) {
                        writer.pickler.replace(2, *slot);
                        return Ok(());
                    }
                    let slot = match arena.node(made) {
                        Node::New { .. } => writer.pickler.new_instance(),
                        _ => writer.pickler.call(),
                    };
                    writer.memo.values.insert(identity, slot);
                }
                _ => {
                    if writer.changed_value(graph, made, identity)? {
                        return Ok(());
                    }
                }
            }
            changes.into_iter().rev().try_for_each(|change| writer.change(graph, change))
        })
    }

    /// Writes a value that is changed next, always as a new one. A reader accepts changes of anything;
    /// in Python's own pickles only objects are changed. Returns whether the value contains itself and
    /// so was changed already.
    fn changed_value(
        &mut self,
        graph: &Arc<Graph>,
        made: NodeId,
        identity: Identity,
    ) -> Result<bool, WriteError> {
        let arena = &graph.arena;
        let slot = match arena.node(made) {
            Node::Bytes(span) => Some(self.pickler.bytes(&arena.shared(span))?),
            Node::OldText(span) if !arena.bytes(span).is_ascii() => {
                Some(self.pickler.bytes(&arena.shared(span))?)
            }
            Node::Text(span) | Node::OldText(span) => Some(self.pickler.text(arena.bytes(span))?),
            Node::Global(names) => {
                let (module, name) = arena.global(names);
                Some(self.pickler.global(module, name))
            }
            _ => {
                self.nested(&PyValue::node(graph, made))?;
                if self.memo.values.contains_key(&identity) {
                    return Ok(true);
                }
                self.memo.values.get(&Identity::node(graph, made)).copied()
            }
        };
        if let Some(slot) = slot {
            self.memo.values.insert(identity, slot);
        }
        Ok(false)
    }

    fn change(&mut self, graph: &Arc<Graph>, change: Node) -> Result<(), WriteError> {
        let arena = &graph.arena;
        let child = |writer: &mut Self, id: &NodeId| writer.nested(&PyValue::node(graph, *id));
        match change {
            Node::Build { state, .. } => {
                self.object_state(graph, state)?;
                self.pickler.build();
                Ok(())
            }
            Node::Extend { items, .. } => {
                write_items(self, ItemsKind::List, false, arena.sequence(items), child)
            }
            Node::Update { items, .. } => {
                let (pairs, _) = arena.sequence(items).as_chunks::<2>();
                write_items(self, ItemsKind::Dict, false, pairs, |writer, [key, value]| {
                    child(writer, key)?;
                    child(writer, value)
                })
            }
            _ => unreachable!("only changes of objects are collected"),
        }
    }

    /// Writes the state of an object within a state: a dict of attributes, or one and another for
    /// slots. Python interns the names of both.
    pub(super) fn object_state(
        &mut self,
        graph: &Arc<Graph>,
        state: NodeId,
    ) -> Result<(), WriteError> {
        let arena = &graph.arena;
        let identity = Identity::node(graph, state);
        match arena.node(state) {
            Node::Dict(dict) => {
                let (pairs, _) = arena.sequence(dict).as_chunks::<2>();
                self.items(ItemsKind::Dict, pairs, identity, |writer, [key, value]| {
                    writer.attribute_name(&PyValue::node(graph, *key))?;
                    writer.nested(&PyValue::node(graph, *value))
                })
            }
            Node::Tuple(parts) if arena.tuple(parts).len() == 2 => {
                self.tuple(arena.tuple(parts), identity, |writer, part| match arena.node(*part) {
                    Node::Dict(_) => writer.object_state(graph, *part),
                    _ => writer.nested(&PyValue::node(graph, *part)),
                })
            }
            _ => self.nested(&PyValue::node(graph, state)),
        }
    }

    /// A string of Python 2 is text if it is ASCII, and bytes otherwise.
    fn old_text(
        &mut self,
        graph: &Graph,
        span: Span,
        identity: Identity,
    ) -> Result<(), WriteError> {
        let bytes = graph.arena.shared(span);
        if bytes.is_ascii() { self.text(&bytes, identity) } else { self.bytes(&bytes, identity) }
    }
}
