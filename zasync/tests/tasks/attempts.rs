//! The ends of attempts, and cancelling.

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::{PersistentMapping, Snapshot};
use rzeo_zasync::attempt::{self, AfterFailure};
use rzeo_zasync::deferred::{self, Cancelled};
use rzeo_zasync::{Error, Failure, JobOptions, JobState, Lease, Refusal, Retry};

use crate::tasks::{LEASE, NOW, Tasks, at, item};

const RETRY: Retry = Retry::Attempts { max: 2, base: 5.0, factor: 3.0, cap: 60.0, jitter: 0.0 };

fn finish(tasks: &mut Tasks, job: Oid, lease: Lease) -> Result<(), Error> {
    tasks.run(|snapshot| attempt::finish(snapshot, job, lease, 42.into(), at(1.0)))
}

fn fail(tasks: &mut Tasks, job: Oid, now: UnixTime) -> Result<AfterFailure, Error> {
    let failure = Failure { trace: Some("line 1".into()), ..Failure::new("ValueError", "no") };
    tasks.run(|snapshot| attempt::fail(snapshot, job, LEASE, &failure, &RETRY, now, 0))
}

fn cancel(tasks: &mut Tasks, job: Oid) -> Result<Cancelled, Error> {
    tasks.run(|snapshot| deferred::cancel(snapshot, job, at(2.0)))
}

#[test]
fn the_attempt_that_owns_a_job_gives_it_its_result() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    assert_eq!(finish(&mut tasks, job, LEASE), Err(Refusal::Fenced(JobState::Pending).into()));
    tasks.claim(job, NOW).unwrap();
    assert_eq!(finish(&mut tasks, job, Lease(5)), Err(Refusal::Fenced(JobState::Running).into()));
    finish(&mut tasks, job, LEASE).unwrap();
    let done = tasks.deferred(job);
    assert_eq!((done.state, done.result.unwrap().as_int()), (JobState::Done, Some(42)));
    assert_eq!(finish(&mut tasks, job, LEASE), Err(Refusal::Fenced(JobState::Done).into()));
}

#[test]
fn a_result_and_the_data_of_the_function_are_stored_together_or_not_at_all() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    let work = |snapshot: &mut Snapshot| {
        snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| root.insert("data", 1))?;
        attempt::finish(snapshot, job, LEASE, 42.into(), NOW)
    };
    let (_, late) = tasks.prepare(work).unwrap();
    tasks.run(|snapshot| attempt::give_back(snapshot, job, LEASE, NOW)).unwrap();
    tasks
        .on_queue(|snapshot, queue| {
            rzeo_zasync::queue::claim(snapshot, queue, job, "other", Lease(6), NOW)
        })
        .unwrap();
    assert!(!tasks.commit(&late), "the job has another owner");
    assert_eq!(tasks.run(work), Err(Refusal::Fenced(JobState::Running).into()));
    let data = tasks
        .run(|snapshot| Ok(snapshot.read::<PersistentMapping>(Oid::ROOT)?.get("data").cloned()));
    assert!(data.unwrap().is_none());
}

#[test]
fn items_that_this_crate_does_not_know_are_kept() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    tasks.put(job, "tags", "nightly");
    finish(&mut tasks, job, LEASE).unwrap();
    let tags = tasks
        .run(|snapshot| Ok(snapshot.read::<PersistentMapping>(job)?.get("tags").cloned()))
        .unwrap();
    assert_eq!(tags.unwrap().as_text(), Some("nightly"));
}

#[test]
fn a_failed_job_is_executed_again_until_its_last_attempt() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    assert_eq!(fail(&mut tasks, job, at(1.0)), Ok(AfterFailure::Retry(at(6.0))));
    let read = tasks.job(job);
    assert_eq!((read.state(), read.owner.as_deref()), (JobState::Pending, None));
    assert_eq!(item(Some(&read.errors[0]), "message").unwrap(), "no");
    assert_eq!(tasks.claim(job, at(5.0)).unwrap_err(), Refusal::NotDue(at(6.0)).into());
    assert_eq!(tasks.claim(job, at(6.0)).unwrap().attempt, 2);
    assert_eq!(fail(&mut tasks, job, at(7.0)), Ok(AfterFailure::Failed));
    let failed = tasks.deferred(job);
    assert_eq!(failed.state, JobState::Failed);
    for (key, expected) in
        [("kind", "ValueError"), ("message", "no"), ("trace", "line 1"), ("worker", "w")]
    {
        assert_eq!(item(failed.failure.as_ref(), key).unwrap(), expected);
    }
    assert_eq!(fail(&mut tasks, job, at(8.0)), Err(Refusal::Fenced(JobState::Failed).into()));
}

