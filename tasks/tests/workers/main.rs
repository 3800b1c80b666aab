//! Workers with functions in Rust, on both runtimes, at a server of this process.
//!
//! The functions are called as they are by programs: over a socket, by a worker with clients of its own.
//! Nothing here waits for a time: each test waits for jobs to end, or for its functions to be called.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod rig;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_channel::mpsc;
use rzeo_core::Oid;
use rzeo_objects::{Error, PersistentMapping, PyValue, Snapshot};
use rzeo_tasks::rzeo_zasync::JobState;
use rzeo_tasks::{Context, Functions};
use smol::future::{poll_once, yield_now};
use smol::stream::StreamExt as _;

use crate::rig::on_both_runtimes;

/// An hour: longer than any of these tests.
const LONG: Duration = Duration::from_secs(3600);

fn functions() -> Functions {
    let add = |a: i64, b: i64| a.checked_add(b).ok_or("the sum is too large");
    let panic = || -> Result<(), String> { panic!("a wheel came off") };
    let note = |context: Context, value: i64| async move {
        context.note("value", value).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(format!("{} {}", context.id(), context.attempt()))
    };
    Functions::new()
        .add("app:add", add)
        .add("app:panic", panic)
        .add_async("app:note", note)
        .add_in_transaction("app:count", |snapshot: &mut Snapshot| count(snapshot))
        .add("app:large", || Ok::<_, String>(large()))
        .add_in_transaction("app:count-large", |snapshot: &mut Snapshot| {
            count(snapshot).map(|_| large())
        })
}

/// A result that does not fit into a record.
fn large() -> String {
    "x".repeat(16 << 20)
}

/// Adds one to a number in the root object.
fn count(snapshot: &mut Snapshot) -> Result<i64, Error> {
    let number = counted(snapshot)? + 1;
    snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| root.insert("count", number))?;
    Ok(number)
}

fn counted(snapshot: &mut Snapshot) -> Result<i64, Error> {
    let root = snapshot.read::<PersistentMapping>(Oid::ROOT)?;
    Ok(root.get("count").and_then(PyValue::as_int).unwrap_or(0))
}

#[test]
fn functions_of_every_kind_have_results() {
    on_both_runtimes(|rig| async move {
        let (mut tasks, worker) = (rig.tasks().await, rig.worker(functions(), 2).await);
        let sum = rig.enqueue(&mut tasks, "app:add", vec![1.into(), 2.into()]).await;
        let note = rig.enqueue(&mut tasks, "app:note", vec![7.into()]).await;
        let count = rig.enqueue(&mut tasks, "app:count", vec![]).await;

        assert_eq!(tasks.wait(sum).await.unwrap().job.deferred.result.unwrap().as_int(), Some(3));
        let noted = tasks.wait(note).await.unwrap();
        let [(name, value)] = &noted.notes[..] else { panic!("{:?}", noted.notes) };
        assert_eq!((name.as_str(), value.as_int()), ("value", Some(7)));
        let result = noted.job.deferred.result.unwrap();
        assert_eq!(result.as_text(), Some(format!("{} 1", noted.job.id).as_str()));
        assert_eq!(tasks.wait(count).await.unwrap().job.deferred.result.unwrap().as_int(), Some(1));
        worker.end().await;
    });
}

#[test]
fn what_cannot_be_called_fails_with_the_reason() {
    on_both_runtimes(|rig| async move {
        let (mut tasks, worker) = (rig.tasks().await, rig.worker(functions(), 2).await);
        for (call, args, kind, message) in [
            ("app:panic", vec![], "panic", "a wheel came off"),
            ("app:add", vec![1.into()], "arguments", "the function takes 2 arguments, not 1"),
            ("app:add", vec![i64::MAX.into(), 1.into()], "error", "the sum is too large"),
            ("app:large", vec![], "result", "more than 16777216"),
            ("app:count-large", vec![], "result", "more than 16777216"),
        ] {
            let oid = rig.enqueue(&mut tasks, call, args).await;
            let job = tasks.wait(oid).await.unwrap().job;
            assert_eq!(job.state(), JobState::Failed, "{call}");
            let failure = format!("{:?}", job.deferred.failure.unwrap());
            assert!(failure.contains(kind) && failure.contains(message), "{call}: {failure}");
        }
        // A panic ends neither the worker nor its threads.
        let sum = rig.enqueue(&mut tasks, "app:add", vec![1.into(), 2.into()]).await;
        assert_eq!(tasks.wait(sum).await.unwrap().job.state(), JobState::Done);
        assert_eq!(tasks.database().read(counted).await.unwrap(), 0);
        worker.end().await;
    });
}

