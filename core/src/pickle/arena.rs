//! The graph that a pickle describes, as nodes in a vector.
//!
//! Pickles share parts (by memo and DUP) and may refer to themselves; as nodes that refer to each
//! other by number, both are cheap, and building, copying and dropping them needs no recursion.
//! Byte strings and text stay in their source and are stored as spans. Every node costs a bounded
//! amount of memory, so a graph takes at most about fifty times the memory of its pickle, however
//! large the tree is. `Arena::value` builds the tree, within limits.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::{Unreadable, text};
use crate::value::{Budget, Opaque, ReadLimits, Value};

/// Index of a node in an [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(u32);

/// Index of the items of a list or dict, which can grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceId(u32);

/// A range of bytes in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    source: u32,
    start: u32,
    len: u32,
}

impl Span {
    /// Its first `len` bytes.
    pub(super) fn shortened(self, len: usize) -> Self {
        let len = u32::try_from(len).expect("a part is no longer than the whole");
        Self { len, ..self }
    }
}

/// A range of the arena's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items {
    start: u32,
    len: u32,
}

/// A value that a pickle builds; see [`Opaque`] for those that are not plain.
#[derive(Clone, Copy, Debug)]
pub enum Node {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// More than 64 bits, as in [`Value::BigInt`].
    BigInt(Span),
    /// A `float`.
    Float(f64),
    /// A byte string.
    Bytes(Span),
    /// UTF-8, except for lone surrogates.
    Text(Span),
    /// A string of Python 2, which did not distinguish text from bytes: ASCII is text, anything
    /// else bytes.
    OldText(Span),
    /// A `tuple`.
    Tuple(Items),
    /// A `list`.
    List(SequenceId),
    /// Alternating keys and values.
    Dict(SequenceId),
    /// Module and name, two entries of `names` from this one on.
    Global(u32),
    /// A class or object by its number in a registry that only Python has.
    Extension(u32),
    /// The result of a call (REDUCE).
    Call {
        /// Function or class.
        callable: NodeId,
        /// A tuple, or `None` in old pickles.
        args: NodeId,
    },
    /// An instance made by `__new__` (NEWOBJ).
    New {
        /// Class of the instance.
        class: NodeId,
        /// A tuple.
        args: NodeId,
    },
    /// An object after `__setstate__` (BUILD).
    Build {
        /// The object before.
        object: NodeId,
        /// Argument of `__setstate__`.
        state: NodeId,
    },
    /// An object that is not a list, after items were appended to it.
    Extend {
        /// The object before.
        object: NodeId,
        /// The appended items.
        items: SequenceId,
    },
    /// An object that is not a dict, after items were set in it.
    Update {
        /// The object before.
        object: NodeId,
        /// Alternating keys and values.
        items: SequenceId,
    },
    /// A persistent reference, with the node that describes it.
    Reference(NodeId),
}

/// Nodes of one or more pickles.
#[derive(Debug)]
pub struct Arena {
    sources: Vec<Bytes>,
    nodes: Vec<Node>,
    /// The items of tuples.
    items: Vec<NodeId>,
    /// The items of lists and dicts.
    sequences: Vec<Vec<NodeId>>,
    /// Modules and names of globals.
    names: Vec<Span>,
    budget: Budget,
    limits: ReadLimits,
}

impl Arena {
    /// An empty arena.
    #[must_use]
    pub fn new(limits: ReadLimits) -> Self {
        Self {
            sources: Vec::new(),
            nodes: Vec::new(),
            items: Vec::new(),
            sequences: Vec::new(),
            names: Vec::new(),
            budget: Budget::new(&limits),
            limits,
        }
    }

