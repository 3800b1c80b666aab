//! Persistent references as conflict resolution sees them.

use super::names;
use crate::pickle::arena::{Arena, Node, NodeId};

/// The content of a reference in any of its forms; see [`crate::record::references`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    oid: &'a [u8],
    /// The name of the other database, for a reference to one.
    database: Option<&'a [u8]>,
    weak: bool,
}

impl<'a> Reference<'a> {
    /// Parses the value of a [`Node::Reference`]; `None` for forms that Python does not accept.
    pub(super) fn read(arena: &'a Arena, id: NodeId) -> Option<Self> {
        match arena.node(id) {
            Node::Tuple(items) => match arena.tuple(items) {
                [oid, class] if is_class(arena, *class) => Self::here(arena, *oid),
                _ => None,
            },
            Node::List(items) => match *arena.sequence(items) {
                [oid] => Some(Self { weak: true, ..Self::here(arena, oid)? }),
                [form, args] => {
                    let Node::Tuple(args) = arena.node(args) else { return None };
                    Self::in_list(arena, text(arena, form)?, arena.tuple(args))
                }
                _ => None,
            },
            _ => Self::here(arena, id),
        }
    }

    fn here(arena: &'a Arena, oid: NodeId) -> Option<Self> {
        let oid = match arena.node(oid) {
            Node::Bytes(span) => arena.bytes(span),
            _ => text(arena, oid).filter(|oid| oid.is_ascii())?,
        };
        Some(Self { oid, database: None, weak: false })
    }

    fn in_list(arena: &'a Arena, form: &[u8], args: &[NodeId]) -> Option<Self> {
        match (form, args) {
            (b"m", [database, oid, class]) if is_class(arena, *class) => {
                Some(Self { database: Some(text(arena, *database)?), ..Self::here(arena, *oid)? })
            }
            (b"n", [database, oid]) => {
                Some(Self { database: Some(text(arena, *database)?), ..Self::here(arena, *oid)? })
            }
            (b"w", [oid]) => Some(Self { weak: true, ..Self::here(arena, *oid)? }),
            (b"w", [oid, database]) => {
                let database = Some(text(arena, *database)?);
                Some(Self { weak: true, database, ..Self::here(arena, *oid)? })
            }
            _ => None,
        }
    }
}

/// Whether two references certainly refer to the same object. For weak references this is known
/// only if their pickles are equal.
pub(super) fn same(arena: &Arena, a: NodeId, b: NodeId) -> bool {
    if same_spelling(arena, a, b) {
        return true;
    }
    match (Reference::read(arena, a), Reference::read(arena, b)) {
        (Some(a), Some(b)) => a == b && !a.weak,
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
            names::present(arena.global(a)) == names::present(arena.global(b))
        }
        _ => match (text(arena, a), text(arena, b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
    }
}

fn same_items(arena: &Arena, a: &[NodeId], b: &[NodeId]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_spelling(arena, *a, *b))
}

/// A class, or its module and name.
fn is_class(arena: &Arena, id: NodeId) -> bool {
    match arena.node(id) {
        Node::Global(_) => true,
        Node::Tuple(names) => match *arena.tuple(names) {
            [module, name] => text(arena, module).is_some() && text(arena, name).is_some(),
            _ => false,
        },
        _ => false,
    }
}

fn text(arena: &Arena, id: NodeId) -> Option<&[u8]> {
    match arena.node(id) {
        Node::Text(span) | Node::OldText(span) => Some(arena.bytes(span)),
        _ => None,
    }
}
