//! The records that a pack keeps.

use std::collections::BTreeSet;

use rzeo_core::Oid;

use crate::file::index::Index;

/// The records from before the pack time that stay.
pub(super) struct Kept {
    /// Position of the first transaction after the pack time.
    pub(super) boundary: u64,
    /// End of the file when the records were marked. Later transactions were not read.
    pub(super) marked: u64,
    /// The last revision of each reachable object.
    pub(super) last: Index,
    /// Other records that stay: those that later records point back to, and the deletions of their
    /// objects.
    pub(super) older: BTreeSet<u64>,
}

impl Kept {
    pub(super) fn has(&self, oid: Oid, at: u64) -> bool {
        self.last.position(oid) == Some(at) || self.older.contains(&at)
    }
}
