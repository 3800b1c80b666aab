//! Programs and a storage, moved by a seed.

use std::collections::BTreeMap;

use fastrand::Rng;
use rzeo_core::{Oid, UnixTime};
use rzeo_objects::{Changes, ObjectId, PersistentMapping};
use rzeo_zasync::deferred::{self, Cancelled};
use rzeo_zasync::machine::{Event, Input, JobEvent, WorkerSettings};
use rzeo_zasync::queue::{self, Placement};
use rzeo_zasync::worker::{self, WorkerInfo};
use rzeo_zasync::{Call, Error, FollowUp, JobOptions, Lease, NewJob, Queue, Retry, layout};
use std::time::Duration;

use crate::functions::{CALLS, Functions, RETRY};
use crate::judge::Judge;
use crate::program::{Fate, Program};
use crate::storage::Storage;

/// Time of the storage when a world begins.
pub(crate) const BEGIN: f64 = 1_800_000_000.0;

/// Number of steps with faults.
const STEPS: u32 = 600;

/// Maximum number of steps until all jobs are settled when there are no faults any more.
const HEALING_STEPS: u32 = 60_000;

/// How often something has happened.
pub(crate) type Coverage = BTreeMap<&'static str, u64>;

pub(crate) struct World {
    rng: Rng,
    time: f64,
    clock_offset: f64,
    storage: Storage,
    programs: Vec<Program>,
    functions: Functions,
    /// Commits that are still on their way.
    late: Vec<Changes>,
    judge: Judge,
    ids: u32,
    pub(crate) coverage: Coverage,
}

impl World {
    /// Plays a world; returns what went wrong.
    pub(crate) fn play(seed: u64) -> Result<Coverage, String> {
        let mut world = Self::new(seed);
        for _ in 0..world.rng.usize(1..=4) {
            world.start_program();
        }
        for _ in 0..STEPS {
            world.act();
            world.judge.judge(&mut world.storage)?;
        }
        world.heal()?;
        for at in 0..world.programs.len() {
            world.count_events(at);
        }
        Ok(world.coverage)
    }

    /// Plays a world in which nothing fails: two workers have the same counter jobs. Returns the seconds until
    /// all are settled.
    pub(crate) fn play_without_faults(seed: u64) -> Result<f64, String> {
        let mut world = Self::new(seed);
        for _ in 0..2 {
            world.start_program();
        }
        for _ in 0..20 {
            world.ids += 1;
            let job = NewJob::new(&world.ids.to_string(), "app:count");
            world.enqueue_job(&job);
        }
        world.heal()?;
        world.judge.judge_attempts(&mut world.storage)?;
        Ok(world.time)
    }

    /// Plays a world in which a worker has a job of which it has no execution, as after an undo of the job's end.
    pub(crate) fn play_unknown_claim(seed: u64) -> Result<(), String> {
        let mut world = Self::new(seed);
        world.start_program();
        for _ in 0..100 {
            world.go_on();
        }
        let worker = world.programs[0].worker.id().to_owned();
        let job = world.enqueue_job(&NewJob::new("1", "app:count"));
        let now = UnixTime(world.storage.clock);
        let claimed = world.storage.run(|snapshot| {
            let queue = Queue::open(snapshot, "default")?;
            worker::claim(snapshot, &queue, &worker, job, Lease(1), now)
        });
        claimed.map_err(|error| error.to_string())?;
        world.heal()
    }

