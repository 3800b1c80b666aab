//! Object locks and the fair queue of votes.
//!
//! A vote takes all of its locks at once or waits holding none, so there is no deadlock. It waits
//! while it clashes with a lock that is held *or with a vote that waits before it*, so there is no
//! starvation either: a vote for the whole storage is passed by nobody. Votes with nothing in common
//! pass each other freely.
//!
//! There is a line for each object, and one for the storage, in which everybody stands: to have all of
//! it alone, or a part of it with others. A vote joins all of its lines at once and has its locks when
//! it is at the front of each. Since all lines are in the order of arrival, whoever is first of all is
//! at the front of all of its own. Locking and unlocking cost what the vote's own objects cost,
//! however many wait.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::ids::Oid;
use crate::server::lock_set::LockSet;

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Storage,
    Object(Oid),
}

impl LockSet {
    /// Each thing once, and whether it is wanted alone. What is both written and checked is written.
    fn into_things(self) -> BTreeMap<Thing, bool> {
        let mut things = BTreeMap::from([(Thing::Storage, self.whole)]);
        if !self.whole {
            things.extend(self.shared.into_iter().map(|oid| (Thing::Object(oid), false)));
            things.extend(self.exclusive.into_iter().map(|oid| (Thing::Object(oid), true)));
        }
        things
    }
}

/// Those who have or want one thing, in the order in which they came.
#[derive(Debug, Default)]
struct Line(VecDeque<Place>);

#[derive(Debug)]
struct Place {
    number: u64,
    alone: bool,
}

impl Line {
    /// How many have the thing: the first if he wants it alone, else all before one who does.
    fn front(&self) -> usize {
        let shared = self.0.iter().take_while(|place| !place.alone).count();
        if shared == 0 { self.0.len().min(1) } else { shared }
    }

    /// Goes to the end; tells whether that is at the front too.
    fn join(&mut self, number: u64, alone: bool) -> bool {
        self.0.push_back(Place { number, alone });
        self.front() == self.0.len()
    }

    /// Leaves, and names those who come to the front by that.
    fn leave(&mut self, number: u64) -> impl Iterator<Item = u64> + '_ {
        let mut front = self.front();
        if let Ok(index) = self.0.binary_search_by_key(&number, |place| place.number) {
            self.0.remove(index);
            front -= usize::from(index < front);
        }
        self.0.range(front..self.front()).map(|place| place.number)
    }
}

/// One who has or wants locks.
#[derive(Debug)]
struct Vote<K> {
    name: K,
    things: Vec<Thing>,
    /// In how many lines others stand before it.
    behind: usize,
}

/// The locks of one storage. `K` names a vote.
#[derive(Debug)]
pub(super) struct Locks<K> {
    lines: BTreeMap<Thing, Line>,
    /// By number.
    votes: BTreeMap<u64, Vote<K>>,
    numbers: BTreeMap<K, u64>,
    /// The number that the next one gets; they grow, so they tell who came first.
    next: u64,
    /// Those who have not been granted their locks.
    waiting: BTreeSet<u64>,
    /// Those of them who can be.
    ready: BTreeSet<u64>,
}

impl<K: Copy + Ord> Locks<K> {
    pub(super) const fn new() -> Self {
        Self {
            lines: BTreeMap::new(),
            votes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next: 0,
            waiting: BTreeSet::new(),
            ready: BTreeSet::new(),
        }
    }

    /// Takes the locks, or waits for them; tells how many wait already.
    pub(super) fn lock(&mut self, name: K, locks: LockSet) -> Result<(), usize> {
        let number = self.next;
        self.next += 1;
        let mut vote = Vote { name, things: Vec::new(), behind: 0 };
        for (thing, alone) in locks.into_things() {
            vote.things.push(thing);
            if !self.lines.entry(thing).or_default().join(number, alone) {
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

    /// Gives locks back, or stops waiting. Nothing happens if there was neither.
    pub(super) fn unlock(&mut self, name: K) {
        let Some(number) = self.numbers.remove(&name) else { return };
        let Some(vote) = self.votes.remove(&number) else { return };
        self.waiting.remove(&number);
        self.ready.remove(&number);
        for thing in vote.things {
            let Some(line) = self.lines.get_mut(&thing) else { continue };
            for freed in line.leave(number) {
                let Some(vote) = self.votes.get_mut(&freed) else { continue };
                vote.behind -= 1;
                if vote.behind == 0 {
                    self.ready.insert(freed);
                }
            }
            if line.0.is_empty() {
                self.lines.remove(&thing);
            }
        }
    }

    /// Gives locks to all who can have them now, in the order in which they came.
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

    /// Two hundred large votes wait for each other; small ones come and go beside them.
    #[test]
    fn a_long_queue_costs_nobody_who_is_not_in_it() {
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
            prop_assert!(locks.lines.is_empty() && locks.votes.is_empty());
        }
    }
}
