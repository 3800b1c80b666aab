//! Two transactions change one tree at once, and the storage resolves their conflicts or refuses the second.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use rzeo_core::resolve::resolve;
use rzeo_core::{Oid, Tid};
use rzeo_objects::btree::{BTree, Sizes};
use rzeo_objects::{Changes, Class, Error, PyValue, Snapshot};

const TREE: Oid = Oid(1);

/// A change of one item: a key, and its new value or none.
type ItemChange = (i64, Option<i64>);

/// Every revision of every object.
struct Storage {
    revisions: BTreeMap<Oid, BTreeMap<Tid, Bytes>>,
    last_tid: Tid,
    last_oid: u64,
    sizes: Sizes,
}

impl Storage {
    fn new(sizes: Sizes) -> Self {
        let mut storage = Self { revisions: BTreeMap::new(), last_tid: Tid(1), last_oid: 1, sizes };
        let mut snapshot = Snapshot::new(Tid(1));
        snapshot.add(TREE, &Class::new("BTrees.LLBTree", "LLBTree"), PyValue::NONE);
        assert!(storage.commit(snapshot.changes(&[]).unwrap(), true));
        storage
    }

    fn run<R>(
        &self,
        snapshot: &mut Snapshot,
        mut operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
    ) -> R {
        loop {
            match operation(snapshot) {
                Ok(result) => return result,
                Err(Error::NotLoaded(_)) => {
                    for oid in snapshot.take_lacking() {
                        let past = self.revisions[&oid].range(..=snapshot.tid());
                        let (serial, record) = past.last().unwrap();
                        snapshot.add_record(oid, *serial, record.clone());
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Changes the tree as it was at a tid.
    fn prepare(&mut self, tid: Tid, changes: &[ItemChange]) -> Changes {
        let mut snapshot = Snapshot::new(tid);
        for (key, value) in changes {
            self.run(&mut snapshot, |snapshot| {
                let tree = BTree::open(snapshot, TREE)?.with_sizes(self.sizes);
                match value {
                    Some(value) => tree.set(snapshot, *key, *value),
                    None => tree.remove(snapshot, *key),
                }
            });
        }
        let first = self.last_oid + 1;
        self.last_oid += snapshot.new_objects() as u64;
        snapshot.changes(&(first..=self.last_oid).map(Oid).collect::<Vec<_>>()).unwrap()
    }

    /// Commits what a transaction stores and resolves conflicts with earlier commits. `false` if that is
    /// impossible.
    fn commit(&mut self, changes: Changes, with_checks: bool) -> bool {
        let mut records = Vec::new();
        for store in changes.stores {
            let past = self.revisions.get(&store.oid);
            let merged = match past.and_then(|past| past.last_key_value()) {
                Some((serial, committed)) if *serial != store.serial => {
                    let old = &self.revisions[&store.oid][&store.serial];
                    resolve(old, committed, &store.record)
                }
                _ => Some(store.record),
            };
            let Some(merged) = merged else { return false };
            records.push((store.oid, merged));
        }
        let current = |oid: &Oid| *self.revisions[oid].last_key_value().unwrap().0;
        if with_checks && changes.checks.iter().any(|check| current(&check.oid) != check.serial) {
            return false;
        }
        self.last_tid = self.last_tid.next();
        for (oid, record) in records {
            self.revisions.entry(oid).or_default().insert(self.last_tid, record);
        }
        true
    }

    /// The items, or what is damaged.
    fn items(&self) -> Result<BTreeMap<i64, i64>, Error> {
        let mut snapshot = Snapshot::new(self.last_tid);
        self.run(&mut snapshot, |snapshot| {
            let tree = BTree::open(snapshot, TREE)?;
            match tree.check(snapshot) {
                Err(error @ Error::NotLoaded(_)) => return Err(error),
                Err(damage) => return Ok(Err(damage)),
                Ok(()) => {}
            }
            let mut range = tree.range(..)?;
            let mut items = BTreeMap::new();
            while let Some((key, value)) = range.next(snapshot)? {
                items.insert(key.as_int().unwrap(), value.as_int().unwrap());
            }
            Ok(Ok(items))
        })
    }
}

/// Changes in one region of the keys or in all of them, so that transactions both meet and miss.
fn any_changes(values: i64) -> impl Strategy<Value = Vec<ItemChange>> {
    (0..80_i64, prop_oneof![Just(6_i64), Just(80)]).prop_flat_map(move |(start, width)| {
        let key = (0..width).prop_map(move |offset| (start + offset) % 80);
        let change = (key, prop::option::weighted(0.5, 0..1000_i64));
        prop::collection::vec(
            change.prop_map(move |(key, new)| (key, new.map(|new| new + values))),
            1..12,
        )
    })
}

/// The items after the changes of a transaction that began with `base`.
fn apply(items: &mut BTreeMap<i64, i64>, base: &BTreeMap<i64, i64>, changes: &[ItemChange]) {
    // Only the last change of a key counts, and only if it differs from what the transaction began with.
    for (key, value) in changes.iter().copied().collect::<BTreeMap<_, _>>() {
        match value {
            value if value == base.get(&key).copied() => {}
            Some(value) => drop(items.insert(key, value)),
            None => drop(items.remove(&key)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_two_transactions_damage_a_tree_or_lose_an_item(
        begin in prop::collection::vec(0..80_i64, 0..80),
        rounds in prop::collection::vec((any_changes(1000), any_changes(2000)), 1..12),
        sizes in (1..5_usize, 2..5_usize),
    ) {
        let mut storage = Storage::new(Sizes::new(sizes.0, sizes.1));
        let begin: Vec<_> = begin.into_iter().map(|key| (key, Some(0))).collect();
        let changes = storage.prepare(storage.last_tid, &begin);
        prop_assert!(storage.commit(changes, true));
        for (first, second) in rounds {
            let base = storage.items().unwrap();
            let mut expected = base.clone();
            let changes = [&first, &second].map(|changes| storage.prepare(storage.last_tid, changes));
            for (changes, items) in changes.into_iter().zip([first, second]) {
                if storage.commit(changes, true) {
                    apply(&mut expected, &base, &items);
                }
            }
            prop_assert_eq!(storage.items(), Ok(expected));
        }
    }
}
