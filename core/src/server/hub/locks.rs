//! Object locks and the fair queue of votes.
//!
//! A vote takes all of its locks at once or waits holding none, so there is no deadlock. It waits
//! while it conflicts with a lock that is held *or with a vote that waits before it*, so there is no
//! starvation either: no vote overtakes one for the whole storage. Votes without common objects overtake
//! each other freely.
//!
//! There is a queue for each object, and one for the storage, which every vote joins: for all of it
//! exclusively, or for a part of it. A vote joins all of its queues at once and has its locks when it is
//! at the front of each. Since all queues are in the order of arrival, the vote that came first is at the
//! front of all of its own. Locking and unlocking cost what the vote's own objects cost, however many
//! votes wait.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::ids::Oid;
use crate::server::lock_set::LockSet;

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lockable {
    Storage,
    Object(Oid),
}

impl LockSet {
    /// Each lockable once, and whether its lock is exclusive. An object that is both written and checked is
    /// written.
    fn into_lockables(self) -> BTreeMap<Lockable, bool> {
        let mut lockables = BTreeMap::from([(Lockable::Storage, self.whole)]);
        if !self.whole {
            lockables.extend(self.shared.into_iter().map(|oid| (Lockable::Object(oid), false)));
            lockables.extend(self.exclusive.into_iter().map(|oid| (Lockable::Object(oid), true)));
        }
        lockables
    }
}

/// The votes that hold or wait for one lock, in the order of their arrival.
#[derive(Debug, Default)]
struct LockQueue(VecDeque<QueueEntry>);

#[derive(Debug)]
struct QueueEntry {
    number: u64,
    exclusive: bool,
}

impl LockQueue {
    /// Number of votes that hold the lock: the first one if it is exclusive, else all before an exclusive
    /// one.
    fn front(&self) -> usize {
        let shared = self.0.iter().take_while(|entry| !entry.exclusive).count();
        if shared == 0 { self.0.len().min(1) } else { shared }
    }

    /// Joins at the end. Whether that is at the front too.
    fn join(&mut self, number: u64, exclusive: bool) -> bool {
        self.0.push_back(QueueEntry { number, exclusive });
        self.front() == self.0.len()
    }

    /// Leaves. Returns the votes that come to the front by that.
    fn leave(&mut self, number: u64) -> impl Iterator<Item = u64> + '_ {
        let mut front = self.front();
        if let Ok(index) = self.0.binary_search_by_key(&number, |entry| entry.number) {
            self.0.remove(index);
            front -= usize::from(index < front);
        }
        self.0.range(front..self.front()).map(|entry| entry.number)
    }
}

/// A vote that holds or waits for locks.
#[derive(Debug)]
struct Vote<K> {
    name: K,
    lockables: Vec<Lockable>,
    /// In how many lines others stand before it.
    behind: usize,
}

/// The locks of one storage. `K` names a vote.
#[derive(Debug)]
pub(super) struct Locks<K> {
    queues: BTreeMap<Lockable, LockQueue>,
    votes: BTreeMap<u64, Vote<K>>,
    numbers: BTreeMap<K, u64>,
    /// The number of the next vote. Numbers grow in the order of arrival.
    next: u64,
    /// Votes that have not been granted their locks.
    waiting: BTreeSet<u64>,
    /// Those of them that can be granted their locks.
    ready: BTreeSet<u64>,
}

impl<K: Copy + Ord> Locks<K> {
    pub(super) const fn new() -> Self {
        Self {
            queues: BTreeMap::new(),
            votes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next: 0,
            waiting: BTreeSet::new(),
            ready: BTreeSet::new(),
        }
    }

    /// Takes the locks, or waits for them: the error is the number of votes that wait already.
    pub(super) fn lock(&mut self, name: K, locks: LockSet) -> Result<(), usize> {
        let number = self.next;
        self.next += 1;
        let mut vote = Vote { name, lockables: Vec::new(), behind: 0 };
        for (lockable, exclusive) in locks.into_lockables() {
            vote.lockables.push(lockable);
            if !self.queues.entry(lockable).or_default().join(number, exclusive) {
                vote.behind += 1;
            }
        }
        let ahead = self.waiting.len();
        let result = if vote.behind == 0 { Ok(()) } else { Err(ahead) };
        if result.is_err() {
            self.waiting.insert(number);
        }
        self.numbers.insert(name, number);
        self.votes.insert(number, vote);
        result
    }

