//! Choosing, claiming, expiring, rejecting and filing.

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::btree::BTree;
use rzeo_objects::{ObjectId, PersistentList, PersistentMapping, PyValue, Snapshot};
use rzeo_zasync::queue::{self, Choice, Filed, Search};
use rzeo_zasync::{
    Deferred, Error, JobOptions, JobState, LayoutError, Lease, Place, Queue, Refusal, ShardTree,
    attempt, deferred,
};

use crate::tasks::{LEASE, NOW, Tasks, at, item};

fn later(seconds: f64) -> JobOptions {
    JobOptions { begin_after: Some(at(seconds)), ..JobOptions::default() }
}

fn priority(priority: u8) -> JobOptions {
    JobOptions { priority: Some(priority), ..JobOptions::default() }
}

fn ids(choice: &Choice) -> Vec<&str> {
    choice.take.iter().map(|candidate| candidate.job.id.as_str()).collect()
}

fn file(tasks: &mut Tasks, place: Place, now: UnixTime) -> Filed {
    tasks.on_queue(|snapshot, queue| queue::file(snapshot, queue, place, now, 5)).unwrap()
}

/// Adds an entry as a program does that makes the queue by hand.
fn add_entry(tasks: &mut Tasks, key: i64, value: impl Fn(&mut Snapshot) -> PyValue) -> Place {
    tasks
        .run(|snapshot| {
            let mut at: ObjectId = Oid::ROOT.into();
            for key in ["zasync", "queues", "default", "inbox", "0", "ready"] {
                let next = match (key, snapshot.read::<PersistentMapping>(at)) {
                    (_, Ok(mapping)) => mapping.get(key).cloned(),
                    ("0", _) => BTree::open(snapshot, at)?.get(snapshot, 0)?,
                    _ => BTree::open(snapshot, at)?.get(snapshot, key)?,
                };
                at = next.and_then(|value| value.as_object()).unwrap();
            }
            let value = value(snapshot);
            BTree::open(snapshot, at)?.insert(snapshot, key, value)?;
            Ok(())
        })
        .unwrap();
    Place { shard: 0, tree: ShardTree::Ready, key }
}

#[test]
fn jobs_are_taken_by_priority_and_then_by_time() {
    let mut tasks = Tasks::new();
    tasks.enqueue("normal", JobOptions::default());
    tasks.enqueue("urgent", priority(0));
    tasks.enqueue("idle", priority(7));
    tasks.enqueue("due at 20", later(20.0));
    tasks.enqueue("due at 10", later(10.0));
    let choice = tasks.choose(NOW);
    assert_eq!(ids(&choice), ["urgent", "normal", "idle"]);
    assert_eq!(choice.next_due, Some(at(10.0)));
    let choice = tasks.choose(at(15.0));
    assert_eq!(ids(&choice), ["urgent", "normal", "due at 10", "idle"]);
    assert_eq!(choice.next_due, Some(at(20.0)));
    let choice = tasks.search(&Search { now: at(30.0), slots: 2, running: 0, scan_max: 100 });
    assert_eq!(ids(&choice), ["urgent", "normal"]);
}

#[test]
fn only_accepted_jobs_are_taken_and_all_overdue_ones_expire() {
    let mut tasks = Tasks::new();
    tasks.enqueue("other", JobOptions::default());
    let overdue = JobOptions { begin_by: Some(at(2.0)), ..JobOptions::default() };
    let overdue = tasks.enqueue("overdue", overdue);
    let search = Search { now: at(5.0), slots: 9, running: 0, scan_max: 9 };
    let choice = tasks
        .on_queue(|snapshot, queue| queue::choose(snapshot, queue, &[0], &search, |_| false))
        .unwrap();
    assert!(choice.take.is_empty());
    assert_eq!(choice.expired.iter().map(|entry| entry.job).collect::<Vec<_>>(), [overdue.into()]);
    let expire =
        |tasks: &mut Tasks, now| tasks.run(|snapshot| queue::expire(snapshot, overdue, now));
    assert_eq!(expire(&mut tasks, at(1.0)), Err(Refusal::NotExpired.into()));
    assert_eq!(tasks.claim(overdue, at(2.0)).unwrap_err(), Refusal::Expired.into());
    expire(&mut tasks, at(2.0)).unwrap();
    assert_eq!(expire(&mut tasks, at(2.0)), Err(Refusal::TooLate(JobState::Expired).into()));
    let choice = tasks.choose(NOW);
    assert_eq!(
        choice.unsettled.iter().map(|entry| entry.job).collect::<Vec<_>>(),
        [overdue.into()]
    );
}

