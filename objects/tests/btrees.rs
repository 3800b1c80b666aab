//! BTrees beside records that Python wrote, and errors of their operations.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use bytes::Bytes;
use proptest::prelude::*;
use rzeo_core::{Oid, Tid};
use rzeo_objects::btree::{BTree, BTreeError, Damage, Family, ItemRole, ItemType, Sizes, TreeSet};
use rzeo_objects::{Class, Error, PyValue, Snapshot};

/// Operations, and the records that Python 3.11 with BTrees 6.5 and ZODB 6.4 wrote at each commit.
const PYTHON: &str = include_str!("samples/btrees.txt");

/// A storage and a transaction on the tree with oid 1.
struct Recorder {
    class: Class,
    family: Family,
    sizes: Sizes,
    records: BTreeMap<Oid, (Tid, Bytes)>,
    tid: Tid,
    last_oid: Oid,
    snapshot: Snapshot,
}

impl Recorder {
    fn begin(class: &str, sizes: Sizes) -> Self {
        let family = match &class[..2] {
            "LO" => Family::LO,
            "OO" => Family::OO,
            "II" => Family::II,
            other => panic!("no family {other}"),
        };
        let class = Class::new(&format!("BTrees.{}BTree", &class[..2]), class);
        let (tid, last_oid) = (Tid(1), Oid(1));
        let mut snapshot = Snapshot::new(tid);
        snapshot.add(Oid(1), &class, PyValue::NONE);
        Self { class, family, sizes, records: BTreeMap::new(), tid, last_oid, snapshot }
    }