    /// Releases locks, or stops waiting. Nothing happens if there was neither.
    pub(super) fn unlock(&mut self, name: K) {
        let Some(number) = self.numbers.remove(&name) else { return };
        let Some(vote) = self.votes.remove(&number) else { return };
        self.waiting.remove(&number);
        self.ready.remove(&number);
        for lockable in vote.lockables {
            let Some(queue) = self.queues.get_mut(&lockable) else { continue };
            for freed in queue.leave(number) {
                let Some(vote) = self.votes.get_mut(&freed) else { continue };
                vote.behind -= 1;
                if vote.behind == 0 {
                    self.ready.insert(freed);
                }
            }
            if queue.0.is_empty() {
                self.queues.remove(&lockable);
            }
        }
    }

    /// Grants locks to all votes that can have them now, in the order of their arrival.
    pub(super) fn grant(&mut self) -> Vec<K> {
        let ready = core::mem::take(&mut self.ready);
        self.waiting.retain(|number| !ready.contains(number));
        ready.iter().filter_map(|number| self.votes.get(number)).map(|vote| vote.name).collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

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
    fn a_vote_does_not_pass_one_that_waits_for_the_same_objects() {
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

    /// Two hundred large votes wait for each other; small ones come and go beside them.
    #[test]
    fn a_long_queue_does_not_slow_votes_outside_of_it() {
        let oids: Vec<u64> = (0..1_000).collect();
        let mut locks = Locks::new();
        for vote in 0..200 {
            assert_eq!(locks.lock(vote, writes(&oids)).is_ok(), vote == 0);
        }
        for vote in 1_000..101_000 {
            assert_eq!(locks.lock(vote, writes(&[vote])), Ok(()));
            locks.unlock(vote);
            assert_eq!(locks.grant(), []);
        }
    }

    fn clash(one: &LockSet, other: &LockSet) -> bool {
        let writes = |a: &LockSet, b: &LockSet| {
            a.exclusive.iter().any(|oid| b.exclusive.contains(oid) || b.shared.contains(oid))
        };
        one.whole || other.whole || writes(one, other) || writes(other, one)
    }

    fn any_locks() -> impl Strategy<Value = LockSet> {
        let oids = || prop::collection::vec((0..6u64).prop_map(Oid), 0..4);
        (oids(), oids(), prop::bool::weighted(0.1)).prop_map(|(exclusive, shared, whole)| LockSet {
            exclusive,
            shared,
            whole,
        })
    }

    proptest! {
        /// A vote has its locks when it clashes with none of those that came before it and are there.
        #[test]
        fn the_order_of_arrival_decides(
            steps in prop::collection::vec((0..8u64, any_locks()), 0..60),
        ) {
            let mut locks = Locks::new();
            let mut there: Vec<(u64, LockSet)> = Vec::new();
            let mut held: Vec<u64> = Vec::new();
            for (name, wanted) in steps {
                let was_there = there.iter().position(|(vote, _)| *vote == name);
                let may_have = |there: &[(u64, LockSet)], index: usize| {
                    !there[..index].iter().any(|(_, other)| clash(&there[index].1, other))
                };
                if let Some(index) = was_there {
                    locks.unlock(name);
                    there.remove(index);
                    held.retain(|vote| *vote != name);
                    let expected: Vec<u64> = (0..there.len())
                        .filter(|index| may_have(&there, *index))
                        .map(|index| there[index].0)
                        .filter(|vote| !held.contains(vote))
                        .collect();
                    prop_assert_eq!(locks.grant(), expected.clone());
                    held.extend(expected);
                } else {
                    let waiting = there.len() - held.len();
                    there.push((name, wanted.clone()));
                    let free = may_have(&there, there.len() - 1);
                    let expected = if free { Ok(()) } else { Err(waiting) };
                    prop_assert_eq!(locks.lock(name, wanted), expected);
                    held.extend(free.then_some(name));
                }
                prop_assert_eq!(locks.waiting(), there.len() - held.len());
            }
            for (name, _) in there {
                locks.unlock(name);
            }
            prop_assert!(locks.queues.is_empty() && locks.votes.is_empty());
        }
    }
}
