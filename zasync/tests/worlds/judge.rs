//! What must be so, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rzeo_core::Oid;
use rzeo_objects::{PersistentMapping, PyValue, Snapshot};
use rzeo_zasync::worker;
use rzeo_zasync::{Deferred, Error, FollowUp, Job, JobState, NewJob, Queue, Retry};

use crate::functions::{COUNTER, Functions};
use crate::storage::Storage;

/// All jobs, and what was seen of them.
#[derive(Default)]
pub(crate) struct Judge {
    jobs: BTreeMap<Oid, Known>,
    malformed: BTreeSet<Oid>,
    /// Number of commits that were judged.
    judged: usize,
}

struct Known {
    call: String,
    is_never_repeated: bool,
    state: Option<JobState>,
    outcome: String,
    /// The deferred that it follows, and whether it has calls for results and failures.
    follows: Option<(Oid, bool, bool)>,
}

/// What was read of a record.
struct Seen {
    deferred: Deferred,
    call: String,
}

impl Judge {
    pub(crate) fn enqueued(&mut self, job: Oid, new: &NewJob) {
        let is_never_repeated = new.options.retry == Some(Retry::Never);
        self.add(job, new.call.call.clone(), is_never_repeated, None);
    }

    /// A job that must not be executed.
    pub(crate) fn enqueued_malformed(&mut self, job: Oid, new: &NewJob) {
        self.malformed.insert(job);
        self.enqueued(job, new);
    }

    pub(crate) fn followed(&mut self, job: Oid, follow_up: Oid, calls: &FollowUp) {
        let follows = (job, calls.ok.is_some(), calls.err.is_some());
        self.add(follow_up, String::new(), false, Some(follows));
    }

    fn add(
        &mut self,
        job: Oid,
        call: String,
        is_never_repeated: bool,
        follows: Option<(Oid, bool, bool)>,
    ) {
        let (state, outcome) = (None, String::new());
        let known = Known { call, is_never_repeated, state, outcome, follows };
        assert!(self.jobs.insert(job, known).is_none(), "the storage gives every oid once");
    }

    pub(crate) fn any_job(&self, rng: &mut Rng) -> Option<Oid> {
        rng.choice(self.jobs.keys().copied().collect::<Vec<_>>())
    }

    /// Judges the commits since the last call.
    pub(crate) fn judge(&mut self, storage: &mut Storage) -> Result<(), String> {
        if self.judged == storage.log.len() {
            return Ok(());
        }
        let changed: BTreeSet<Oid> =
            storage.log[self.judged..].iter().flat_map(|(_, oids)| oids.iter().copied()).collect();
        self.judged = storage.log.len();
        for (oid, known) in &mut self.jobs {
            if !changed.contains(oid) {
                continue;
            }
            let seen = read(storage, *oid).map_err(|error| format!("job {oid}: {error}"))?;
            let state = seen.deferred.state;
            let outcome = format!("{:?} {:?}", seen.deferred.result, seen.deferred.failure);
            if known.state.is_some_and(JobState::is_final)
                && (known.state != Some(state) || known.outcome != outcome)
            {
                let before = (known.state, &known.outcome);
                return Err(format!("job {oid} changes from {before:?} to {state} {outcome}"));
            }
            known.state = Some(state);
            known.outcome = outcome;
        }
        self.judge_counter(storage)
    }

    /// The counter was increased once for each job that has done so.
    fn judge_counter(&self, storage: &mut Storage) -> Result<(), String> {
        let counted = storage
            .read(|snapshot| {
                let root = snapshot.read::<PersistentMapping>(Oid::ROOT)?;
                Ok(root.get(COUNTER).and_then(PyValue::as_int).unwrap_or(0))
            })
            .map_err(|error| error.to_string())?;
        let has_counted =
            |known: &&Known| known.call == "app:count" && known.state == Some(JobState::Done);
        let done = self.jobs.values().filter(has_counted).count();
        if usize::try_from(counted) == Ok(done) {
            Ok(())
        } else {
            Err(format!("the counter is {counted}, and {done} jobs have increased it"))
        }
    }

