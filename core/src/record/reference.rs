//! The content of a persistent reference.

use super::{class_or_names, text_of};
use crate::pickle::arena::{Arena, Node, NodeId};

/// A reference in any of its forms; see [`references`](super::references).
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// The oid as it is written, of any length.
    pub oid: &'a [u8],
    /// Module and name of the object's class, where the reference has them.
    pub class: Option<(&'a [u8], &'a [u8])>,
    /// Name of the other database, for a reference to one.
    pub database: Option<&'a [u8]>,
    /// Whether packs may remove the object.
    pub weak: bool,
}

impl<'a> Reference<'a> {
    /// Parses the value of a [`Node::Reference`]; `None` for forms that Python does not accept.
    #[must_use]
    pub fn read(arena: &'a Arena, id: NodeId) -> Option<Self> {
        match arena.node(id) {
            Node::Tuple(items) => match *arena.tuple(items) {
                [oid, class] => Self::here(arena, oid)?.with_class(arena, class),
                _ => None,
            },
            Node::List(items) => match *arena.sequence(items) {
                [oid] => Some(Self { weak: true, ..Self::here(arena, oid)? }),
                [form, args] => {
                    let Node::Tuple(args) = arena.node(args) else { return None };
                    Self::in_list(arena, text_of(arena, form)?, arena.tuple(args))
                }
                _ => None,
            },
            _ => Self::here(arena, id),
        }
    }

    /// Whether two references have the same oid, database and strength.
    #[must_use]
    pub fn is_to_same(&self, other: &Self) -> bool {
        (self.oid, self.database, self.weak) == (other.oid, other.database, other.weak)
    }

    fn here(arena: &'a Arena, oid: NodeId) -> Option<Self> {
        let oid = match arena.node(oid) {
            Node::Bytes(span) => arena.bytes(span),
            _ => text_of(arena, oid).filter(|oid| oid.is_ascii())?,
        };
        Some(Self { oid, class: None, database: None, weak: false })
    }

    fn with_class(self, arena: &'a Arena, class: NodeId) -> Option<Self> {
        Some(Self { class: Some(class_or_names(arena, class)?), ..self })
    }

    fn in_list(arena: &'a Arena, form: &[u8], args: &[NodeId]) -> Option<Self> {
        let elsewhere = |database: NodeId, oid: NodeId| {
            Some(Self { database: Some(text_of(arena, database)?), ..Self::here(arena, oid)? })
        };
        match (form, args) {
            (b"m", [database, oid, class]) => elsewhere(*database, *oid)?.with_class(arena, *class),
            (b"n", [database, oid]) => elsewhere(*database, *oid),
            (b"w", [oid]) => Some(Self { weak: true, ..Self::here(arena, *oid)? }),
            (b"w", [oid, database]) => Some(Self { weak: true, ..elsewhere(*database, *oid)? }),
            _ => None,
        }
    }
}
