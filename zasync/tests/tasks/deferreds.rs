//! Deferreds and what follows them, with the queue and with a fake of it.

use rzeo_core::Oid;
use rzeo_objects::{ObjectId, PersistentList, PyValue, Snapshot};
use rzeo_zasync::deferred::{self, Cancelled, Settlement};
use rzeo_zasync::{
    Call, Error, Failure, FollowUp, FollowUpQueue, JobOptions, JobState, Refusal, attempt,
};

use crate::tasks::{LEASE, NOW, Tasks, item, keep};

/// A queue of follow-ups that only counts.
#[derive(Default)]
struct Counts {
    parked: usize,
    dispatched: usize,
}

impl FollowUpQueue for Counts {
    fn park(&mut self, _snapshot: &mut Snapshot, _job: ObjectId) -> Result<(), Error> {
        self.parked += 1;
        Ok(())
    }

    fn dispatch(&mut self, _snapshot: &mut Snapshot, _job: ObjectId) -> Result<(), Error> {
        self.dispatched += 1;
        Ok(())
    }
}

fn bare(tasks: &mut Tasks) -> Oid {
    tasks
        .run(|snapshot| {
            let deferred = deferred::create(snapshot);
            keep(snapshot, "bare", deferred)
        })
        .unwrap();
    tasks.kept("bare")
}

fn fire(tasks: &mut Tasks, deferred: Oid) -> Result<(), Error> {
    tasks.run(|snapshot| deferred::fire(snapshot, deferred, 7.into(), NOW))
}

fn call(name: &str) -> Option<Call> {
    Some(Call { args: vec!["more".into()], ..Call::new(name) })
}

/// Adds a follow-up that is called `name`.
fn then(tasks: &mut Tasks, deferred: Oid, name: &str, ok: Option<Call>, err: Option<Call>) -> Oid {
    let follow_up = FollowUp { id: name.into(), ok, err };
    tasks
        .placing(|snapshot, placement| {
            let added = deferred::then(snapshot, deferred, &follow_up, placement)?;
            keep(snapshot, name, added)
        })
        .unwrap();
    tasks.kept(name)
}

fn settle(tasks: &mut Tasks, deferred: Oid) -> Result<Settlement, Error> {
    tasks.placing(|snapshot, placement| deferred::settle(snapshot, deferred, placement, NOW))
}

#[test]
fn a_bare_deferred_is_fired_once() {
    let mut tasks = Tasks::new();
    let deferred = bare(&mut tasks);
    assert_eq!(tasks.state(deferred), JobState::Waiting);
    fire(&mut tasks, deferred).unwrap();
    let fired = tasks.deferred(deferred);
    assert_eq!((fired.state, fired.result.unwrap().as_int()), (JobState::Done, Some(7)));
    let late = Err(Refusal::TooLate(JobState::Done).into());
    assert_eq!(fire(&mut tasks, deferred), late);
    let failure = Failure::new("late", "too late");
    let failed = tasks.run(|snapshot| deferred::fail(snapshot, deferred, &failure, NOW));
    assert_eq!(failed, late);
}

#[test]
fn a_bare_deferred_fails_or_is_cancelled_by_hand() {
    let mut tasks = Tasks::new();
    let deferred = bare(&mut tasks);
    let failure = Failure::new("refused", "the person said no");
    tasks.run(|snapshot| deferred::fail(snapshot, deferred, &failure, NOW)).unwrap();
    let failed = tasks.deferred(deferred);
    assert_eq!(item(failed.failure.as_ref(), "message").unwrap(), "the person said no");
    let deferred = bare(&mut tasks);
    let cancelled = tasks.run(|snapshot| deferred::cancel(snapshot, deferred, NOW));
    assert_eq!(cancelled, Ok(Cancelled::Now));
    assert_eq!(fire(&mut tasks, deferred), Err(Refusal::TooLate(JobState::Cancelled).into()));
}

#[test]
fn the_outcome_of_a_job_is_not_set_by_hand() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    assert_eq!(fire(&mut tasks, job), Err(Refusal::HasCall.into()));
    let deferred = bare(&mut tasks);
    let follow_up = then(&mut tasks, deferred, "follow-up", call("app:ok"), None);
    assert_eq!(fire(&mut tasks, follow_up), Err(Refusal::HasCall.into()));
}

