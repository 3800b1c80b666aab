//! The revisions of each object.
//!
//! The map leads to an object's current revision and to the newest of the others, from which a list
//! leads to the older ones. Its hash is a multiplication: oids are numbers that a server counts up, and
//! a cache that trusts its server with its contents can trust it with its speed. Nothing ever goes
//! through the map in its own order.

use core::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

use super::entry::{Entries, Links, Slot};
use crate::ids::{Oid, Tid};

#[derive(Debug, Default)]
pub(super) struct Index {
    objects: HashMap<Oid, Revisions, BuildHasherDefault<OidHasher>>,
}

#[derive(Clone, Copy, Debug)]
struct Revisions {
    current: Slot,
    /// The newest that is not current.
    older: Slot,
}

/// A hash that spreads the bits of an oid.
#[derive(Debug, Default)]
pub(super) struct OidHasher(u64);

impl Index {
    pub(super) fn current(&self, oid: Oid) -> Option<Slot> {
        self.objects.get(&oid)?.current.some()
    }

    /// The revision that was the newest one before a tid, if that is known.
    pub(super) fn find(&self, entries: &Entries, oid: Oid, before: Tid) -> Option<Slot> {
        let revisions = self.objects.get(&oid)?;
        let older =
            older(entries, revisions.older).find(|slot| entries[slot.key()].serial < before);
        if older.is_some_and(|slot| entries[slot.key()].end().is_some_and(|end| end >= before)) {
            return older;
        }
        revisions.current.some().filter(|slot| entries[slot.key()].serial < before)
    }

    pub(super) fn exactly(&self, entries: &Entries, oid: Oid, serial: Tid) -> Option<Slot> {
        let revisions = self.objects.get(&oid)?;
        let mut all = revisions.current.some().into_iter().chain(older(entries, revisions.older));
        all.find(|slot| entries[slot.key()].serial == serial)
    }

    /// Whether a revision is known not to be current.
    pub(super) fn is_over(&self, entries: &Entries, oid: Oid, serial: Tid) -> bool {
        let newest = self.objects.get(&oid).and_then(|revisions| revisions.older.some());
        newest.is_some_and(|slot| entries[slot.key()].end().is_some_and(|end| end > serial))
    }

    /// Whether the object's last current revision was in the main queue.
    pub(super) fn was_warm(&self, entries: &Entries, oid: Oid) -> bool {
        let newest = self.objects.get(&oid).and_then(|revisions| revisions.older.some());
        newest.is_some_and(|slot| entries[slot.key()].is_warm())
    }

    /// Adds an entry that is not in the index.
    pub(super) fn insert(&mut self, entries: &mut Entries, slot: Slot) {
        let (oid, end) = (entries[slot.key()].oid, entries[slot.key()].end());
        let none = Revisions { current: Slot::NONE, older: Slot::NONE };
        let revisions = self.objects.entry(oid).or_insert(none);
        if end.is_none() {
            revisions.current = slot;
        } else {
            insert_older(entries, revisions, slot);
        }
    }

    /// Moves an object's current revision to the others, because it has an end.
    pub(super) fn retire(&mut self, entries: &mut Entries, oid: Oid) {
        if let Some(revisions) = self.objects.get_mut(&oid)
            && let Some(slot) = revisions.current.some()
        {
            revisions.current = Slot::NONE;
            insert_older(entries, revisions, slot);
        }
    }

    pub(super) fn remove(&mut self, entries: &mut Entries, slot: Slot) {
        let (oid, links) = (entries[slot.key()].oid, entries[slot.key()].revisions);
        let revisions = self.objects.get_mut(&oid).expect("all entries are in the index");
        if revisions.current == slot {
            revisions.current = Slot::NONE;
        } else {
            match links.head.some() {
                Some(head) => entries[head.key()].revisions.tail = links.tail,
                None => revisions.older = links.tail,
            }
            if let Some(tail) = links.tail.some() {
                entries[tail.key()].revisions.head = links.head;
            }
        }
        if revisions.current == Slot::NONE && revisions.older == Slot::NONE {
            self.objects.remove(&oid);
        }
    }
}

fn older(entries: &Entries, newest: Slot) -> impl Iterator<Item = Slot> {
    core::iter::successors(newest.some(), |slot| entries[slot.key()].revisions.tail.some())
}

fn insert_older(entries: &mut Entries, revisions: &mut Revisions, slot: Slot) {
    let serial = entries[slot.key()].serial;
    let mut head = Slot::NONE;
    let mut tail = revisions.older;
    while let Some(other) = tail.some().filter(|other| entries[other.key()].serial > serial) {
        head = other;
        tail = entries[other.key()].revisions.tail;
    }
    entries[slot.key()].revisions = Links { head, tail };
    match head.some() {
        Some(head) => entries[head.key()].revisions.tail = slot,
        None => revisions.older = slot,
    }
    if let Some(tail) = tail.some() {
        entries[tail.key()].revisions.head = slot;
    }
}

impl OidHasher {
    /// The hash of an oid.
    pub(super) fn hash(oid: Oid) -> u64 {
        let mut hasher = Self::default();
        hasher.write_u64(oid.0);
        hasher.finish()
    }
}

impl Hasher for OidHasher {
    fn write_u64(&mut self, number: u64) {
        // The map takes its place from the low bits and seven bits to compare from the high ones.
        let product = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