    /// Jobs that only end when they are cancelled.
    pub(crate) fn endless(&self) -> Vec<Oid> {
        let is_endless = |known: &Known| ["app:slow", "app:stubborn"].contains(&&*known.call);
        self.jobs.iter().filter(|(_, known)| is_endless(known)).map(|(oid, _)| *oid).collect()
    }

    /// The jobs that are not settled, or that a worker still has, for people.
    pub(crate) fn unsettled(&self, storage: &mut Storage) -> String {
        let mut text = String::new();
        for oid in self.jobs.keys() {
            match read(storage, *oid) {
                Ok(seen) if seen.deferred.is_settled => {}
                Ok(seen) => text += &format!("{oid} {} {}; ", seen.deferred.state, seen.call),
                Err(error) => text += &format!("{oid} {error}; "),
            }
        }
        match storage.read(actives) {
            Ok(actives) if actives.is_empty() => {}
            actives => text += &format!("active: {actives:?}"),
        }
        text
    }

    /// What must be so at the end.
    pub(crate) fn judge_end(
        &self,
        storage: &mut Storage,
        functions: &Functions,
    ) -> Result<(), String> {
        for (oid, known) in &self.jobs {
            let executed = functions.executed.get(oid).copied().unwrap_or(0);
            // A job that snoozes is executed again at its own wish.
            if known.is_never_repeated && executed > 1 && known.call != "app:snooze" {
                return Err(format!(
                    "job {oid} is never repeated, and was executed {executed} times"
                ));
            }
            if self.malformed.contains(oid) && (executed > 0 || known.state == Some(JobState::Done))
            {
                return Err(format!("job {oid} is malformed, and was executed"));
            }
            if let Some(follows) = known.follows {
                self.judge_follow_up(*oid, follows, storage)?;
            }
        }
        Ok(())
    }

    /// Without faults, every job is done at its first attempt.
    pub(crate) fn judge_attempts(&self, storage: &mut Storage) -> Result<(), String> {
        for oid in self.jobs.keys() {
            let job = storage.read(|snapshot| Job::read(snapshot, *oid));
            let job = job.map_err(|error| error.to_string())?;
            let found = (job.state(), job.attempt, job.interruptions);
            if found != (JobState::Done, 1, 0) {
                return Err(format!("job {oid}: state, attempts and interruptions are {found:?}"));
            }
        }
        Ok(())
    }

    /// A follow-up was called for the outcome that it has a call for, or has taken the outcome over.
    fn judge_follow_up(
        &self,
        oid: Oid,
        (followed, has_ok, has_err): (Oid, bool, bool),
        storage: &mut Storage,
    ) -> Result<(), String> {
        let seen = read(storage, oid).map_err(|error| error.to_string())?;
        let followed = self.jobs[&followed].state;
        let has_call = if followed == Some(JobState::Done) { has_ok } else { has_err };
        let is_right = match (has_call, seen.call.is_empty()) {
            // It was cancelled before.
            (_, true) if seen.deferred.state == JobState::Cancelled => true,
            (true, false) => true,
            (false, true) => Some(seen.deferred.state) == followed,
            _ => false,
        };
        if is_right {
            return Ok(());
        }
        let state = seen.deferred.state;
        Err(format!("follow-up {oid} of a job that is {followed:?} is {state}, {:?}", seen.call))
    }
}

fn read(storage: &mut Storage, oid: Oid) -> Result<Seen, Error> {
    storage.read(|snapshot| {
        let deferred = Deferred::read(snapshot, oid)?;
        let record = snapshot.read::<PersistentMapping>(oid)?;
        let call = record.get("call").and_then(PyValue::as_text).unwrap_or_default().to_owned();
        Ok(Seen { deferred, call })
    })
}

/// The jobs that workers have.
fn actives(snapshot: &mut Snapshot) -> Result<Vec<(String, Oid)>, Error> {
    let queue = Queue::open(snapshot, "default")?;
    let mut actives = vec![];
    for id in worker::workers(snapshot, &queue)? {
        let jobs = worker::active(snapshot, &queue, &id)?;
        actives.extend(jobs.into_iter().map(|job| (id.clone(), job)));
    }
    Ok(actives)
}
