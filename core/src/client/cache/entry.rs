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

/// Which queue an entry stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueuePlace {
    /// Has yet to show that it is wanted.
    Small,
    /// Has been wanted.
    Main,
    /// Is not current any more. It stands in the small queue; its object stood in the main one, or was
    /// about to.
    Demoted,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) data: Bytes,
    pub(super) oid: Oid,
    pub(super) serial: Tid,
    end: Option<NonZeroU64>,
    /// Among its object's revisions that are not current, newest first.
    pub(super) revisions: Links,
    pub(super) queue: Links,
    pub(super) place: QueuePlace,
    hits: u8,
}

impl Slot {
    pub(super) const NONE: Self = Self(u32::MAX);
    /// More entries cannot be numbered. (Where a `usize` has less than 32 bits, memory ends before.)
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
    /// More hits than this are not counted.
    const HITS_MAX: u8 = 3;
    /// As many hits in the small queue earn a place in the main one.
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

    /// Forgets a hit, if there was one.
    pub(super) fn spend_hit(&mut self) -> bool {
        let had = self.hits > 0;
        self.hits = self.hits.saturating_sub(1);
        had
    }

    pub(super) fn forget_hits(&mut self) {
        self.hits = 0;
    }

    /// Whether it has earned a place in the main queue.
    pub(super) fn is_wanted(&self) -> bool {
        self.hits >= Self::HITS_FOR_MAIN
    }

    /// Whether the next revision of its object shall have a place in the main queue.
    pub(super) fn is_warm(&self) -> bool {
        match self.place {
            QueuePlace::Small => self.is_wanted(),
            QueuePlace::Main | QueuePlace::Demoted => true,
        }
    }
}

pub(super) type Entries = Slab<Entry>;
