//! The objects of a ZODB for Rust: records, mappings, lists and BTrees, read and written as Python's
//! `persistent`, `BTrees` and ZODB read and write them.
//!
//! The crate does no I/O, and it executes nothing of Python. A [`Snapshot`] has the records that a driver
//! has loaded; an operation on it returns its result, or says which record it lacks, and the driver
//! loads that and runs the operation again. A [`Transaction`] leads an operation to its commit, and
//! repeats it after a conflict.
//!
//! | what | type |
//! |---|---|
//! | the root object, `PersistentMapping` and its subclasses | [`PersistentMapping`] |
//! | `PersistentList` and its subclasses | [`PersistentList`] |
//! | BTrees and their sets | [`btree`] |
//! | `BTrees.Length` | [`Length`] |
//! | attributes of instances of any other class | [`Instance`] |
//! | the same as a Rust struct, through serde | [`Converted`](convert::Converted) |
//! | states of any form | [`PyValue`] |
//! | a type of your own | implement [`ObjectState`] |
//!
//! Values within a state are [`PyValue`]s. [`convert`] makes Rust values of them and back. Values that
//! have no counterpart in Rust, such as dates and instances of an application's classes, are kept,
//! moved and written back as they were. A record that no operation changes is not written at all; one that is
//! changed is, byte for byte, what Python would write for the same change, wherever Python always
//! writes the same.
//!
//! # Example
//!
//! The storage here is a map; `rzeo-tokio` and `rzeo-smol` have clients of real servers.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use bytes::Bytes;
//! use rzeo_core::{Oid, Tid};
//! use rzeo_objects::convert::{from_value, to_value};
//! use rzeo_objects::{Error, PersistentMapping, PyValue, Snapshot, Step, Transaction};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! struct Account {
//!     owner: String,
//!     cents: i64,
//! }
//!
//! /// Every object's last revision and record.
//! #[derive(Default)]
//! struct Database {
//!     records: BTreeMap<Oid, (Tid, Bytes)>,
//!     tid: Tid,
//!     last_oid: u64,
//! }
//!
//! impl Database {
//!     /// Runs an operation and commits its changes.
//!     fn run<R>(
//!         &mut self,
//!         operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
//!     ) -> Result<R, Error> {
//!         let mut transaction = Transaction::new(Snapshot::new(self.tid), operation);
//!         loop {
//!             match transaction.step() {
//!                 Step::Load(oids) => {
//!                     for oid in oids {
//!                         transaction.loaded(oid, self.records.get(&oid).cloned());
//!                     }
//!                 }
//!                 Step::NewOids(count) => {
//!                     let first = self.last_oid + 1;
//!                     self.last_oid += count as u64;
//!                     transaction.add_oids((first..=self.last_oid).map(Oid));
//!                 }
//!                 Step::Commit(changes) => {
//!                     self.tid = self.tid.next();
//!                     for store in changes.stores {
//!                         self.records.insert(store.oid, (self.tid, store.record));
//!                     }
//!                     let (result, _snapshot) = transaction.into_result().expect("it is committed");
//!                     return Ok(result);
//!                 }
//!                 Step::Unchanged(result) => return Ok(result),
//!                 Step::Failed(error) => return Err(error),
//!             }
//!         }
//!     }
//! }
//!
//! let mut database = Database::default();
//! database.run(|snapshot| {
//!     // What ZODB does when it opens an empty storage.
//!     snapshot.add(Oid::ROOT, &PersistentMapping::class(), PersistentMapping::new());
//!     Ok(())
//! })?;
//!
//! let account = to_value(&Account { owner: "Ann".into(), cents: 100 })?;
//! database.run(|snapshot| {
//!     let mut accounts = PersistentMapping::new();
//!     accounts.insert("ann", account.clone());
//!     let accounts = snapshot.create(&PersistentMapping::class(), accounts);
//!     let reference = snapshot.reference(accounts)?;
//!     snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| {
//!         root.insert("accounts", reference);
//!     })
//! })?;
//!
//! let found: Account = database.run(|snapshot| {
//!     let root = snapshot.read::<PersistentMapping>(Oid::ROOT)?;
//!     let accounts = root.get("accounts").and_then(PyValue::as_object).expect("it was stored");
//!     let accounts = snapshot.read::<PersistentMapping>(accounts)?;
//!     Ok(from_value(accounts.get("ann").expect("it was stored"))?)
//! })?;
//! assert_eq!(found, Account { owner: "Ann".into(), cents: 100 });
//! assert_eq!(database.records.len(), 2, "the accounts are an object of their own");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is not here
//!
//! Subclasses that define their own `__getstate__` are written only as [`PyValue`]s; properties,
//! constructors and other code of classes never run. Blobs are files: a driver stores their data. There is
//! no cache that forgets: a snapshot keeps the records that it was given.

#![no_std]

extern crate alloc;

pub mod btree;
mod changes;
mod class;
pub mod convert;
mod convert_error;
mod error;
mod graph;
mod instance;
mod length;
mod list;
mod mapping;
mod reference;
mod snapshot;
mod state;
mod state_writer;
mod transaction;
mod value;

pub use changes::{Changes, CurrentCheck, Store};
pub use class::Class;
pub use convert_error::ConvertError;
pub use error::{Error, StateError, WriteError};
pub use instance::Instance;
pub use length::Length;
pub use list::PersistentList;
pub use mapping::PersistentMapping;
pub use reference::{ObjectId, Reference};
pub use snapshot::Snapshot;
pub use state::ObjectState;
pub use state_writer::StateWriter;
pub use transaction::{Step, TooManyConflicts, Transaction};
pub use value::{PyValue, View};
