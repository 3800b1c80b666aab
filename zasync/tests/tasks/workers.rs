//! Workers: registration, beats, the jobs in their hands, and their deaths.

use rzeo_core::{Oid, Tid};
use rzeo_objects::Snapshot;
use rzeo_zasync::deferred::Settlement;
use rzeo_zasync::queue::Placement;
use rzeo_zasync::worker::{self, Closed, WorkerRecord};
use rzeo_zasync::{
    Error, JobOptions, JobState, Lease, Queue, Refusal, Retry, WorkerState, attempt, deferred,
};

use crate::tasks::{LEASE, NOW, Tasks, at, item};

fn claim(tasks: &mut Tasks, id: &str, job: Oid) -> Result<(), Error> {
    tasks
        .on_queue(|snapshot, queue| worker::claim(snapshot, queue, id, job, LEASE, NOW).map(|_| ()))
}

fn close(tasks: &mut Tasks, id: &str, job: Oid) -> Result<Closed, Error> {
    tasks.on_queue(|snapshot, queue| {
        let mut placement = Placement { queue, shard: 0, now: NOW, random: 3 };
        worker::close(snapshot, queue, id, job, &mut placement, NOW)
    })
}

fn active(tasks: &mut Tasks, id: &str) -> Vec<Oid> {
    tasks.on_queue(|snapshot, queue| worker::active(snapshot, queue, id)).unwrap()
}

fn record(tasks: &mut Tasks, id: &str) -> Result<WorkerRecord, Error> {
    tasks.on_queue(|snapshot, queue| WorkerRecord::open(snapshot, queue, id))
}

fn mark_gone(tasks: &mut Tasks, id: &str) {
    let seen = record(tasks, id).unwrap().beat;
    tasks.on_queue(|snapshot, queue| worker::mark_gone(snapshot, queue, id, seen)).unwrap();
}

fn reap(tasks: &mut Tasks, id: &str, job: Oid, seconds: f64) -> Result<JobState, Error> {
    tasks.on_queue(|snapshot, queue| worker::reap(snapshot, queue, id, job, at(seconds)))
}

fn wrong_state(found: WorkerState, expected: WorkerState) -> Error {
    Refusal::WorkerState { found, expected }.into()
}

#[test]
fn a_worker_registers_once_and_shows_that_it_is_alive() {
    let mut tasks = Tasks::new();
    tasks.register("w").unwrap();
    assert_eq!(tasks.register("w"), Err(Refusal::WorkerExists("w".into()).into()));
    assert_eq!(record(&mut tasks, "x").unwrap_err(), Refusal::NoWorker("x".into()).into());
    let before = record(&mut tasks, "w").unwrap();
    assert_eq!((before.state, before.accepts("app:go")), (WorkerState::Up, true));
    assert!(!before.accepts("other:go"));
    tasks
        .on_queue(|snapshot, queue| {
            worker::beat(snapshot, queue, "w", &[("running", 3.into())], at(10.0))
        })
        .unwrap();
    assert!(record(&mut tasks, "w").unwrap().beat > before.beat);
    tasks.register("another").unwrap();
    assert_eq!(tasks.on_queue(worker::workers).unwrap(), ["another", "w"]);
    let slots = tasks.on_queue(|snapshot, queue| worker::wanted_slots(snapshot, queue, "w"));
    assert_eq!(slots, Ok(4));
}

#[test]
fn a_claimed_job_is_active_until_it_is_settled() {
    let mut tasks = Tasks::new();
    tasks.register("w").unwrap();
    let job = tasks.enqueue("job", JobOptions::default());
    assert_eq!(close(&mut tasks, "w", job), Err(Refusal::NotActive(job.into()).into()));
    claim(&mut tasks, "w", job).unwrap();
    assert_eq!(active(&mut tasks, "w"), [job]);
    assert_eq!(close(&mut tasks, "w", job), Err(Refusal::StillRunning.into()));
    assert_eq!(active(&mut tasks, "w"), [job], "a refusal changes nothing");
    tasks.run(|snapshot| attempt::finish(snapshot, job, LEASE, 1.into(), NOW)).unwrap();
    assert!(tasks.choose(NOW).unsettled.is_empty(), "its worker settles it");
    assert_eq!(close(&mut tasks, "w", job), Ok(Closed::Settled(Settlement::default())));
    assert!(active(&mut tasks, "w").is_empty());
    assert!(tasks.deferred(job).is_settled);
}