#[test]
fn a_claim_gives_the_job_to_one_attempt() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    let claim = |tasks: &mut Tasks, owner: &str, lease| {
        tasks.prepare(|snapshot| {
            let queue = Queue::open(snapshot, "default")?;
            queue::claim(snapshot, &queue, job, owner, lease, NOW)
        })
    };
    let (_, slow) = claim(&mut tasks, "slow", Lease(1)).unwrap();
    let (claimed, fast) = claim(&mut tasks, "fast", LEASE).unwrap();
    assert_eq!((claimed.state(), claimed.attempt), (JobState::Running, 1));
    assert!(tasks.commit(&fast));
    assert!(!tasks.commit(&slow), "two claims conflict");
    let refused = claim(&mut tasks, "slow", Lease(1)).unwrap_err();
    assert_eq!(refused, Refusal::NotPending(JobState::Running).into());
    let read = tasks.job(job);
    assert_eq!((read.owner.as_deref(), read.lease), (Some("fast"), Some(LEASE)));
    assert_eq!(read.started, Some(NOW));
    assert!(read.deferred.side.is_some(), "notes must not write the record of a running job");
    assert!(tasks.choose(NOW).take.is_empty());
    let expired = tasks.run(|snapshot| queue::expire(snapshot, job, NOW));
    assert_eq!(expired, Err(Refusal::NotPending(JobState::Running).into()));
}

#[test]
fn a_paused_queue_gives_no_jobs_and_neither_does_one_that_is_paused_meanwhile() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    let claim = |snapshot: &mut Snapshot| {
        let queue = Queue::open(snapshot, "default")?;
        queue::claim(snapshot, &queue, job, "w", LEASE, NOW)
    };
    let (_, changes) = tasks.prepare(claim).unwrap();
    let ctl = tasks
        .run(|snapshot| {
            let mut at: ObjectId = Oid::ROOT.into();
            for key in ["zasync", "queues", "default", "ctl"] {
                let next = match snapshot.read::<PersistentMapping>(at) {
                    Ok(mapping) => mapping.get(key).cloned(),
                    Err(_) => BTree::open(snapshot, at)?.get(snapshot, key)?,
                };
                at = next.and_then(|value| value.as_object()).unwrap();
            }
            Ok(at.oid().unwrap())
        })
        .unwrap();
    tasks.put(ctl, "paused", true);
    assert!(!tasks.commit(&changes));
    assert_eq!(tasks.run(claim).unwrap_err(), Refusal::Paused.into());
    tasks.put(ctl, "paused", false);
    tasks.run(claim).unwrap();
}

#[test]
fn a_job_is_not_claimed_before_it_is_due() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", later(10.0));
    assert_eq!(tasks.claim(job, at(9.0)).unwrap_err(), Refusal::NotDue(at(10.0)).into());
    tasks.claim(job, at(10.0)).unwrap();
}

#[test]
fn a_suspect_job_is_taken_alone() {
    let mut tasks = Tasks::new();
    let suspect = tasks.enqueue("suspect", priority(1));
    tasks.put(suspect, "crashes", PyValue::tuple(vec![NOW.0.into()]));
    tasks.enqueue("other", JobOptions::default());
    assert_eq!(ids(&tasks.choose(NOW)), ["suspect"]);
    let busy = Search { now: NOW, slots: 3, running: 1, scan_max: 9 };
    assert_eq!(ids(&tasks.search(&busy)), ["other"]);
    tasks.enqueue("urgent", priority(0));
    assert_eq!(ids(&tasks.choose(NOW)), ["urgent", "other"]);
    let none = Search { now: NOW, slots: 0, running: 0, scan_max: 9 };
    assert!(tasks.search(&none).take.is_empty());
}

#[test]
fn entries_move_to_where_they_belong() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", later(10.0));
    let choice = tasks.choose(at(20.0));
    assert_eq!((ids(&choice), choice.misplaced.len()), (vec!["job"], 1));
    let place = choice.misplaced[0];
    assert_eq!(file(&mut tasks, place, NOW), Filed::Kept);
    let Filed::Moved(ready) = file(&mut tasks, place, at(20.0)) else { panic!() };
    assert_eq!(ready.tree, ShardTree::Ready);
    assert_eq!(file(&mut tasks, place, at(20.0)), Filed::Absent);
    tasks.put(job, "begin_after", at(100.0).0);
    assert_eq!(tasks.choose(at(20.0)).misplaced, [ready]);
    let Filed::Moved(place) = file(&mut tasks, ready, at(20.0)) else { panic!() };
    assert_eq!(place.tree, ShardTree::Later);

    tasks.claim(job, at(100.0)).unwrap();
    assert_eq!(file(&mut tasks, place, at(100.0)), Filed::Kept);
    tasks.run(|snapshot| attempt::finish(snapshot, job, LEASE, 42.into(), at(101.0))).unwrap();
    assert_eq!(file(&mut tasks, place, at(102.0)), Filed::Kept, "it is not settled");
    tasks.placing(|snapshot, placement| deferred::settle(snapshot, job, placement, NOW)).unwrap();
    assert_eq!(tasks.choose(at(102.0)).misplaced, [place]);
    let Filed::Moved(done) = file(&mut tasks, place, at(102.0)) else { panic!() };
    assert_eq!(done.tree, ShardTree::Done);
    assert_eq!(file(&mut tasks, done, at(102.0)), Filed::Kept);
}

