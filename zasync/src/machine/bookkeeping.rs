//! The transactions of the bookkeeper: everything that is not the end of an attempt.
//!
//! Each checks that the worker's own record is current, so a worker that was declared gone commits none of
//! them. A transaction over several jobs leaves out those that refuse it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rzeo_core::{Oid, Tid, UnixTime};
use rzeo_objects::{ObjectId, Snapshot};

use crate::attempt;
use crate::deferred::{self, Settlement};
use crate::error::{Error, LayoutError, Refusal};
use crate::job::{Job, Lease};
use crate::layout::{Place, Queue};
use crate::queue::{self, Entry, Filed, Placement, Search};
use crate::state::{JobState, WorkerState};
use crate::worker::{self, Closed, WorkerInfo, WorkerRecord};

/// Maximum number of follow-ups that one transaction settles because they took over an outcome. The rest
/// is found by the scan of `parked`.
const PASSED_MAX: usize = 64;

/// A transaction of the bookkeeper of a worker.
#[derive(Clone, Debug)]
pub(super) enum Bookkeeping {
    /// Adds the worker.
    Register { worker: String, info: WorkerInfo },
    /// Shows that the worker is alive, and looks at the others.
    Beat { worker: String, running: usize, slots: u32 },
    /// Reads the settings that people have given this worker.
    Wanted { worker: String },
    /// Reads whether jobs are still this worker's, and whether they are to be cancelled.
    Look { jobs: Vec<(Oid, Lease)> },
    /// Takes jobs.
    Take(Take),
    /// Settles jobs that have ended, and removes them from `active`.
    Close { worker: String, jobs: Vec<Oid>, shard: i64, random: u64 },
    /// Finds out what an earlier transaction with unknown outcome has done, and gives back what is in
    /// `active` but is not known.
    Recover(Recover),
    /// Ends jobs that have expired.
    Expire { jobs: Vec<ObjectId> },
    /// Settles jobs that no worker has.
    Settle { jobs: Vec<ObjectId>, shard: i64, random: u64 },
    /// Ends records that are no usable jobs.
    Reject { jobs: Vec<ObjectId> },
    /// Moves entries to where they belong.
    File { places: Vec<Place>, random: u64 },
    /// Declares another worker gone.
    MarkGone { worker: String, seen: Tid },
    /// Takes one job from a worker that is gone, or removes the worker if it has none.
    Reap { worker: String, shard: i64, random: u64 },
    /// Shows that the worker takes no more jobs.
    Drain { worker: String },
    /// Removes the worker.
    Leave { worker: String },
}

/// What to take.
#[derive(Clone, Debug)]
pub(super) struct Take {
    pub(super) worker: String,
    /// Whether these are all shards, or those of this worker.
    pub(super) is_all: bool,
    pub(super) shards: Vec<i64>,
    pub(super) slots: usize,
    pub(super) running: usize,
    /// Maximum number of entries to read of each tree.
    pub(super) scan_max: usize,
    /// Leases for the jobs, in their order.
    pub(super) leases: Vec<Lease>,
}

/// What is known beside an unknown outcome.
#[derive(Clone, Debug)]
pub(super) struct Recover {
    pub(super) worker: String,
    /// Jobs that the worker has.
    pub(super) known: Vec<Oid>,
    /// Leases of claims with unknown outcome.
    pub(super) leases: Vec<Lease>,
    pub(super) shard: i64,
    pub(super) random: u64,
}

/// What a transaction of the bookkeeper has found and done.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// It is done; nothing more is known.
    Done,
    Survey(Survey),
    Wanted(Wanted),
    Looked(Vec<(Oid, Lease, Looked)>),
    Taken(Taken),
    Closed(Vec<(Oid, ClosedJob)>),
    Recovered {
        adopted: Vec<(Job, Lease)>,
        returned: Vec<Oid>,
    },
    /// Jobs that are ended or settled now, and those that refused it.
    Tended {
        operation: &'static str,
        jobs: Vec<Oid>,
        refused: Vec<String>,
    },
    Filed,
    Reaped {
        worker: String,
        job: Oid,
        state: Option<JobState>,
    },
    Forgotten {
        worker: String,
    },
}