#[test]
fn the_option_of_the_job_is_stronger_than_the_default() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions { retry: Some(Retry::Never), ..JobOptions::default() });
    assert_eq!(fail(&mut tasks, job, NOW), Ok(AfterFailure::Failed));
}

#[test]
fn a_job_is_not_repeated_after_its_deadline_but_before_it() {
    for (deadline, expected) in [(6.0, AfterFailure::Failed), (6.5, AfterFailure::Retry(at(6.0)))] {
        let mut tasks = Tasks::new();
        let options = JobOptions { deadline: Some(at(deadline)), ..JobOptions::default() };
        let job = tasks.running(options);
        assert_eq!(fail(&mut tasks, job, at(1.0)), Ok(expected));
    }
}

#[test]
fn the_time_to_begin_does_not_concern_later_attempts() {
    let mut tasks = Tasks::new();
    let options = JobOptions { begin_by: Some(at(2.0)), ..JobOptions::default() };
    let job = tasks.running(options);
    fail(&mut tasks, job, at(1.0)).unwrap();
    tasks.claim(job, at(100.0)).unwrap();
}

#[test]
fn only_the_last_failures_are_kept() {
    let mut tasks = Tasks::new();
    let retry = Retry::Attempts { max: 99, base: 0.0, factor: 1.0, cap: 0.0, jitter: 0.0 };
    let job = tasks.running(JobOptions { retry: Some(retry), ..JobOptions::default() });
    for number in 0..12 {
        let failure = Failure::new("E", number);
        tasks
            .run(|snapshot| attempt::fail(snapshot, job, LEASE, &failure, &retry, NOW, 0))
            .unwrap();
        tasks.claim(job, NOW).unwrap();
    }
    let errors = tasks.job(job).errors;
    assert_eq!(errors.len(), 10);
    assert_eq!(item(Some(&errors[0]), "message").unwrap(), "2");
}

#[test]
fn a_snoozed_job_goes_on_later_with_the_same_attempt() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    let snooze = |tasks: &mut Tasks, until| {
        tasks.run(|snapshot| attempt::snooze(snapshot, job, LEASE, until))
    };
    let refused = snooze(&mut tasks, UnixTime(f64::NAN)).unwrap_err();
    assert_eq!(refused.to_string(), "option until is NaN, not a finite time");
    snooze(&mut tasks, at(30.0)).unwrap();
    assert_eq!(snooze(&mut tasks, at(40.0)), Err(Refusal::Fenced(JobState::Pending).into()));
    assert_eq!(tasks.claim(job, at(30.0)).unwrap().attempt, 1);
    cancel(&mut tasks, job).unwrap();
    assert_eq!(snooze(&mut tasks, at(40.0)), Err(Refusal::CancelRequested.into()));
}

#[test]
fn a_job_that_is_given_back_keeps_its_attempts() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    let give_back = |tasks: &mut Tasks, job| {
        tasks.run(|snapshot| attempt::give_back(snapshot, job, LEASE, NOW))
    };
    assert_eq!(give_back(&mut tasks, job), Ok(JobState::Pending));
    assert_eq!(give_back(&mut tasks, job), Err(Refusal::Fenced(JobState::Pending).into()));
    let read = tasks.job(job);
    assert_eq!((read.attempt, read.interruptions, read.crashes.len()), (0, 1, 0));
    let options = JobOptions { retry: Some(Retry::Never), ..JobOptions::default() };
    let never = tasks.enqueue("never", options);
    tasks.claim(never, NOW).unwrap();
    assert_eq!(give_back(&mut tasks, never), Ok(JobState::Failed));
    let failure = tasks.deferred(never).failure;
    assert_eq!(item(failure.as_ref(), "kind").unwrap(), "interrupted");
}

#[test]
fn a_job_that_waits_is_cancelled_at_once() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    assert_eq!(cancel(&mut tasks, job), Ok(Cancelled::Now));
    assert_eq!(tasks.state(job), JobState::Cancelled);
    let refused = tasks.claim(job, NOW).unwrap_err();
    assert_eq!(refused, Refusal::NotPending(JobState::Cancelled).into());
    assert_eq!(cancel(&mut tasks, job), Err(Refusal::TooLate(JobState::Cancelled).into()));
    assert_eq!(tasks.choose(NOW).unsettled.len(), 1);
}

