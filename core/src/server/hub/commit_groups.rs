//! Groups of finished transactions on their way to the disk.
//!
//! While one group is being written, finished transactions gather; they are the next group. Tids are
//! given in the order in which transactions finish.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::outbox::HubOutbox;
use crate::ids::{Oid, Tid};
use crate::server::figures::CommitHistograms;
use crate::server::ids::{ConnId, Ticket};
use crate::storage::{Committed, Finishing, StorageError, Voted};
use crate::time::{Instant, Now};

/// A transaction in a group.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) conn: ConnId,
    pub(super) ticket: Ticket,
    pub(super) changed: Arc<[Oid]>,
    /// When the client asked for it.
    pub(super) asked: Instant,
}

/// The group on its way to the disk.
#[derive(Debug)]
struct Writing {
    commits: Vec<Commit>,
    since: Instant,
}

/// The transactions of a group that could not be written, and why.
pub(super) type FailedGroup = (Vec<Commit>, StorageError);

/// The group that gathers, and the one that is being written.
#[derive(Debug)]
pub(super) struct CommitGroups {
    pending: Vec<(Commit, Finishing)>,
    writing: Option<Writing>,
    /// The newest tid given out, visible or not.
    last_issued: Tid,
    histograms: CommitHistograms,
}

impl CommitGroups {
    /// For a storage whose newest commit is `last_tid`.
    pub(super) fn new(last_tid: Tid) -> Self {
        Self {
            pending: Vec::new(),
            writing: None,
            last_issued: last_tid,
            histograms: CommitHistograms::default(),
        }
    }

    pub(super) const fn histograms(&self) -> &CommitHistograms {
        &self.histograms
    }

    /// Whether a group is being written.
    pub(super) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The tid of the next commit: the one that a copied transaction brings, or a later one than all
    /// before.
    pub(super) fn issue(&mut self, now: Now, given: Option<Tid>) -> Tid {
        let tid = given.unwrap_or_else(|| Tid::from_unix(now.wall).later_than(self.last_issued));
        self.last_issued = self.last_issued.max(tid);
        tid
    }

    /// Puts a voted transaction into the group that gathers.
    pub(super) fn add(&mut self, commit: Commit, tid: Tid, voted: Voted) {
        self.pending.push((commit, Finishing { tid, voted }));
    }

    /// Starts the next group, if none is being written.
    pub(super) fn start(&mut self, now: Now, out: &mut HubOutbox) {
        if self.writing.is_some() || self.pending.is_empty() {
            return;
        }
        let (commits, group): (Vec<_>, Vec<_>) =
            core::mem::take(&mut self.pending).into_iter().unzip();
        self.histograms.group.add(group.len() as u64);
        self.writing = Some(Writing { commits, since: now.instant });
        out.commit(group);
    }

    /// The group is durable and visible, or none of it is.
    pub(super) fn written(
        &mut self,
        now: Now,
        result: Result<Vec<Committed>, StorageError>,
    ) -> Result<Vec<(Commit, Committed)>, FailedGroup> {
        let Writing { commits, since } =
            self.writing.take().expect("a result is fed for a group that was given");
        let group = match result {
            Ok(group) => group,
            Err(error) => return Err((commits, error)),
        };
        self.histograms.sync.add_duration(now.instant.since(since));
        for commit in &commits {
            self.histograms.commit.add_duration(now.instant.since(commit.asked));
        }
        Ok(commits.into_iter().zip(group).collect())
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::*;
    use crate::server::messages::HubOutput;
    use crate::time::UnixTime;

    const NOW: Now = Now { instant: Instant::START, wall: UnixTime(1_767_225_600.0) };

    fn finish(groups: &mut CommitGroups, conn: u64) -> Tid {
        let tid = groups.issue(NOW, None);
        let (conn, changed, asked) = (ConnId(conn), Arc::default(), NOW.instant);
        groups.add(Commit { conn, ticket: Ticket(1), changed, asked }, tid, Voted(Box::new(())));
        tid
    }

    #[test]
    fn transactions_that_finish_during_a_write_are_the_next_group() {
        let mut out = HubOutbox::new("1".into());
        let mut groups = CommitGroups::new(Tid::ZERO);
        let mut sizes = Vec::new();
        for conn in 1..=3 {
            finish(&mut groups, conn);
            groups.start(NOW, &mut out);
        }
        for _ in 0..2 {
            let Some(HubOutput::Commit(group)) = out.pop() else { panic!("a group is due") };
            sizes.push(group.len());
            let done = group.iter().map(|finishing| Committed {
                tid: finishing.tid,
                info: crate::storage::Info::default(),
            });
            let done = Ok(done.collect());
            assert!(groups.written(NOW, done).is_ok_and(|group| !group.is_empty()));
            groups.start(NOW, &mut out);
        }
        assert_eq!(sizes, [1, 2]);
        assert!(!groups.is_writing());
    }

    #[test]
    fn tids_grow_also_when_the_clock_does_not_advance() {
        let mut groups = CommitGroups::new(Tid::ZERO);
        let first = finish(&mut groups, 1);
        assert!(finish(&mut groups, 2) > first);
        assert_eq!(groups.issue(NOW, Some(Tid(1))), Tid(1), "a copied transaction keeps its tid");
    }
}