/// The workers of a queue.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    pub(super) wanted: Wanted,
    pub(super) shards: Vec<i64>,
    /// All but this one.
    pub(super) peers: Vec<PeerInfo>,
}

/// The settings that people have given a worker, and the records that have them.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) slots: u32,
    pub(super) state: WorkerState,
    pub(super) records: Vec<Oid>,
}

#[derive(Clone, Debug)]
pub(super) struct PeerInfo {
    pub(super) id: String,
    pub(super) state: WorkerState,
    pub(super) beat: Tid,
}

/// Whether a job is still this worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    Running,
    CancelRequested,
    /// The attempt is over. Its executor reports that, too.
    Ended,
    Lost,
}

/// What was found in the shards, and taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    pub(super) is_all: bool,
    pub(super) jobs: Vec<(Job, Lease, UnixTime)>,
    pub(super) expired: Vec<Entry>,
    pub(super) unsettled: Vec<Entry>,
    pub(super) misplaced: Vec<Place>,
    pub(super) malformed: Vec<(Place, Option<ObjectId>, String)>,
    pub(super) next_due: Option<UnixTime>,
    /// Whether there are entries that were not read.
    pub(super) is_cut: bool,
}

#[derive(Clone, Debug)]
pub(super) enum ClosedJob {
    /// The job is settled; these of its follow-ups could not be read.
    Settled(Vec<String>),
    /// It is not in `active` any more, and not this worker's business.
    Released,
    /// The worker has it after all.
    Running,
    /// Its record cannot be used.
    Malformed(String),
}

impl Bookkeeping {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::Beat { .. } => "send a beat",
            Self::Wanted { .. } => "read its settings",
            Self::Look { .. } => "look at its jobs",
            Self::Take(_) => "take jobs",
            Self::Close { .. } => "settle its jobs",
            Self::Recover(_) => "read the outcome of a commit",
            Self::Expire { .. } => "expire jobs",
            Self::Settle { .. } => "settle jobs",
            Self::Reject { .. } => "reject malformed jobs",
            Self::File { .. } => "file jobs",
            Self::MarkGone { .. } => "declare a worker gone",
            Self::Reap { .. } => "reap a worker",
            Self::Drain { .. } => "drain",
            Self::Leave { .. } => "leave",
        }
    }

    pub(super) fn apply(
        &self,
        snapshot: &mut Snapshot,
        queue: &Queue,
        now: UnixTime,
    ) -> Result<Found, Error> {
        let placement = |shard, random| Placement { queue, shard, now, random };
        match self {
            Self::Register { worker, info } => {
                // A repetition after an unknown outcome: the id is random, so no other worker has it.
                match worker::register(snapshot, queue, worker, info, now) {
                    Ok(()) | Err(Error::Refused(Refusal::WorkerExists(_))) => Ok(Found::Done),
                    Err(error) => Err(error),
                }
            }
            Self::Beat { worker, running, slots } => {
                let running = i64::try_from(*running).unwrap_or(i64::MAX);
                let load = [("running", running.into()), ("slots", i64::from(*slots).into())];
                worker::beat(snapshot, queue, worker, &load, now)?;
                survey(snapshot, queue, worker).map(Found::Survey)
            }
            Self::Wanted { worker } => wanted(snapshot, queue, worker).map(Found::Wanted),
            Self::Look { jobs } => look(snapshot, jobs).map(Found::Looked),
            Self::Take(take) => take.apply(snapshot, queue, now).map(Found::Taken),
            Self::Close { worker, jobs, shard, random } => {
                WorkerRecord::open(snapshot, queue, worker)?.check_not_gone(snapshot)?;
                close(snapshot, worker, jobs, placement(*shard, *random)).map(Found::Closed)
            }
            Self::Recover(recover) => recover.apply(snapshot, queue, now),
            Self::Expire { jobs } => {
                self.tend(snapshot, jobs, |snapshot, job| queue::expire(snapshot, job, now))
            }
            Self::Settle { jobs, shard, random } => self.tend(snapshot, jobs, |snapshot, job| {
                settle(snapshot, job, placement(*shard, *random)).map(|_| ())
            }),
            Self::Reject { jobs } => {
                self.tend(snapshot, jobs, |snapshot, job| queue::reject(snapshot, job, now))
            }
            Self::File { places, random } => {
                for place in places {
                    let _: Result<Filed, Error> =
                        unless_lacking(queue::file(snapshot, queue, *place, now, *random))?;
                }
                Ok(Found::Filed)
            }
            Self::MarkGone { worker, seen } => {
                worker::mark_gone(snapshot, queue, worker, *seen).map(|()| Found::Done)
            }
            Self::Reap { worker, shard, random } => {
                reap(snapshot, worker, placement(*shard, *random))
            }
            Self::Drain { worker } => done(worker::drain(snapshot, queue, worker)),
            Self::Leave { worker } => done(worker::leave(snapshot, queue, worker)),
        }
    }

    fn tend(
        &self,
        snapshot: &mut Snapshot,
        jobs: &[ObjectId],
        mut tend: impl FnMut(&mut Snapshot, ObjectId) -> Result<(), Error>,
    ) -> Result<Found, Error> {
        let (mut tended, mut refused) = (Vec::new(), Vec::new());
        for job in jobs {
            match unless_lacking(snapshot.attempt(|snapshot| tend(snapshot, *job)))? {
                Ok(()) => tended.extend(job.oid()),
                // Another worker was faster.
                Err(Error::Refused(_)) => {}
                Err(error) => refused.push(error.to_string()),
            }
        }
        Ok(Found::Tended { operation: self.name(), jobs: tended, refused })
    }
}

