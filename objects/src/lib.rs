//! The objects of a ZODB for Rust.

#![no_std]

extern crate alloc;

mod class;
mod error;
mod graph;
mod reference;
mod snapshot;
mod state;
mod state_writer;
mod value;

pub use class::Class;
pub use error::{Error, StateError, WriteError};
pub use reference::{ObjectId, Reference};
pub use snapshot::{Changes, CurrentCheck, Snapshot, Store};
pub use state::ObjectState;
pub use state_writer::StateWriter;
pub use value::{PyValue, View};
