//! A revision in the slab, and the lists that lead through it.
//!
//! Lists are threaded through the entries: one through all revisions of an object that are not current,
//! one through the queue that decides what is evicted. Links are slots of 32 bits, to be small.

use core::num::NonZeroU64;

use bytes::Bytes;
use slab::Slab;

use crate::ids::{Oid, Tid};
use crate::storage::Revision;

/// Size of an entry in memory without its record: its slot in the slab, its part of the index and of the
/// memory of evicted objects, and what an allocator and `Bytes` need for a record of its own.
pub const ENTRY_BYTES: usize = 168;

/// A place in the slab, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

/// Neighbours in a list: the one towards its head, the one towards its tail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) head: Slot,
    pub(super) tail: Slot,
}

/// The queue of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueuePlace {
    /// The small queue: not used again so far.
    Small,
    /// The main queue: used again after it was stored.
    Main,
    /// Not current any more. The entry is in the small queue; its object was in the main one, or was
    /// about to be promoted.
    Demoted,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) data: Bytes,
    pub(super) oid: Oid,
    pub(super) serial: Tid,
    end: Option<NonZeroU64>,
    /// The list of its object's revisions that are not current, newest first.
    pub(super) revisions: Links,
    pub(super) queue: Links,
    pub(super) place: QueuePlace,
    hits: u8,
}

impl Slot {
    pub(super) const NONE: Self = Self(u32::MAX);
    /// Maximum number of entries that 32 bits can number. (Where a `usize` has fewer bits, memory ends first.)
    pub(super) const COUNT_MAX: usize = 0xffff_fffe;

    pub(super) fn new(key: usize) -> Self {
        Self(u32::try_from(key).expect("a cache's size is limited so that 32 bits are enough"))
    }

    pub(super) fn key(self) -> usize {
        usize::try_from(self.0).expect("it was made from a usize")
    }

    pub(super) fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

impl Links {
    pub(super) const NONE: Self = Self { head: Slot::NONE, tail: Slot::NONE };
}

impl Entry {
    /// Maximum number of hits that are counted.
    const HITS_MAX: u8 = 3;
    /// Minimum number of hits in the small queue that promote an entry to the main one.
    const HITS_FOR_MAIN: u8 = 1;

    pub(super) fn new(oid: Oid, data: Bytes, serial: Tid, end: Option<Tid>) -> Self {
        let end = end.and_then(|tid| NonZeroU64::new(tid.0));
        let [revisions, queue] = [Links::NONE; 2];
        Self { data, oid, serial, end, revisions, queue, place: QueuePlace::Small, hits: 0 }
    }

    pub(super) fn end(&self) -> Option<Tid> {
        self.end.map(|tid| Tid(tid.get()))
    }

    pub(super) fn set_end(&mut self, tid: Tid) {
        self.end = NonZeroU64::new(tid.0);
    }

    pub(super) fn revision(&self) -> Revision {
        Revision { data: self.data.clone(), serial: self.serial, end: self.end() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.len() + ENTRY_BYTES
    }

    pub(super) fn hit(&mut self) {
        self.hits = Self::HITS_MAX.min(self.hits + 1);
    }

    /// Uses up one hit; `false` if there was none.
    pub(super) fn spend_hit(&mut self) -> bool {
        let had = self.hits > 0;
        self.hits = self.hits.saturating_sub(1);
        had
    }

    pub(super) fn forget_hits(&mut self) {
        self.hits = 0;
    }

    /// Whether it has enough hits for the main queue.
    pub(super) fn is_wanted(&self) -> bool {
        self.hits >= Self::HITS_FOR_MAIN
    }

    /// Whether the next revision of its object goes to the main queue.
    pub(super) fn is_warm(&self) -> bool {
        match self.place {
            QueuePlace::Small => self.is_wanted(),
            QueuePlace::Main | QueuePlace::Demoted => true,
        }
    }
}

pub(super) type Entries = Slab<Entry>;