/// A repetition after an unknown outcome has nothing to do.
fn done(result: Result<(), Error>) -> Result<Found, Error> {
    match result {
        Ok(())
        | Err(Error::Refused(
            Refusal::WorkerState { found: WorkerState::Draining, .. } | Refusal::NoWorker(_),
        )) => Ok(Found::Done),
        Err(error) => Err(error),
    }
}

/// A result of one job among others. That a record has to be loaded ends the whole transaction; the driver
/// loads it and repeats the transaction.
fn unless_lacking<T>(result: Result<T, Error>) -> Result<Result<T, Error>, Error> {
    match result {
        Err(Error::Objects(error @ rzeo_objects::Error::NotLoaded(_))) => Err(error.into()),
        result => Ok(result),
    }
}

fn wanted(snapshot: &mut Snapshot, queue: &Queue, id: &str) -> Result<Wanted, Error> {
    let worker = WorkerRecord::open(snapshot, queue, id)?;
    let slots = worker::wanted_slots(snapshot, queue, id)?;
    let records = worker.settings()?.into_iter().filter_map(ObjectId::oid).collect();
    Ok(Wanted { slots, state: worker.state, records })
}

fn survey(snapshot: &mut Snapshot, queue: &Queue, id: &str) -> Result<Survey, Error> {
    let mut peers = Vec::new();
    for peer in worker::workers(snapshot, queue)? {
        if peer == id {
            continue;
        }
        // A record that cannot be used is not reaped. People have to remove it.
        if let Ok(peer) = unless_lacking(WorkerRecord::open(snapshot, queue, &peer))? {
            peers.push(PeerInfo { id: peer.id, state: peer.state, beat: peer.beat });
        }
    }
    Ok(Survey { wanted: wanted(snapshot, queue, id)?, shards: queue.shards(snapshot)?, peers })
}

