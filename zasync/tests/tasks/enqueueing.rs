//! Adding jobs to a queue.

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::PyValue;
use rzeo_zasync::queue::{self, Enqueued, Placement};
use rzeo_zasync::{
    Error, Job, JobOptions, JobState, LayoutError, NewJob, Queue, Refusal, Retry, ShardTree,
};

use crate::tasks::{NOW, Tasks, at, keep};

#[test]
fn a_job_is_read_as_it_was_enqueued() {
    let mut tasks = Tasks::new();
    let mut job = NewJob::new("1", "app.mail:welcome");
    job.call.args = vec!["ann".into(), PyValue::tuple(vec![1.into()])];
    job.call.kwargs = vec![("copy".into(), true.into())];
    job.options = JobOptions {
        begin_after: Some(at(-1.0)),
        begin_by: Some(at(60.0)),
        deadline: Some(at(3600.0)),
        timeout: Some(30.0),
        priority: Some(2),
        retry: Some(Retry::IN_TRANSACTION),
        unique: Some("ann".into()),
    };
    let place = tasks
        .placing(|snapshot, placement| {
            let enqueued = queue::enqueue(snapshot, placement, &job)?;
            let Enqueued::New(object, place) = enqueued else { panic!("{enqueued:?}") };
            keep(snapshot, "job", object)?;
            Ok(place)
        })
        .unwrap();
    assert_eq!((place.shard, place.tree), (0, ShardTree::Ready));
    let oid = tasks.kept("job");
    let read = tasks.job(oid);
    assert_eq!((read.id.as_str(), read.call.as_str()), ("1", "app.mail:welcome"));
    assert_eq!(format!("{:?} {:?}", read.args, read.kwargs), r#"["ann", (1,)] [("copy", True)]"#);
    assert_eq!(read.options, job.options);
    assert_eq!((read.state(), read.attempt, read.owner), (JobState::Pending, 0, None));
}

#[test]
fn jobs_that_begin_later_are_kept_apart() {
    let mut tasks = Tasks::new();
    for (begin, tree) in [(-5.0, ShardTree::Ready), (5.0, ShardTree::Later)] {
        let mut job = NewJob::new("1", "app:go");
        job.options.begin_after = Some(at(begin));
        let enqueued =
            tasks.placing(|snapshot, placement| queue::enqueue(snapshot, placement, &job));
        let Ok(Enqueued::New(_, place)) = enqueued else { panic!("{enqueued:?}") };
        assert_eq!(place.tree, tree);
    }
}

#[test]
fn jobs_of_one_moment_and_one_random_number_are_all_kept() {
    let mut tasks = Tasks::new();
    tasks
        .run(|snapshot| {
            let queue = Queue::open(snapshot, "default")?;
            let placement = Placement { queue: &queue, shard: 0, now: NOW, random: u64::MAX };
            for id in ["1", "2", "3"] {
                queue::enqueue(snapshot, &placement, &NewJob::new(id, "app:go"))?;
            }
            Ok(())
        })
        .unwrap();
    let ids: Vec<String> = tasks.choose(NOW).take.into_iter().map(|found| found.job.id).collect();
    assert_eq!(ids, ["1", "2", "3"]);
}

#[test]
fn options_outside_of_their_limits_are_refused() {
    let default = JobOptions::default;
    let retry = Retry::Attempts { max: 0, base: 1.0, factor: 1.0, cap: 1.0, jitter: 0.0 };
    for (options, message) in [
        (
            JobOptions { begin_after: Some(UnixTime(f64::NAN)), ..default() },
            "option begin_after is NaN, not a finite time",
        ),
        (
            JobOptions { timeout: Some(-1.0), ..default() },
            "option timeout is -1, not a number of seconds from 0",
        ),
        (
            JobOptions { priority: Some(8), ..default() },
            "option priority is 8, not a number from 0 to 7",
        ),
        (
            JobOptions { retry: Some(retry), ..default() },
            "option retry is 0, not at least 1 attempt",
        ),
    ] {
        let mut tasks = Tasks::new();
        let mut job = NewJob::new("1", "app:go");
        job.options = options;
        let refused =
            tasks.placing(|snapshot, placement| queue::enqueue(snapshot, placement, &job));
        assert_eq!(refused.unwrap_err().to_string(), message);
    }
}

#[test]
fn a_pending_job_absorbs_others_of_its_name() {
    let mut tasks = Tasks::new();
    let unique = || JobOptions { unique: Some("index".into()), ..JobOptions::default() };
    let first = tasks.enqueue("first", unique());
    assert_eq!(tasks.enqueue("second", unique()), first);
    tasks.claim(first, NOW).unwrap();
    let third = tasks.enqueue("third", unique());
    assert_ne!(third, first, "a job that runs has read its data already");
    assert_eq!(tasks.enqueue("fourth", unique()), third);
    // An undo has removed the record.
    tasks.database.records.remove(&third);
    assert_ne!(tasks.enqueue("fifth", unique()), third);
}

#[test]
fn a_transaction_that_relies_on_a_pending_job_conflicts_if_it_is_taken() {
    let mut tasks = Tasks::new();
    let mut job = NewJob::new("1", "app:go");
    job.options.unique = Some("index".into());
    let first = tasks.enqueue("first", job.options.clone());
    let (enqueued, changes) = tasks
        .prepare(|snapshot| {
            let queue = Queue::open(snapshot, "default")?;
            let placement = Placement { queue: &queue, shard: 0, now: NOW, random: 1 };
            let enqueued = queue::enqueue(snapshot, &placement, &job)?;
            keep(snapshot, "changed data", enqueued.job())?;
            Ok(enqueued)
        })
        .unwrap();
    assert_eq!(enqueued, Enqueued::Existing(first.into()));
    tasks.claim(first, NOW).unwrap();
    assert!(!tasks.commit(&changes));
}

#[test]
fn a_held_job_is_taken_when_it_is_released() {
    let mut tasks = Tasks::new();
    tasks
        .placing(|snapshot, placement| {
            let job = NewJob::new("1", "app:go");
            let enqueued = queue::enqueue_held(snapshot, placement, &job)?;
            keep(snapshot, "held", enqueued.job())
        })
        .unwrap();
    let held = tasks.kept("held");
    assert_eq!(tasks.state(held), JobState::Held);
    assert!(tasks.choose(NOW).take.is_empty());
    assert_eq!(tasks.claim(held, NOW).unwrap_err(), Refusal::NotPending(JobState::Held).into());
    let release = |tasks: &mut Tasks| {
        tasks.placing(|snapshot, placement| queue::release(snapshot, placement, held))
    };
    assert_eq!(release(&mut tasks).unwrap().tree, ShardTree::Ready);
    assert_eq!(release(&mut tasks), Err(Refusal::NotHeld(JobState::Pending).into()));
    let choice = tasks.choose(NOW);
    assert_eq!(choice.take.len(), 1);
    assert!(choice.misplaced.is_empty(), "{choice:?}");
}

#[test]
fn records_that_are_no_jobs_are_named() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    for (key, value, message) in [
        ("state", PyValue::from("lost"), "state is \"lost\", not a state of a job"),
        ("state", 1.into(), "state is 1, not a text"),
        ("call", 1.into(), "call is 1, not a text or a function"),
        ("args", 1.into(), "args is 1, not a tuple or list"),
        ("kwargs", 1.into(), "kwargs is 1, not a dict"),
        (
            "kwargs",
            PyValue::dict(vec![(1.into(), 2.into())]),
            "kwargs is {1: 2}, not a dict with texts as keys",
        ),
        ("begin_after", f64::INFINITY.into(), "begin_after is inf, not a finite number"),
        ("priority", 9.into(), "priority is 9, not a number from 0 to 7"),
        ("attempt", (-1).into(), "attempt is -1, not a count"),
        ("lease", "x".into(), "lease is \"x\", not an integer of 64 bits"),
        ("crashes", PyValue::tuple(vec!["x".into()]), "crashes is (\"x\",), not a tuple of times"),
        (
            "parked",
            PyValue::tuple(vec!["x".into()]),
            "parked is (\"x\",), not a tuple of two integers",
        ),
        ("side", 1.into(), "side is 1, not a reference to an object"),
        ("retry", "x".into(), "retry is \"x\", not 'never' or a dict"),
    ] {
        let before = tasks.database.records[&job].clone();
        tasks.put(job, key, value);
        let error = tasks.run(|snapshot| Job::read(snapshot, job)).unwrap_err();
        let Error::Layout(LayoutError::Malformed { .. }) = error else { panic!("{error:?}") };
        assert_eq!(error.to_string(), format!("job {job}/{message}"));
        tasks.database.records.insert(job, before);
    }
    tasks.put(job, "call", PyValue::NONE);
    let read = tasks.run(|snapshot| Job::read(snapshot, job));
    assert_eq!(read.unwrap_err(), Refusal::NotAJob.into());
    let absent = tasks.run(|snapshot| Job::read(snapshot, Oid(0x999))).unwrap_err();
    assert!(matches!(absent, Error::Layout(LayoutError::Dangling { .. })), "{absent:?}");
}
