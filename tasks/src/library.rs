//! What applications do with jobs: enqueue them, and look at them.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{SystemTime, UNIX_EPOCH};

use rzeo_client::{CallError, Client, ClientEvent};
use rzeo_core::{Oid, Tid, UnixTime};
use rzeo_objects::{ObjectId, PyValue, Snapshot};
use rzeo_zasync::deferred::{self, Cancelled};
use rzeo_zasync::queue::{self, Placement};
use rzeo_zasync::{
    Call, Error, Job, JobState, LayoutError, NewJob, Queue, Refusal, ShardTree, layout, worker,
};

use crate::database::{Database, Uncommitted};

/// Number of times that enqueueing is tried whose outcome is not known, or that conflicts.
const TRIES: u32 = 20;

/// A queue of a database, for applications. One of them is used for many jobs: it stays in one shard until
/// it conflicts there, so that applications seldom conflict with each other.
#[derive(Debug)]
pub struct Tasks {
    database: Database,
    queue: String,
    shard: i64,
}

/// A job, for people.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// Its record.
    pub oid: Oid,
    /// The record's items.
    pub job: Job,
    /// Notes and progress.
    pub notes: Vec<(String, PyValue)>,
}

/// A worker, for people.
#[derive(Clone, Debug)]
pub struct WorkerReport {
    /// Its id.
    pub id: String,
    /// Its state, if its record can be read.
    pub state: Option<rzeo_zasync::WorkerState>,
    /// The commit of its last beat.
    pub beat: Tid,
    /// The jobs that it has.
    pub jobs: Vec<Oid>,
}

/// Why a call on a queue failed.
pub type TasksError = Uncommitted<Error>;

impl Tasks {
    /// A queue by name. Nothing is read yet.
    #[must_use]
    pub fn new(client: Client, queue: &str) -> Self {
        let shard = i64::try_from(random() % layout::SHARDS.unsigned_abs()).unwrap_or(0);
        Self { database: Database::new(client), queue: queue.to_owned(), shard }
    }

    /// The database.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Creates the queue, and what it needs, unless it is there. Returns whether it was created.
    ///
    /// # Errors
    /// [`TasksError`].
    pub async fn create(&self) -> Result<bool, TasksError> {
        let created = self.database.transact(|snapshot| {
            create_root(snapshot)?;
            match layout::create(snapshot) {
                Ok(()) | Err(Error::Refused(Refusal::AlreadyCreated)) => {}
                Err(error) => return Err(error),
            }
            match layout::create_queue(snapshot, &self.queue) {
                Ok(()) => Ok(true),
                Err(Error::Refused(Refusal::QueueExists(_))) => Ok(false),
                Err(error) => Err(error),
            }
        });
        Ok(created.await?.result)
    }

    /// Enqueues a job in a transaction of its own, and returns its record. After a lost connection it
    /// finds out whether the job was stored, so there is exactly one.
    ///
    /// # Errors
    /// [`TasksError`]. It is [`Uncommitted::Unknown`] if that could not be found out, whatever failed
    /// afterwards.
    pub async fn enqueue(&mut self, job: &NewJob) -> Result<Oid, TasksError> {
        let (mut oids, mut unknown) = (Vec::new(), None);
        for _ in 0..TRIES {
            let now = now();
            let mut snapshot = match self.database.snapshot(Tid::ZERO).await {
                Ok(snapshot) => snapshot,
                Err(error) => return Err(unless_unknown(Uncommitted::Lost(error), unknown)),
            };
            let shard = self.shard;
            let stored = if unknown.is_some() { oids.clone() } else { Vec::new() };
            let enqueued = self
                .database
                .transact_on(&mut snapshot, &mut oids, 0, |snapshot| {
                    if let Some(oid) = stored_before(snapshot, &stored, &job.id)? {
                        return Ok(oid.into());
                    }
                    let queue = &Queue::open(snapshot, &self.queue)?;
                    let placement = Placement { queue, shard, now, random: random() };
                    Ok(queue::enqueue(snapshot, &placement, job)?.job())
                })
                .await;
            match enqueued {
                Ok(done) => {
                    let oid =
                        done.result.oid().or_else(|| done.new_oids.get(&done.result).copied());
                    // A new job is stored, because its shard refers to it.
                    return oid.ok_or_else(|| Uncommitted::Failed(Refusal::NotAJob.into()));
                }
                Err(Uncommitted::Conflict(_)) => {
                    self.shard =
                        i64::try_from(random() % layout::SHARDS.unsigned_abs()).unwrap_or(0);
                }
                Err(Uncommitted::Unknown(error)) => unknown = Some(error),
                Err(error) => return Err(unless_unknown(error, unknown)),
            }
        }
        Err(unless_unknown(Uncommitted::Conflict(TRIES), unknown))
    }

