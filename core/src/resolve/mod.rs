//! Conflict resolution, without Python.
//!
//! When a transaction stores an object that another has changed since, a class may know how to
//! merge the two changes, given three states: the one both started from, the committed one, and the
//! new one. Classes that know how are Python code; those that matter to everybody, `Length` and the
//! leaves and small trees of `BTrees`, are also known here. For any other class the answer is that
//! the conflict cannot be resolved, which is always safe: the client tries again.
//!
//! Wrongly *resolving* a conflict is not safe, so the rule is: resolve only where Python, whatever
//! other code it has, certainly does, and then to an equal state. Therefore
//!
//! - states may hold only what Python can certainly load (`known`): plain values, references, and
//!   objects of a few classes of the standard library, but no instances of unknown classes;
//! - keys and values are compared as Python compares them, and when that is not certain, or would
//!   raise an exception, there is no resolution (`compare`);
//! - what is merged is the pickled graph itself, node by node: what two items share in one of the
//!   states, they share in the result (`write`).
//!
//! References are compared by what they refer to, never by the objects behind them.

mod buckets;
mod compare;
mod known;
mod length;
mod names;
mod reference;
mod states;
#[cfg(test)]
mod tests;
mod write;

use bytes::Bytes;

use self::buckets::Family;
use self::names::Kind;
use self::states::States;
use crate::pickle::arena::{Arena, Node, NodeId};
use crate::record::{Parts, RECORD_LIMITS, class_of};

/// Merges `committed` and `new`, both made from `old`. All are whole records; so is the result,
/// which has the class of `new`. `None` if the conflict stands.
#[must_use]
pub fn resolve(old: &Bytes, committed: &Bytes, new: &Bytes) -> Option<Bytes> {
    let mut arena = Arena::new(RECORD_LIMITS);
    let new = Parts::read(&mut arena, new).ok()?;
    let class = Class::of(&arena, new.class)?;
    let old = Parts::read(&mut arena, old).ok()?.state;
    let committed = Parts::read(&mut arena, committed).ok()?.state;
    if !known::can_load_all(&arena) {
        return None;
    }
    let states = States { old, committed, new: new.state };
    let merged = match class {
        Class::Length => length::merge(&arena, states)?,
        Class::BTrees(family, Kind::Bucket | Kind::Set) => {
            buckets::merge_leaves(&arena, family, states)?
        }
        Class::BTrees(family, Kind::BTree | Kind::TreeSet) => {
            buckets::merge_trees(&arena, family, states)?
        }
    };
    write::record(&arena, new.class, &merged)
}

/// Whether the record is of a class that [`resolve`] knows. Whether a conflict can be resolved depends
/// on the states, too.
#[must_use]
pub fn knows(record: &Bytes) -> bool {
    let mut arena = Arena::new(RECORD_LIMITS);
    Parts::read(&mut arena, record).is_ok_and(|parts| Class::of(&arena, parts.class).is_some())
}

/// The classes that can be resolved.
enum Class {
    BTrees(Family, Kind),
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
        let (names, kind) = names::btrees_class(module, name)?;
        Some(Self::BTrees(Family::new(names.prefix, kind), kind))
    }
}

/// Whether the class stands alone or with no arguments; nothing is known of arguments to BTrees.
fn is_made_without_arguments(arena: &Arena, class: NodeId) -> bool {
    let Node::Tuple(form) = arena.node(class) else { return true };
    let [_, args] = arena.tuple(form) else { return false };
    match arena.node(*args) {
        Node::None => true,
        Node::Tuple(args) => arena.tuple(args).is_empty(),
        _ => false,
    }
}
