//! Commits that others make on the server behind a proxy storage, while they wait to be announced.
//!
//! ```text
//!   other clients' commits ──► StorageEvent ──┬─ no group is written ──► announced
//!                                             └─ a group is written ───► queue ──► before or after it, by tid
//! ```
//!
//! The server behind the proxy has put all commits into one order, this server's own among them, and
//! all connections receive them in that order. The result of an own commit takes another path than
//! the events, and its tid is not known while it is in progress: events wait until then, in the
//! order of their tids. The storage has reported all commits before the own one when that
//! returns, so no earlier commit is reported later.
//!
//! Loads are not affected by the delay: a connection reads at the last tid that was sent to it, and a
//! commit is visible before it is announced.

use alloc::collections::VecDeque;

use crate::ids::Tid;
use crate::storage::StorageEvent;

/// The queue, oldest first.
#[derive(Debug, Default)]
pub(super) struct ExternalCommits {
    queue: VecDeque<StorageEvent>,
}

impl ExternalCommits {
    pub(super) fn push(&mut self, event: StorageEvent) {
        let index = self.queue.partition_point(|other| other.tid() <= event.tid());
        self.queue.insert(index, event);
    }

    /// The oldest event, if it is older than the commit with this tid, which is announced next; without a
    /// tid, the oldest one.
    pub(super) fn pop_before(&mut self, tid: Option<Tid>) -> Option<StorageEvent> {
        let is_due = |event: &StorageEvent| tid.is_none_or(|tid| event.tid() < tid);
        if self.queue.front().is_some_and(is_due) { self.queue.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_commits_leave_in_the_order_of_their_tids() {
        let mut commits = ExternalCommits::default();
        for tid in [5, 8, 6] {
            commits.push(StorageEvent::Invalidated { tid: Tid(tid), oids: [].into() });
        }
        let mut pop = |before: Option<u64>| commits.pop_before(before.map(Tid)).map(|n| n.tid());
        assert_eq!([pop(Some(7)), pop(Some(7)), pop(Some(7))], [Some(Tid(5)), Some(Tid(6)), None]);
        assert_eq!([pop(None), pop(None)], [Some(Tid(8)), None]);
    }
}