#[test]
fn a_job_that_has_failed_is_enqueued_once_more() {
    on_both_runtimes(|rig| async move {
        let (mut tasks, worker) = (rig.tasks().await, rig.worker(functions(), 1).await);
        let oid = rig.enqueue(&mut tasks, "app:add", vec![1.into()]).await;
        assert_eq!(tasks.wait(oid).await.unwrap().job.state(), JobState::Failed);
        let again = tasks.retry(oid).await.unwrap();
        let job = tasks.wait(again).await.unwrap().job;
        assert_eq!(
            (job.call.as_str(), job.args.len(), job.state()),
            ("app:add", 1, JobState::Failed)
        );
        assert_ne!(again, oid);
        worker.end().await;

        let waiting = rig.enqueue(&mut tasks, "app:add", vec![]).await;
        let refused = tasks.retry(waiting).await.unwrap_err();
        assert_eq!(refused.to_string(), "it is pending, so it has no outcome yet");
    });
}

/// All jobs write one object, in two workers with several clients each, so most transactions conflict.
#[test]
fn a_function_in_a_transaction_has_its_effect_once() {
    const JOBS: i64 = 12;
    on_both_runtimes(|rig| async move {
        let mut tasks = rig.tasks().await;
        let workers = [rig.worker(functions(), 4).await, rig.worker(functions(), 4).await];
        let mut jobs = Vec::new();
        for _ in 0..JOBS {
            jobs.push(rig.enqueue(&mut tasks, "app:count", vec![]).await);
        }
        let mut results = Vec::new();
        for oid in jobs {
            let job = tasks.wait(oid).await.unwrap().job;
            results.push(job.deferred.result.and_then(|result| result.as_int()));
        }
        results.sort_unstable();
        assert_eq!(results, (1..=JOBS).map(Some).collect::<Vec<_>>());
        assert_eq!(tasks.database().read(counted).await.unwrap(), JOBS);
        for worker in workers {
            worker.end().await;
        }
    });
}

/// A waiting program sees commits of its own client, and not only those of others.
#[test]
fn a_job_can_be_cancelled_by_the_client_that_waits() {
    on_both_runtimes(|rig| async move {
        let mut tasks = rig.tasks().await;
        let oid = rig.enqueue(&mut tasks, "app:never", vec![]).await;
        // The record is in the client's cache then, so that the first poll reads it.
        assert_eq!(tasks.job(oid).await.unwrap().job.state(), JobState::Pending);
        let mut waiting = pin!(tasks.wait(oid));
        assert!(poll_once(&mut waiting).await.is_none());
        tasks.cancel(oid).await.unwrap();
        assert_eq!(waiting.await.unwrap().job.state(), JobState::Cancelled);
    });
}

#[test]
fn a_running_function_is_asked_to_stop() {
    on_both_runtimes(|rig| async move {
        let (started, mut is_started) = mpsc::unbounded();
        let wait = move |context: Context| {
            started.unbounded_send(()).unwrap();
            async move {
                while !context.is_stopped() {
                    yield_now().await;
                }
                Err::<(), _>("stopped")
            }
        };
        let mut tasks = rig.tasks().await;
        let worker = rig.worker(Functions::new().add_async("app:wait", wait), 1).await;
        let oid = rig.enqueue(&mut tasks, "app:wait", vec![]).await;
        is_started.next().await;
        tasks.cancel(oid).await.unwrap();
        assert_eq!(tasks.wait(oid).await.unwrap().job.state(), JobState::Cancelled);
        worker.end().await;
    });
}

#[test]
fn a_blocking_function_stores_notes_and_is_asked_to_stop() {
    on_both_runtimes(|rig| async move {
        let (started, mut is_started) = mpsc::unbounded();
        let wait = move |context: &Context, value: i64| {
            context.note_blocking("value", value).map_err(|error| error.to_string())?;
            started.unbounded_send(()).unwrap();
            while !context.is_stopped() {
                std::thread::yield_now();
            }
            Err::<(), _>("stopped".to_owned())
        };
        let mut tasks = rig.tasks().await;
        let worker = rig.worker(Functions::new().add_with_context("app:wait", wait), 1).await;
        let oid = rig.enqueue(&mut tasks, "app:wait", vec![7.into()]).await;
        is_started.next().await;
        tasks.cancel(oid).await.unwrap();
        let job = tasks.wait(oid).await.unwrap();
        assert_eq!((job.job.state(), job.notes.len()), (JobState::Cancelled, 1));
        worker.end().await;
    });
}

