//! A database with a queue, and what the tests do with it.

use rzeo_core::{Oid, UnixTime};
use rzeo_objects::{Changes, ObjectId, PersistentMapping, PyValue, Snapshot, Step, Transaction};
use rzeo_zasync::queue::{self, Choice, Placement, Search};
use rzeo_zasync::worker::{self, WorkerInfo};
use rzeo_zasync::{Deferred, Error, Job, JobOptions, JobState, Lease, NewJob, Queue, layout};

use crate::database::Database;

/// When the tests begin.
pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000.0);

pub(crate) const LEASE: Lease = Lease(0xfedc_ba98_7654_3210);

/// A time after [`NOW`].
pub(crate) fn at(seconds: f64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

/// A database with the queue `default`.
pub(crate) struct Tasks {
    pub(crate) database: Database,
    random: u64,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        let mut tasks = Self { database: Database::new(), random: 0 };
        tasks.run(layout::create).unwrap();
        tasks.run(|snapshot| layout::create_queue(snapshot, "default")).unwrap();
        tasks
    }

    /// Runs an operation as a transaction.
    pub(crate) fn run<R>(
        &mut self,
        operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (result, changes) = self.prepare(operation)?;
        self.database.commit(&changes);
        Ok(result)
    }

    /// Runs an operation up to its commit.
    pub(crate) fn prepare<R>(
        &mut self,
        operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
    ) -> Result<(R, Changes), Error> {
        let mut transaction = Transaction::new(Snapshot::new(self.database.tid), operation);
        match self.database.drive(&mut transaction) {
            Step::Unchanged(result) => Ok((result, Changes::default())),
            Step::Failed(error) => Err(error),
            Step::Commit(changes) => Ok((transaction.into_result().unwrap().0, changes)),
            Step::Load(_) | Step::NewOids(_) => unreachable!("they were given"),
        }
    }

    /// Commits prepared changes, unless an object has changed since they were prepared.
    pub(crate) fn commit(&mut self, changes: &Changes) -> bool {
        let stored = changes.stores.iter().map(|store| (store.oid, store.serial));
        let checked = changes.checks.iter().map(|check| (check.oid, check.serial));
        let is_current = |(oid, serial)| {
            self.database.records.get(&oid).is_none_or(|(current, _)| *current == serial)
        };
        let is_current = stored.chain(checked).all(is_current);
        if is_current {
            self.database.commit(changes);
        }
        is_current
    }

    /// Runs an operation on the queue.
    pub(crate) fn on_queue<R>(
        &mut self,
        mut operation: impl FnMut(&mut Snapshot, &Queue) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.run(|snapshot| {
            let queue = Queue::open(snapshot, "default")?;
            operation(snapshot, &queue)
        })
    }

    /// Runs an operation that adds entries to shard 0.
    pub(crate) fn placing<R>(
        &mut self,
        mut operation: impl FnMut(&mut Snapshot, &mut Placement<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.random += 1;
        let random = self.random;
        self.on_queue(|snapshot, queue| {
            operation(snapshot, &mut Placement { queue, shard: 0, now: NOW, random })
        })
    }

    /// Enqueues a job, keeps it under its id in the root object, and returns its oid.
    pub(crate) fn enqueue(&mut self, id: &str, options: JobOptions) -> Oid {
        let mut job = NewJob::new(id, "app:go");
        job.options = options;
        self.placing(|snapshot, placement| {
            let enqueued = queue::enqueue(snapshot, placement, &job)?;
            keep(snapshot, id, enqueued.job())
        })
        .unwrap();
        self.kept(id)
    }

    /// Enqueues a job without options and claims it.
    pub(crate) fn running(&mut self, options: JobOptions) -> Oid {
        let job = self.enqueue("running", options);
        self.claim(job, NOW).unwrap();
        job
    }

    pub(crate) fn claim(&mut self, job: Oid, now: UnixTime) -> Result<Job, Error> {
        self.on_queue(|snapshot, queue| queue::claim(snapshot, queue, job, "w", LEASE, now))
    }

    /// The object that is kept under a name.
    pub(crate) fn kept(&mut self, name: &str) -> Oid {
        let root = |snapshot: &mut Snapshot| {
            Ok(snapshot.read::<PersistentMapping>(Oid::ROOT)?.get(name).cloned())
        };
        let object = self.run(root).unwrap().and_then(|value| value.as_object());
        object.and_then(ObjectId::oid).expect("the object was kept")
    }

    pub(crate) fn choose(&mut self, now: UnixTime) -> Choice {
        self.search(&Search { now, slots: 10, running: 0, scan_max: 100 })
    }

    pub(crate) fn search(&mut self, search: &Search) -> Choice {
        self.on_queue(|snapshot, queue| queue::choose(snapshot, queue, &[0], search, |_| true))
            .unwrap()
    }

    pub(crate) fn job(&mut self, job: Oid) -> Job {
        self.run(|snapshot| Job::read(snapshot, job)).unwrap()
    }

    pub(crate) fn deferred(&mut self, deferred: Oid) -> Deferred {
        self.run(|snapshot| Deferred::read(snapshot, deferred)).unwrap()
    }

    pub(crate) fn state(&mut self, job: Oid) -> JobState {
        self.deferred(job).state
    }

    /// Sets items of a mapping, as Python does.
    pub(crate) fn put(&mut self, object: Oid, key: &str, value: impl Into<PyValue>) {
        let value = value.into();
        self.run(|snapshot| {
            snapshot.modify(object, |record: &mut PersistentMapping| {
                record.insert(key, value.clone());
            })?;
            Ok(())
        })
        .unwrap();
    }

    pub(crate) fn register(&mut self, id: &str) -> Result<(), Error> {
        let info = WorkerInfo { accept: vec!["app:*".into()], slots: 4, ..WorkerInfo::default() };
        self.on_queue(|snapshot, queue| worker::register(snapshot, queue, id, &info, NOW))
    }
}

/// Makes an object reachable from the root object.
pub(crate) fn keep(snapshot: &mut Snapshot, name: &str, object: ObjectId) -> Result<(), Error> {
    let reference = snapshot.reference(object)?;
    snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| root.insert(name, reference))?;
    Ok(())
}

/// The text of an item of a dict.
pub(crate) fn item(dict: Option<&PyValue>, key: &str) -> Option<String> {
    let rzeo_objects::View::Dict(items) = dict?.view() else { return None };
    let (_, value) = items.iter().find(|(name, _)| name.as_text() == Some(key))?;
    value.as_text().map(Into::into)
}