    /// Enqueues a job within an operation of the application, so that it is committed with the
    /// application's own changes. `random` is any number, another one for each job.
    ///
    /// # Errors
    /// Those of [`queue::enqueue`].
    pub fn enqueue_in(
        &self,
        snapshot: &mut Snapshot,
        job: &NewJob,
        random: u64,
    ) -> Result<ObjectId, Error> {
        let queue = &Queue::open(snapshot, &self.queue)?;
        let placement = Placement { queue, shard: self.shard, now: now(), random };
        Ok(queue::enqueue(snapshot, &placement, job)?.job())
    }

    /// Reads a job.
    ///
    /// # Errors
    /// [`TasksError`].
    pub async fn job(&self, oid: Oid) -> Result<JobReport, TasksError> {
        self.database.read(|snapshot| report(snapshot, oid)).await
    }

    /// Waits until a job has ended.
    ///
    /// # Errors
    /// [`TasksError`].
    pub async fn wait(&self, oid: Oid) -> Result<JobReport, TasksError> {
        let mut events = self.database.client().subscribe();
        loop {
            match self.job(oid).await {
                Ok(job) if job.job.state().is_final() => return Ok(job),
                Ok(_) | Err(Uncommitted::Lost(CallError::Lost(_))) => {}
                Err(error) => return Err(error),
            }
            loop {
                match events.next().await {
                    None => return Err(Uncommitted::Lost(CallError::Closed)),
                    Some(
                        ClientEvent::Invalidated { oids, .. } | ClientEvent::Committed { oids, .. },
                    ) if oids.contains(&oid) => break,
                    Some(ClientEvent::InvalidatedAll { .. } | ClientEvent::Connected { .. }) => {
                        break;
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Cancels a job, or asks its worker to stop.
    ///
    /// # Errors
    /// [`TasksError`]; [`Refusal::TooLate`] if it has ended.
    pub async fn cancel(&self, oid: Oid) -> Result<Cancelled, TasksError> {
        let now = now();
        let cancelled = self.database.transact(|snapshot| deferred::cancel(snapshot, oid, now));
        Ok(cancelled.await?.result)
    }

    /// Stores a note with a job.
    ///
    /// # Errors
    /// [`TasksError`].
    pub async fn note(&self, oid: Oid, name: &str, value: &PyValue) -> Result<(), TasksError> {
        let note =
            self.database.transact(|snapshot| deferred::note(snapshot, oid, name, value.clone()));
        note.await.map(|_| ())
    }

    /// Enqueues a job with the call and the options of one that has ended without a result, and returns
    /// the new one. The old one stays as it is: an outcome never changes.
    ///
    /// # Errors
    /// [`TasksError`]; [`Refusal::NotFinal`] if it has not ended.
    pub async fn retry(&mut self, oid: Oid) -> Result<Oid, TasksError> {
        let JobReport { job, .. } = self.job(oid).await?;
        if !job.state().is_final() {
            return Err(Uncommitted::Failed(Refusal::NotFinal(job.state()).into()));
        }
        let call = Call { call: job.call, args: job.args, kwargs: job.kwargs };
        let mut options = job.options;
        // They were meant for the first time.
        (options.begin_after, options.begin_by, options.deadline) = (None, None, None);
        self.enqueue(&NewJob { id: new_id(), call, options }).await
    }

    /// Jobs of the queue in these states, at most `limit` of them. Those that have not ended are first.
    ///
    /// # Errors
    /// [`TasksError`].
    pub async fn list(
        &self,
        states: &[JobState],
        limit: usize,
    ) -> Result<Vec<JobReport>, TasksError> {
        self.database.read(|snapshot| list(snapshot, &self.queue, states, limit)).await
    }

    /// All workers of the queue.
    ///
    /// # Errors
    /// [`TasksError`].
    pub async fn workers(&self) -> Result<Vec<WorkerReport>, TasksError> {
        self.database.read(|snapshot| workers(snapshot, &self.queue)).await
    }
}

/// Why a job is not enqueued, unless an earlier try may have stored it.
fn unless_unknown(error: TasksError, unknown: Option<CallError>) -> TasksError {
    unknown.map_or(error, Uncommitted::Unknown)
}

/// A text that no other job has.
#[must_use]
pub fn new_id() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// A random number, for ids and places.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The time of this machine, for what only gives an order or informs people.
fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(since.as_secs_f64())
}

/// An empty database gets a root object, as Python's ZODB would create it.
fn create_root(snapshot: &mut Snapshot) -> Result<(), Error> {
    use rzeo_objects::PersistentMapping;
    match snapshot.read::<PersistentMapping>(Oid::ROOT) {
        Err(rzeo_objects::Error::NoSuchObject(_)) => {
            snapshot.add(Oid::ROOT, &PersistentMapping::class(), PersistentMapping::new());
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

/// The job that an earlier try has stored under one of these oids, if it has. Another program may have got the
/// same oids if the storage was restarted, so the id decides.
fn stored_before(snapshot: &mut Snapshot, oids: &[Oid], id: &str) -> Result<Option<Oid>, Error> {
    for oid in oids {
        match Job::read(snapshot, *oid) {
            Ok(job) if job.id == id => return Ok(Some(*oid)),
            Err(Error::Objects(error @ rzeo_objects::Error::NotLoaded(_))) => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    Ok(None)
}

fn report(snapshot: &mut Snapshot, oid: Oid) -> Result<JobReport, Error> {
    let job = Job::read(snapshot, oid)?;
    let notes = deferred::notes(snapshot, oid)?;
    Ok(JobReport { oid, job, notes })
}

fn list(
    snapshot: &mut Snapshot,
    queue: &str,
    states: &[JobState],
    limit: usize,
) -> Result<Vec<JobReport>, Error> {
    let queue = Queue::open(snapshot, queue)?;
    let mut found = Vec::new();
    for tree in ShardTree::ALL {
        for shard in queue.shards(snapshot)? {
            for oid in queue.jobs(snapshot, shard, tree)? {
                if found.len() == limit {
                    return Ok(found);
                }
                match report(snapshot, oid) {
                    Ok(job) if states.is_empty() || states.contains(&job.job.state()) => {
                        found.push(job);
                    }
                    Err(Error::Objects(error)) => return Err(error.into()),
                    // An entry that is no job is the workers' business.
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }
    Ok(found)
}

fn workers(snapshot: &mut Snapshot, queue: &str) -> Result<Vec<WorkerReport>, Error> {
    let queue = Queue::open(snapshot, queue)?;
    let mut found = Vec::new();
    for id in worker::workers(snapshot, &queue)? {
        let (state, beat) = match worker::WorkerRecord::open(snapshot, &queue, &id) {
            Ok(record) => (Some(record.state), record.beat),
            Err(Error::Layout(LayoutError::Malformed { .. } | LayoutError::Missing { .. })) => {
                (None, Tid::ZERO)
            }
            Err(error) => return Err(error),
        };
        let jobs = match state {
            Some(_) => worker::active(snapshot, &queue, &id)?,
            None => Vec::new(),
        };
        found.push(WorkerReport { id, state, beat, jobs });
    }
    Ok(found)
}