    /// Adds bytes that nodes will refer to.
    pub(super) fn add_source(&mut self, bytes: Bytes) -> Result<u32, Unreadable> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(Unreadable::TooLong { length: bytes.len() });
        }
        self.spend(size_of::<Bytes>())?;
        self.sources.push(bytes);
        index(self.sources.len() - 1)
    }

    /// Adds the text that a line of protocol 0 spells with escapes.
    pub(super) fn add_text(&mut self, text: Vec<u8>) -> Result<Span, Unreadable> {
        self.spend(text.capacity())?;
        let len = index(text.len())?;
        let source = self.add_source(text.into())?;
        Ok(Span { source, start: 0, len })
    }

    pub(super) fn span(source: u32, range: Range<usize>) -> Span {
        let start = u32::try_from(range.start).expect("sources are below 4 GiB");
        let len = u32::try_from(range.len()).expect("sources are below 4 GiB");
        Span { source, start, len }
    }

    pub(super) fn add(&mut self, node: Node) -> Result<NodeId, Unreadable> {
        self.spend(size_of::<Node>())?;
        self.nodes.push(node);
        index(self.nodes.len() - 1).map(NodeId)
    }

    pub(super) fn add_tuple(&mut self, items: &[NodeId]) -> Result<NodeId, Unreadable> {
        self.spend(size_of_val(items))?;
        let start = index(self.items.len())?;
        self.items.extend_from_slice(items);
        let len = index(items.len())?;
        self.add(Node::Tuple(Items { start, len }))
    }

    pub(super) fn add_sequence(&mut self, items: &[NodeId]) -> Result<SequenceId, Unreadable> {
        self.spend(size_of::<Vec<NodeId>>() + size_of_val(items))?;
        self.sequences.push(items.to_vec());
        index(self.sequences.len() - 1).map(SequenceId)
    }

    pub(super) fn add_global(&mut self, module: Span, name: Span) -> Result<NodeId, Unreadable> {
        self.spend(2 * size_of::<Span>())?;
        let first = index(self.names.len())?;
        self.names.extend([module, name]);
        self.add(Node::Global(first))
    }

    pub(super) fn extend(&mut self, to: SequenceId, items: &[NodeId]) -> Result<(), Unreadable> {
        // A vector doubles its capacity when it grows.
        self.spend(2 * size_of_val(items))?;
        self.sequences[place(to.0)].extend_from_slice(items);
        Ok(())
    }

    /// Replaces a node, for all nodes that refer to it.
    pub(super) fn replace(&mut self, id: NodeId, node: Node) {
        self.nodes[place(id.0)] = node;
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Unreadable> {
        let limit = self.limits.memory_bytes_max;
        self.budget.spend(bytes).map_err(|_| Unreadable::TooLarge { limit })
    }

    /// Every node, in the order of creation.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The value that a node stands for.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Node {
        self.nodes[place(id.0)]
    }

    /// The bytes of a span.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.sources[place(span.source)][range(span)]
    }

    /// The same bytes, shared rather than borrowed.
    #[must_use]
    pub fn shared(&self, span: Span) -> Bytes {
        self.sources[place(span.source)].slice(range(span))
    }

    /// The items of a [`Node::Tuple`].
    #[must_use]
    pub fn tuple(&self, items: Items) -> &[NodeId] {
        let start = place(items.start);
        &self.items[start..start + place(items.len)]
    }

    /// The items of a list or dict; for a dict, alternating keys and values.
    #[must_use]
    pub fn sequence(&self, id: SequenceId) -> &[NodeId] {
        &self.sequences[place(id.0)]
    }

    /// Module and name of a [`Node::Global`].
    #[must_use]
    pub fn global(&self, first: u32) -> (&[u8], &[u8]) {
        let first = place(first);
        (self.bytes(self.names[first]), self.bytes(self.names[first + 1]))
    }

    /// The tree below a node. Shared parts are repeated; the limits apply to the whole tree.
    pub(crate) fn value(&mut self, id: NodeId) -> Result<Value, Unreadable> {
        self.value_within(id, self.limits.depth_max)
    }

    /// `depth` is the number of levels that may be nested, this one included.
    fn value_within(&mut self, id: NodeId, depth: u32) -> Result<Value, Unreadable> {
        self.spend(size_of::<Value>())?;
        match self.node(id) {
            Node::None => Ok(Value::None),
            Node::Bool(boolean) => Ok(Value::Bool(boolean)),
            Node::Int(int) => Ok(Value::Int(int)),
            Node::BigInt(span) => Ok(Value::BigInt(self.shared(span))),
            Node::Float(float) => Ok(Value::Float(float)),
            Node::Bytes(span) => Ok(Value::Bytes(self.shared(span))),
            Node::Text(span) => self.text(span).map(Value::Str),
            Node::OldText(span) if self.bytes(span).is_ascii() => self.text(span).map(Value::Str),
            Node::OldText(span) => Ok(Value::Bytes(self.shared(span))),
            Node::Tuple(items) => self.tuple_values(items, self.below(depth)?).map(Value::Tuple),
            Node::List(list) => self.list_values(list, self.below(depth)?).map(Value::List),
            Node::Dict(dict) => self.dict_values(dict, self.below(depth)?).map(Value::Dict),
            Node::Global(first) => self.opaque(depth, |arena, _| {
                let [module, name] = [0, 1].map(|part| arena.names[place(first) + part]);
                Ok(Opaque::Global { module: arena.text(module)?, name: arena.text(name)? })
            }),
            Node::Extension(code) => {
                self.opaque(depth, |_, _| Err(Unreadable::ExtensionCode { code }))
            }
            Node::Call { callable, args } => self.opaque(depth, |arena, depth| {
                let callable = arena.value_within(callable, depth)?;
                Ok(Opaque::Call { callable, args: arena.value_within(args, depth)? })
            }),
            Node::New { class, args } => self.opaque(depth, |arena, depth| {
                let class = arena.value_within(class, depth)?;
                Ok(Opaque::New { class, args: arena.value_within(args, depth)? })
            }),
            Node::Build { object, state } => self.opaque(depth, |arena, depth| {
                let object = arena.value_within(object, depth)?;
                Ok(Opaque::Build { object, state: arena.value_within(state, depth)? })
            }),
            Node::Extend { object, items } => self.opaque(depth, |arena, depth| {
                let object = arena.value_within(object, depth)?;
                Ok(Opaque::Extend { object, items: arena.list_values(items, depth)? })
            }),
            Node::Update { object, items } => self.opaque(depth, |arena, depth| {
                let object = arena.value_within(object, depth)?;
                Ok(Opaque::Update { object, items: arena.dict_values(items, depth)? })
            }),
            Node::Reference(id) => self
                .opaque(depth, |arena, depth| arena.value_within(id, depth).map(Opaque::Reference)),
        }
    }

    /// An opaque value, whose parts `read` makes with the depth that is left to them.
    fn opaque(
        &mut self,
        depth: u32,
        read: impl FnOnce(&mut Self, u32) -> Result<Opaque, Unreadable>,
    ) -> Result<Value, Unreadable> {
        let opaque = read(self, self.below(depth)?)?;
        self.spend(size_of::<Opaque>())?;
        Ok(Value::Opaque(Box::new(opaque)))
    }

    fn tuple_values(&mut self, items: Items, depth: u32) -> Result<Vec<Value>, Unreadable> {
        let range = place(items.start)..place(items.start) + place(items.len);
        range.map(|at| self.value_within(self.items[at], depth)).collect()
    }

    fn list_values(&mut self, list: SequenceId, depth: u32) -> Result<Vec<Value>, Unreadable> {
        let list = place(list.0);
        let items = 0..self.sequences[list].len();
        items.map(|at| self.value_within(self.sequences[list][at], depth)).collect()
    }

    fn dict_values(
        &mut self,
        dict: SequenceId,
        depth: u32,
    ) -> Result<Vec<(Value, Value)>, Unreadable> {
        let dict = place(dict.0);
        let items = 0..self.sequences[dict].len() / 2;
        items
            .map(|pair| {
                let key = self.value_within(self.sequences[dict][2 * pair], depth)?;
                Ok((key, self.value_within(self.sequences[dict][2 * pair + 1], depth)?))
            })
            .collect()
    }

    fn text(&mut self, span: Span) -> Result<String, Unreadable> {
        self.spend(place(span.len))?;
        let text = text::decode(self.bytes(span)).ok_or(Unreadable::NotUtf8)?;
        Ok(text.into_owned())
    }

    fn below(&self, depth: u32) -> Result<u32, Unreadable> {
        let limit = self.limits.depth_max;
        depth.checked_sub(1).ok_or(Unreadable::TooDeep { limit })
    }
}

pub(super) fn index(number: usize) -> Result<u32, Unreadable> {
    u32::try_from(number).map_err(|_| Unreadable::TooLong { length: number })
}

fn place(index: u32) -> usize {
    usize::try_from(index).expect("every index was the length of a vector")
}

fn range(span: Span) -> Range<usize> {
    let start = place(span.start);
    start..start + place(span.len)
}
