//! Eviction: which entry leaves when the cache is full.
//!
//! S3-FIFO: Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023.
//!
//! ```text
//!   new ──► small, a tenth ──► used meanwhile? ───────► main ──► used meanwhile? ───────► again
//!                                     │ no               ▲                │ no
//!                                     ▼                  │                ▼
//!                                   ghosts ── comes back soon            out
//! ```
//!
//! An entry counts up to three hits, and a hit moves nothing. An entry that is used once never reaches the main
//! queue: a scan of the whole database costs a tenth of the cache. SIEVE (NSDI 2024) is simpler, with
//! one queue, and marks hits as cheaply; but its authors say that it does not resist scans, and scans
//! (packs, exports, catalogs being made) are what ZODB applications do at night.
//!
//! Differences from the paper: objects change, so a revision that is not current any more goes to the small queue at
//! once, because only older snapshots load it, and its successor takes its place in the main one. One
//! hit promotes, where the paper requires two: each connection of an application has a cache of its own
//! in front of this one, so a second load of an object is a stronger sign of use than elsewhere.

use alloc::vec;
use alloc::vec::Vec;

use super::entry::{Entries, Entry, Links, QueuePlace, Slot};
use super::index::OidHasher;
use crate::ids::Oid;

#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) entries: Entries,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

/// First in at the head, first out at the tail.
#[derive(Debug)]
struct Queue {
    ends: Links,
    len: usize,
    bytes: usize,
}

/// Objects that were evicted from the small queue recently.
///
/// A hash table in which a new object overwrites the one in its slot, so an object stays for about as many
/// evictions as the cache has entries. Four bytes of a hash stand for an oid; an object that is mistaken for another
/// is only kept longer than necessary.
#[derive(Debug, Default)]
struct Ghosts {
    table: Vec<u32>,
}

impl Queues {
    pub(super) fn insert(&mut self, entry: Entry, is_main: bool) -> Slot {
        let slot = Slot::new(self.entries.insert(entry));
        self.push(slot, if is_main { QueuePlace::Main } else { QueuePlace::Small });
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Entry {
        self.unlink(slot);
        self.entries.remove(slot.key())
    }

    /// Whether an object was evicted from the small queue recently.
    pub(super) fn is_ghost(&self, oid: Oid) -> bool {
        self.ghosts.contains(oid)
    }

    /// Moves an entry that is not current any more to the small queue.
    pub(super) fn demote(&mut self, slot: Slot) {
        let is_warm = self.entries[slot.key()].is_warm();
        self.unlink(slot);
        self.entries[slot.key()].forget_hits();
        self.push(slot, if is_warm { QueuePlace::Demoted } else { QueuePlace::Small });
    }

    /// The entry to evict next. The queues must not be empty.
    pub(super) fn victim(&mut self, bytes_max: usize) -> Slot {
        loop {
            let is_small = self.main.len == 0
                // The newest entry is not evicted because of its own size.
                || (self.small.len > 1 && self.small.bytes > bytes_max / 10);
            let queue = if is_small { &self.small } else { &self.main };
            let slot = queue.ends.tail;
            let entry = &mut self.entries[slot.key()];
            if is_small && entry.is_wanted() {
                entry.forget_hits();
            } else if is_small || !entry.spend_hit() {
                if is_small && (entry.end().is_none() || entry.place == QueuePlace::Demoted) {
                    self.ghosts.put(self.entries[slot.key()].oid, self.entries.len());
                }
                return slot;
            }
            self.unlink(slot);
            self.push(slot, QueuePlace::Main);
        }
    }

    /// All entries, each queue from its tail, and whether they are in the main one.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = (&Entry, bool)> {
        let from = |queue: &Queue| {
            core::iter::successors(queue.ends.tail.some(), |slot| {
                self.entries[slot.key()].queue.head.some()
            })
            .map(|slot| &self.entries[slot.key()])
        };
        from(&self.main)
            .map(|entry| (entry, true))
            .chain(from(&self.small).map(|entry| (entry, false)))
    }

    /// Size of both queues in bytes.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.small.bytes + self.main.bytes
    }

    fn queue(&mut self, place: QueuePlace) -> &mut Queue {
        match place {
            QueuePlace::Small | QueuePlace::Demoted => &mut self.small,
            QueuePlace::Main => &mut self.main,
        }
    }

    fn push(&mut self, slot: Slot, place: QueuePlace) {
        let bytes = self.entries[slot.key()].bytes();
        let queue = self.queue(place);
        queue.len += 1;
        queue.bytes += bytes;
        let tail = core::mem::replace(&mut queue.ends.head, slot);
        if tail == Slot::NONE {
            queue.ends.tail = slot;
        } else {
            self.entries[tail.key()].queue.head = slot;
        }
        let entry = &mut self.entries[slot.key()];
        entry.place = place;
        entry.queue = Links { head: Slot::NONE, tail };
    }

    fn unlink(&mut self, slot: Slot) {
        let entry = &self.entries[slot.key()];
        let (links, place, bytes) = (entry.queue, entry.place, entry.bytes());
        let queue = self.queue(place);
        queue.len -= 1;
        queue.bytes -= bytes;
        if links.head == Slot::NONE {
            queue.ends.head = links.tail;
        }
        if links.tail == Slot::NONE {
            queue.ends.tail = links.head;
        }
        if let Some(head) = links.head.some() {
            self.entries[head.key()].queue.tail = links.tail;
        }
        if let Some(tail) = links.tail.some() {
            self.entries[tail.key()].queue.head = links.head;
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { ends: Links::NONE, len: 0, bytes: 0 }
    }
}

impl Ghosts {
    /// Adds an object to a table of one to two slots for each entry.
    fn put(&mut self, oid: Oid, entries: usize) {
        if self.table.len() < entries {
            self.table = vec![0; entries.next_power_of_two()];
        }
        let (place, mark) = self.place(oid).expect("the table is not empty");
        self.table[place] = mark;
    }

    fn contains(&self, oid: Oid) -> bool {
        self.place(oid).is_some_and(|(place, mark)| self.table[place] == mark)
    }

    fn place(&self, oid: Oid) -> Option<(usize, u32)> {
        let hash = OidHasher::hash(oid);
        let mask = u64::try_from(self.table.len()).expect("64 bits are enough").checked_sub(1)?;
        let place = usize::try_from(hash & mask).expect("it is less than the table's length");
        // Zero marks an empty slot.
        let mark = u32::try_from(hash >> 32).expect("32 bits are left") | 1;
        Some((place, mark))
    }
}
