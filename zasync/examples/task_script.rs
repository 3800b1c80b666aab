//! Runs transactions on queues whose records another program has, for the tests in Python
//! (`tests/test_tasks.py`), with the protocol of `json_driver.rs`.
//!
//! Every operation is a list of its name and its arguments; the queue is always `default`, and a worker is
//! called `w`.

use json_driver::{Failed, Failure, hex, items, number, serve, text};
use rzeo_core::{Oid, UnixTime};
use rzeo_objects::{ObjectId, PersistentMapping, PyValue, Snapshot};
use rzeo_zasync::queue::{self, Placement, Search};
use rzeo_zasync::worker::{self, WorkerInfo};
use rzeo_zasync::{
    Call, Deferred, Error, FollowUp, Job, Lease, NewJob, Queue, Retry, attempt, deferred, layout,
};
use serde_json::{Value as Json, json};

#[path = "../../objects/examples/support/json_driver.rs"]
mod json_driver;

/// All claims of this program have the same lease: it executes one attempt of a job at a time.
const LEASE: Lease = Lease(0xfedc_ba98_7654_3210);

fn main() -> Result<(), Failure> {
    serve(run)
}

/// Runs all operations, and returns the result of each.
fn run(snapshot: &mut Snapshot, operations: &[Json]) -> Result<Vec<String>, Failed> {
    let results = operations.iter().map(|operation| {
        let [name, now, rest @ ..] = items(operation) else {
            return Err(Failed("an operation has a name and a time".into()));
        };
        let now = UnixTime(now.as_f64().unwrap_or_default());
        Ok(execute(snapshot, text(name), now, rest)?.to_string())
    });
    results.collect()
}

fn execute(
    snapshot: &mut Snapshot,
    name: &str,
    now: UnixTime,
    arguments: &[Json],
) -> Result<Json, Failed> {
    if name == "create" {
        layout::create(snapshot)?;
        layout::create_queue(snapshot, "default")?;
        return Ok(Json::Null);
    }
    let queue = &Queue::open(snapshot, "default")?;
    let placement = &mut Placement { queue, shard: 3, now, random: 5 };
    Ok(match (name, arguments) {
        ("enqueue", [id, args]) => {
            let mut job = NewJob::new(text(id), "app:go");
            job.call.args = tuple(args)?;
            let enqueued = queue::enqueue(snapshot, placement, &job)?;
            keep(snapshot, text(id), enqueued.job())?
        }
        ("then", [job, name]) => {
            let follow_up =
                FollowUp { id: text(name).into(), ok: Some(Call::new("a:b")), err: None };
            let added = deferred::then(snapshot, oid(job), &follow_up, placement)?;
            keep(snapshot, text(name), added)?
        }
        ("choose", []) => choose(snapshot, queue, now)?,
        ("register", []) => {
            worker::register(snapshot, queue, "w", &WorkerInfo::default(), now)?;
            Json::Null
        }
        ("claim", [job]) => {
            let job = worker::claim(snapshot, queue, "w", oid(job), LEASE, now)?;
            json!({ "id": job.id, "call": job.call, "args": format!("{:?}", job.args) })
        }
        ("echo", [job]) => {
            let result = PyValue::tuple(Job::read(snapshot, oid(job))?.args);
            attempt::finish(snapshot, oid(job), LEASE, result, now)?;
            Json::Null
        }
        ("fail", [job, message]) => {
            let failure = rzeo_zasync::Failure::new("ValueError", text(message));
            let retry = Retry::IN_TRANSACTION;
            let after = attempt::fail(snapshot, oid(job), LEASE, &failure, &retry, now, 0)?;
            json!(format!("{after:?}"))
        }
        ("stop", [job]) => {
            attempt::stop(snapshot, oid(job), LEASE, now)?;
            Json::Null
        }
        ("close", [job]) => {
            worker::close(snapshot, queue, "w", oid(job), placement, now)?;
            Json::Null
        }
        ("settle", [job]) => {
            deferred::settle(snapshot, oid(job), placement, now)?;
            Json::Null
        }
        ("file", []) => file(snapshot, queue, now)?,
        ("cancel", [job]) => json!(format!("{:?}", deferred::cancel(snapshot, oid(job), now)?)),
        ("state", [job]) => json!(Deferred::read(snapshot, oid(job))?.state.text()),
        other => return Err(Failed(format!("unknown operation {other:?}"))),
    })
}

/// The oids of the jobs that could be taken.
fn choose(snapshot: &mut Snapshot, queue: &Queue, now: UnixTime) -> Result<Json, Error> {
    let choice = look(snapshot, queue, now)?;
    let malformed: Vec<String> =
        choice.malformed.iter().map(|(_, _, error)| error.to_string()).collect();
    let oids = choice.take.iter().filter_map(|found| found.job.object().oid());
    Ok(json!({ "take": oids.map(|oid| oid.0).collect::<Vec<_>>(), "malformed": malformed }))
}

/// Files everything that is misplaced, and returns how many entries that are.
fn file(snapshot: &mut Snapshot, queue: &Queue, now: UnixTime) -> Result<Json, Error> {
    let misplaced = look(snapshot, queue, now)?.misplaced;
    for place in &misplaced {
        queue::file(snapshot, queue, *place, now, 5)?;
    }
    Ok(json!(misplaced.len()))
}

fn look(snapshot: &mut Snapshot, queue: &Queue, now: UnixTime) -> Result<queue::Choice, Error> {
    let shards = queue.shards(snapshot)?;
    let search = Search { now, slots: 1000, running: 0, scan_max: 1000 };
    queue::choose(snapshot, queue, &shards, &search, |_| true)
}

/// Makes an object reachable from the root object.
fn keep(snapshot: &mut Snapshot, name: &str, object: ObjectId) -> Result<Json, Error> {
    let reference = snapshot.reference(object)?;
    snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| root.insert(name, reference))?;
    Ok(Json::Null)
}

fn oid(json: &Json) -> Oid {
    Oid(number(json))
}

/// The items of a pickled tuple.
fn tuple(json: &Json) -> Result<Vec<PyValue>, Failed> {
    let value = PyValue::from_pickle(&hex(json))?;
    Ok(value.as_tuple().ok_or(Failed("the arguments are a tuple".into()))?.into_owned())
}
