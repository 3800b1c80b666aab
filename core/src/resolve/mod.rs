//! Conflict resolution, without Python.
//!
//! When a transaction stores an object that another transaction has changed since it was read, its
//! class may be able to merge the two changes, given three states: the one both started from, the
//! committed one, and the new one. Such classes are Python code; this module implements the common
//! ones: `Length` and the leaves and small trees of `BTrees`. Conflicts of other classes are not
//! resolved, which is always safe: the client tries again.
//!
//! Wrongly *resolving* a conflict is not safe, so the rule is: resolve only where Python, whatever
//! other code it has, certainly does, and then to an equal state. Therefore
//!
//! - states must hold only what Python can certainly load (`loadable`): plain values, references, and
//!   objects of a few classes of the standard library, but no instances of unknown classes;
//! - keys and values are compared as Python compares them, and when that is not certain, or would
//!   raise an exception, there is no resolution (`compare`);
//! - the merge works on the pickled graph, node by node: objects shared by two items of one state
//!   are shared in the result (`write`).
//!
//! References are compared by their oids, never by the state of the objects.

mod buckets;
mod compare;
mod length;
mod loadable;
mod names;
mod reference;
mod states;
#[cfg(test)]
mod tests;
mod write;

use bytes::Bytes;

use self::buckets::Family;
pub use self::names::{BTreesClass, ClassKind, present_class};
use self::states::States;
use crate::pickle::arena::{Arena, Node, NodeId};
use crate::record::{Parts, RECORD_LIMITS, class_of};

/// Merges `committed` and `new`, both made from `old`. All are complete records; so is the result,
/// which has the class of `new`. `None` if the conflict cannot be resolved.
#[must_use]
pub fn resolve(old: &Bytes, committed: &Bytes, new: &Bytes) -> Option<Bytes> {
    let mut arena = Arena::new(RECORD_LIMITS);
    let new = Parts::read(&mut arena, new).ok()?;
    let class = Class::of(&arena, new.class)?;
    let old = Parts::read(&mut arena, old).ok()?.state;
    let committed = Parts::read(&mut arena, committed).ok()?.state;
    if !loadable::can_load_all(&arena) {
        return None;
    }
    let states = States { old, committed, new: new.state };
    let merged = match class {
        Class::Length => length::merge(&arena, states)?,
        Class::BTrees(family, ClassKind::Bucket | ClassKind::Set) => {
            buckets::merge_leaves(&arena, family, states)?
        }
        Class::BTrees(family, ClassKind::BTree | ClassKind::TreeSet) => {
            buckets::merge_trees(&arena, family, states)?
        }
    };
    write::record(&arena, new.class, &merged)
}

/// Whether [`resolve`] supports the class of the record. Whether a conflict can be resolved depends
/// also on the states.
#[must_use]
pub fn is_supported(record: &Bytes) -> bool {
    let mut arena = Arena::new(RECORD_LIMITS);
    Parts::read(&mut arena, record).is_ok_and(|parts| Class::of(&arena, parts.class).is_some())
}

/// The classes whose conflicts can be resolved.
enum Class {
    BTrees(Family, ClassKind),
    Length,
}

impl Class {
    fn of(arena: &Arena, class: NodeId) -> Option<Self> {
        if !is_made_without_arguments(arena, class) {
            return None;
        }
        let (module, name) = class_of(arena, class)?;
        if (module, name) == (b"BTrees.Length", b"Length") {
            return Some(Self::Length);
        }
        let BTreesClass { family, kind } = BTreesClass::named(module, name)?;
        Some(Self::BTrees(Family::new(family, kind), kind))
    }
}

/// Whether the class is stored alone or with no arguments; arguments to BTrees are not supported.
fn is_made_without_arguments(arena: &Arena, class: NodeId) -> bool {
    let Node::Tuple(form) = arena.node(class) else { return true };
    let [_, args] = arena.tuple(form) else { return false };
    match arena.node(*args) {
        Node::None => true,
        Node::Tuple(args) => arena.tuple(args).is_empty(),
        _ => false,
    }
}
