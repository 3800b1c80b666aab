//! The cache itself: stores, ends and evicts records, and writes the journal.

use bytes::Bytes;

use super::entry::{ENTRY_BYTES, Entry, Slot};
use super::index::Index;
use super::journal::{Journal, Operation};
use super::queues::Queues;
use super::snapshot::Snapshot;
use crate::ids::{Oid, Tid};
use crate::storage::Revision;

/// Records of a client, by object and range of tids.
#[derive(Debug)]
pub struct Cache {
    pub(super) index: Index,
    pub(super) queues: Queues,
    bytes: usize,
    bytes_max: usize,
    last_tid: Tid,
    pub(super) journal: Option<Journal>,
    pub(super) counts: Counts,
}

/// Counters and sizes of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Number of loads that were answered.
    pub hits: u64,
    /// Number of loads that were not answered.
    pub misses: u64,
    /// Number of revisions that were stored.
    pub stores: u64,
    /// Number of current revisions that were ended or forgotten.
    pub invalidations: u64,
    /// Number of evicted revisions.
    pub evictions: u64,
    /// Number of revisions in the cache.
    pub entries: usize,
    /// Size of the cache in bytes, counting [`ENTRY_BYTES`] for each revision.
    pub bytes: usize,
    /// Maximum size in bytes.
    pub bytes_max: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    hits: u64,
    misses: u64,
    stores: u64,
    invalidations: u64,
    evictions: u64,
}

/// A record to store.
pub(super) enum Record<'a> {
    /// A slice of a larger buffer, which must be copied.
    Slice(&'a [u8]),
    /// A record with a buffer of its own.
    Own(Bytes),
}

impl Record<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Slice(data) => data,
            Self::Own(data) => data,
        }
    }

    fn into_own(self) -> Bytes {
        match self {
            Self::Slice(data) => Bytes::copy_from_slice(data),
            Self::Own(data) => data,
        }
    }
}

