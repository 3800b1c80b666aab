//! The votes of a storage, and the object locks that they hold or wait for.
//!
//! **Invariant**: a vote is in exactly one of the stages of [`Stage`], and holds locks in all of them
//! but the first. There is at most one per connection, for as long as [`Votes`] knows it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::locks::Locks;
use super::outbox::HubOutbox;
use super::settings::LockScope;
use crate::server::ids::{ConnId, Ticket};
use crate::server::lock_set::LockSet;
use crate::server::messages::Notice;
use crate::time::{Instant, Now};

/// The holder of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Connection(ConnId),
    Pack,
}

/// A transaction between vote and finish.
#[derive(Debug)]
struct Vote {
    ticket: Ticket,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    Locked { since: Now },
    Finishing { since: Now },
}

/// The votes and their locks.
#[derive(Debug)]
pub(super) struct Votes {
    scope: LockScope,
    votes: BTreeMap<ConnId, Vote>,
    locks: Locks<Owner>,
}

impl Votes {
    pub(super) fn new(scope: LockScope) -> Self {
        Self { scope, votes: BTreeMap::new(), locks: Locks::new() }
    }

    /// Takes the locks of a vote, or queues it.
    pub(super) fn lock(
        &mut self,
        now: Now,
        out: &mut HubOutbox,
        conn: ConnId,
        ticket: Ticket,
        locks: LockSet,
    ) {
        let locks = match self.scope {
            LockScope::Objects => locks,
            LockScope::Storage => LockSet::whole(),
        };
        let stage = match self.locks.lock(Owner::Connection(conn), locks) {
            Ok(()) => {
                out.deliver(conn, Notice::Locked { ticket });
                Stage::Locked { since: now }
            }
            Err(ahead) => {
                out.deliver(conn, Notice::Waiting { ticket, ahead });
                Stage::Waiting
            }
        };
        self.votes.insert(conn, Vote { ticket, stage });
    }

    /// Takes the whole storage for a pack, or queues it. Whether it is held now.
    pub(super) fn lock_storage(&mut self) -> bool {
        self.locks.lock(Owner::Pack, LockSet::whole()).is_ok()
    }

    pub(super) fn unlock_storage(&mut self) {
        self.locks.unlock(Owner::Pack);
    }

    /// Releases what a vote holds, unless it is finishing. Whether it has released something: then
    /// [`Self::grant`] has to follow.
    #[must_use]
    pub(super) fn release(&mut self, conn: ConnId) -> bool {
        let finishing = |vote: &Vote| matches!(vote.stage, Stage::Finishing { .. });
        if self.votes.get(&conn).is_none_or(finishing) {
            return false;
        }
        self.finished(conn);
        true
    }

    /// The same for the vote with this ticket.
    #[must_use]
    pub(super) fn release_ticket(&mut self, conn: ConnId, ticket: Ticket) -> bool {
        self.votes.get(&conn).is_some_and(|vote| vote.ticket == ticket) && self.release(conn)
    }

    /// A finishing transaction is done: its locks are released.
    pub(super) fn finished(&mut self, conn: ConnId) {
        self.votes.remove(&conn);
        self.locks.unlock(Owner::Connection(conn));
    }

    /// Gives locks to the votes that can have them now. Whether the pack got the whole storage.
    #[must_use]
    pub(super) fn grant(&mut self, now: Now, out: &mut HubOutbox) -> bool {
        let mut is_pack_granted = false;
        for owner in self.locks.grant() {
            match owner {
                Owner::Connection(conn) => {
                    let vote = self.votes.get_mut(&conn).expect("every waiting owner has a vote");
                    vote.stage = Stage::Locked { since: now };
                    out.deliver(conn, Notice::Locked { ticket: vote.ticket });
                }
                Owner::Pack => is_pack_granted = true,
            }
        }
        is_pack_granted
    }

    /// Marks a vote as finishing. Whether it holds its locks still.
    #[must_use]
    pub(super) fn finish(&mut self, conn: ConnId, ticket: Ticket) -> bool {
        match self.votes.get_mut(&conn) {
            Some(Vote { ticket: known, stage }) if *known == ticket => match stage {
                Stage::Locked { since } => {
                    *stage = Stage::Finishing { since: *since };
                    true
                }
                Stage::Waiting | Stage::Finishing { .. } => false,
            },
            _ => false,
        }
    }

    /// When the next vote will have held its locks for the transaction timeout without finishing.
    pub(super) fn next_timeout(&self, limit: Duration) -> Option<Instant> {
        let locked = self.votes.values().filter_map(Vote::locked_since);
        locked.map(|since| since.instant.after(limit)).min()
    }

    /// The connections whose votes have held their locks for the transaction timeout without finishing.
    pub(super) fn timed_out(&self, now: Now, limit: Duration) -> Vec<ConnId> {
        let is_late = |vote: &Vote| {
            vote.locked_since().is_some_and(|since| since.instant.after(limit) <= now.instant)
        };
        self.votes.iter().filter(|(_, vote)| is_late(vote)).map(|(conn, _)| *conn).collect()
    }

    /// Since when each lock holder has its locks.
    pub(super) fn held_since(&self) -> impl Iterator<Item = Now> {
        self.votes.values().filter_map(Vote::held_since)
    }

    /// How many wait for locks.
    pub(super) fn waiting(&self) -> usize {
        self.locks.waiting()
    }
}

impl Vote {
    /// Since when others wait for the client.
    const fn locked_since(&self) -> Option<Now> {
        match self.stage {
            Stage::Locked { since } => Some(since),
            Stage::Waiting | Stage::Finishing { .. } => None,
        }
    }

    const fn held_since(&self) -> Option<Now> {
        match self.stage {
            Stage::Locked { since } | Stage::Finishing { since } => Some(since),
            Stage::Waiting => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::ids::Oid;
    use crate::time::UnixTime;

    const NOW: Now = Now { instant: Instant::START, wall: UnixTime(0.0) };

    fn object() -> LockSet {
        LockSet { exclusive: vec![Oid(1)], ..LockSet::default() }
    }

    #[test]
    fn a_finishing_vote_keeps_its_locks_when_its_connection_leaves() {
        let mut out = HubOutbox::new("1".into());
        let mut votes = Votes::new(LockScope::Objects);
        let (first, second) = (ConnId(1), ConnId(2));
        votes.lock(NOW, &mut out, first, Ticket(1), object());
        votes.lock(NOW, &mut out, second, Ticket(1), object());
        assert!(votes.finish(first, Ticket(1)));
        assert!(!votes.finish(first, Ticket(1)) && !votes.finish(second, Ticket(1)));
        assert!(!votes.release(first));
        assert_eq!(votes.waiting(), 1);
        votes.finished(first);
        assert!(!votes.grant(NOW, &mut out), "there is no pack");
        assert!(votes.finish(second, Ticket(1)));
    }

    #[test]
    fn a_pack_gets_the_storage_after_the_votes_before_it() {
        let mut out = HubOutbox::new("1".into());
        let mut votes = Votes::new(LockScope::Objects);
        votes.lock(NOW, &mut out, ConnId(1), Ticket(1), object());
        assert!(!votes.lock_storage());
        assert!(!votes.release_ticket(ConnId(1), Ticket(2)), "another vote is meant");
        assert!(votes.release_ticket(ConnId(1), Ticket(1)));
        assert!(votes.grant(NOW, &mut out));
    }
}