#[test]
fn moving_an_entry_conflicts_with_a_claim_that_is_not_seen() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", later(10.0));
    let place = tasks.choose(at(20.0)).misplaced[0];
    let (_, changes) = tasks
        .prepare(|snapshot| {
            let queue = Queue::open(snapshot, "default")?;
            queue::file(snapshot, &queue, place, at(20.0), 5)
        })
        .unwrap();
    tasks.claim(job, at(20.0)).unwrap();
    assert!(!tasks.commit(&changes));
}

#[test]
fn entries_that_are_no_jobs_are_reported_with_their_path_and_dropped() {
    let mut tasks = Tasks::new();
    let text = add_entry(&mut tasks, 1, |_| "x".into());
    let class = PersistentMapping::class();
    let dangling = add_entry(&mut tasks, 2, |_| PyValue::reference(Oid(0x7777), &class));
    let list = add_entry(&mut tasks, 3, |snapshot| {
        let list = snapshot.create(&PersistentList::class(), PersistentList::new());
        snapshot.reference(list).unwrap()
    });
    tasks.enqueue("good", JobOptions::default());
    let choice = tasks.choose(NOW);
    assert_eq!(ids(&choice), ["good"]);
    let messages: Vec<String> =
        choice.malformed.iter().map(|(_, _, error)| error.to_string()).collect();
    assert_eq!(messages[0], "the record has no id or no call, so it is not a job");
    let expected = "queues/default/inbox[0]/ready[2] refers to object 0x0000000000007777, \
                    which does not exist";
    assert_eq!(messages[1], expected);
    assert!(messages[2].starts_with("queues/default/inbox[0]/ready[3] cannot be used: "));
    for (place, job, _) in &choice.malformed {
        if let Some(job) = job {
            let error = tasks.run(|snapshot| queue::reject(snapshot, *job, NOW)).unwrap_err();
            let Error::Layout(LayoutError::Dangling { .. } | LayoutError::Unusable { .. }) = error
            else {
                panic!("{error:?}")
            };
        }
        assert_eq!(file(&mut tasks, *place, NOW), Filed::Dropped);
    }
    for place in [text, dangling, list] {
        assert_eq!(file(&mut tasks, place, NOW), Filed::Absent);
    }
    assert!(tasks.choose(NOW).malformed.is_empty());
}

#[test]
fn malformed_jobs_fail_and_are_filed() {
    for (key, value, message) in [
        ("call", PyValue::from(5), "call is 5, not a text or a function"),
        ("state", "lost".into(), "state is \"lost\", not a state of a job"),
        ("side", 5.into(), "side is 5, not a reference to an object"),
        ("id", PyValue::NONE, "the record has no id or no call, so it is not a job"),
        ("state", PyValue::NONE, "state is missing"),
        (
            "side",
            PyValue::reference(Oid(0x7777), &PersistentMapping::class()),
            "side refers to object 0x0000000000007777, which does not exist",
        ),
    ] {
        let mut tasks = Tasks::new();
        let job = tasks.enqueue("job", JobOptions::default());
        let reject = |tasks: &mut Tasks| tasks.run(|snapshot| queue::reject(snapshot, job, NOW));
        assert_eq!(reject(&mut tasks), Err(Refusal::NotMalformed.into()));
        tasks.put(job, key, value);
        let choice = tasks.choose(NOW);
        assert_eq!((choice.take.len(), choice.malformed.len()), (0, 1), "{message}");
        reject(&mut tasks).unwrap();
        let rejected: Deferred = tasks.deferred(job);
        assert_eq!(rejected.state, JobState::Failed);
        assert_eq!(item(rejected.failure.as_ref(), "kind").unwrap(), "malformed");
        let found = item(rejected.failure.as_ref(), "message").unwrap();
        assert!(found.ends_with(message), "{found}");
        assert_eq!(tasks.choose(NOW).unsettled.len(), 1);
        tasks
            .placing(|snapshot, placement| deferred::settle(snapshot, job, placement, NOW))
            .unwrap();
        let place = tasks.choose(NOW).misplaced[0];
        let Filed::Moved(place) = file(&mut tasks, place, NOW) else { panic!("{message}") };
        assert_eq!(place.tree, ShardTree::Failed);
        assert!(reject(&mut tasks).is_err());
    }
}