#[test]
fn a_worker_parts_from_jobs_that_wait_or_are_gone() {
    let mut tasks = Tasks::new();
    tasks.register("w").unwrap();
    let job = tasks.enqueue("job", JobOptions::default());
    claim(&mut tasks, "w", job).unwrap();
    tasks.run(|snapshot| attempt::give_back(snapshot, job, LEASE, NOW)).unwrap();
    assert_eq!(close(&mut tasks, "w", job), Ok(Closed::Released));
    claim(&mut tasks, "w", job).unwrap();
    tasks.database.records.remove(&job);
    assert_eq!(close(&mut tasks, "w", job), Ok(Closed::Released));
    let unstored = tasks.on_queue(|snapshot, queue| {
        let job = deferred::create(snapshot);
        worker::claim(snapshot, queue, "w", job, LEASE, NOW)
    });
    assert_eq!(unstored.unwrap_err(), Refusal::NotAJob.into());
}

#[test]
fn a_worker_drains_and_leaves() {
    let mut tasks = Tasks::new();
    tasks.register("w").unwrap();
    let jobs = ["1", "2"].map(|id| tasks.enqueue(id, JobOptions::default()));
    claim(&mut tasks, "w", jobs[0]).unwrap();
    let leave =
        |tasks: &mut Tasks| tasks.on_queue(|snapshot, queue| worker::leave(snapshot, queue, "w"));
    let drain =
        |tasks: &mut Tasks| tasks.on_queue(|snapshot, queue| worker::drain(snapshot, queue, "w"));
    let up = wrong_state(WorkerState::Up, WorkerState::Draining);
    assert_eq!(leave(&mut tasks), Err(up));
    drain(&mut tasks).unwrap();
    let draining = wrong_state(WorkerState::Draining, WorkerState::Up);
    assert_eq!(drain(&mut tasks), Err(draining.clone()));
    assert_eq!(claim(&mut tasks, "w", jobs[1]), Err(draining));
    assert_eq!(leave(&mut tasks), Err(Refusal::WorkerActive.into()));
    tasks.run(|snapshot| attempt::finish(snapshot, jobs[0], LEASE, 1.into(), NOW)).unwrap();
    close(&mut tasks, "w", jobs[0]).unwrap();
    leave(&mut tasks).unwrap();
    assert!(tasks.on_queue(worker::workers).unwrap().is_empty());
}

#[test]
fn a_worker_that_was_declared_gone_claims_no_jobs_and_sends_no_beats() {
    let mut tasks = Tasks::new();
    tasks.register("w").unwrap();
    let job = tasks.enqueue("job", JobOptions::default());
    let claiming = |snapshot: &mut Snapshot| {
        let queue = Queue::open(snapshot, "default")?;
        worker::claim(snapshot, &queue, "w", job, LEASE, NOW)
    };
    let beating = |snapshot: &mut Snapshot| {
        let queue = Queue::open(snapshot, "default")?;
        worker::beat(snapshot, &queue, "w", &[], NOW)
    };
    let (_, claim) = tasks.prepare(claiming).unwrap();
    let (_, beat) = tasks.prepare(beating).unwrap();
    mark_gone(&mut tasks, "w");
    assert!(!tasks.commit(&claim));
    assert!(!tasks.commit(&beat));
    let gone = wrong_state(WorkerState::Gone, WorkerState::Up);
    assert_eq!(tasks.run(claiming).unwrap_err(), gone);
    assert_eq!(tasks.run(beating).unwrap_err(), gone);
}

#[test]
fn a_worker_that_beats_is_not_declared_gone() {
    let mut tasks = Tasks::new();
    tasks.register("w").unwrap();
    let seen = record(&mut tasks, "w").unwrap().beat;
    let mark = |snapshot: &mut Snapshot| {
        let queue = Queue::open(snapshot, "default")?;
        worker::mark_gone(snapshot, &queue, "w", seen)
    };
    let (_, changes) = tasks.prepare(mark).unwrap();
    tasks.on_queue(|snapshot, queue| worker::beat(snapshot, queue, "w", &[], NOW)).unwrap();
    assert!(!tasks.commit(&changes), "the beat was first");
    assert_eq!(tasks.run(mark), Err(Refusal::WorkerAlive.into()));
    assert_ne!(seen, Tid::ZERO);
}

