//! Python's `<` and `==`, as far as they can be computed without Python.
//!
//! The answer `None` means that Python raises an exception, or may raise one, or that the
//! comparison takes too long; then the conflict is not resolved. In particular
//!
//! - `None` comes before everything else, but only as a whole key or value, by BTrees' own rule;
//!   inside tuples its comparison raises;
//! - two references that may lead to different objects cannot be compared, not even as different;
//! - of different types, numbers can be compared with each other; others are different, but in no
//!   order.

use core::cell::Cell;
use core::cmp::Ordering;

use super::loadable::StandardObject;
use super::reference;
use crate::number::Number;
use crate::pickle::arena::{Arena, Node, NodeId};

/// Maximum depth of nested values that are compared.
const DEPTH_MAX: u32 = 100;

/// Maximum number of pairs of values compared in one resolution: some thousands for every item of a
/// leaf.
const STEPS_MAX: usize = 1_000_000;

/// Maximum bytes of text or byte strings compared in one step.
const BYTES_PER_STEP: usize = 1024;

/// Compares nodes of one arena.
pub(super) struct Compare<'a> {
    arena: &'a Arena,
    steps: Cell<usize>,
}

/// A value, classified by the values that it can be compared with.
#[derive(Clone, Copy)]
enum Shape<'a> {
    None,
    Number(Number<'a>),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Tuple(&'a [NodeId]),
    List(&'a [NodeId]),
    /// Alternating keys and values.
    Dict(&'a [NodeId]),
    Set(&'a [NodeId]),
    /// Class and arguments of an object that is equal to one with the same pickle.
    Exact(NodeId, &'a [NodeId]),
    /// Class and state of a date or time.
    Moment(NodeId, &'a [u8]),
    Reference(NodeId),
    Unknown,
}

impl<'a> Compare<'a> {
    pub(super) const fn new(arena: &'a Arena) -> Self {
        Self { arena, steps: Cell::new(STEPS_MAX) }
    }

    /// How BTrees order two keys or values: `<` first, then `==`, and otherwise the first is taken
    /// to be greater.
    pub(super) fn order(&self, a: NodeId, b: NodeId) -> Option<Ordering> {
        match (self.arena.node(a), self.arena.node(b)) {
            (Node::None, Node::None) => return Some(Ordering::Equal),
            (Node::None, _) => return Some(Ordering::Less),
            (_, Node::None) => return Some(Ordering::Greater),
            _ => {}
        }
        if self.less(a, b, DEPTH_MAX)? {
            return Some(Ordering::Less);
        }
        let equal = self.equal(a, b, DEPTH_MAX)?;
        Some(if equal { Ordering::Equal } else { Ordering::Greater })
    }

    fn less(&self, a: NodeId, b: NodeId, depth: u32) -> Option<bool> {
        let depth = self.step(depth)?;
        match (self.shape(a), self.shape(b)) {
            (Shape::Number(a), Shape::Number(b)) => Some(a.order(b)? == Some(Ordering::Less)),
            (Shape::Text(a), Shape::Text(b)) | (Shape::Bytes(a), Shape::Bytes(b)) => {
                self.spend(a.len().min(b.len()) / BYTES_PER_STEP)?;
                Some(a < b)
            }
            (Shape::Tuple(a), Shape::Tuple(b)) | (Shape::List(a), Shape::List(b)) => {
                for (a, b) in a.iter().zip(b) {
                    if !self.equal(*a, *b, depth)? {
                        return self.less(*a, *b, depth);
                    }
                }
                Some(a.len() < b.len())
            }
            (Shape::Set(a), Shape::Set(b)) => {
                Some(a.len() < b.len() && self.is_subset(a, b, depth)?)
            }
            (Shape::Moment(class, a), Shape::Moment(other, b)) => {
                reference::same_spelling(self.arena, class, other).then_some(a < b)
            }
            (Shape::Exact(..), Shape::Exact(..)) | (Shape::Reference(_), Shape::Reference(_)) => {
                // For these only equality with itself is known, and an equal value is not less.
                self.equal(a, b, depth)?.then_some(false)
            }
            _ => None,
        }
    }

    fn equal(&self, a: NodeId, b: NodeId, depth: u32) -> Option<bool> {
        let depth = self.step(depth)?;
        match (self.shape(a), self.shape(b)) {
            (Shape::Unknown, _) | (_, Shape::Unknown) => None,
            (Shape::Reference(a), Shape::Reference(b)) => {
                reference::same(self.arena, a, b).then_some(true)
            }
            (Shape::Reference(_), _) | (_, Shape::Reference(_)) => None,
            (Shape::Exact(class, a), Shape::Exact(other, b)) => {
                let same = reference::same_spelling(self.arena, class, other);
                (same && self.all_equal(a, b, depth)?).then_some(true)
            }
            (Shape::Moment(class, a), Shape::Moment(other, b)) => {
                reference::same_spelling(self.arena, class, other).then_some(a == b)
            }
            (Shape::Exact(..) | Shape::Moment(..), _)
            | (_, Shape::Exact(..) | Shape::Moment(..)) => None,
            (Shape::Number(a), Shape::Number(b)) => Some(a.order(b)? == Some(Ordering::Equal)),
            (Shape::Text(a), Shape::Text(b)) | (Shape::Bytes(a), Shape::Bytes(b)) => {
                self.spend(a.len().min(b.len()) / BYTES_PER_STEP)?;
                Some(a == b)
            }
            // Python looks at a list's length first, but at a tuple's only after its items.
            (Shape::Tuple(a), Shape::Tuple(b)) => {
                Some(self.all_equal(a, b, depth)? && a.len() == b.len())
            }
            (Shape::List(a), Shape::List(b)) => {
                Some(a.len() == b.len() && self.all_equal(a, b, depth)?)
            }
            (Shape::Set(a), Shape::Set(b)) => {
                Some(a.len() == b.len() && self.is_subset(a, b, depth)?)
            }
            (Shape::Dict(a), Shape::Dict(b)) => {
                Some(a.len() == b.len() && self.is_part_of_dict(a, b, depth)?)
            }
            (Shape::None, Shape::None) => Some(true),
            (
                Shape::None
                | Shape::Number(_)
                | Shape::Text(_)
                | Shape::Bytes(_)
                | Shape::Tuple(_)
                | Shape::List(_)
                | Shape::Dict(_)
                | Shape::Set(_),
                _,
            ) => Some(false),
        }
    }

    /// Whether items are equal up to the end of the shorter list.
    fn all_equal(&self, a: &[NodeId], b: &[NodeId], depth: u32) -> Option<bool> {
        for (a, b) in a.iter().zip(b) {
            if !self.equal(*a, *b, depth)? {
                return Some(false);
            }
        }
        Some(true)
    }

    fn is_subset(&self, a: &[NodeId], b: &[NodeId], depth: u32) -> Option<bool> {
        for item in a {
            if self.position(*item, b.iter().copied(), depth)?.is_none() {
                return Some(false);
            }
        }
        Some(true)
    }

    fn is_part_of_dict(&self, a: &[NodeId], b: &[NodeId], depth: u32) -> Option<bool> {
        for [key, value] in a.as_chunks().0 {
            let keys = b.iter().copied().step_by(2);
            let Some(at) = self.position(*key, keys, depth)? else { return Some(false) };
            if !self.equal(*value, b[2 * at + 1], depth)? {
                return Some(false);
            }
        }
        Some(true)
    }

    fn position(
        &self,
        item: NodeId,
        among: impl Iterator<Item = NodeId>,
        depth: u32,
    ) -> Option<Option<usize>> {
        for (at, other) in among.enumerate() {
            if self.equal(item, other, depth)? {
                return Some(Some(at));
            }
        }
        Some(None)
    }

    fn step(&self, depth: u32) -> Option<u32> {
        self.spend(1)?;
        depth.checked_sub(1)
    }

    fn spend(&self, steps: usize) -> Option<()> {
        self.steps.set(self.steps.get().checked_sub(steps)?);
        Some(())
    }

    fn shape(&self, id: NodeId) -> Shape<'a> {
        let arena = self.arena;
        match arena.node(id) {
            Node::None => Shape::None,
            Node::Bool(truth) => Shape::Number(Number::Int(truth.into())),
            Node::Int(int) => Shape::Number(Number::Int(int)),
            Node::BigInt(span) => Shape::Number(Number::Big(arena.bytes(span))),
            Node::Float(float) => Shape::Number(Number::Float(float)),
            Node::Bytes(span) => Shape::Bytes(arena.bytes(span)),
            // UTF-8 sorts as code points do, those of lone surrogates included.
            Node::Text(span) | Node::OldText(span) => Shape::Text(arena.bytes(span)),
            Node::Tuple(items) => Shape::Tuple(arena.tuple(items)),
            Node::List(items) => Shape::List(arena.sequence(items)),
            Node::Dict(items) => Shape::Dict(arena.sequence(items)),
            Node::Call { callable, args } => match StandardObject::of(arena, callable, args) {
                Some(StandardObject::Set(items)) => Shape::Set(items),
                Some(StandardObject::Exact(args)) => Shape::Exact(callable, args),
                Some(StandardObject::Moment(state)) => Shape::Moment(callable, state),
                Some(StandardObject::Unordered) | None => Shape::Unknown,
            },
            Node::Reference(id) => Shape::Reference(id),
            Node::Global(_)
            | Node::Extension(_)
            | Node::New { .. }
            | Node::Build { .. }
            | Node::Extend { .. }
            | Node::Update { .. } => Shape::Unknown,
        }
    }
}
