//! The index: a compact sorted map from each oid to the position of its current record.
//!
//! Oids are allocated consecutively, so most of them are close together. The index is a map of
//! pages, each for 1024 neighboring oids. A page with many of them is an array with a slot for each
//! (8 bytes an object when it is full); one with few is a sorted list. A lookup descends a small
//! tree (a thousand pages for a million objects) and accesses one array.
//!
//! No record has position 0, so it marks empty slots.

use std::collections::BTreeMap;
use std::ops::RangeFrom;

use rzeo_core::Oid;

/// Number of low bits of an oid that select the slot in its page.
const PAGE_BITS: u32 = 10;
/// Oids in a page.
const PAGE_OIDS: usize = 1 << PAGE_BITS;
/// Maximum entries of a list; a longer one becomes an array. A list of this length takes half the
/// memory of the array.
const LIST_MAX: usize = PAGE_OIDS / 4;

/// A map of oids to file positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    pages: BTreeMap<u64, Page>,
    len: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    List(Vec<(u16, u64)>),
    Array(Box<[u64; PAGE_OIDS]>),
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the position of an object's record, which must not be 0; returns the previous one.
    pub fn insert(&mut self, oid: Oid, position: u64) -> Option<u64> {
        debug_assert_ne!(position, 0, "0 marks empty slots");
        let (page, slot) = split(oid);
        let page = self.pages.entry(page).or_insert_with(|| Page::List(Vec::new()));
        let old = page.insert(slot, position);
        self.len += u64::from(old.is_none());
        old
    }

    /// Removes an object; returns its position.
    pub fn remove(&mut self, oid: Oid) -> Option<u64> {
        let (page, slot) = split(oid);
        let old = self.pages.get_mut(&page)?.remove(slot);
        self.len -= u64::from(old.is_some());
        old
    }

    /// The position of an object's record.
    #[must_use]
    pub fn position(&self, oid: Oid) -> Option<u64> {
        let (page, slot) = split(oid);
        self.pages.get(&page)?.position(slot)
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the index is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The greatest oid.
    #[must_use]
    pub fn last_oid(&self) -> Option<Oid> {
        // A page may have been emptied by removals.
        self.pages.iter().rev().find_map(|(number, page)| Some(join(*number, page.last_slot()?)))
    }

    /// The objects from an oid on, in order.
    pub fn range(&self, from: RangeFrom<Oid>) -> impl Iterator<Item = (Oid, u64)> {
        let (first, slot) = split(from.start);
        self.pages.range(first..).flat_map(move |(number, page)| {
            let start = if *number == first { slot } else { 0 };
            page.range(start).map(|(slot, position)| (join(*number, slot), position))
        })
    }

    /// All objects, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Oid, u64)> {
        self.range(Oid(0)..)
    }
}

impl Page {
    fn insert(&mut self, slot: u16, position: u64) -> Option<u64> {
        match self {
            Self::Array(slots) => {
                let old = std::mem::replace(&mut slots[usize::from(slot)], position);
                (old != 0).then_some(old)
            }
            Self::List(list) => match list.binary_search_by_key(&slot, |entry| entry.0) {
                Ok(at) => Some(std::mem::replace(&mut list[at].1, position)),
                Err(at) => {
                    list.insert(at, (slot, position));
                    if list.len() >= LIST_MAX {
                        *self = Self::array(list);
                    }
                    None
                }
            },
        }
    }

    fn array(list: &[(u16, u64)]) -> Self {
        let mut slots = Box::new([0; PAGE_OIDS]);
        for (slot, position) in list {
            slots[usize::from(*slot)] = *position;
        }
        Self::Array(slots)
    }

    fn remove(&mut self, slot: u16) -> Option<u64> {
        match self {
            Self::Array(slots) => {
                let old = std::mem::take(&mut slots[usize::from(slot)]);
                (old != 0).then_some(old)
            }
            Self::List(list) => {
                let at = list.binary_search_by_key(&slot, |entry| entry.0).ok()?;
                Some(list.remove(at).1)
            }
        }
    }

    fn position(&self, slot: u16) -> Option<u64> {
        match self {
            Self::Array(slots) => Some(slots[usize::from(slot)]).filter(|position| *position != 0),
            Self::List(list) => {
                let at = list.binary_search_by_key(&slot, |entry| entry.0).ok()?;
                Some(list[at].1)
            }
        }
    }

    fn last_slot(&self) -> Option<u16> {
        match self {
            Self::Array(slots) => slots.iter().rposition(|position| *position != 0).map(narrow),
            Self::List(list) => list.last().map(|entry| entry.0),
        }
    }

    fn range(&self, from: u16) -> Box<dyn Iterator<Item = (u16, u64)> + '_> {
        match self {
            Self::Array(slots) => Box::new(
                (slots.iter().enumerate().skip(usize::from(from)))
                    .filter(|(_, position)| **position != 0)
                    .map(|(slot, position)| (narrow(slot), *position)),
            ),
            Self::List(list) => {
                let start = list.partition_point(|entry| entry.0 < from);
                Box::new(list[start..].iter().copied())
            }
        }
    }
}

fn split(oid: Oid) -> (u64, u16) {
    let slot = oid.0 & (PAGE_OIDS as u64 - 1);
    (oid.0 >> PAGE_BITS, u16::try_from(slot).expect("a slot has ten bits"))
}

fn join(page: u64, slot: u16) -> Oid {
    Oid(page << PAGE_BITS | u64::from(slot))
}

fn narrow(slot: usize) -> u16 {
    u16::try_from(slot).expect("a page has 1024 slots")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Oids in dense groups and alone, at both ends of the range and around page boundaries.
    fn oid() -> impl Strategy<Value = Oid> {
        prop_oneof![
            4 => (0_u64..3000).prop_map(Oid),
            1 => (0_u64..3000).prop_map(|n| Oid(u64::MAX - n)),
            1 => any::<u64>().prop_map(Oid),
        ]
    }

    proptest! {
        /// The index returns the same as an ordinary map.
        #[test]
        fn like_a_map(
            entries in proptest::collection::vec((oid(), 1_u64..1 << 48), 0..2000),
            removed in proptest::collection::vec(oid(), 0..200),
            probe in oid(),
        ) {
            let mut index = Index::new();
            let mut map = BTreeMap::new();
            for (oid, position) in entries {
                prop_assert_eq!(index.insert(oid, position), map.insert(oid, position));
            }
            for oid in removed {
                prop_assert_eq!(index.remove(oid), map.remove(&oid));
            }
            prop_assert_eq!(index.position(probe), map.get(&probe).copied());
            prop_assert_eq!(index.len(), map.len() as u64);
            prop_assert_eq!(index.last_oid(), map.keys().next_back().copied());
            prop_assert!(index.iter().eq(map.iter().map(|(oid, at)| (*oid, *at))));
            prop_assert!(index.range(probe..).eq(map.range(probe..).map(|(oid, at)| (*oid, *at))));
        }
    }
}