#[test]
fn the_jobs_of_a_dead_worker_wait_for_another_one() {
    let mut tasks = Tasks::new();
    tasks.register("dead").unwrap();
    tasks.register("alive").unwrap();
    let jobs = ["1", "2"].map(|id| tasks.enqueue(id, JobOptions::default()));
    claim(&mut tasks, "dead", jobs[0]).unwrap();
    claim(&mut tasks, "dead", jobs[1]).unwrap();
    let up = wrong_state(WorkerState::Up, WorkerState::Gone);
    assert_eq!(reap(&mut tasks, "dead", jobs[0], 1.0), Err(up.clone()));
    tasks.run(|snapshot| attempt::finish(snapshot, jobs[1], LEASE, 1.into(), NOW)).unwrap();
    mark_gone(&mut tasks, "dead");

    assert_eq!(reap(&mut tasks, "dead", jobs[0], 1.0), Ok(JobState::Pending));
    let read = tasks.job(jobs[0]);
    assert_eq!((read.attempt, read.interruptions, read.crashes.len()), (0, 1, 1));
    let late = tasks.run(|snapshot| attempt::finish(snapshot, jobs[0], LEASE, 1.into(), NOW));
    assert_eq!(late, Err(Refusal::Fenced(JobState::Pending).into()));
    let again = reap(&mut tasks, "dead", jobs[0], 1.0);
    assert_eq!(again, Err(Refusal::Fenced(JobState::Pending).into()));
    let done = reap(&mut tasks, "dead", jobs[1], 1.0);
    assert_eq!(done, Err(Refusal::Fenced(JobState::Done).into()));

    let forget = |tasks: &mut Tasks, id: &str| {
        tasks.on_queue(|snapshot, queue| worker::forget(snapshot, queue, id))
    };
    assert_eq!(forget(&mut tasks, "dead"), Err(Refusal::WorkerActive.into()));
    assert_eq!(close(&mut tasks, "dead", jobs[0]), Ok(Closed::Released));
    assert_eq!(close(&mut tasks, "dead", jobs[1]), Ok(Closed::Settled(Settlement::default())));
    forget(&mut tasks, "dead").unwrap();
    assert_eq!(forget(&mut tasks, "alive"), Err(up));
    assert_eq!(tasks.on_queue(worker::workers).unwrap(), ["alive"]);
    assert_eq!(
        reap(&mut tasks, "dead", jobs[0], 1.0),
        Err(Refusal::NoWorker("dead".into()).into())
    );
    claim(&mut tasks, "alive", jobs[0]).unwrap();
}

#[test]
fn a_zombie_does_not_end_the_job_of_its_successor() {
    let mut tasks = Tasks::new();
    tasks.register("zombie").unwrap();
    let job = tasks.enqueue("job", JobOptions::default());
    claim(&mut tasks, "zombie", job).unwrap();
    mark_gone(&mut tasks, "zombie");
    reap(&mut tasks, "zombie", job, 1.0).unwrap();
    tasks.register("w").unwrap();
    tasks
        .on_queue(|snapshot, queue| worker::claim(snapshot, queue, "w", job, Lease(8), at(2.0)))
        .unwrap();
    let late = tasks.run(|snapshot| attempt::finish(snapshot, job, LEASE, 1.into(), NOW));
    assert_eq!(late, Err(Refusal::Fenced(JobState::Running).into()));
    assert_eq!(close(&mut tasks, "zombie", job), Ok(Closed::Released));
    assert_eq!(active(&mut tasks, "w"), [job]);
}

/// Has workers die with a job, at these times; returns the states after each death.
fn die_with(tasks: &mut Tasks, job: Oid, deaths: &[f64]) -> Vec<JobState> {
    let mut states = Vec::new();
    for (number, seconds) in deaths.iter().enumerate() {
        let id = format!("w{number}");
        tasks.register(&id).unwrap();
        claim(tasks, &id, job).unwrap();
        mark_gone(tasks, &id);
        states.push(reap(tasks, &id, job, *seconds).unwrap());
    }
    states
}

#[test]
fn a_job_that_kills_its_workers_fails() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    let states = die_with(&mut tasks, job, &[1.0, 2.0, 3.0]);
    assert_eq!(states, [JobState::Pending, JobState::Pending, JobState::Failed]);
    assert_eq!(item(tasks.deferred(job).failure.as_ref(), "kind").unwrap(), "poison");
}

#[test]
fn old_deaths_do_not_count() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    let day = 24.0 * 3600.0;
    let states = die_with(&mut tasks, job, &[1.0, 2.0, day + 1.5]);
    assert_eq!(states, [JobState::Pending, JobState::Pending, JobState::Pending]);
    assert_eq!(tasks.job(job).crashes, [at(2.0), at(day + 1.5)]);
}

#[test]
fn a_dead_worker_ends_jobs_that_must_not_be_repeated_or_were_cancelled() {
    let mut tasks = Tasks::new();
    let options = JobOptions { retry: Some(Retry::Never), ..JobOptions::default() };
    let never = tasks.enqueue("never", options);
    assert_eq!(die_with(&mut tasks, never, &[1.0]), [JobState::Failed]);
    assert_eq!(item(tasks.deferred(never).failure.as_ref(), "kind").unwrap(), "interrupted");

    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    tasks.register("w").unwrap();
    claim(&mut tasks, "w", job).unwrap();
    tasks.run(|snapshot| deferred::cancel(snapshot, job, NOW)).unwrap();
    mark_gone(&mut tasks, "w");
    assert_eq!(reap(&mut tasks, "w", job, 1.0), Ok(JobState::Cancelled));
}