fn look(
    snapshot: &mut Snapshot,
    jobs: &[(Oid, Lease)],
) -> Result<Vec<(Oid, Lease, Looked)>, Error> {
    let mut looked = Vec::new();
    for (job, lease) in jobs {
        let found = match unless_lacking(attempt::check(snapshot, *job, *lease))? {
            Ok(_) => Looked::Running,
            Err(Error::Refused(Refusal::CancelRequested)) => Looked::CancelRequested,
            Err(_) if is_ended(snapshot, *job, *lease)? => Looked::Ended,
            Err(_) => Looked::Lost,
        };
        looked.push((*job, *lease, found));
    }
    Ok(looked)
}

/// Whether the attempt with this lease was the last one, and is over.
fn is_ended(snapshot: &mut Snapshot, job: Oid, lease: Lease) -> Result<bool, Error> {
    let job = unless_lacking(Job::read(snapshot, job))?;
    Ok(job.is_ok_and(|job| job.lease == Some(lease) && job.state().is_final()))
}

impl Take {
    fn apply(&self, snapshot: &mut Snapshot, queue: &Queue, now: UnixTime) -> Result<Taken, Error> {
        let worker = WorkerRecord::open(snapshot, queue, &self.worker)?;
        let Self { slots, running, scan_max, .. } = *self;
        let search = Search { now, slots, running, scan_max };
        let accept = |job: &Job| worker.accepts(&job.call);
        let choice = queue::choose(snapshot, queue, &self.shards, &search, accept)?;
        let mut taken = Taken {
            is_all: self.is_all,
            expired: choice.expired,
            unsettled: choice.unsettled,
            misplaced: choice.misplaced,
            next_due: choice.next_due,
            is_cut: choice.is_cut,
            ..Taken::default()
        };
        let malformed = choice.malformed.into_iter();
        taken.malformed =
            malformed.map(|(place, job, error)| (place, job, error.to_string())).collect();
        for (candidate, lease) in choice.take.into_iter().zip(&self.leases) {
            let job = candidate.job.object();
            let claimed = worker::claim(snapshot, queue, &self.worker, job, *lease, now);
            match unless_lacking(claimed)? {
                Ok(job) => {
                    let due = job.options.begin_after.unwrap_or(candidate.place.time());
                    taken.jobs.push((job, *lease, due));
                }
                Err(Error::Refused(Refusal::Paused)) => break,
                Err(Error::Refused(
                    refusal @ (Refusal::WorkerState { .. } | Refusal::NoWorker(_)),
                )) => return Err(refusal.into()),
                Err(_) => {}
            }
        }
        Ok(taken)
    }
}

fn close(
    snapshot: &mut Snapshot,
    worker: &str,
    jobs: &[Oid],
    mut placement: Placement<'_>,
) -> Result<Vec<(Oid, ClosedJob)>, Error> {
    let mut closed = Vec::new();
    for job in jobs {
        let found = match close_or_discard(snapshot, worker, *job, &mut placement) {
            Ok((Closed::Settled(settlement), None)) => {
                ClosedJob::Settled(pass_on(snapshot, settlement, placement)?)
            }
            Ok((_, Some(error))) => ClosedJob::Malformed(error),
            Ok(_) | Err(Error::Refused(Refusal::NotActive(_))) => ClosedJob::Released,
            Err(Error::Refused(Refusal::StillRunning)) => ClosedJob::Running,
            Err(error) => return Err(error),
        };
        closed.push((*job, found));
    }
    Ok(closed)
}

