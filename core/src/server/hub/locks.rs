//! Object locks and the fair queue of votes.
//!
//! A vote takes all of its locks at once or waits holding none, so there is no deadlock. It waits
//! while it clashes with a lock that is held *or with a vote that waits before it*, so there is no
//! starvation either: a vote for the whole storage is passed by nobody. Votes with nothing in common
//! pass each other freely.
//!
//! The queue is walked from the front whenever something was released. That is linear in the oids of
//! those who wait, which are few: they are clients in the middle of a commit.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::ids::Oid;

/// What a vote needs.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LockSet {
    /// Objects written.
    pub exclusive: Vec<Oid>,
    /// Objects whose serials are checked.
    pub shared: Vec<Oid>,
    /// Everything: undo, restore, and the last step of a pack.
    pub whole: bool,
}

impl LockSet {
    /// The whole storage.
    #[must_use]
    pub const fn whole() -> Self {
        Self { exclusive: Vec::new(), shared: Vec::new(), whole: true }
    }
}

/// What is locked by a set of votes.
#[derive(Debug, Default)]
struct Claims {
    exclusive: BTreeSet<Oid>,
    /// With the number of holders.
    shared: BTreeMap<Oid, usize>,
    whole: bool,
    votes: usize,
}

impl Claims {
    fn clash(&self, wanted: &LockSet) -> bool {
        if self.whole || (wanted.whole && self.votes > 0) {
            return true;
        }
        let taken = |oid: &Oid| self.exclusive.contains(oid);
        wanted.exclusive.iter().any(|oid| taken(oid) || self.shared.contains_key(oid))
            || wanted.shared.iter().any(taken)
    }

    fn add(&mut self, locks: &LockSet) {
        self.votes += 1;
        self.whole |= locks.whole;
        self.exclusive.extend(&locks.exclusive);
        for oid in &locks.shared {
            *self.shared.entry(*oid).or_insert(0) += 1;
        }
    }

    /// Undoes one `add` of the same locks. Exclusive locks had no other holder.
    fn remove(&mut self, locks: &LockSet) {
        self.votes -= 1;
        self.whole &= !locks.whole;
        for oid in &locks.exclusive {
            self.exclusive.remove(oid);
        }
        for oid in &locks.shared {
            if let Some(holders) = self.shared.get_mut(oid) {
                *holders -= 1;
                if *holders == 0 {
                    self.shared.remove(oid);
                }
            }
        }
    }
}

/// The locks of one storage. `K` names a vote.
#[derive(Debug)]
pub(super) struct Locks<K> {
    held: Claims,
    holders: BTreeMap<K, LockSet>,
    queue: VecDeque<(K, LockSet)>,
}

impl<K: Copy + Ord> Locks<K> {
    pub(super) const fn new() -> Self {
        let held =
            Claims { exclusive: BTreeSet::new(), shared: BTreeMap::new(), whole: false, votes: 0 };
        Self { held, holders: BTreeMap::new(), queue: VecDeque::new() }
    }

    /// Takes the locks, or joins the queue; tells how many stand before it there.
    pub(super) fn lock(&mut self, vote: K, locks: LockSet) -> Result<(), usize> {
        self.queue.push_back((vote, locks));
        if self.grant().contains(&vote) { Ok(()) } else { Err(self.queue.len() - 1) }
    }

    /// Gives locks back, or leaves the queue. Nothing happens if there was neither.
    pub(super) fn unlock(&mut self, vote: K) {
        if let Some(locks) = self.holders.remove(&vote) {
            self.held.remove(&locks);
        }
        self.queue.retain(|(waiting, _)| *waiting != vote);
    }

    /// Gives locks to all who can have them now, in the order of the queue.
    pub(super) fn grant(&mut self) -> Vec<K> {
        let mut granted = Vec::new();
        let mut before = Claims::default();
        let mut still = VecDeque::with_capacity(self.queue.len());
        for (vote, locks) in self.queue.drain(..) {
            if self.held.clash(&locks) || before.clash(&locks) {
                before.add(&locks);
                still.push_back((vote, locks));
            } else {
                self.held.add(&locks);
                self.holders.insert(vote, locks);
                granted.push(vote);
            }
        }
        self.queue = still;
        granted
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn writes(oids: &[u64]) -> LockSet {
        LockSet { exclusive: oids.iter().map(|oid| Oid(*oid)).collect(), ..LockSet::default() }
    }

    fn reads(oids: &[u64]) -> LockSet {
        LockSet { shared: oids.iter().map(|oid| Oid(*oid)).collect(), ..LockSet::default() }
    }

    #[test]
    fn votes_with_nothing_in_common_go_side_by_side() {
        let mut locks = Locks::new();
        assert_eq!(locks.lock(1, writes(&[1, 2])), Ok(()));
        assert_eq!(locks.lock(2, writes(&[3])), Ok(()));
        assert_eq!(locks.lock(3, writes(&[2, 3])), Err(0));
        locks.unlock(1);
        assert_eq!(locks.grant(), []);
        locks.unlock(2);
        assert_eq!(locks.grant(), [3]);
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut locks = Locks::new();
        assert_eq!(locks.lock(1, reads(&[1])), Ok(()));
        assert_eq!(locks.lock(2, reads(&[1])), Ok(()));
        assert_eq!(locks.lock(3, writes(&[1])), Err(0));
        locks.unlock(1);
        assert_eq!(locks.grant(), []);
        locks.unlock(2);
        assert_eq!(locks.grant(), [3]);
        assert_eq!(locks.lock(4, reads(&[1])), Err(0));
    }

    #[test]
    fn nobody_passes_one_that_waits_for_the_same() {
        let mut locks = Locks::new();
        assert_eq!(locks.lock(1, writes(&[1])), Ok(()));
        assert_eq!(locks.lock(2, LockSet::whole()), Err(0));
        assert_eq!(locks.lock(3, writes(&[9])), Err(1), "would starve the vote for everything");
        locks.unlock(1);
        assert_eq!(locks.grant(), [2]);
        locks.unlock(2);
        assert_eq!(locks.grant(), [3]);
    }

    #[test]
    fn one_that_leaves_the_queue_is_passed() {
        let mut locks = Locks::new();
        assert_eq!(locks.lock(1, writes(&[1])), Ok(()));
        assert_eq!(locks.lock(2, writes(&[1, 2])), Err(0));
        assert_eq!(locks.lock(3, writes(&[2])), Err(1));
        locks.unlock(2);
        assert_eq!(locks.grant(), [3]);
        assert_eq!(locks.waiting(), 0);
    }

    #[test]
    fn an_oid_both_read_and_written_by_one_vote_is_no_clash() {
        let mut locks = Locks::new();
        let both = LockSet { exclusive: vec![Oid(1)], shared: vec![Oid(1)], whole: false };
        assert_eq!(locks.lock(1, both), Ok(()));
        locks.unlock(1);
        assert_eq!(locks.lock(2, writes(&[1])), Ok(()));
    }
}
