//! Executes operations on BTrees for `tests/test_objects_btrees.py`.
//!
//! A request on stdin is a pickled list of commands, a reply on stdout the list of their results, each
//! after its length in four bytes. The first command of a request replaces the storage in memory.

#![allow(clippy::unwrap_used, reason = "a program for a test ends when something is wrong")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::ops::Bound;

use bytes::Bytes;
use rzeo_core::pickle::{dump, load};
use rzeo_core::value::{Opaque, ReadLimits, Value};
use rzeo_core::{Oid, Tid};
use rzeo_objects::btree::{BTree, Family, Sizes, TreeSet};
use rzeo_objects::convert::to_value;
use rzeo_objects::{Class, Error, ObjectId, PyValue, Reference, Snapshot, View};

fn main() -> io::Result<()> {
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let mut length = [0; 4];
    while stdin.read_exact(&mut length).is_ok() {
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stdin.read_exact(&mut request)?;
        let limits = ReadLimits { memory_bytes_max: 1 << 30, ..ReadLimits::DEFAULT };
        let Value::List(commands) = load(&request.into(), &limits).unwrap() else {
            panic!("a request is a list");
        };
        let mut database = None;
        let results = commands.iter().map(|command| execute(&mut database, items(command)));
        let reply = dump(&Value::List(results.collect())).unwrap();
        stdout.write_all(&u32::try_from(reply.len()).unwrap().to_be_bytes())?;
        stdout.write_all(&reply)?;
        stdout.flush()?;
    }
    Ok(())
}

/// A storage in memory, and a transaction.
struct Database {
    records: BTreeMap<Oid, (Tid, Bytes)>,
    last_oid: u64,
    snapshot: Snapshot,
    commits: u32,
    family: Family,
    is_mapping: bool,
    is_tree: bool,
    sizes: Option<Sizes>,
    holder: Oid,
    trees: Vec<ObjectId>,
}

fn execute(database: &mut Option<Database>, command: &[Value]) -> Value {
    let name = text(&command[0]);
    if name == "begin" {
        *database = Some(Database::begin(&command[1..]));
        return Value::None;
    }
    let database = database.as_mut().expect("the first command is \"begin\"");
    match name {
        "abort" => {
            database.snapshot = Snapshot::new(database.snapshot.tid());
            Value::None
        }
        "commit" => database.commit(Tid(oid_bytes(&command[1]))),
        "create" => database.create(index(&command[1])),
        _ => database.operate(name, index(&command[1]), &command[2..]),
    }
}

impl Database {
    fn begin(arguments: &[Value]) -> Self {
        let [last_oid, records, class, sizes, holder, trees] = arguments else {
            panic!("\"begin\" has six arguments");
        };
        let records = items(records).iter().map(|record| {
            let [oid, serial, data] = items(record) else { panic!("a record has three parts") };
            let Value::Bytes(data) = data else { panic!("the data is bytes") };
            (Oid(oid_bytes(oid)), (Tid(oid_bytes(serial)), data.clone()))
        });
        let (family, kind) = text(class).split_at(2);
        let sizes = match sizes {
            Value::None => None,
            sizes => Some(Sizes::new(index(&items(sizes)[0]), index(&items(sizes)[1]))),
        };
        Self {
            records: records.collect(),
            last_oid: index(last_oid) as u64,
            snapshot: Snapshot::new(Tid::ZERO),
            commits: 0,
            family: family_named(family),
            is_mapping: matches!(kind, "BTree" | "Bucket"),
            is_tree: matches!(kind, "BTree" | "TreeSet"),
            sizes,
            holder: Oid(oid_bytes(holder)),
            trees: items(trees).iter().map(|oid| Oid(oid_bytes(oid)).into()).collect(),
        }
    }

    fn create(&mut self, at: usize) -> Value {
        let (family, snapshot) = (self.family, &mut self.snapshot);
        let (id, reference) = match (self.is_mapping, self.is_tree) {
            (true, true) => parts(&BTree::create(snapshot, family)),
            (true, false) => parts(&BTree::create_bucket(snapshot, family)),
            (false, true) => parts(&TreeSet::create(snapshot, family)),
            (false, false) => parts(&TreeSet::create_bucket(snapshot, family)),
        };
        self.trees.push(id);
        let holder = self.holder;
        self.run(|snapshot| {
            BTree::open(snapshot, holder)?.set(snapshot, at.to_string(), reference.clone())
        });
        Value::None
    }

