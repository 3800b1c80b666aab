//! Commits that others make on the server behind a proxy storage, while they wait to be announced.
//!
//! ```text
//!   others' commits there ──► StorageEvent ──┬─ no group is written ──► announced
//!                                    └─ a group is written ───► queue ──► before or after it, by tid
//! ```
//!
//! The server behind has put all commits into one order, ours among them, and here all connections
//! are told in that order. Our own commit returns on another way than the news, so while one is being
//! written its tid is not known yet: news wait until it is, in the order of their tids. The storage
//! has told of all commits before ours when ours returns, so nothing that belongs before it comes later.
//!
//! Loads need none of this. A change is visible when it is told, and every connection reads at the
//! last tid that it was told of, so it may be told late.

use alloc::collections::VecDeque;

use crate::ids::Tid;
use crate::storage::StorageEvent;

/// The queue, oldest first.
#[derive(Debug, Default)]
pub(super) struct ExternalCommits {
    queue: VecDeque<StorageEvent>,
}

impl ExternalCommits {
    pub(super) fn push(&mut self, news: StorageEvent) {
        let index = self.queue.partition_point(|other| other.tid() <= news.tid());
        self.queue.insert(index, news);
    }

    /// The oldest, if it is older than a commit that is announced next; without one, whatever waits.
    pub(super) fn pop_before(&mut self, tid: Option<Tid>) -> Option<StorageEvent> {
        let is_due = |news: &StorageEvent| tid.is_none_or(|tid| news.tid() < tid);
        if self.queue.front().is_some_and(is_due) { self.queue.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_leave_in_the_order_of_their_tids() {
        let mut commits = ExternalCommits::default();
        for tid in [5, 8, 6] {
            commits.push(StorageEvent::Invalidated { tid: Tid(tid), oids: [].into() });
        }
        let mut pop = |before: Option<u64>| commits.pop_before(before.map(Tid)).map(|n| n.tid());
        assert_eq!([pop(Some(7)), pop(Some(7)), pop(Some(7))], [Some(Tid(5)), Some(Tid(6)), None]);
        assert_eq!([pop(None), pop(None)], [Some(Tid(8)), None]);
    }
}
