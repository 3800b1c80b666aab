//! Pickles, read and written without Python.
//!
//! A pickle is a program for a stack machine. Python runs it; this module only reads it: numbers,
//! text, byte strings, tuples, lists and dicts become values, and everything else (classes, calls,
//! persistent references) is kept by name, for the caller to recognize, compare, write back or
//! refuse. A pickle can only cause allocations, and these have limits.
//!
//! ```text
//!   wire messages ───► direct ──(anything unusual)──► machine ──► arena ──► Value
//!   extensions, records ─────────────────────────────────┘           └──► references, class names,
//!                                                                         conflict resolution
//! ```
//!
//! Two writers produce the two forms that Python's peers write: `emit` in "fast" mode, without
//! memo, for messages, and `dump` with a memo, for data in files. [`Pickler`] has the parts of the
//! second for callers that know which values are one object.
//!
//! Not supported: protocols above 3, which ZODB refuses too, and the registry of extension codes.

pub mod arena;
mod cursor;
mod direct;
mod dump;
pub(crate) mod emit;
mod error;
pub(crate) mod machine;
pub(crate) mod opcode;
mod pickler;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use bytes::Bytes;

use self::arena::{Arena, NodeId};
pub use self::dump::dump;
pub use self::emit::Unwritable;
pub(crate) use self::emit::{Count, Sink};
pub use self::error::Unreadable;
use self::machine::Machine;
pub use self::pickler::{ItemsKind, Pickler, Slot, write_items};
use crate::value::{ReadLimits, Value};

/// Reads one pickle. Bytes after its end are ignored, as Python does.
///
/// # Errors
/// [`Unreadable`], for malformed pickles and for those beyond the limits.
pub fn load(input: &Bytes, limits: &ReadLimits) -> Result<Value, Unreadable> {
    if let Some(value) = direct::read(input, limits) {
        return Ok(value);
    }
    load_general(input, limits)
}

/// Reads one pickle into an arena, which keeps what is shared or contains itself.
///
/// # Errors
/// [`Unreadable`], for malformed pickles and for those beyond the arena's limits.
pub fn load_graph(arena: &mut Arena, input: &Bytes) -> Result<NodeId, Unreadable> {
    Machine::new(arena, input)?.load()
}

/// Reads with the general machine only.
fn load_general(input: &Bytes, limits: &ReadLimits) -> Result<Value, Unreadable> {
    let mut arena = Arena::new(*limits);
    let root = load_graph(&mut arena, input)?;
    arena.value(root)
}