#[test]
fn only_final_deferreds_are_settled_and_only_once() {
    let mut tasks = Tasks::new();
    let deferred = bare(&mut tasks);
    let waiting = Err(Refusal::NotFinal(JobState::Waiting).into());
    assert_eq!(settle(&mut tasks, deferred), waiting);
    fire(&mut tasks, deferred).unwrap();
    settle(&mut tasks, deferred).unwrap();
    assert_eq!(settle(&mut tasks, deferred), Err(Refusal::Settled.into()));
}

#[test]
fn a_note_does_not_make_a_settled_deferred_unsettled() {
    let mut tasks = Tasks::new();
    let deferred = bare(&mut tasks);
    fire(&mut tasks, deferred).unwrap();
    settle(&mut tasks, deferred).unwrap();
    tasks.run(|snapshot| deferred::note(snapshot, deferred, "name", 1.into())).unwrap();
    assert_eq!(settle(&mut tasks, deferred), Err(Refusal::Settled.into()));
    let added = then(&mut tasks, deferred, "late", call("app:ok"), None);
    assert_eq!(tasks.state(added), JobState::Pending);
}

#[test]
fn the_follow_up_of_the_right_side_is_called_with_the_outcome() {
    for is_ok in [true, false] {
        let mut tasks = Tasks::new();
        let deferred = bare(&mut tasks);
        let both = then(&mut tasks, deferred, "both", call("app:ok"), call("app:err"));
        assert_eq!(tasks.state(both), JobState::Waiting);
        assert!(tasks.choose(NOW).malformed.is_empty());
        if is_ok {
            fire(&mut tasks, deferred).unwrap();
        } else {
            let failure = Failure::new("E", "no");
            tasks.run(|snapshot| deferred::fail(snapshot, deferred, &failure, NOW)).unwrap();
        }
        assert_eq!(settle(&mut tasks, deferred), Ok(Settlement::default()));
        let choice = tasks.choose(NOW);
        assert_eq!(choice.take.len(), 1, "{choice:?}");
        assert!(choice.misplaced.is_empty(), "the parked entry is gone");
        let job = tasks.job(both);
        assert_eq!(job.state(), JobState::Pending);
        assert_eq!(job.args[1].as_text(), Some("more"));
        if is_ok {
            assert_eq!((job.call.as_str(), job.args[0].as_int()), ("app:ok", Some(7)));
        } else {
            assert_eq!(job.call, "app:err");
            assert_eq!(item(Some(&job.args[0]), "kind").unwrap(), "E");
        }
    }
}

#[test]
fn an_outcome_passes_through_follow_ups_that_have_no_call_for_it() {
    let mut tasks = Tasks::new();
    let deferred = bare(&mut tasks);
    let first = then(&mut tasks, deferred, "first", call("app:ok"), None);
    let second = then(&mut tasks, first, "second", None, call("app:err"));
    let failure = Failure::new("E", "no");
    tasks.run(|snapshot| deferred::fail(snapshot, deferred, &failure, NOW)).unwrap();
    assert_eq!(
        settle(&mut tasks, deferred),
        Ok(Settlement { passed: vec![first.into()], lost: vec![] })
    );
    assert_eq!(tasks.state(first), JobState::Failed);
    // A program that dies here leaves the first follow-up to the next program that looks through the shard.
    let unsettled = tasks.choose(NOW).unsettled;
    assert_eq!(unsettled.iter().map(|entry| entry.job).collect::<Vec<_>>(), [first.into()]);
    assert_eq!(settle(&mut tasks, first), Ok(Settlement::default()));
    let job = tasks.job(second);
    assert_eq!((job.state(), job.call.as_str()), (JobState::Pending, "app:err"));
    assert_eq!(item(Some(&job.args[0]), "message").unwrap(), "no");
}

