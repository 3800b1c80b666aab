//! When a connection's storage calls are let out.
//!
//! Calls are let out only while the peer has little to read and few are under way. So what waits for
//! a peer is a few records more than the high mark of its backlog, however much it requests at once.
//! Votes and writes to temporary files do not wait for a turn ([`Schedule`]).

use alloc::collections::VecDeque;

use crate::server::ids::StorageId;
use crate::server::storage_calls::{Job, Schedule};

/// Maximum number of storage calls under way at once. The others wait here, where they cost little,
/// and leave room for other connections on the threads that may wait for the disk.
const UNDER_WAY_MAX: usize = 16;

/// The storage calls of a connection: those that wait, and how many are under way.
#[derive(Debug, Default)]
pub(super) struct CallQueue {
    waiting: VecDeque<(StorageId, Job)>,
    /// The next read of the blob that the peer downloads.
    blob_read: Option<(StorageId, Job)>,
    /// Calls that were let out and are not answered.
    under_way: usize,
}

impl CallQueue {
    /// Adds a call. Returns it if it can be made immediately.
    #[must_use]
    pub(super) fn push(&mut self, storage: StorageId, job: Job) -> Option<Job> {
        match job.schedule() {
            Schedule::AtOnce => {
                self.under_way += 1;
                return Some(job);
            }
            Schedule::InTurn => self.waiting.push_back((storage, job)),
            Schedule::BlobRead => self.blob_read = Some((storage, job)),
        }
        None
    }

    /// The next call to be let out, to a peer that has this much to read of at most `high` bytes. A
    /// download continues while half of that is free: so it makes progress whatever else is requested,
    /// and never stops other requests from being read.
    pub(super) fn next(&mut self, queued: usize, high: usize) -> Option<(StorageId, Job)> {
        if queued > high || self.under_way >= UNDER_WAY_MAX {
            return None;
        }
        let blob_read = self.blob_read.take_if(|_| queued <= high / 2);
        let call = blob_read.or_else(|| self.waiting.pop_front())?;
        self.under_way += 1;
        Some(call)
    }

    /// A call was answered.
    pub(super) const fn answered(&mut self) {
        self.under_way -= 1;
    }

    /// Calls that wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way + self.waiting.len() + usize::from(self.blob_read.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Oid, Tid};
    use crate::server::ids::Ticket;
    use crate::server::storage_calls::{CreateSpool, LoadId, LoadJob};

    const STORAGE: StorageId = StorageId(0);

    fn load(number: u64) -> Job {
        LoadJob { id: LoadId(number), oid: Oid(number), before: Tid::MAX }.into()
    }

    #[test]
    fn a_few_calls_are_under_way_and_the_others_wait() {
        let mut calls = CallQueue::default();
        for number in 0..20 {
            assert!(calls.push(STORAGE, load(number)).is_none());
        }
        let out = core::iter::from_fn(|| calls.next(0, 100)).count();
        assert_eq!((out, calls.len()), (UNDER_WAY_MAX, 20));
        calls.answered();
        assert!(calls.next(101, 100).is_none(), "the peer has too much to read");
        assert!(calls.next(100, 100).is_some());
    }

    #[test]
    fn a_temporary_file_waits_for_no_turn() {
        let mut calls = CallQueue::default();
        assert!(calls.push(STORAGE, CreateSpool(Ticket(1)).into()).is_some());
        assert_eq!(calls.len(), 1);
    }
}
