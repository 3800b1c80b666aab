//! BTrees, as Python's package `BTrees` stores them.
//!
//! A tree is a persistent object whose items are in further objects, so that a change of one item writes
//! one small record however many items there are, and transactions that change different buckets do not
//! conflict.
//!
//! ```text
//!                      ┌──────────── root ────────────┐        the object that others refer to
//!                      │      m             s         │
//!                 ┌────┴──┐    ┌──┴────┐        ┌─────┴─┐
//!                 │ a   f │    │ m   p │        │ s   v │      inner nodes: children, and the smallest key
//!                 └┬──┬──┬┘    └┬──┬──┬┘        └┬──┬──┬┘      that each but the first may have
//!                  ▼  ▼  ▼      ▼  ▼  ▼          ▼  ▼  ▼
//!                 [ ][ ][ ] ─► [ ][ ][ ] ─────► [ ][ ][ ]      buckets: items in order, and the next bucket
//! ```
//!
//! [`BTree`] is the handle for mappings, [`TreeSet`] that for sets; [`Family`] says of what types keys
//! and values are. A tree without items has no buckets, and one with few items keeps its only bucket in
//! its own record.
//!
//! What is stored is what Python stores for the same operations: the same nodes are split at the same
//! places, the same records are written in the same order under the same oids, and the same reads are
//! checked at the commit. There is one exception. A new node that is not the root and has, when it is
//! written, a single bucket without a record becomes in Python a damaged tree; here the bucket gets a
//! record.
//!
//! Not supported: the family `fs`, subclasses, operations on whole sets such as unions.

mod bucket;
mod check;
mod convert;
pub(crate) mod error;
mod family;
mod insert;
mod item_type;
mod layout;
mod leaf;
mod nodes;
mod order;
mod query;
mod range;
mod remove;
mod tree;
mod tree_node;

pub use self::error::{BTreeError, Damage, ItemRole};
pub use self::family::{Family, Sizes};
pub use self::item_type::ItemType;
pub use self::tree::{BTree, Items, NoValues, Range, Tree, TreeSet, Values};