    fn new(seed: u64) -> Self {
        let mut storage = Storage::new(BEGIN);
        storage.run(layout::create).unwrap();
        storage.run(|snapshot| layout::create_queue(snapshot, "default")).unwrap();
        Self {
            rng: Rng::with_seed(seed),
            time: 0.0,
            clock_offset: 0.0,
            storage,
            programs: vec![],
            functions: Functions::default(),
            late: vec![],
            judge: Judge::default(),
            ids: 0,
            coverage: Coverage::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    fn start_program(&mut self) {
        let settings = settings(self.rng.u32(1..=4));
        let rate = 1.0 + (self.rng.f64() - 0.5) * 2e-4;
        let mut program = Program::new(self.time, rate, settings, self.rng.u64(..));
        program.connect(self.time, &self.storage);
        self.programs.push(program);
    }

    fn set_time(&mut self, time: f64) {
        self.time = self.time.max(time);
        self.storage.clock = BEGIN + self.time + self.clock_offset;
    }

    /// One step of something.
    fn act(&mut self) {
        match self.rng.u32(0..100) {
            0..10 => self.pass_time(),
            10..21 => self.enqueue(),
            21 => self.enqueue_malformed(),
            22..25 => self.cancel(),
            25..27 => self.note(),
            27..29 => self.follow(),
            29..31 => self.disconnect(),
            31 => self.crash(),
            32 => self.freeze(),
            33 => self.jump(),
            34..36 => self.commit_late(),
            36 => self.drain(),
            37..40 => self.reconnect(),
            _ => self.step_program(),
        }
        if self.programs.is_empty() {
            self.start_program();
        }
    }

    /// Lets time pass: a little, until the next timeout, or much, so that programs are taken for dead.
    fn pass_time(&mut self) {
        let next = self.programs.iter().filter_map(Program::timeout).min_by(f64::total_cmp);
        let time = match next {
            Some(next) if self.rng.bool() => next,
            _ if self.rng.u32(0..10) == 0 => self.time + self.rng.f64() * 60.0,
            _ => self.time + self.rng.f64() * 3.0,
        };
        self.set_time(time);
        for program in &mut self.programs {
            if program.frozen_until <= self.time {
                program.wake(self.time);
            }
        }
    }

    /// Any of the programs that are not frozen.
    fn any_program(&mut self) -> Option<usize> {
        let awake = |program: &Program| program.frozen_until <= self.time;
        let programs: Vec<usize> =
            (0..self.programs.len()).filter(|at| awake(&self.programs[*at])).collect();
        self.rng.choice(programs)
    }

    fn step_program(&mut self) {
        let Some(at) = self.any_program() else { return };
        let program = &mut self.programs[at];
        if program.is_connected && self.rng.bool() {
            let until = program.seen + self.rng.usize(1..4);
            program.deliver(self.time, &self.storage, until);
        } else if program.doing() > 0 {
            let doing = self.rng.usize(0..program.doing());
            program.step(self.time, doing, &mut self.storage, &mut self.functions);
        }
        program.wake(self.time);
        self.remove_ended();
    }

    fn remove_ended(&mut self) {
        for at in (0..self.programs.len()).rev() {
            if self.programs[at].has_ended {
                self.count_events(at);
                self.programs.remove(at);
            }
        }
    }

    fn enqueue(&mut self) {
        self.ids += 1;
        let mut job = NewJob::new(&self.ids.to_string(), CALLS[self.rng.usize(0..CALLS.len())]);
        let now = self.storage.clock;
        let mut some = |seconds: f64| {
            self.rng.u32(0..4).eq(&0).then(|| UnixTime(now + self.rng.f64() * seconds))
        };
        job.options = JobOptions {
            begin_after: some(30.0),
            begin_by: some(60.0),
            deadline: some(300.0),
            timeout: some(20.0).map(|time| time.0 - now),
            ..JobOptions::default()
        };
        if self.rng.u32(0..8) == 0 {
            job.options.retry = Some(Retry::Never);
        }
        if self.rng.u32(0..8) == 0 {
            job.options.priority = Some(self.rng.u8(0..8));
        }
        self.enqueue_job(&job);
    }

    fn enqueue_job(&mut self, job: &NewJob) -> Oid {
        let oid = self.add(|snapshot, placement| {
            let job = queue::enqueue(snapshot, placement, job)?.job();
            keep(snapshot, job)?;
            Ok(job)
        });
        self.judge.enqueued(oid, job);
        self.count("enqueued");
        oid
    }

    /// Adds a job whose arguments are of the wrong type, as a program of an application might.
    fn enqueue_malformed(&mut self) {
        self.ids += 1;
        let job = NewJob::new(&self.ids.to_string(), "app:plain");
        let oid = self.add(|snapshot, placement| {
            let job = queue::enqueue(snapshot, placement, &job)?.job();
            snapshot.modify(job, |record: &mut PersistentMapping| record.insert("args", 7))?;
            keep(snapshot, job)?;
            Ok(job)
        });
        self.judge.enqueued_malformed(oid, &job);
        self.count("enqueued malformed");
    }

    /// Adds an object with an entry in a shard, and returns its oid.
    fn add(
        &mut self,
        mut operation: impl FnMut(
            &mut rzeo_objects::Snapshot,
            &mut Placement<'_>,
        ) -> Result<ObjectId, Error>,
    ) -> Oid {
        let (shard, random, now) =
            (self.rng.i64(0..32), self.rng.u64(..), UnixTime(self.storage.clock));
        let mut created = None;
        let prepared = self
            .storage
            .prepare(self.storage.tid(), |snapshot| {
                let queue = &Queue::open(snapshot, "default")?;
                operation(snapshot, &mut Placement { queue, shard, now, random })
            })
            .unwrap();
        if let Some(changes) = &prepared.changes {
            self.storage.commit(changes).unwrap();
            created = changes.new_oids.get(&prepared.result).copied();
        }
        created.expect("it is new")
    }

    fn cancel(&mut self) {
        let Some(job) = self.judge.any_job(&mut self.rng) else { return };
        let now = UnixTime(self.storage.clock);
        match self.storage.run(|snapshot| deferred::cancel(snapshot, job, now)) {
            Ok(Cancelled::Now) => self.count("cancelled at once"),
            Ok(Cancelled::Requested) => self.count("cancel requested"),
            Err(_) => {}
        }
    }

    fn note(&mut self) {
        let Some(job) = self.judge.any_job(&mut self.rng) else { return };
        self.storage.run(|snapshot| deferred::note(snapshot, job, "n", 1.into())).unwrap();
        self.count("note");
    }

    fn follow(&mut self) {
        let Some(job) = self.judge.any_job(&mut self.rng) else { return };
        self.ids += 1;
        let call = |is_there: bool| is_there.then(|| Call::new("app:plain"));
        let follow_up = FollowUp {
            id: self.ids.to_string(),
            ok: call(self.rng.bool()),
            err: call(self.rng.bool()),
        };
        let oid = self.add(|snapshot, placement| {
            let added = deferred::then(snapshot, job, &follow_up, placement)?;
            keep(snapshot, added)?;
            Ok(added)
        });
        self.judge.followed(job, oid, &follow_up);
        self.count("follow-up");
    }

    fn disconnect(&mut self) {
        let Some(at) = self.any_program().filter(|at| self.programs[*at].is_connected) else {
            return;
        };
        let mut fates = vec![];
        let rng = &mut self.rng;
        let late = self.programs[at].disconnect(self.time, &mut self.storage, || {
            let fate = [Fate::Committed, Fate::Dropped, Fate::Late][rng.usize(0..3)];
            fates.push(fate);
            fate
        });
        self.late.extend(late);
        for fate in fates {
            self.count(match fate {
                Fate::Committed => "unknown, committed",
                Fate::Dropped => "unknown, dropped",
                Fate::Late => "unknown, late",
            });
        }
    }

    fn reconnect(&mut self) {
        if let Some(at) = self.any_program().filter(|at| !self.programs[*at].is_connected) {
            self.programs[at].connect(self.time, &self.storage);
            self.count("reconnected");
        }
    }

    fn crash(&mut self) {
        let Some(at) = self.any_program() else { return };
        self.count_events(at);
        let program = self.programs.remove(at);
        self.late.extend(program.die());
        self.count("crash");
        if self.rng.bool() {
            self.start_program();
        }
    }

    fn freeze(&mut self) {
        let Some(at) = self.any_program() else { return };
        self.programs[at].frozen_until = self.time + self.rng.f64() * 120.0;
        self.count("frozen");
    }

    fn jump(&mut self) {
        self.clock_offset += (self.rng.f64() - 0.5) * 100.0;
        self.set_time(self.time);
        self.count("clock set");
    }

    fn commit_late(&mut self) {
        if !self.late.is_empty() {
            let changes = self.late.swap_remove(self.rng.usize(0..self.late.len()));
            let is_committed = self.storage.commit(&changes).is_some();
            self.count(if is_committed { "late commit" } else { "late conflict" });
        }
    }

    fn drain(&mut self) {
        let Some(at) = self.any_program() else { return };
        let within = Duration::from_secs(self.rng.u64(0..10));
        let grace = Duration::from_secs(self.rng.u64(0..10));
        self.programs[at].input(self.time, Input::Drain { within, grace });
        self.count("drain");
        if self.rng.bool() {
            self.start_program();
        }
    }

    /// Without faults, every job ends and is settled.
    fn heal(&mut self) -> Result<(), String> {
        while !self.late.is_empty() {
            self.commit_late();
        }
        self.start_program();
        for program in &mut self.programs {
            program.frozen_until = 0.0;
            if !program.is_connected {
                program.connect(self.time, &self.storage);
            }
        }
        for job in self.judge.endless() {
            let now = UnixTime(self.storage.clock);
            let _ = self.storage.run(|snapshot| deferred::cancel(snapshot, job, now));
        }
        for step in 0..HEALING_STEPS {
            self.go_on();
            self.judge.judge(&mut self.storage)?;
            if step % 64 == 0 && self.judge.unsettled(&mut self.storage).is_empty() {
                return self.judge.judge_end(&mut self.storage, &self.functions);
            }
        }
        Err(format!("jobs are not settled: {}", self.judge.unsettled(&mut self.storage)))
    }

    /// Everything that can happen now happens; then time passes until the next timeout.
    fn go_on(&mut self) {
        let mut is_quiet = true;
        for program in &mut self.programs {
            program.deliver(self.time, &self.storage, usize::MAX);
            for at in (0..program.doing()).rev() {
                // A function that waits to be stopped does nothing.
                let before = self.storage.log.len();
                if at < program.doing() {
                    program.step(self.time, at, &mut self.storage, &mut self.functions);
                }
                is_quiet &= before == self.storage.log.len();
            }
            program.wake(self.time);
        }
        self.remove_ended();
        if self.programs.is_empty() {
            self.start_program();
        }
        let next = self.programs.iter().filter_map(Program::timeout).min_by(f64::total_cmp);
        match next {
            Some(next) if is_quiet => self.set_time(next.min(self.time + 1.0)),
            _ => self.set_time(self.time + 0.001),
        }
    }

    fn count_events(&mut self, at: usize) {
        for event in std::mem::take(&mut self.programs[at].events) {
            let name = match event {
                Event::Registered { .. } => "registered",
                Event::DeclaredGone { .. } => "declared gone",
                Event::Reaped { .. } => "reaped",
                Event::Forgotten { .. } => "forgotten",
                Event::Returned { .. } => "returned",
                Event::Tended { operation, .. } => operation,
                Event::Malformed { .. } => "malformed",
                Event::Trouble { .. } => "trouble",
                Event::Left => "left",
                Event::Job { what, .. } => name_of(&what),
            };
            self.count(name);
        }
    }
}

fn name_of(event: &JobEvent) -> &'static str {
    match event {
        JobEvent::Taken { .. } => "taken",
        JobEvent::Done { .. } => "done",
        JobEvent::Retried { .. } => "retried",
        JobEvent::Failed { .. } => "failed",
        JobEvent::Snoozed { .. } => "snoozed",
        JobEvent::Conflicted => "conflicted",
        JobEvent::Died { .. } => "died",
        JobEvent::Cancelled => "cancelled",
        JobEvent::Expired => "expired",
        JobEvent::GivenBack => "given back",
        JobEvent::Fenced => "fenced",
        JobEvent::Abandoned => "abandoned",
    }
}

/// Applications keep their jobs: here, the root object refers to each.
fn keep(snapshot: &mut rzeo_objects::Snapshot, job: ObjectId) -> Result<(), Error> {
    let reference = snapshot.reference(job)?;
    snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| {
        root.insert("last", reference);
    })?;
    Ok(())
}

/// A worker with this number of slots.
pub(crate) fn settings(slots: u32) -> WorkerSettings {
    WorkerSettings {
        queue: "default".into(),
        name: "w".into(),
        info: WorkerInfo { slots, ..WorkerInfo::default() },
        retry: RETRY,
        beat: Duration::from_secs(10),
        dead_after: Duration::from_secs(45),
        grace: Duration::from_secs(5),
    }
}
