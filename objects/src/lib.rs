//! The objects of a ZODB for Rust.

#![no_std]

extern crate alloc;

pub mod btree;
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

pub use class::Class;
pub use convert_error::ConvertError;
pub use error::{Error, StateError, WriteError};
pub use instance::Instance;
pub use length::Length;
pub use list::PersistentList;
pub use mapping::PersistentMapping;
pub use reference::{ObjectId, Reference};
pub use snapshot::{Changes, CurrentCheck, Snapshot, Store};
pub use state::ObjectState;
pub use state_writer::StateWriter;
pub use transaction::{Step, TooManyConflicts, Transaction};
pub use value::{PyValue, View};
