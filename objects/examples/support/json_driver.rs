//! Transactions on records that another program has, for the tests in Python
//! (`tests/support/rust_objects.py`). Every line of the standard input and output is JSON.
//!
//! ```text
//! → {"tid": 5, "retries": 0, "operations": [["put", 0, "a", {"pickle": "80034b012e"}], …]}
//! ← {"load": [0]}            → {"records": [[0, 4, "8003…"]]}, null for what is absent
//! ← {"oids": 1}              → {"oids": [7]}
//! ← {"commit": {"stores": [[0, 4, "8003…"]], "checks": [], "new": [["New(0)", 7]]}}
//!                            → {"tid": 6}, or {"conflict": 6, "invalidated": [0]}
//! ← {"result": […]}, or {"failed": "…"}
//! ```

use std::io::{BufRead, Write};

use bytes::Bytes;
use rzeo_core::{Oid, Tid};
use rzeo_objects::{Snapshot, Step, Store, Transaction};
use serde_json::{Value as Json, json};

/// Why the program ends.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// What a transaction does with the operations of a request.
pub(crate) type Run = fn(&mut Snapshot, &[Json]) -> Result<Vec<String>, Failed>;

/// Answers requests until the input ends.
pub(crate) fn serve(run: Run) -> Result<(), Failure> {
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
        answer = transaction(&request, run, &mut ask)?;
    }
}

/// Runs one transaction, and returns what is told at its end.
fn transaction(
    request: &Json,
    run: Run,
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
                let store =
                    |store: &Store| json!([store.oid.0, store.serial.0, to_hex(&store.record)]);
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

/// Why a transaction failed.
pub(crate) struct Failed(pub(crate) String);

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

pub(crate) fn items(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

pub(crate) fn number(json: &Json) -> u64 {
    json.as_u64().unwrap_or_default()
}

pub(crate) fn hex(json: &Json) -> Bytes {
    let digits = text(json).as_bytes().chunks(2);
    let bytes = digits.map(|two| u8::from_str_radix(&String::from_utf8_lossy(two), 16));
    bytes.collect::<Result<Vec<u8>, _>>().expect("the driver writes hexadecimal digits").into()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