impl Cache {
    /// An empty cache with this maximum size, which counts [`ENTRY_BYTES`] for each record, too.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            index: Index::default(),
            queues: Queues::default(),
            bytes: 0,
            // Slots are numbered with 32 bits.
            bytes_max: bytes_max.min(Slot::COUNT_MAX.saturating_mul(ENTRY_BYTES)),
            last_tid: Tid::ZERO,
            journal: None,
            counts: Counts::default(),
        }
    }

    /// The newest revision with a serial less than `before`, if it is known to be that one.
    pub fn load_before(&mut self, oid: Oid, before: Tid) -> Option<Revision> {
        let Some(slot) = self.index.find(&self.queues.entries, oid, before) else {
            self.counts.misses += 1;
            return None;
        };
        self.counts.hits += 1;
        let entry = &mut self.queues.entries[slot.key()];
        entry.hit();
        Some(entry.revision())
    }

    /// Whether [`Self::load_before`] would return a revision; this counts as neither a hit nor a miss.
    #[must_use]
    pub fn knows_before(&self, oid: Oid, before: Tid) -> bool {
        self.index.find(&self.queues.entries, oid, before).is_some()
    }

    /// The record of exactly this revision.
    #[must_use]
    pub fn data_of(&self, oid: Oid, serial: Tid) -> Option<Bytes> {
        let slot = self.index.exactly(&self.queues.entries, oid, serial)?;
        Some(self.queues.entries[slot.key()].data.clone())
    }

    /// Stores a copy of a revision. A current one replaces a current one of another serial.
    pub fn store(&mut self, oid: Oid, revision: Revision) {
        self.store_in(oid, Record::Slice(&revision.data), revision.serial, revision.end, None);
    }

    /// Stores a revision without a copy; its record must not share its buffer with others.
    pub fn store_own(&mut self, oid: Oid, revision: Revision) {
        self.store_in(oid, Record::Own(revision.data), revision.serial, revision.end, None);
    }

    /// The object changed in `tid`: its current revision, if there is one, ended there. A revision of that
    /// very tid, or a later one, stays as it is.
    pub fn invalidate(&mut self, oid: Oid, tid: Tid) {
        let current = self.index.current(oid);
        if let Some(slot) = current {
            let entry = &mut self.queues.entries[slot.key()];
            if entry.serial >= tid {
                return;
            }
            entry.set_end(tid);
            self.index.retire(&mut self.queues.entries, oid);
            self.queues.demote(slot);
            self.counts.invalidations += 1;
        }
        // Also if the cache does not have it: it may have been evicted, which the journal does not record.
        self.log(&Operation::Ended { oid, tid });
    }

    /// Forgets the current revision of an object, if there is one.
    pub fn forget_current(&mut self, oid: Oid) {
        if let Some(slot) = self.index.current(oid) {
            self.remove(slot);
            self.counts.invalidations += 1;
        }
        self.log(&Operation::Forget { oid });
    }

    /// Everything up to this tid has been applied. Never goes back.
    pub fn set_last_tid(&mut self, tid: Tid) {
        if tid > self.last_tid {
            self.last_tid = tid;
            self.log(&Operation::LastTid { tid });
        }
    }

    /// The newest tid that was applied.
    #[must_use]
    pub const fn last_tid(&self) -> Tid {
        self.last_tid
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.entries.is_empty()
    }

    /// Forgets all records, and keeps the last tid.
    pub fn clear(&mut self) {
        self.start_over(self.last_tid);
    }

    /// Forgets all records, and takes this last tid, which may be an earlier one: the server has another
    /// database than the one that was cached.
    pub fn start_over(&mut self, tid: Tid) {
        self.index = Index::default();
        self.queues = Queues::default();
        self.bytes = 0;
        self.last_tid = tid;
        self.log(&Operation::Clear { tid });
    }

    /// Counters and sizes of this cache.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let Counts { hits, misses, stores, invalidations, evictions } = self.counts;
        Statistics {
            hits,
            misses,
            stores,
            invalidations,
            evictions,
            entries: self.queues.entries.len(),
            bytes: self.bytes,
            bytes_max: self.bytes_max,
        }
    }

    /// Starts a journal of every change, from which a [`Replay`](super::Replay) restores the cache.
    /// It begins with the present contents. A cache made by a replay continues the journal from which it was
    /// made, so this call does nothing then.
    pub fn keep_journal(&mut self) {
        if self.journal.is_none() {
            let mut snapshot = self.snapshot();
            let mut journal = Journal::default();
            for piece in &mut snapshot {
                journal.pending.extend_from_slice(&piece);
            }
            journal.chain = snapshot.last_check();
            self.journal = Some(journal);
        }
    }

    /// The bytes of the journal since the last call.
    pub fn take_journal(&mut self) -> Option<Bytes> {
        self.journal.as_mut().and_then(Journal::take)
    }

    /// A compact journal of the present contents, to replace a long file. The bytes of later calls of
    /// [`Self::take_journal`] continue it; earlier bytes must have been taken.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let revisions = self
            .queues
            .oldest_first()
            .map(|(entry, is_main)| (entry.oid, entry.revision(), is_main))
            .collect();
        Snapshot::new(revisions, self.last_tid, self.journal.as_ref().map(|journal| journal.chain))
    }

    /// Stores a revision; `is_main` is its queue according to the journal, in a replay.
    pub(super) fn store_in(
        &mut self,
        oid: Oid,
        record: Record<'_>,
        serial: Tid,
        end: Option<Tid>,
        is_main: Option<bool>,
    ) {
        let data = record.bytes();
        let entries = &self.queues.entries;
        let mut is_warm = false;
        match end {
            None => {
                let current = self.index.current(oid);
                if current.is_some_and(|slot| entries[slot.key()].serial == serial)
                    || self.index.is_over(entries, oid, serial)
                {
                    return;
                }
                if !self.fits(data) {
                    return self.forget_current(oid);
                }
                is_warm = current.is_some_and(|slot| entries[slot.key()].is_warm())
                    || self.index.was_warm(entries, oid)
                    || self.queues.is_ghost(oid);
                if let Some(slot) = current {
                    self.remove(slot);
                }
            }
            Some(end) if end <= serial => return,
            Some(end) => {
                let current = self.index.current(oid);
                if current.is_some_and(|slot| entries[slot.key()].serial == serial) {
                    return self.invalidate(oid, end);
                }
                if self.index.exactly(entries, oid, serial).is_some() {
                    return;
                }
                // It cannot be current if another one ended later.
                if current.is_some_and(|slot| entries[slot.key()].serial < end) {
                    self.forget_current(oid);
                }
                if !self.fits(data) {
                    // A replay may still have it as current, so the journal needs its end.
                    return self.log(&Operation::Ended { oid, tid: end });
                }
            }
        }
        let is_main = is_main.unwrap_or(is_warm);
        self.log(&Operation::Store { oid, serial, end, is_main, data });
        self.counts.stores += 1;
        self.insert(Entry::new(oid, record.into_own(), serial, end), is_main);
    }

    fn fits(&self, data: &[u8]) -> bool {
        u32::try_from(data.len()).is_ok()
            && data.len().saturating_add(ENTRY_BYTES) <= self.bytes_max
    }

    fn insert(&mut self, entry: Entry, is_main: bool) {
        self.bytes += entry.bytes();
        let slot = self.queues.insert(entry, is_main);
        self.index.insert(&mut self.queues.entries, slot);
        while self.bytes > self.bytes_max {
            let victim = self.queues.victim(self.bytes_max);
            self.remove(victim);
            self.counts.evictions += 1;
        }
    }

    fn remove(&mut self, slot: Slot) {
        self.index.remove(&mut self.queues.entries, slot);
        let entry = self.queues.remove(slot);
        self.bytes -= entry.bytes();
    }

    fn log(&mut self, operation: &Operation<'_>) {
        if let Some(journal) = &mut self.journal {
            journal.write(operation);
        }
    }
}
