//! Runs transactions of operations on objects whose records another program has, for the tests in
//! Python (`tests/test_objects.py`). Every line of the standard input and output is JSON.
//!
//! ```text
//! → {"tid": 5, "retries": 0, "operations": [["put", 0, "a", {"pickle": "80034b012e"}], …]}
//! ← {"load": [0]}            → {"records": [[0, 4, "8003…"]]}, null for what is absent
//! ← {"oids": 1}              → {"oids": [7]}
//! ← {"commit": {"stores": [[0, 4, "8003…"]], "checks": [], "new": [["New(0)", 7]]}}
//!                            → {"tid": 6}, or {"conflict": 6, "invalidated": [0]}
//! ← {"result": […]}, or {"failed": "…"}
//! ```
//!
//! An object is an oid, or the name that `create` gave a new one in the same transaction.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use bytes::Bytes;
use rzeo_core::{Oid, Tid};
use rzeo_objects::convert::{from_value, to_value};
use rzeo_objects::{
    Class, Error, Instance, Length, ObjectId, PersistentList, PersistentMapping, PyValue, Snapshot,
    Step, Transaction,
};
use serde_json::{Value as Json, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut lines = std::io::stdin().lock().lines();
    let mut ask = |message: Json| -> Result<Json, Failure> {
        println!("{message}");
        std::io::stdout().flush()?;
        Ok(serde_json::from_str(&lines.next().ok_or("the input ended")??)?)
    };
    let mut answer = json!("ready");
    loop {
        let request = ask(answer)?;
        if request.is_null() {
            return Ok(());
        }
        answer = transaction(&request, &mut ask)?;
    }
}

/// Runs one transaction, and returns what is told at its end.
fn transaction(
    request: &Json,
    ask: &mut impl FnMut(Json) -> Result<Json, Failure>,
) -> Result<Json, Failure> {
    let operations = items(&request["operations"]);
    let snapshot = Snapshot::new(Tid(number(&request["tid"])));
    let operation = |snapshot: &mut Snapshot| run(snapshot, operations);
    let retries = u32::try_from(number(&request["retries"]))?;
    let mut transaction = Transaction::new(snapshot, operation).retries(retries);
    loop {
        match transaction.step() {
            Step::Load(oids) => {
                let oids: Vec<u64> = oids.iter().map(|oid| oid.0).collect();
                for record in items(&ask(json!({ "load": oids }))?["records"]) {
                    let found = record[1].as_u64().map(|serial| (Tid(serial), hex(&record[2])));
                    transaction.loaded(Oid(number(&record[0])), found);
                }
            }
            Step::NewOids(count) => {
                let answer = ask(json!({ "oids": count }))?;
                transaction.add_oids(items(&answer["oids"]).iter().map(|oid| Oid(number(oid))));
            }
            Step::Commit(changes) => {
                let store = |store: &rzeo_objects::Store| {
                    json!([store.oid.0, store.serial.0, to_hex(&store.record)])
                };
                let stores: Vec<Json> = changes.stores.iter().map(store).collect();
                let checks = changes.checks.iter().map(|check| [check.oid.0, check.serial.0]);
                let checks: Vec<[u64; 2]> = checks.collect();
                let answer = ask(json!({ "commit": { "stores": stores, "checks": checks } }))?;
                if let Some(tid) = answer["conflict"].as_u64() {
                    let invalidated =
                        items(&answer["invalidated"]).iter().map(|oid| Oid(number(oid)));
                    if let Err(error) = transaction.conflict(Tid(tid), invalidated) {
                        return Ok(json!({ "failed": error.to_string() }));
                    }
                    continue;
                }
                let (result, _) = transaction.into_result().ok_or("no commit")?;
                return Ok(json!({ "result": result }));
            }
            Step::Unchanged(result) => return Ok(json!({ "result": result })),
            Step::Failed(error) => return Ok(json!({ "failed": error.to_string() })),
        }
    }
}

/// Runs all operations, and returns what those that read have found.
fn run(snapshot: &mut Snapshot, operations: &[Json]) -> Result<Vec<String>, Failed> {
    let mut run = Run { snapshot, names: BTreeMap::new(), found: Vec::new() };
    operations.iter().try_for_each(|operation| run.operation(items(operation)))?;
    Ok(run.found)
}

struct Run<'a> {
    snapshot: &'a mut Snapshot,
    names: BTreeMap<String, ObjectId>,
    found: Vec<String>,
}

