//! The client's cache: records by object and tid range.
//!
//! A sketch: what the client needs of it.

use bytes::Bytes;

use crate::ids::{Oid, Tid};
use crate::storage::Revision;

/// Records that need not be asked for.
#[derive(Debug)]
pub struct Cache {}

/// What a cache has been good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "a sketch")]
pub struct Statistics {
    pub hits: u64,
    pub misses: u64,
    pub stores: u64,
    pub invalidations: u64,
    pub evictions: u64,
    pub entries: usize,
    pub bytes: usize,
    pub bytes_max: usize,
}

#[expect(unused_variables, clippy::todo, reason = "a sketch")]
impl Cache {
    /// An empty cache of at most so many bytes, counting what an entry takes beside its record.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        todo!()
    }
    /// The newest revision with a serial less than `before`, if it is known to be that one.
    pub fn load_before(&mut self, oid: Oid, before: Tid) -> Option<Revision> {
        todo!()
    }
    /// Keeps a revision. A current one replaces a current one of another serial.
    pub fn store(&mut self, oid: Oid, revision: Revision) {
        todo!()
    }
    /// The object changed in `tid`: its current revision, if there is one, ended there. A revision of that
    /// very tid stays as it is.
    pub fn invalidate(&mut self, oid: Oid, tid: Tid) {
        todo!()
    }
    /// Forgets the current revision of an object, if there is one.
    pub fn forget_current(&mut self, oid: Oid) {
        todo!()
    }
    /// Everything up to this tid has been applied. Never goes back.
    pub fn set_last_tid(&mut self, tid: Tid) {
        todo!()
    }
    /// The newest tid that was applied.
    #[must_use]
    pub fn last_tid(&self) -> Tid {
        todo!()
    }
    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// Forgets all records; everything up to this tid, which may be an older one, counts as applied.
    pub fn reset(&mut self, tid: Tid) {
        todo!()
    }
    /// What it has been good for.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        todo!()
    }
    /// From now on every change is also written to a journal, from which the cache can be made again.
    pub fn keep_journal(&mut self) {
        todo!()
    }
    /// What has come to the journal since it was last asked for.
    pub fn take_journal(&mut self) -> Option<Bytes> {
        todo!()
    }
}