/// Closes a job. One whose record is not as it should be has failed; one that has no usable record is only
/// removed from `active`. The text describes what is wrong.
fn close_or_discard(
    snapshot: &mut Snapshot,
    worker: &str,
    job: Oid,
    placement: &mut Placement<'_>,
) -> Result<(Closed, Option<String>), Error> {
    let (queue, now) = (placement.queue, placement.now);
    let closed = worker::close(snapshot, queue, worker, job, placement, now);
    let error = match unless_lacking(closed)? {
        Ok(closed) => return Ok((closed, None)),
        Err(error @ Error::Refused(_)) => return Err(error),
        Err(error) => error.to_string(),
    };
    // If it cannot be rejected either, it has no usable record.
    let _: Result<(), Error> = unless_lacking(queue::reject(snapshot, job, now))?;
    let closed = worker::close(snapshot, queue, worker, job, placement, now);
    if let Ok(closed) = unless_lacking(closed)? {
        return Ok((closed, Some(error)));
    }
    worker::discard(snapshot, queue, worker, job)?;
    Ok((Closed::Released, Some(error)))
}

fn settle(
    snapshot: &mut Snapshot,
    job: ObjectId,
    mut placement: Placement<'_>,
) -> Result<Vec<String>, Error> {
    let now = placement.now;
    let settlement = deferred::settle(snapshot, job, &mut placement, now)?;
    pass_on(snapshot, settlement, placement)
}

/// Settles follow-ups that have taken over an outcome, and what follows them. Returns what is wrong with
/// those that cannot be read.
fn pass_on(
    snapshot: &mut Snapshot,
    settlement: Settlement,
    mut placement: Placement<'_>,
) -> Result<Vec<String>, Error> {
    let now = placement.now;
    let mut lost = settlement.lost;
    let mut passed = settlement.passed;
    for _ in 0..PASSED_MAX {
        let Some(follow_up) = passed.pop() else { break };
        let settled = deferred::settle(snapshot, follow_up, &mut placement, now);
        if let Ok(settlement) = unless_lacking(settled)? {
            lost.extend(settlement.lost);
            passed.extend(settlement.passed);
        }
    }
    Ok(lost.iter().map(LayoutError::to_string).collect())
}

impl Recover {
    fn apply(&self, snapshot: &mut Snapshot, queue: &Queue, now: UnixTime) -> Result<Found, Error> {
        let worker = WorkerRecord::open(snapshot, queue, &self.worker)?;
        worker.check_not_gone(snapshot)?;
        if !self.leases.is_empty() {
            // A claim that is still on its way conflicts with this, because it checks the record.
            worker.renew(snapshot)?;
        }
        let (mut adopted, mut returned) = (Vec::new(), Vec::new());
        for job in worker::active(snapshot, queue, &self.worker)? {
            if self.known.contains(&job) {
                continue;
            }
            if let Ok(read) = unless_lacking(Job::read(snapshot, job))?
                && read.state() == JobState::Running
                && read.owner.as_deref() == Some(&self.worker)
                && let Some(lease) = read.lease
            {
                if self.leases.contains(&lease) {
                    adopted.push((read, lease));
                    continue;
                }
                attempt::give_back(snapshot, job, lease, now)?;
            }
            returned.push(job);
        }
        let placement = Placement { queue, shard: self.shard, now, random: self.random };
        close(snapshot, &self.worker, &returned, placement)?;
        Ok(Found::Recovered { adopted, returned })
    }
}

fn reap(snapshot: &mut Snapshot, id: &str, mut placement: Placement<'_>) -> Result<Found, Error> {
    let (queue, now, worker) = (placement.queue, placement.now, id.to_string());
    let jobs = worker::active(snapshot, queue, id)?;
    // Several workers may reap the same one. Each begins with another job.
    let count = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
    let at = placement.random.checked_rem(count).and_then(|at| usize::try_from(at).ok());
    let Some(job) = at.and_then(|at| jobs.get(at).copied()) else {
        worker::forget(snapshot, queue, id)?;
        return Ok(Found::Forgotten { worker });
    };
    // A job that has ended, or that another worker has, is only closed.
    let state = unless_lacking(worker::reap(snapshot, queue, id, job, now))?.ok();
    close_or_discard(snapshot, id, job, &mut placement)?;
    Ok(Found::Reaped { worker, job, state })
}