/// Why a transaction failed.
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Run<'_> {
    fn operation(&mut self, operation: &[Json]) -> Result<(), Failed> {
        let [name, rest @ ..] = operation else { return Err(Failed("no name".into())) };
        match (text(name), rest) {
            ("create", [name, kind]) => self.create(text(name), kind),
            ("add", [oid]) => {
                let (oid, mapping) = (Oid(number(oid)), PersistentMapping::new());
                self.snapshot.add(oid, &PersistentMapping::class(), mapping);
            }
            ("put", [id, key, value]) => {
                let (id, value) = (self.id(id), self.value(value)?);
                self.snapshot.modify(id, |mapping: &mut PersistentMapping| {
                    mapping.insert(text(key), value);
                })?;
            }
            ("remove", [id, key]) => {
                let id = self.id(id);
                self.snapshot.modify(id, |mapping: &mut PersistentMapping| {
                    mapping.remove(text(key));
                })?;
            }
            ("append", [id, value]) => {
                let (id, value) = (self.id(id), self.value(value)?);
                self.snapshot.modify(id, |list: &mut PersistentList| list.push(value))?;
            }
            ("delete", [id, index]) => {
                let (id, index) = (self.id(id), usize::try_from(number(index))?);
                self.snapshot.modify(id, |list: &mut PersistentList| list.remove(index))?;
            }
            ("change", [id, delta]) => {
                let (id, delta) = (self.id(id), delta.as_i64().unwrap_or_default());
                self.snapshot.modify(id, |length: &mut Length| length.value += delta)?;
            }
            ("set", [id, name, value]) => {
                let (id, value) = (self.id(id), self.value(value)?);
                self.snapshot.modify(id, |instance: &mut Instance| {
                    instance.set(text(name), value);
                })?;
            }
            ("touch", [id, kind]) => self.touch(id, text(kind))?,
            ("check", [id]) => self.snapshot.check_current(self.id(id))?,
            ("show", [id]) => {
                let state = self.snapshot.read::<PyValue>(self.id(id))?;
                self.found.push(format!("{state:?}"));
            }
            ("json", [id]) => {
                let state = self.snapshot.read::<PyValue>(self.id(id))?;
                self.found.push(from_value::<Json>(&state)?.to_string());
            }
            other => return Err(Failed(format!("unknown operation {other:?}"))),
        }
        Ok(())
    }

    fn create(&mut self, name: &str, kind: &Json) {
        let snapshot = &mut *self.snapshot;
        let id = match kind.as_str() {
            Some("mapping") => {
                snapshot.create(&PersistentMapping::class(), PersistentMapping::new())
            }
            Some("list") => snapshot.create(&PersistentList::class(), PersistentList::new()),
            Some("length") => snapshot.create(&Length::class(), Length::default()),
            _ => snapshot.create(&Class::new(text(&kind[0]), text(&kind[1])), Instance::new()),
        };
        self.names.insert(name.to_owned(), id);
    }

    /// Writes an object as it is, as `_p_changed = True` does.
    fn touch(&mut self, id: &Json, kind: &str) -> Result<(), Error> {
        let id = self.id(id);
        match kind {
            "mapping" => self.snapshot.modify(id, |_: &mut PersistentMapping| ()),
            "list" => self.snapshot.modify(id, |_: &mut PersistentList| ()),
            "instance" => self.snapshot.modify(id, |_: &mut Instance| ()),
            _ => self.snapshot.modify(id, |_: &mut PyValue| ()),
        }
    }

    fn id(&self, id: &Json) -> ObjectId {
        match id.as_str() {
            Some(name) => self.names[name],
            None => Oid(number(id)).into(),
        }
    }

    fn value(&mut self, value: &Json) -> Result<PyValue, Failed> {
        if let Some(id) = value.get("object") {
            let id = self.id(id);
            let class = self.snapshot.class(id)?;
            return Ok(PyValue::reference(id, &class));
        }
        if let Some(json) = value.get("json") {
            return Ok(to_value(json)?);
        }
        Ok(PyValue::from_pickle(&hex(&value["pickle"]))?)
    }
}

fn items(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

fn number(json: &Json) -> u64 {
    json.as_u64().unwrap_or_default()
}

fn hex(json: &Json) -> Bytes {
    let digits = text(json).as_bytes().chunks(2);
    let bytes = digits.map(|two| u8::from_str_radix(&String::from_utf8_lossy(two), 16));
    bytes.collect::<Result<Vec<u8>, _>>().expect("the driver writes hexadecimal digits").into()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