#[test]
fn a_follow_up_that_is_added_late_is_dispatched_at_once() {
    let mut tasks = Tasks::new();
    let deferred = bare(&mut tasks);
    fire(&mut tasks, deferred).unwrap();
    settle(&mut tasks, deferred).unwrap();
    let late = then(&mut tasks, deferred, "late", call("app:ok"), None);
    assert_eq!(tasks.choose(NOW).take.len(), 1);
    assert_eq!(tasks.state(late), JobState::Pending);
    let passed = then(&mut tasks, deferred, "passed", None, call("app:err"));
    let passed = tasks.deferred(passed);
    assert_eq!((passed.state, passed.is_settled), (JobState::Done, true));
}

#[test]
fn a_follow_up_that_is_added_while_the_deferred_is_settled_is_not_lost() {
    // With a side record and without one.
    for has_side in [true, false] {
        for adds_first in [true, false] {
            let mut tasks = Tasks::new();
            let deferred = bare(&mut tasks);
            if has_side {
                then(&mut tasks, deferred, "earlier", call("app:ok"), None);
            }
            fire(&mut tasks, deferred).unwrap();
            let follow_up = FollowUp { id: "1".into(), ok: call("app:ok"), err: None };
            let mut counts = Counts::default();
            let (_, added) = tasks
                .prepare(|snapshot| {
                    deferred::then(snapshot, deferred, &follow_up, &mut Counts::default())
                })
                .unwrap();
            let (_, settled) = tasks
                .prepare(|snapshot| {
                    counts = Counts::default();
                    deferred::settle(snapshot, deferred, &mut counts, NOW)
                })
                .unwrap();
            assert_eq!(counts.dispatched, usize::from(has_side));
            let (first, second) = if adds_first { (added, settled) } else { (settled, added) };
            assert!(tasks.commit(&first));
            assert!(!tasks.commit(&second), "{has_side} {adds_first}");
        }
    }
}

#[test]
fn follow_ups_work_with_any_queue() {
    let mut tasks = Tasks::new();
    let deferred = bare(&mut tasks);
    let follow_up = FollowUp { id: "1".into(), ok: call("app:ok"), err: None };
    let mut counts = Counts::default();
    tasks
        .run(|snapshot| {
            counts = Counts::default();
            deferred::then(snapshot, deferred, &follow_up, &mut counts)
        })
        .unwrap();
    assert_eq!((counts.parked, counts.dispatched), (1, 0));
    fire(&mut tasks, deferred).unwrap();
    tasks
        .run(|snapshot| {
            counts = Counts::default();
            deferred::settle(snapshot, deferred, &mut counts, NOW)
        })
        .unwrap();
    assert_eq!((counts.parked, counts.dispatched), (0, 1));
}

#[test]
fn a_follow_up_that_was_cancelled_or_undone_is_left_out() {
    let mut tasks = Tasks::new();
    let deferred = bare(&mut tasks);
    let cancelled = then(&mut tasks, deferred, "cancelled", call("app:ok"), None);
    let undone = then(&mut tasks, deferred, "undone", call("app:ok"), None);
    tasks.run(|snapshot| deferred::cancel(snapshot, cancelled, NOW)).unwrap();
    tasks.database.records.remove(&undone);
    fire(&mut tasks, deferred).unwrap();
    assert_eq!(settle(&mut tasks, deferred), Ok(Settlement::default()));
    let choice = tasks.choose(NOW);
    assert!(choice.take.is_empty());
    assert_eq!(choice.unsettled.len(), 1, "somebody settles the cancelled one");
    assert_eq!(tasks.state(cancelled), JobState::Cancelled);
}

#[test]
fn the_follow_ups_of_a_cancelled_job_get_a_failure() {
    let mut tasks = Tasks::new();
    let job = tasks.enqueue("job", JobOptions::default());
    let follow_up = then(&mut tasks, job, "follow-up", None, call("app:err"));
    tasks.run(|snapshot| deferred::cancel(snapshot, job, NOW)).unwrap();
    settle(&mut tasks, job).unwrap();
    assert_eq!(item(Some(&tasks.job(follow_up).args[0]), "kind").unwrap(), "cancelled");
}

