//! The invalidation queue: the latest commits, for clients that reconnect with a cache.
//!
//! The arithmetic is Python's (`spec: zeo-protocol 12`): the queue can answer for a tid if its
//! *oldest* entry is at or before that tid, so N entries cover N-1 missed commits.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::ids::{Oid, Tid};

/// The invalidation queue, oldest first.
#[derive(Debug)]
pub(super) struct Recent {
    size: usize,
    entries: VecDeque<(Tid, Arc<[Oid]>)>,
}

impl Recent {
    /// A queue with the newest commits that the storage knows, oldest first.
    pub(super) fn new(size: usize, known: Vec<(Tid, Vec<Oid>)>) -> Self {
        let mut recent = Self { size: size.max(1), entries: VecDeque::new() };
        for (tid, oids) in known {
            recent.push(tid, oids.into());
        }
        recent
    }

    pub(super) fn push(&mut self, tid: Tid, oids: Arc<[Oid]>) {
        if self.entries.len() == self.size {
            self.entries.pop_front();
        }
        self.entries.push_back((tid, oids));
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn len_max(&self) -> usize {
        self.size
    }

    /// The newest tid and what changed after `since`, commit by commit; `None` if the queue does not
    /// reach back that far.
    pub(super) fn since(&self, since: Tid) -> Option<(Tid, Vec<Arc<[Oid]>>)> {
        let (oldest, _) = self.entries.front()?;
        let (newest, _) = self.entries.back()?;
        if *oldest > since {
            return None;
        }
        let later = self.entries.iter().filter(|(tid, _)| *tid > since);
        Some((*newest, later.map(|(_, oids)| oids.clone()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn three_entries_cover_two_missed_commits() {
        let known = (1..=5).map(|n| (Tid(n * 10), vec![Oid(n), Oid(9)])).collect();
        let recent = Recent::new(3, known);
        assert_eq!((recent.len(), recent.len_max()), (3, 3));
        assert_eq!(recent.since(Tid(29)), None);
        let commit = |n| [Oid(n), Oid(9)].into();
        assert_eq!(recent.since(Tid(30)), Some((Tid(50), vec![commit(4), commit(5)])));
        assert_eq!(recent.since(Tid(45)), Some((Tid(50), vec![commit(5)])));
        assert_eq!(recent.since(Tid(50)), Some((Tid(50), vec![])));
        assert_eq!(recent.since(Tid(99)), Some((Tid(50), vec![])), "also for a tid in the future");
    }

    #[test]
    fn an_empty_queue_cannot_answer() {
        assert_eq!(Recent::new(3, vec![]).since(Tid::ZERO), None);
    }
}
