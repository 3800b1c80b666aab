//! Runs transactions of operations on objects whose records another program has, for the tests in
//! Python (`tests/test_objects.py`), with the protocol of `support/json_driver.rs`.
//!
//! An object is an oid, or the name that `create` gave a new one in the same transaction.

use std::collections::BTreeMap;

use json_driver::{Failed, Failure, hex, items, number, serve, text};
use rzeo_core::Oid;
use rzeo_objects::convert::{from_value, to_value};
use rzeo_objects::{
    Class, Error, Instance, Length, ObjectId, PersistentList, PersistentMapping, PyValue, Snapshot,
};
use serde_json::Value as Json;

#[path = "support/json_driver.rs"]
mod json_driver;

fn main() -> Result<(), Failure> {
    serve(run)
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