#[test]
fn a_follow_up_of_a_running_job_does_not_disturb_it() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    let (_, result) =
        tasks.prepare(|snapshot| attempt::finish(snapshot, job, LEASE, 1.into(), NOW)).unwrap();
    then(&mut tasks, job, "follow-up", call("app:ok"), None);
    assert!(tasks.commit(&result));
    settle(&mut tasks, job).unwrap();
    assert_eq!(tasks.choose(NOW).take.len(), 1);
}

#[test]
fn malformed_follow_ups_fail_and_do_not_prevent_the_others() {
    for (key, value, message) in [
        ("ok", PyValue::from(1), "ok is 1, not a dict"),
        ("ok", PyValue::dict(vec![("args".into(), 1.into())]), "ok/call is missing"),
        (
            "ok",
            PyValue::dict(vec![("call".into(), "a:b".into()), ("args".into(), 1.into())]),
            "ok/args is 1, not a tuple or list",
        ),
    ] {
        let mut tasks = Tasks::new();
        let deferred = bare(&mut tasks);
        let malformed = then(&mut tasks, deferred, "malformed", call("app:ok"), None);
        then(&mut tasks, deferred, "good", call("app:ok"), None);
        tasks.put(malformed, key, value);
        fire(&mut tasks, deferred).unwrap();
        let settlement = settle(&mut tasks, deferred).unwrap();
        assert_eq!(settlement.passed, [malformed.into()]);
        let failure = tasks.deferred(malformed).failure;
        let expected = format!("job {malformed}/{message}");
        assert_eq!(item(failure.as_ref(), "message").unwrap(), expected);
        assert_eq!(tasks.choose(NOW).take[0].job.id, "good");
        settle(&mut tasks, malformed).unwrap();
    }
}

#[test]
fn follow_ups_that_cannot_be_written_are_reported() {
    let mut tasks = Tasks::new();
    let deferred = bare(&mut tasks);
    then(&mut tasks, deferred, "follow-up", call("app:ok"), None);
    let side = tasks.deferred(deferred).side.and_then(ObjectId::oid).unwrap();
    tasks.put(side, "then", 1);
    fire(&mut tasks, deferred).unwrap();
    let lost = settle(&mut tasks, deferred).unwrap().lost;
    let expected = "/side/then is 1, not a tuple of references to objects";
    assert_eq!(lost[0].to_string(), format!("job {deferred}{expected}"));

    let deferred = bare(&mut tasks);
    tasks
        .run(|snapshot| {
            let list = snapshot.create(&PersistentList::class(), PersistentList::new());
            keep(snapshot, "list", list)
        })
        .unwrap();
    then(&mut tasks, deferred, "follow-up", call("app:ok"), None);
    let side = tasks.deferred(deferred).side.and_then(ObjectId::oid).unwrap();
    let list = PyValue::reference(tasks.kept("list"), &PersistentList::class());
    tasks.put(side, "then", PyValue::tuple(vec![list]));
    fire(&mut tasks, deferred).unwrap();
    let lost = settle(&mut tasks, deferred).unwrap().lost;
    assert!(lost[0].to_string().contains("cannot be used"), "{lost:?}");
}

#[test]
fn notes_are_kept_by_name_beside_the_record_up_to_a_maximum() {
    let mut tasks = Tasks::new();
    let job = tasks.running(JobOptions::default());
    let before = tasks.database.records[&job].clone();
    for number in 0..deferred::NOTES_MAX {
        let name = number.to_string();
        tasks.run(|snapshot| deferred::note(snapshot, job, &name, 1.into())).unwrap();
    }
    let more = tasks.run(|snapshot| deferred::note(snapshot, job, "more", 1.into()));
    assert_eq!(more, Err(Refusal::TooManyNotes(deferred::NOTES_MAX).into()));
    tasks.run(|snapshot| deferred::note(snapshot, job, "0", 2.into())).unwrap();
    let notes = tasks.run(|snapshot| deferred::notes(snapshot, job)).unwrap();
    assert_eq!(notes.len(), deferred::NOTES_MAX);
    assert_eq!((notes[0].0.as_str(), notes[0].1.as_int()), ("0", Some(2)));
    // The worker that has the job does not conflict with notes.
    assert_eq!(tasks.database.records[&job], before);
}
