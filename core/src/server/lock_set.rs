//! The locks that a vote needs.

use alloc::vec::Vec;

use crate::ids::Oid;

/// What a vote needs.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LockSet {
    /// Objects that the transaction writes. No other transaction may lock them.
    pub exclusive: Vec<Oid>,
    /// Objects whose serials are checked.
    pub shared: Vec<Oid>,
    /// Everything: undo, restore, and the last step of a pack.
    pub whole: bool,
}

impl LockSet {
    /// The whole storage.
    #[must_use]
    pub const fn whole() -> Self {
        Self { exclusive: Vec::new(), shared: Vec::new(), whole: true }
    }
}