    fn run<R>(&mut self, mut operation: impl FnMut(&mut Snapshot) -> Result<R, Error>) -> R {
        loop {
            match operation(&mut self.snapshot) {
                Ok(result) => return result,
                Err(Error::NotLoaded(_)) => {
                    for oid in self.snapshot.take_lacking() {
                        let (serial, record) = self.records[&oid].clone();
                        self.snapshot.add_record(oid, serial, record);
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn key(&self, key: i64) -> PyValue {
        match self.family.key() {
            ItemType::Object => format!("{key:03}").into(),
            _ => key.into(),
        }
    }

    fn value(&self, key: i64) -> PyValue {
        match (self.family.key(), self.family.value()) {
            (ItemType::Object, ItemType::Object) => format!("value {key:03}").into(),
            (_, ItemType::Object) => format!("value {key}").into(),
            _ => (-7).into(),
        }
    }

    fn set(&mut self, key: i64) {
        let (sizes, value, key) = (self.sizes, self.value(key), self.key(key));
        if self.class.name().ends_with("BTree") {
            self.run(|snapshot| {
                let tree = BTree::open(snapshot, Oid(1))?.with_sizes(sizes);
                tree.set(snapshot, key.clone(), value.clone())
            });
        } else {
            self.run(|snapshot| {
                let tree = TreeSet::open(snapshot, Oid(1))?.with_sizes(sizes);
                tree.insert(snapshot, key.clone())
            });
        }
    }

    fn remove(&mut self, key: i64) {
        let key = self.key(key);
        if self.class.name().ends_with("BTree") {
            self.run(|snapshot| BTree::open(snapshot, Oid(1))?.remove(snapshot, key.clone()));
        } else {
            self.run(|snapshot| TreeSet::open(snapshot, Oid(1))?.remove(snapshot, key.clone()));
        }
    }

    /// What the commit stores and checks, as text.
    fn commit(&mut self) -> String {
        if !self.snapshot.has_changes() {
            self.snapshot = Snapshot::new(self.tid);
            return String::new();
        }
        let oids = (1..=100).map(|number| Oid(self.last_oid.0 + number));
        let changes = self.snapshot.changes(&oids.collect::<Vec<_>>()).unwrap();
        let mut text = String::new();
        self.last_oid.0 += changes.new_oids.len() as u64;
        self.tid = self.tid.next();
        for store in changes.stores {
            write!(text, "store {} ", store.oid.0).unwrap();
            store.record.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
            text.push('\n');
            self.records.insert(store.oid, (self.tid, store.record));
        }
        for check in changes.checks {
            writeln!(text, "check {}", check.oid.0).unwrap();
        }
        self.snapshot = Snapshot::new(self.tid);
        text
    }
}

#[test]
fn records_are_those_that_python_writes() {
    let mut recorder = None;
    let mut text = String::new();
    for line in PYTHON.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        match words[0] {
            "store" | "check" => continue,
            "" | "#" => {}
            "begin" => {
                let sizes = Sizes::new(words[2].parse().unwrap(), words[3].parse().unwrap());
                recorder = Some(Recorder::begin(words[1], sizes));
            }
            "set" => recorder.as_mut().unwrap().set(number(1)),
            "remove" => recorder.as_mut().unwrap().remove(number(1)),
            "commit" => {}
            other => panic!("unknown command {other}"),
        }
        writeln!(text, "{line}").unwrap();
        if words[0] == "commit" {
            text.push_str(&recorder.as_mut().unwrap().commit());
        }
    }
    for (at, (ours, theirs)) in text.lines().zip(PYTHON.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {}", at + 1);
    }
    assert_eq!(text.len(), PYTHON.len());
}

/// A tree of small nodes with the keys 0, 10, 20 and so on.
fn tree_of(snapshot: &mut Snapshot, keys: i64) -> BTree {
    let tree = BTree::create(snapshot, Family::LO).with_sizes(Sizes::new(3, 3));
    for key in 0..keys {
        assert!(tree.insert(snapshot, 10 * key, key).unwrap());
    }
    tree.check(snapshot).unwrap();
    tree
}

fn ints(keys: &[PyValue]) -> Vec<i64> {
    keys.iter().map(|key| key.as_int().unwrap()).collect()
}

#[test]
fn ranges_begin_and_end_where_they_should() {
    let snapshot = &mut Snapshot::new(Tid(1));
    let tree = tree_of(snapshot, 40);
    let mut keys = |range: (Bound<PyValue>, Bound<PyValue>)| {
        let mut range = tree.range(range).unwrap();
        let mut keys = Vec::new();
        while let Some((key, _)) = range.next(snapshot).unwrap() {
            keys.push(key);
        }
        assert!(range.next(snapshot).unwrap().is_none());
        ints(&keys)
    };
    let all: Vec<i64> = (0..40).map(|key| 10 * key).collect();
    assert_eq!(keys((Unbounded, Unbounded)), all);
    for low in -5..=405 {
        for (high, end) in [(low + 25, 25), (low, 0), (low - 10, -10)] {
            let within = |low: i64, high: i64| {
                all.iter().copied().filter(|key| (low..=high).contains(key)).collect::<Vec<_>>()
            };
            let value = PyValue::from;
            assert_eq!(keys((Included(value(low)), Included(value(high)))), within(low, high));
            let inner = within(low + 1, low + end - 1);
            assert_eq!(keys((Excluded(value(low)), Excluded(value(high)))), inner);
        }
        assert_eq!(keys((Excluded(low.into()), Unbounded)).first(), within_after(&all, low));
    }
}

fn within_after(keys: &[i64], low: i64) -> Option<&i64> {
    keys.iter().find(|key| **key > low)
}

#[test]
fn a_tree_can_be_emptied_from_its_begin() {
    let snapshot = &mut Snapshot::new(Tid(1));
    let tree = tree_of(snapshot, 40);
    for key in 0..39 {
        assert!(tree.remove(snapshot, 10 * key).unwrap());
        tree.check(snapshot).unwrap();
        assert!(tree.max_key_to(snapshot, 10 * key).unwrap().is_none());
        assert_eq!(tree.min_key(snapshot).unwrap().unwrap().as_int(), Some(10 * (key + 1)));
    }
    assert_eq!(tree.pop(snapshot, 390).unwrap().unwrap().as_int(), Some(39));
    assert!(tree.is_empty(snapshot).unwrap());
    assert!(tree.max_key(snapshot).unwrap().is_none());
    assert_eq!(tree.len(snapshot).unwrap(), 0);
}

/// The set with oid 1, of whose nodes the oids and states are given.
fn tree_of_states(nodes: &[(u64, &str, PyValue)]) -> (Snapshot, TreeSet) {
    let mut snapshot = Snapshot::new(Tid(1));
    for (oid, class, state) in nodes {
        snapshot.add(Oid(*oid), &Class::new("BTrees.IOBTree", class), state.clone());
    }
    let tree = TreeSet::open(&mut snapshot, Oid(1)).unwrap().with_sizes(Sizes::new(2, 2));
    (snapshot, tree)
}

#[test]
fn the_largest_key_below_another_can_be_in_the_leaf_before() {
    // Older versions of BTrees kept the keys of nodes when the items were removed.
    let leaves = [(2, "IOSet", set_state(&[1, 3], Some(3))), (3, "IOSet", set_state(&[7], None))];
    let of_buckets = [(1, "IOTreeSet", node_state([bucket(2), bucket(3)], 5, 2))];
    let of_nodes = [
        (1, "IOTreeSet", node_state([node(4), node(5)], 5, 2)),
        (4, "IOTreeSet", tuple([tuple([bucket(2)]), bucket(2)])),
        (5, "IOTreeSet", tuple([tuple([bucket(3)]), bucket(3)])),
    ];
    for nodes in [&of_buckets[..], &of_nodes] {
        let (mut snapshot, tree) = tree_of_states(&[nodes, &leaves].concat());
        tree.check(&mut snapshot).unwrap();
        for (max, expected) in [(0, None), (2, Some(1)), (4, Some(3)), (6, Some(3)), (7, Some(7))] {
            let found = tree.max_key_to(&mut snapshot, max).unwrap();
            assert_eq!(found.and_then(|key| key.as_int()), expected, "at most {max}");
        }
        let found = tree.min_key_from(&mut snapshot, 4).unwrap();
        assert_eq!(found.and_then(|key| key.as_int()), Some(7));
    }
}

#[test]
fn keys_and_values_must_be_of_the_family() {
    let snapshot = &mut Snapshot::new(Tid(1));
    let tree = BTree::create(snapshot, Family::IF);
    let too_large = tree.insert(snapshot, i64::from(i32::MAX) + 1, 0.5).unwrap_err();
    let expected = BTreeError::OutOfRange {
        role: ItemRole::Key,
        value: "2147483648".into(),
        min: i32::MIN.into(),
        max: i32::MAX.into(),
    };
    assert_eq!(too_large, expected.into());
    assert_eq!(too_large.to_string(), "key 2147483648 is not between -2147483648 and 2147483647");
    let wrong = tree.get(snapshot, "text").unwrap_err();
    assert_eq!(wrong.to_string(), "key \"text\" is not an integer of 32 bits");
    let wrong = tree.insert(snapshot, 1, "text").unwrap_err();
    assert_eq!(wrong.to_string(), "value \"text\" is not a number");
    assert!(!snapshot.is_changed(Oid(1)));
    assert!(tree.is_empty(snapshot).unwrap());

    tree.insert(snapshot, true, 0.1).unwrap();
    assert!(matches!(
        tree.get(snapshot, 1).unwrap().unwrap().view(),
        rzeo_objects::View::Float(float) if float == f64::from(0.1_f32)
    ));
}

#[test]
fn object_keys_must_have_an_order() {
    let snapshot = &mut Snapshot::new(Tid(1));
    let tree = BTree::create(snapshot, Family::OI);
    let reference = tree.reference();
    let error = tree.insert(snapshot, reference, 1).unwrap_err();
    assert!(matches!(error, Error::BTree(BTreeError::NotOrderable { .. })), "{error}");
    let error = tree.insert(snapshot, f64::NAN, 1).unwrap_err();
    assert!(matches!(error, Error::BTree(BTreeError::NotOrderable { .. })), "{error}");

    assert!(tree.insert(snapshot, "a", 1).unwrap());
    assert!(tree.insert(snapshot, PyValue::NONE, 2).unwrap());
    let error = tree.insert(snapshot, Bytes::from_static(b"a"), 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "key \"a\" has no order with key b\"a\"; use keys of one type in a tree"
    );
    assert!(tree.min_key(snapshot).unwrap().unwrap().is_none());
    assert_eq!(tree.len(snapshot).unwrap(), 2);
}

#[test]
fn numbers_and_tuples_are_ordered_as_in_python() {
    let snapshot = &mut Snapshot::new(Tid(1));
    let tree = TreeSet::create(snapshot, Family::OO);
    let tuple = |items: &[PyValue]| PyValue::tuple(items.to_vec());
    let numbers = [(-1).into(), PyValue::from(false), 0.5.into(), 1.into(), 2.into()];
    let tuples = numbers.map(|number| tuple(&["a".into(), PyValue::NONE, number]));
    for tuple in tuples.iter().rev() {
        assert!(tree.insert(snapshot, tuple.clone()).unwrap());
    }
    assert!(!tree.insert(snapshot, tuple(&["a".into(), PyValue::NONE, true.into()])).unwrap());
    assert!(tree.insert(snapshot, tuple(&["a".into(), PyValue::NONE])).unwrap());
    let mut range = tree.range(..).unwrap();
    let mut found = Vec::new();
    while let Some(key) = range.next(snapshot).unwrap() {
        found.push(format!("{key:?}"));
    }
    let expected = [
        "(\"a\", None)",
        "(\"a\", None, -1)",
        "(\"a\", None, False)",
        "(\"a\", None, 0.5)",
        "(\"a\", None, 1)",
    ];
    assert_eq!(found[..5], expected);
    assert_eq!(found.len(), 6);
}

#[test]
fn a_handle_is_for_one_kind_of_class() {
    let snapshot = &mut Snapshot::new(Tid(1));
    let set = TreeSet::create(snapshot, Family::OO).id();
    let error = BTree::open(snapshot, set).unwrap_err();
    let text = format!("{set}, a BTrees.OOBTree.OOTreeSet, is not a BTree or Bucket of BTrees");
    assert_eq!(error.to_string(), text);
    snapshot.add(Oid(5), &Class::new("persistent.mapping", "PersistentMapping"), PyValue::NONE);
    let error = TreeSet::open(snapshot, Oid(5)).unwrap_err();
    assert!(matches!(error, Error::BTree(BTreeError::WrongClass { .. })), "{error}");
}

/// The first damage in the set with oid 1.
fn damage(nodes: &[(u64, &str, PyValue)]) -> Option<Error> {
    let (mut snapshot, tree) = tree_of_states(nodes);
    let snapshot = &mut snapshot;
    let damage = tree.check(snapshot).err();
    // No operation may panic or run for ever, and one that fails changes nothing.
    for key in 0..12 {
        let before = snapshot.changes(&[]);
        if tree.remove(snapshot, key).is_err() {
            assert_eq!(snapshot.changes(&[]), before);
        }
        let _ = tree.max_key_to(snapshot, key);
        let _ = tree.min_key_from(snapshot, key);
        let _ = tree.insert(snapshot, key);
        let _ = tree.len(snapshot);
        let mut range = tree.range(PyValue::from(key)..).unwrap();
        while let Ok(Some(_)) = range.next(snapshot) {}
    }
    damage
}

fn tuple(items: impl Into<Vec<PyValue>>) -> PyValue {
    PyValue::tuple(items.into())
}

fn set_state(keys: &[i64], next: Option<u64>) -> PyValue {
    let keys = tuple(keys.iter().map(|key| (*key).into()).collect::<Vec<_>>());
    tuple([keys].into_iter().chain(next.map(bucket)).collect::<Vec<_>>())
}

fn bucket(oid: u64) -> PyValue {
    PyValue::reference(Oid(oid), &Class::new("BTrees.IOBTree", "IOSet"))
}

fn node(oid: u64) -> PyValue {
    PyValue::reference(Oid(oid), &Class::new("BTrees.IOBTree", "IOTreeSet"))
}

/// The state of a node with two children and the key between them.
fn node_state(children: [PyValue; 2], key: i64, first: u64) -> PyValue {
    let [left, right] = children;
    tuple([tuple([left, key.into(), right]), bucket(first)])
}

#[test]
fn damage_is_found() {
    let root = || (1, "IOTreeSet", node_state([bucket(2), bucket(3)], 5, 2));
    let first = |next| (2, "IOSet", set_state(&[1, 3], next));
    let second = || (3, "IOSet", set_state(&[5, 7], None));
    let at = |oid: u64, damage| Some(BTreeError::Damaged { id: Oid(oid).into(), damage }.into());

    assert_eq!(damage(&[root(), first(Some(3)), second()]), None);
    assert_eq!(damage(&[root(), first(None), second()]), at(2, Damage::NextBucket));
    assert_eq!(damage(&[root(), first(Some(2)), second()]), at(2, Damage::NextBucket));
    let empty = (3, "IOSet", set_state(&[], None));
    assert_eq!(damage(&[root(), first(Some(3)), empty]), at(3, Damage::Empty));
    let low = (3, "IOSet", set_state(&[4, 7], None));
    assert_eq!(damage(&[root(), first(Some(3)), low]), at(3, Damage::KeyRange));
    let high = (2, "IOSet", set_state(&[1, 5], Some(3)));
    assert_eq!(damage(&[root(), high, second()]), at(2, Damage::KeyRange));
    let unordered = (3, "IOSet", set_state(&[7, 5], None));
    assert_eq!(damage(&[root(), first(Some(3)), unordered]), at(3, Damage::KeyOrder));
    let wrong_first = (1, "IOTreeSet", node_state([bucket(2), bucket(3)], 5, 3));
    assert_eq!(damage(&[wrong_first, first(Some(3)), second()]), at(1, Damage::FirstBucket));
    let itself = (1, "IOTreeSet", tuple([tuple([node(1)]), bucket(2)]));
    assert_eq!(damage(&[itself, first(Some(3)), second()]), at(1, Damage::TooDeep));
    let two_levels = || (1, "IOTreeSet", node_state([node(4), node(5)], 5, 2));
    let nested = (4, "IOTreeSet", tuple([tuple([set_state(&[1], None)])]));
    let right = || (5, "IOTreeSet", tuple([tuple([bucket(3)]), bucket(3)]));
    assert_eq!(damage(&[two_levels(), nested, right(), second()]), at(1, Damage::FirstBucket));
    let nested = (5, "IOTreeSet", tuple([tuple([set_state(&[5], None)])]));
    let left = || (4, "IOTreeSet", tuple([tuple([bucket(2)]), bucket(2)]));
    assert_eq!(damage(&[two_levels(), left(), nested, first(None)]), at(5, Damage::NestedBucket));
    let nothing = (5, "IOTreeSet", PyValue::NONE);
    assert_eq!(damage(&[two_levels(), left(), nothing, first(None)]), at(5, Damage::Empty));
    assert_eq!(damage(&[two_levels(), left(), right(), first(Some(3)), second()]), None);
    let other = PyValue::reference(Oid(3), &Class::new("BTrees.IOBTree", "IOBucket"));
    let mixed = (1, "IOTreeSet", node_state([bucket(2), other], 5, 2));
    let error = damage(&[mixed, first(Some(3)), second()]).unwrap();
    assert!(matches!(error, Error::State { .. }), "{error}");
    let values = (3, "IOBucket", tuple([tuple([5.into(), 6.into()])]));
    assert_eq!(damage(&[root(), first(Some(3)), values]), at(3, Damage::WrongChild));
}

/// A snapshot with the record of the root only, and the number of times that an operation had to wait
/// for records.
fn rounds<R>(
    records: &BTreeMap<Oid, (Tid, Bytes)>,
    mut operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
) -> (R, usize) {
    let mut snapshot = Snapshot::new(Tid(5));
    let mut rounds = 0;
    loop {
        match operation(&mut snapshot) {
            Ok(result) => return (result, rounds),
            Err(Error::NotLoaded(_)) => {
                rounds += 1;
                for oid in snapshot.take_lacking() {
                    let (serial, record) = records[&oid].clone();
                    snapshot.add_record(oid, serial, record);
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn buckets_that_will_be_read_are_loaded_together() {
    let mut recorder = Recorder::begin("IITreeSet", Sizes::new(4, 100));
    (0..2000).for_each(|key| recorder.set(key));
    let oids: Vec<Oid> = (2..2000).map(Oid).collect();
    let changes = recorder.snapshot.changes(&oids).unwrap();
    let records: BTreeMap<_, _> =
        changes.stores.into_iter().map(|store| (store.oid, (Tid(2), store.record))).collect();
    assert!(records.len() > 900, "{} nodes", records.len());

    let open = |snapshot: &mut Snapshot| TreeSet::open(snapshot, Oid(1));
    let (len, waits) = rounds(&records, |snapshot| open(snapshot)?.len(snapshot));
    assert_eq!(len, 2000);
    let (_, checks) = rounds(&records, |snapshot| open(snapshot)?.check(snapshot));
    assert!(waits < 40 && checks < 40, "{waits} and {checks}");

    let mut range = None;
    let (keys, waits) = rounds(&records, |snapshot| {
        let tree = open(snapshot)?;
        let range = range.get_or_insert_with(|| (tree.range(..).unwrap(), 0));
        while range.0.next(snapshot)?.is_some() {
            range.1 += 1;
        }
        Ok(range.1)
    });
    assert_eq!(keys, 2000);
    assert!(waits < 100, "{waits}");
    let (_, waits) = rounds(&records, |snapshot| open(snapshot)?.min_key(snapshot));
    assert_eq!(waits, 2, "the root and the first bucket");
}

/// A state that a node could have, with references to any nodes.
fn any_state() -> impl Strategy<Value = (&'static str, PyValue)> {
    let keys = || prop::collection::vec(0..12_i64, 0..4);
    let set = (keys(), prop::option::of(1..7_u64))
        .prop_map(|(keys, next)| ("IOSet", set_state(&keys, next)));
    let one_bucket =
        keys().prop_map(|keys| ("IOTreeSet", tuple([tuple([set_state(&keys, None)])])));
    let parent = (prop::collection::vec((1..7_u64, 0..12_i64), 1..5), 1..7_u64, any::<bool>());
    let parent = parent.prop_map(|(children, first, are_trees)| {
        let refer = |oid| if are_trees { node(oid) } else { bucket(oid) };
        let mut data = Vec::new();
        for (oid, key) in children {
            data.extend([key.into(), refer(oid)]);
        }
        ("IOTreeSet", tuple([tuple(data.split_off(1)), bucket(first)]))
    });
    prop_oneof![3 => set, 1 => one_bucket, 4 => parent, 1 => Just(("IOTreeSet", PyValue::NONE))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn no_damage_makes_an_operation_panic(states in prop::collection::vec(any_state(), 1..7)) {
        let nodes = states.into_iter().zip(1..).map(|((class, state), oid)| (oid, class, state));
        damage(&nodes.collect::<Vec<_>>());
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Set(i64),
    Remove(i64),
    /// Removes this many keys from here on.
    RemoveMany(i64, usize),
    Commit,
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..60_i64).prop_map(Action::Set),
        3 => (0..60_i64).prop_map(Action::Remove),
        2 => (0..60_i64, 1..8_usize).prop_map(|(key, count)| Action::RemoveMany(key, count)),
        1 => Just(Action::Commit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_tree_has_what_was_put_into_it(
        actions in prop::collection::vec(any_action(), 1..150),
        sizes in (1..5_usize, 2..5_usize),
    ) {
        let mut recorder = Recorder::begin("LOBTree", Sizes::new(sizes.0, sizes.1));
        let mut expected = BTreeSet::new();
        for action in actions.into_iter().chain([Action::Commit]) {
            match action {
                Action::Set(key) => {
                    recorder.set(key);
                    expected.insert(key);
                }
                Action::Remove(key) => {
                    recorder.remove(key);
                    expected.remove(&key);
                }
                Action::RemoveMany(from, count) => {
                    let keys: Vec<i64> = expected.range(from..).take(count).copied().collect();
                    for key in keys {
                        recorder.remove(key);
                        expected.remove(&key);
                    }
                }
                Action::Commit => {
                    recorder.commit();
                }
            }
            let found = recorder.run(|snapshot| {
                let tree = BTree::open(snapshot, Oid(1))?;
                tree.check(snapshot)?;
                let mut range = tree.range(..)?;
                let mut keys = Vec::new();
                while let Some((key, _)) = range.next(snapshot)? {
                    keys.extend(key.as_int());
                }
                Ok(keys)
            });
            prop_assert!(found.iter().eq(&expected));
        }
    }
}
