//! What is wrong with a tree, a key or a value.

use alloc::format;
use alloc::string::String;

use thiserror::Error;

use super::item_type::ItemType;
use crate::reference::ObjectId;
use crate::value::PyValue;

/// Maximum characters of a key or value in a message.
const SHOWN_CHARS_MAX: usize = 80;

/// Whether a value is a key or a value of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemRole {
    /// A key.
    Key,
    /// A value.
    Value,
}

/// A key, a value or a tree that an operation cannot use. Keys and values are given as text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BTreeError {
    /// The object is not a tree or bucket of the kind that the handle is for.
    #[error("{id}, a {class}, is not a {expected} of BTrees")]
    WrongClass {
        /// The object.
        id: ObjectId,
        /// Its class.
        class: String,
        /// What the handle is for.
        expected: &'static str,
    },
    /// The family has keys or values of another type.
    #[error("{role} {value} is not {expected}", role = role.name())]
    WrongType {
        /// Whether it is a key or a value.
        role: ItemRole,
        /// The key or value.
        value: String,
        /// The type that the family has.
        expected: ItemType,
    },
    /// The family's integers do not have as many bits.
    #[error("{role} {value} is not between {min} and {max}", role = role.name())]
    OutOfRange {
        /// Whether it is a key or a value.
        role: ItemRole,
        /// The key or value.
        value: String,
        /// The smallest integer of the family.
        min: i128,
        /// The largest integer of the family.
        max: i128,
    },
    /// Values of this type have no order that is known, so they cannot be keys.
    #[error(
        "key {key} cannot be ordered; use integers, floats, text, bytes, or tuples of these as keys"
    )]
    NotOrderable {
        /// The key.
        key: String,
    },
    /// Two keys of one tree are of types that have no common order.
    #[error("key {key} has no order with key {other}; use keys of one type in a tree")]
    Unordered {
        /// One key.
        key: String,
        /// The other key.
        other: String,
    },
    /// The records of the tree contradict each other.
    #[error("the tree is damaged at {id}: {damage}")]
    Damaged {
        /// The node.
        id: ObjectId,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// What is wrong with a node of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// A node that is not the root has no children, or a bucket of a tree has no items.
    #[error("it is empty")]
    Empty,
    /// A node or bucket is not of the root's family.
    #[error("it is not of the class that its parent needs")]
    WrongChild,
    /// A node or bucket has several parents.
    #[error("one of its children is in the tree already")]
    SharedChild,
    /// Nodes are nested too deep; the most likely reason is a node below itself.
    #[error("it is deeper than {LEVELS_MAX} levels")]
    TooDeep,
    /// The first bucket is not the one that the leftmost child leads to.
    #[error("its first bucket is not the first one below it")]
    FirstBucket,
    /// The next bucket is not the one that follows in the tree.
    #[error("its next bucket is not the one that follows it in the tree")]
    NextBucket,
    /// Keys are not in ascending order.
    #[error("its keys do not ascend")]
    KeyOrder,
    /// A key is outside of the range that the keys of the parent allow.
    #[error("one of its keys is outside the range that its parent gives")]
    KeyRange,
    /// The state of a bucket is inside a node that is not the root.
    #[error("it holds a bucket in its own record but is not the root")]
    NestedBucket,
}

/// Maximum levels of nodes. A tree of the smallest possible nodes with this depth does not fit in
/// any memory.
pub(super) const LEVELS_MAX: u32 = 64;

impl ItemRole {
    const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

/// A key or value for a message.
pub(super) fn shown(value: &PyValue) -> String {
    let mut text = format!("{value:?}");
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARS_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}
