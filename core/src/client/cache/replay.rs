//! Restores a cache from its journal.

use alloc::vec::Vec;

use super::journal::{self, Decoded, HEADER, Journal, Operation};
use super::records::{Cache, Counts, Record};

/// Restores a cache from its journal, which is passed in pieces of any size.
///
/// Whatever the bytes are, the result is a state that the cache could have had at the end of their valid part,
/// see `journal.rs`; records beyond the maximum size are evicted as usual.
#[derive(Debug)]
pub struct Replay {
    cache: Cache,
    /// Bytes of an unfinished entry.
    rest: Vec<u8>,
    /// Number of valid bytes before them.
    good: u64,
    /// The check that the next entry continues; `None` before the header.
    chain: Option<u32>,
    is_bad: bool,
}

impl Cache {
    /// Starts to restore a cache from its journal.
    #[must_use]
    pub fn replay(bytes_max: usize) -> Replay {
        Replay::new(bytes_max)
    }
}

impl Replay {
    pub(super) fn new(bytes_max: usize) -> Self {
        let cache = Cache::new(bytes_max);
        Self { cache, rest: Vec::new(), good: 0, chain: None, is_bad: false }
    }

    /// Takes the next piece. Returns `false` after an invalid entry: further pieces have no effect.
    pub fn feed(&mut self, piece: &[u8]) -> bool {
        if self.is_bad {
            return false;
        }
        let mut rest = core::mem::take(&mut self.rest);
        rest.extend_from_slice(piece);
        let used = self.apply_all(&rest);
        rest.drain(..used);
        self.rest = rest;
        self.good += u64::try_from(used).expect("64 bits are enough");
        !self.is_bad
    }

    /// The cache, and the length of the valid part of the journal. The cache continues this journal, whose
    /// rest must be cut off; if not even its header is valid, the cache has no journal yet.
    #[must_use]
    pub fn finish(self) -> (Cache, u64) {
        let mut cache = self.cache;
        cache.counts = Counts::default();
        cache.journal = self.chain.map(|chain| Journal { pending: Vec::new(), chain });
        (cache, self.good)
    }

    /// Applies the complete entries; returns their length in bytes.
    fn apply_all(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        let mut chain = match self.chain {
            Some(chain) => chain,
            None if bytes.starts_with(&HEADER) => {
                at = HEADER.len();
                journal::chain_start()
            }
            None => {
                self.is_bad = !HEADER.starts_with(bytes);
                return 0;
            }
        };
        loop {
            match journal::decode(&bytes[at..], chain) {
                Decoded::Entry { operation, len, chain: next } => {
                    self.apply(operation);
                    at += len;
                    chain = next;
                }
                Decoded::Short => break,
                Decoded::Bad => {
                    self.is_bad = true;
                    break;
                }
            }
        }
        self.chain = Some(chain);
        at
    }

    fn apply(&mut self, operation: Operation<'_>) {
        match operation {
            Operation::Store { oid, serial, end, is_main, data } => {
                self.cache.store_in(oid, Record::Slice(data), serial, end, Some(is_main));
            }
            Operation::Ended { oid, tid } => self.cache.invalidate(oid, tid),
            Operation::Forget { oid } => self.cache.forget_current(oid),
            Operation::LastTid { tid } => self.cache.set_last_tid(tid),
            Operation::Clear { tid } => self.cache.start_over(tid),
            Operation::Link { .. } => {}
        }
    }
}