#[test]
fn of_a_claim_and_a_cancellation_one_wins() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    let (_, changes) = tasks.prepare(|snapshot| deferred::cancel(snapshot, job, NOW)).unwrap();
    tasks.claim(job, NOW).unwrap();
    assert!(!tasks.commit(&changes));
    assert_eq!(cancel(&mut tasks, job), Ok(Cancelled::Requested));
}

#[test]
fn a_running_job_is_asked_to_stop_and_has_no_other_outcome_then() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    let stop = |tasks: &mut Tasks| tasks.run(|snapshot| attempt::stop(snapshot, job, LEASE, NOW));
    assert_eq!(stop(&mut tasks), Err(Refusal::NotCancelled.into()));
    let (_, result) =
        tasks.prepare(|snapshot| attempt::finish(snapshot, job, LEASE, 1.into(), NOW)).unwrap();
    assert_eq!(cancel(&mut tasks, job), Ok(Cancelled::Requested));
    assert_eq!(cancel(&mut tasks, job), Ok(Cancelled::Requested));
    assert!(!tasks.commit(&result), "the request was first");
    assert_eq!(finish(&mut tasks, job, LEASE), Err(Refusal::CancelRequested.into()));
    stop(&mut tasks).unwrap();
    assert_eq!(tasks.state(job), JobState::Cancelled);
    assert_eq!(stop(&mut tasks), Err(Refusal::Fenced(JobState::Cancelled).into()));
}

#[test]
fn a_failure_and_an_interruption_honour_a_request_to_cancel() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    cancel(&mut tasks, job).unwrap();
    assert_eq!(fail(&mut tasks, job, NOW), Ok(AfterFailure::Cancelled));
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    cancel(&mut tasks, job).unwrap();
    let given_back = tasks.run(|snapshot| attempt::give_back(snapshot, job, LEASE, NOW));
    assert_eq!(given_back, Ok(JobState::Cancelled));
}

#[test]
fn a_result_that_is_final_is_not_cancelled() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    finish(&mut tasks, job, LEASE).unwrap();
    assert_eq!(cancel(&mut tasks, job), Err(Refusal::TooLate(JobState::Done).into()));
}

#[test]
fn a_crash_counts_against_the_job_and_not_as_an_attempt() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    for crashes in 1..attempt::CRASHES_MAX {
        let state = tasks.run(|snapshot| attempt::crash(snapshot, job, LEASE, NOW));
        assert_eq!(state, Ok(JobState::Pending));
        let read = tasks.job(job);
        assert_eq!((read.crashes.len(), read.attempt), (crashes, 0));
        tasks.claim(job, NOW).unwrap();
    }
    // Deaths of long ago do not count.
    let later = at(attempt::CRASH_WINDOW.as_secs_f64() + 1.0);
    let state = tasks.run(|snapshot| attempt::crash(snapshot, job, LEASE, later));
    assert_eq!(state, Ok(JobState::Pending));
    for expected in [JobState::Pending, JobState::Failed] {
        tasks.claim(job, later).unwrap();
        let state = tasks.run(|snapshot| attempt::crash(snapshot, job, LEASE, later));
        assert_eq!(state, Ok(expected));
    }
    let failure = tasks.deferred(job).failure;
    assert_eq!(item(failure.as_ref(), "kind").as_deref(), Some("poison"));
}

#[test]
fn only_the_claim_that_has_the_job_may_check_and_renew_it() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    let other = Lease(LEASE.0 + 1);
    let fenced = Err(Refusal::Fenced(JobState::Running).into());
    assert_eq!(tasks.run(|snapshot| attempt::renew(snapshot, job, other)), fenced);
    let (serial, _) = tasks.database.records[&job];
    tasks.run(|snapshot| attempt::renew(snapshot, job, LEASE)).unwrap();
    assert_ne!(tasks.database.records[&job].0, serial, "it is written, so that others conflict");
    tasks.run(|snapshot| attempt::check(snapshot, job, LEASE)).unwrap();
    tasks.put(job, "cancel", true);
    let checked = tasks.run(|snapshot| attempt::check(snapshot, job, LEASE)).map(|_| ());
    assert_eq!(checked, Err(Refusal::CancelRequested.into()));
}
