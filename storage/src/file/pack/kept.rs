//! The records that a pack keeps.

use std::collections::BTreeSet;

use rzeo_core::ids::Oid;

use crate::file::index::Index;

/// What stays of the part before the pack time.
pub(super) struct Kept {
    /// Where that part ends.
    pub(super) boundary: u64,
    /// Where it all ended when it was marked. Nothing later was looked at.
    pub(super) marked: u64,
    /// For each object that can be reached, its last revision.
    pub(super) last: Index,
    /// Other records that are needed: those that late ones point back to, and the deletions of their
    /// objects.
    pub(super) older: BTreeSet<u64>,
}

impl Kept {
    pub(super) fn has(&self, oid: Oid, at: u64) -> bool {
        self.last.position(oid) == Some(at) || self.older.contains(&at)
    }
}
