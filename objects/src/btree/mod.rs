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
//! An operation that fails has changed nothing. With [`NotLoaded`](crate::Error::NotLoaded), the driver
//! loads what the snapshot lacks and runs it again.
//!
//! ```
//! use rzeo_core::Tid;
//! use rzeo_objects::btree::{BTree, Family};
//! use rzeo_objects::{Error, PyValue, Snapshot};
//!
//! # fn main() -> Result<(), Error> {
//! let mut snapshot = Snapshot::new(Tid(1));
//! let prices = BTree::create(&mut snapshot, Family::OI);
//! for (fruit, price) in [("pear", 90), ("apple", 70), ("cherry", 500)] {
//!     prices.insert(&mut snapshot, fruit, price)?;
//! }
//! assert!(!prices.insert(&mut snapshot, "pear", 1)?, "it is there already");
//! prices.set(&mut snapshot, "pear", 95)?;
//! assert_eq!(prices.pop(&mut snapshot, "apple")?.and_then(|price| price.as_int()), Some(70));
//!
//! let mut range = prices.range(PyValue::from("b")..)?;
//! let mut found = Vec::new();
//! while let Some((fruit, price)) = range.next(&mut snapshot)? {
//!     found.push(format!("{fruit:?}: {price:?}"));
//! }
//! assert_eq!(found, ["\"cherry\": 500", "\"pear\": 95"]);
//! # Ok(())
//! # }
//! ```
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
