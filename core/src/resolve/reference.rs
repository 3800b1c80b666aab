//! Persistent references as conflict resolution sees them.

use super::names;
use crate::pickle::arena::{Arena, Node, NodeId};
use crate::record::{Reference, text_of};

/// Whether two references certainly refer to the same object. For weak references this is known
/// only if their pickles are equal.
pub(super) fn same(arena: &Arena, a: NodeId, b: NodeId) -> bool {
    if same_spelling(arena, a, b) {
        return true;
    }
    match (Reference::read(arena, a), Reference::read(arena, b)) {
        (Some(a), Some(b)) => a.is_to_same(&b) && !a.weak,
        _ => false,
    }
}

/// Whether two references have equal pickles, classes included. Python makes one object of these.
pub(super) fn same_spelling(arena: &Arena, a: NodeId, b: NodeId) -> bool {
    match (arena.node(a), arena.node(b)) {
        (Node::Bytes(a), Node::Bytes(b)) => arena.bytes(a) == arena.bytes(b),
        (Node::Tuple(a), Node::Tuple(b)) => same_items(arena, arena.tuple(a), arena.tuple(b)),
        (Node::List(a), Node::List(b)) => same_items(arena, arena.sequence(a), arena.sequence(b)),
        (Node::Global(a), Node::Global(b)) => {
            names::present_class(arena.global(a)) == names::present_class(arena.global(b))
        }
        _ => match (text_of(arena, a), text_of(arena, b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
    }
}

fn same_items(arena: &Arena, a: &[NodeId], b: &[NodeId]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_spelling(arena, *a, *b))
}