/// A function that computes for long in its transaction keeps neither other jobs nor the worker waiting.
#[test]
fn a_function_in_a_transaction_may_block() {
    on_both_runtimes(|rig| async move {
        let (let_end, end) = std::sync::mpsc::channel::<()>();
        let end = std::sync::Mutex::new(end);
        let block = move |snapshot: &mut Snapshot| {
            let counted = count(snapshot)?;
            let _ = end.lock().unwrap().recv();
            Ok::<_, Error>(counted)
        };
        let mut tasks = rig.tasks().await;
        let functions = functions().add_in_transaction("app:block", block);
        let worker = rig.worker(functions, 2).await;
        let blocked = rig.enqueue(&mut tasks, "app:block", vec![]).await;
        for _ in 0..3 {
            let sum = rig.enqueue(&mut tasks, "app:add", vec![1.into(), 2.into()]).await;
            assert_eq!(tasks.wait(sum).await.unwrap().job.state(), JobState::Done);
        }
        drop(let_end);
        assert_eq!(tasks.wait(blocked).await.unwrap().job.state(), JobState::Done);
        worker.end().await;
    });
}

#[test]
fn a_draining_worker_ends_what_it_has_begun_and_begins_nothing() {
    on_both_runtimes(|rig| async move {
        let (started, mut is_started) = mpsc::unbounded();
        let may_end = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(AtomicU32::new(0));
        let (ends, called) = (may_end.clone(), calls.clone());
        let slow = move |_: Context| {
            called.fetch_add(1, Ordering::SeqCst);
            started.unbounded_send(()).unwrap();
            let ends = ends.clone();
            async move {
                while !ends.load(Ordering::SeqCst) {
                    yield_now().await;
                }
                Ok::<_, String>("done")
            }
        };
        let mut tasks = rig.tasks().await;
        let worker = rig.worker(Functions::new().add_async("app:slow", slow), 1).await;
        let first = rig.enqueue(&mut tasks, "app:slow", vec![]).await;
        is_started.next().await;
        let second = rig.enqueue(&mut tasks, "app:slow", vec![]).await;
        worker.worker.drain(LONG, LONG);
        may_end.store(true, Ordering::SeqCst);
        worker.ended.await;

        assert_eq!(tasks.job(first).await.unwrap().job.state(), JobState::Done);
        assert_eq!(tasks.job(second).await.unwrap().job.state(), JobState::Pending);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(tasks.workers().await.unwrap().len(), 0);
    });
}

/// The worker goes on when the server is back, and what was enqueued meanwhile is executed.
#[test]
fn a_worker_goes_on_after_a_restart_of_the_server() {
    on_both_runtimes(|mut rig| async move {
        let (mut tasks, worker) = (rig.tasks().await, rig.worker(functions(), 2).await);
        let before = rig.enqueue(&mut tasks, "app:count", vec![]).await;
        assert_eq!(tasks.wait(before).await.unwrap().job.state(), JobState::Done);
        rig.restart();
        let after = rig.enqueue(&mut tasks, "app:count", vec![]).await;
        assert_eq!(tasks.wait(after).await.unwrap().job.deferred.result.unwrap().as_int(), Some(2));
        worker.end().await;
    });
}

/// The application's own change and the job are committed together, or neither is.
#[test]
fn a_job_is_enqueued_with_the_data_of_the_application() {
    on_both_runtimes(|rig| async move {
        let (tasks, worker) = (rig.tasks().await, rig.worker(functions(), 1).await);
        let job = rig::job("app:add", vec![1.into(), 2.into()]);
        let refused = tasks.database().transact(|snapshot| {
            count(snapshot)?;
            tasks.enqueue_in(snapshot, &job, 1)?;
            Err::<(), rig::Stop>(rig::Stop::Application)
        });
        assert!(refused.await.is_err());
        assert!(tasks.list(&[], 10).await.unwrap().is_empty());

        let committed = tasks.database().transact(|snapshot| {
            count(snapshot)?;
            Ok::<_, rig::Stop>(tasks.enqueue_in(snapshot, &job, 1)?)
        });
        let committed = committed.await.unwrap();
        let oid = committed.new_oids[&committed.result];
        assert_eq!(tasks.wait(oid).await.unwrap().job.deferred.result.unwrap().as_int(), Some(3));
        assert_eq!(tasks.database().read(counted).await.unwrap(), 1);
        worker.end().await;
    });
}