    /// Runs an operation, and loads what it lacks.
    fn run<R>(&mut self, mut operation: impl FnMut(&mut Snapshot) -> Result<R, Error>) -> R {
        loop {
            match operation(&mut self.snapshot) {
                Ok(result) => return result,
                Err(Error::NotLoaded(_)) => {
                    for oid in self.snapshot.take_lacking() {
                        match self.records.get(&oid) {
                            Some((serial, data)) => {
                                self.snapshot.add_record(oid, *serial, data.clone());
                            }
                            None => self.snapshot.add_absent(oid),
                        }
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn commit(&mut self, tid: Tid) -> Value {
        if !self.snapshot.has_changes() {
            // A transaction that only reads is not committed, nor are its reads checked.
            self.snapshot = Snapshot::new(tid);
            return Value::Tuple(vec![Value::List(vec![]), Value::List(vec![])]);
        }
        let available = self.snapshot.new_objects() as u64;
        let oids: Vec<Oid> = (1..=available).map(|number| Oid(self.last_oid + number)).collect();
        let changes = self.snapshot.changes(&oids).unwrap();
        self.last_oid += changes.new_oids.len() as u64;
        for id in &mut self.trees {
            if let Some(oid) = changes.new_oids.get(id) {
                *id = (*oid).into();
            }
        }
        let stores = changes.stores.iter().map(|store| {
            let record = Value::Bytes(store.record.clone());
            Value::Tuple(vec![Value::oid(store.oid), Value::tid(store.serial), record])
        });
        let checks = changes
            .checks
            .iter()
            .map(|check| Value::Tuple(vec![Value::oid(check.oid), Value::tid(check.serial)]));
        let result =
            Value::Tuple(vec![Value::List(stores.collect()), Value::List(checks.collect())]);
        let stored: Vec<Oid> = changes.stores.iter().map(|store| store.oid).collect();
        for store in changes.stores {
            self.records.insert(store.oid, (tid, store.record));
        }
        // Mostly the next transaction has what this one has read.
        self.commits += 1;
        if self.commits.is_multiple_of(4) {
            self.snapshot = Snapshot::new(tid);
        } else {
            self.snapshot.advance(tid, stored);
        }
        result
    }

    fn operate(&mut self, name: &str, at: usize, arguments: &[Value]) -> Value {
        let (id, sizes) = (self.trees[at], self.sizes.unwrap_or(self.family.sizes()));
        let arguments: Vec<PyValue> = arguments.iter().map(py_value).collect();
        if self.is_mapping {
            self.run(|snapshot| {
                let tree = BTree::open(snapshot, id)?.with_sizes(sizes);
                operate_mapping(snapshot, &tree, name, &arguments)
            })
        } else {
            self.run(|snapshot| {
                let tree = TreeSet::open(snapshot, id)?.with_sizes(sizes);
                operate_set(snapshot, &tree, name, &arguments)
            })
        }
    }
}

fn parts<I: rzeo_objects::btree::Items>(
    tree: &rzeo_objects::btree::Tree<I>,
) -> (ObjectId, PyValue) {
    (tree.id(), tree.reference())
}

fn operate_mapping(
    snapshot: &mut Snapshot,
    tree: &BTree,
    name: &str,
    arguments: &[PyValue],
) -> Result<Value, Error> {
    let argument = |at: usize| arguments[at].clone();
    Ok(match name {
        "insert" => Value::Bool(tree.insert(snapshot, argument(0), argument(1))?),
        "replace" => {
            tree.set(snapshot, argument(0), argument(1))?;
            Value::None
        }
        "get" => single(tree.get(snapshot, argument(0))?.as_ref()),
        "range" => {
            let mut range = tree.range(bounds(arguments))?;
            let mut found = Vec::new();
            while let Some((key, item)) = range.next(snapshot)? {
                found.push(Value::Tuple(vec![value(&key), value(&item)]));
            }
            Value::List(found)
        }
        _ => operate_any(snapshot, tree, name, arguments)?,
    })
}

fn operate_set(
    snapshot: &mut Snapshot,
    tree: &TreeSet,
    name: &str,
    arguments: &[PyValue],
) -> Result<Value, Error> {
    let argument = |at: usize| arguments[at].clone();
    Ok(match name {
        "insert" => Value::Bool(tree.insert(snapshot, argument(0))?),
        "get" => {
            let found = tree.contains(snapshot, argument(0))?;
            single(found.then_some(PyValue::NONE).as_ref())
        }
        "range" => {
            let mut range = tree.range(bounds(arguments))?;
            let mut found = Vec::new();
            while let Some(key) = range.next(snapshot)? {
                found.push(Value::Tuple(vec![value(&key), Value::None]));
            }
            Value::List(found)
        }
        _ => operate_any(snapshot, tree, name, arguments)?,
    })
}

fn operate_any<I: rzeo_objects::btree::Items>(
    snapshot: &mut Snapshot,
    tree: &rzeo_objects::btree::Tree<I>,
    name: &str,
    arguments: &[PyValue],
) -> Result<Value, Error> {
    Ok(match (name, arguments) {
        ("remove", [key]) => Value::Bool(tree.remove(snapshot, key.clone())?),
        ("min", [bound]) if bound.is_none() => single(tree.min_key(snapshot)?.as_ref()),
        ("max", [bound]) if bound.is_none() => single(tree.max_key(snapshot)?.as_ref()),
        ("min", [bound]) => single(tree.min_key_from(snapshot, bound.clone())?.as_ref()),
        ("max", [bound]) => single(tree.max_key_to(snapshot, bound.clone())?.as_ref()),
        ("len", []) => Value::Int(i64::try_from(tree.len(snapshot)?).unwrap()),
        ("clear", []) => {
            tree.clear(snapshot)?;
            Value::None
        }
        ("check", []) => {
            tree.check(snapshot)?;
            Value::Bool(true)
        }
        _ => panic!("unknown operation {name} with {} arguments", arguments.len()),
    })
}

/// Bounds as the arguments of Python's `items` give them.
fn bounds(arguments: &[PyValue]) -> (Bound<PyValue>, Bound<PyValue>) {
    let bound = |key: &PyValue, exclude: &PyValue| match (key.is_none(), exclude.view()) {
        (true, _) => Bound::Unbounded,
        (false, View::Bool(true)) => Bound::Excluded(key.clone()),
        (false, _) => Bound::Included(key.clone()),
    };
    (bound(&arguments[0], &arguments[2]), bound(&arguments[1], &arguments[3]))
}

/// An integer of more than 64 bits.
fn big_int(bytes: &[u8]) -> PyValue {
    let is_negative = bytes.last().is_some_and(|top| top & 0x80 != 0);
    let mut wide = [if is_negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    to_value(&i128::from_le_bytes(wide)).unwrap()
}

/// A tuple with a value, or `None` if there is none.
fn single(found: Option<&PyValue>) -> Value {
    found.map_or(Value::None, |found| Value::Tuple(vec![value(found)]))
}

fn family_named(name: &str) -> Family {
    match name {
        "OO" => Family::OO,
        "OI" => Family::OI,
        "OU" => Family::OU,
        "OL" => Family::OL,
        "OQ" => Family::OQ,
        "IO" => Family::IO,
        "II" => Family::II,
        "IU" => Family::IU,
        "IF" => Family::IF,
        "UO" => Family::UO,
        "UU" => Family::UU,
        "UI" => Family::UI,
        "UF" => Family::UF,
        "LO" => Family::LO,
        "LL" => Family::LL,
        "LQ" => Family::LQ,
        "LF" => Family::LF,
        "QO" => Family::QO,
        "QQ" => Family::QQ,
        "QL" => Family::QL,
        "QF" => Family::QF,
        _ => panic!("unknown family {name}"),
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Tuple(items) | Value::List(items) => items,
        other => panic!("{other:?} has no items"),
    }
}

fn text(value: &Value) -> &str {
    let Value::Str(text) = value else { panic!("{value:?} is no text") };
    text
}

fn index(value: &Value) -> usize {
    let Value::Int(int) = value else { panic!("{value:?} is no integer") };
    usize::try_from(*int).unwrap()
}

fn oid_bytes(value: &Value) -> u64 {
    let Value::Bytes(bytes) = value else { panic!("{value:?} is no oid") };
    u64::from_be_bytes(bytes[..].try_into().unwrap())
}

fn py_value(value: &Value) -> PyValue {
    let all = |items: &[Value]| items.iter().map(py_value).collect::<Vec<_>>();
    match value {
        Value::None => PyValue::NONE,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(int) => (*int).into(),
        Value::BigInt(bytes) => big_int(bytes),
        Value::Float(float) => (*float).into(),
        Value::Bytes(bytes) => bytes.clone().into(),
        Value::Str(text) => text.as_str().into(),
        Value::Tuple(items) => PyValue::tuple(all(items)),
        Value::List(items) => PyValue::list(all(items)),
        Value::Dict(items) => {
            let pairs = items.iter().map(|(key, value)| (py_value(key), py_value(value)));
            PyValue::dict(pairs.collect::<Vec<_>>())
        }
        Value::Opaque(opaque) => {
            let Opaque::Reference(content) = &**opaque else { panic!("{opaque:?} is unknown") };
            let [oid, Value::Opaque(class)] = items(content) else { panic!("{content:?}") };
            let Opaque::Global { module, name } = &**class else { panic!("{class:?}") };
            PyValue::reference(Oid(oid_bytes(oid)), &Class::new(module, name))
        }
    }
}

fn value(of: &PyValue) -> Value {
    let all = |items: &[PyValue]| items.iter().map(value).collect();
    match of.view() {
        View::None => Value::None,
        View::Bool(truth) => Value::Bool(truth),
        View::Int(int) => Value::Int(int),
        View::BigInt(bytes) => Value::BigInt(Bytes::copy_from_slice(bytes)),
        View::Float(float) => Value::Float(float),
        View::Bytes(bytes) => Value::Bytes(Bytes::copy_from_slice(bytes)),
        View::Text(text) => Value::text(text),
        View::Tuple(items) => Value::Tuple(all(&items)),
        View::List(items) => Value::List(all(&items)),
        View::Dict(items) => {
            Value::Dict(items.iter().map(|(key, item)| (value(key), value(item))).collect())
        }
        View::Reference(Reference::Strong { id, class: Some(class) }) => {
            let (module, name) = (class.module().into(), class.name().into());
            let class = Opaque::Global { module, name }.into();
            let oid = Value::oid(id.oid().unwrap());
            Opaque::Reference(Value::Tuple(vec![oid, class])).into()
        }
        other => panic!("{other:?} is unknown"),
    }
}
