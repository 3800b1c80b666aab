//! The bookkeeper: it has one transaction at a time, and chooses the next one.
//!
//! What has to be done is in the parts: the registration, the jobs to be settled, the shards, the upkeep, the
//! peers. A part forgets what it wanted only when that is committed, so a transaction that fails is simply
//! chosen again, a little later.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use rzeo_core::{Instant, Oid, Tid};

use super::backoff::Backoff;
use super::bookkeeping::{Bookkeeping, Found, Recover, Survey, Take, Taken};
use super::closing::Closing;
use super::context::Context;
use super::event::{Event, JobEvent};
use super::execution::earlier;
use super::executions::{Executions, is_gone};
use super::input::Outcome;
use super::operation::{Of, Operation};
use super::output::{Output, StopReason};
use super::peers::{Dead, Peers};
use super::registration::{Phase, Registration};
use super::shards::{Scope, Shards};
use super::upkeep::Upkeep;
use crate::error::{Error, Refusal};
use crate::job::Lease;

/// Maximum number of jobs that one transaction takes.
const TAKE_MAX: usize = 64;

/// Number of beats after which the worker compares `active` with the jobs that it has, and looks through its
/// shards for jobs that have expired.
const AUDIT_BEATS: u64 = 6;

/// How long entries of jobs that have ended stay before the worker looks for them to file them.
const LOOK_AFTER_CLOSING: Duration = Duration::from_secs(5);

/// Delays after a conflict, and after other failures.
const AFTER_CONFLICT: Backoff = Backoff::new(Duration::from_millis(2), Duration::from_secs(1));
const AFTER_FAILURE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// The bookkeeper of a worker.
#[derive(Debug)]
pub(super) struct Bookkeeper {
    is_connected: bool,
    /// The transaction that is being committed.
    busy: Option<Bookkeeping>,
    not_before: Option<Instant>,
    conflicts: Backoff,
    failures: Backoff,
    registration: Registration,
    closing: Closing,
    shards: Shards,
    upkeep: Upkeep,
    peers: Peers,
    /// Jobs to look at, because their records have changed; or all jobs.
    look: BTreeSet<Oid>,
    is_look_at_all: bool,
    /// Leases of claims with unknown outcome.
    unknown_leases: Vec<Lease>,
    is_audit_due: bool,
}

impl Bookkeeper {
    pub(super) fn new(cx: &mut Context) -> Self {
        Self {
            is_connected: false,
            busy: None,
            not_before: None,
            conflicts: AFTER_CONFLICT,
            failures: AFTER_FAILURE,
            registration: Registration::new(cx),
            closing: Closing::default(),
            shards: Shards::default(),
            upkeep: Upkeep::default(),
            peers: Peers::default(),
            look: BTreeSet::new(),
            is_look_at_all: false,
            unknown_leases: Vec::new(),
            is_audit_due: false,
        }
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub(super) fn has_left(&self) -> bool {
        self.registration.phase == Phase::Left
    }

    pub(super) fn id(&self) -> &str {
        &self.registration.id
    }

    pub(super) fn connected(&mut self, cx: &mut Context) {
        self.is_connected = true;
        self.not_before = None;
        self.invalidated_all(cx);
    }

    pub(super) fn disconnected(&mut self) {
        self.is_connected = false;
    }

    pub(super) fn invalidated(&mut self, cx: &mut Context, executions: &Executions, oids: &[Oid]) {
        self.look.extend(oids.iter().copied().filter(|oid| executions.contains(*oid)));
        self.registration.invalidated(oids);
        self.shards.invalidated(oids, cx.now, &mut cx.random);
    }

    pub(super) fn invalidated_all(&mut self, cx: &mut Context) {
        self.is_look_at_all = true;
        self.registration.invalidated_all();
        self.shards.wake(cx.now, &mut cx.random);
    }

    pub(super) fn drain(&mut self) {
        match self.registration.phase {
            Phase::Up => self.registration.phase = Phase::Stopping,
            // It may be registered without knowing it. Others reap it then.
            Phase::Unregistered if self.busy.is_none() => self.registration.phase = Phase::Left,
            Phase::Unregistered => self.registration.phase = Phase::Stopping,
            Phase::Stopping | Phase::Draining | Phase::Left => {}
        }
    }

    /// Attempts are over.
    pub(super) fn over(&mut self, cx: &mut Context, jobs: Vec<Oid>) {
        if !jobs.is_empty() {
            self.closing.add(cx.now, jobs);
            // There are free slots.
            self.shards.wake(cx.now, &mut cx.random);
        }
    }

    /// Chooses the next transaction, if there is none now.
    pub(super) fn advance(&mut self, cx: &mut Context, executions: &Executions) {
        let is_early = self.not_before.is_some_and(|at| cx.now < at);
        if self.busy.is_some() || !self.is_connected || is_early || self.has_left() {
            return;
        }
        let Some(what) = self.next(cx, executions) else { return };
        self.busy = Some(what.clone());
        let operation = Operation::bookkeeping(cx.queue.clone(), cx.time(), what);
        cx.output(Output::Keep(operation));
    }

    fn next(&mut self, cx: &mut Context, executions: &Executions) -> Option<Bookkeeping> {
        let worker = self.registration.id.clone();
        if self.registration.phase == Phase::Unregistered {
            return Some(Bookkeeping::Register { worker, info: cx.settings.info.clone() });
        }
        if !self.unknown_leases.is_empty() {
            return Some(self.recover(cx, executions));
        }
        if self.registration.beat_at <= cx.now {
            let (running, slots) = (executions.count(), self.registration.slots);
            return Some(Bookkeeping::Beat { worker, running, slots });
        }
        if self.registration.is_wanted_stale {
            return Some(Bookkeeping::Wanted { worker });
        }
        if let Some(look) = self.next_look(executions) {
            return Some(look);
        }
        let is_any_running = executions.count() > 0;
        if self.closing.at(is_any_running).is_some_and(|at| at <= cx.now) {
            let (shard, random) = (self.shards.any(&mut cx.random), cx.random.next());
            return Some(Bookkeeping::Close { worker, jobs: self.closing.next(), shard, random });
        }
        if self.registration.phase == Phase::Stopping {
            return Some(Bookkeeping::Drain { worker });
        }
        if let Some(take) = self.take(cx, executions) {
            return Some(Bookkeeping::Take(take));
        }
        if let Some(upkeep) = self.upkeep.next(cx, &self.shards) {
            return Some(upkeep);
        }
        match self.peers.dead(cx.now, cx.settings.dead_after) {
            Some(Dead::Silent(worker, seen)) => {
                return Some(Bookkeeping::MarkGone { worker, seen });
            }
            Some(Dead::Gone(worker)) => {
                let (shard, random) = (self.shards.any(&mut cx.random), cx.random.next());
                return Some(Bookkeeping::Reap { worker, shard, random });
            }
            None => {}
        }
        if self.is_audit_due {
            return Some(self.recover(cx, executions));
        }
        let is_idle = executions.count() == 0 && self.closing.is_empty();
        let is_leaving = self.registration.phase == Phase::Draining && is_idle;
        is_leaving.then_some(Bookkeeping::Leave { worker })
    }

    fn recover(&mut self, cx: &mut Context, executions: &Executions) -> Bookkeeping {
        let mut known: Vec<Oid> = executions.jobs().into_iter().map(|(job, _)| job).collect();
        known.extend(self.closing.jobs());
        Bookkeeping::Recover(Recover {
            worker: self.registration.id.clone(),
            known,
            leases: self.unknown_leases.clone(),
            shard: self.shards.any(&mut cx.random),
            random: cx.random.next(),
        })
    }

    /// Looks at jobs whose records have changed.
    fn next_look(&mut self, executions: &Executions) -> Option<Bookkeeping> {
        let (look, is_all) = (mem::take(&mut self.look), mem::take(&mut self.is_look_at_all));
        let mut jobs = executions.jobs();
        jobs.retain(|(job, _)| is_all || look.contains(job));
        (!jobs.is_empty()).then_some(Bookkeeping::Look { jobs })
    }

    fn take(&mut self, cx: &mut Context, executions: &Executions) -> Option<Take> {
        let (at, scope) = self.shards.next(cx.now, &cx.clock)?;
        if at > cx.now {
            return None;
        }
        let scan_max = self.shards.begin(scope);
        let slots = self.free_slots(executions);
        let leases = (0..slots).map(|_| Lease(cx.random.next())).collect();
        Some(Take {
            worker: self.registration.id.clone(),
            is_all: scope == Scope::All,
            shards: self.shards.of(scope).to_vec(),
            slots,
            running: executions.count(),
            scan_max,
            leases,
        })
    }

    fn free_slots(&self, executions: &Executions) -> usize {
        if self.registration.phase != Phase::Up {
            return 0;
        }
        let slots = usize::try_from(self.registration.slots).unwrap_or(usize::MAX);
        slots.saturating_sub(executions.count()).min(TAKE_MAX)
    }

    /// When something has to be done.
    pub(super) fn timeout(&self, cx: &Context, executions: &Executions) -> Option<Instant> {
        if self.busy.is_some() || !self.is_connected || self.has_left() {
            return None;
        }
        if let Some(at) = self.not_before.filter(|at| cx.now < *at) {
            return Some(at);
        }
        let look = self.shards.next(cx.now, &cx.clock).map(|(at, _)| at);
        let closing = self.closing.at(executions.count() > 0);
        let times = [Some(self.registration.beat_at), look, closing, self.upkeep.at(cx.now)];
        times.into_iter().fold(None, earlier)
    }

    /// How the transaction ended.
    pub(super) fn kept(&mut self, cx: &mut Context, executions: &mut Executions, outcome: Outcome) {
        let Some(what) = self.busy.take() else { return };
        let is_conflict = matches!(outcome, Outcome::Conflict);
        let problem = match outcome {
            Outcome::Committed { tid, answer, read } => {
                self.not_before = None;
                self.conflicts.succeeded();
                self.failures.succeeded();
                if let Of::Bookkeeping(found) = answer.0 {
                    self.found(cx, executions, found, tid, read);
                    self.done(cx, &what);
                }
                return;
            }
            Outcome::Refused(error) => {
                if self.refused(cx, &what, &error) {
                    return;
                }
                if is_gone(&error) {
                    return self.declared_gone(cx, executions);
                }
                error.to_string()
            }
            Outcome::Conflict => "others have changed the same objects".to_string(),
            Outcome::Unknown => {
                if let Bookkeeping::Take(take) = &what {
                    self.unknown_leases.clone_from(&take.leases);
                }
                "the connection was lost during the commit".to_string()
            }
            Outcome::Lost => "the storage cannot be reached".to_string(),
            Outcome::Denied(message) => message,
        };
        self.failed(cx, &what, is_conflict, problem);
    }

    fn failed(&mut self, cx: &mut Context, what: &Bookkeeping, is_conflict: bool, error: String) {
        if let Bookkeeping::Take(take) = what {
            let scope = if take.is_all { Scope::All } else { Scope::Home };
            self.shards.wake_at(scope, cx.now);
        }
        if matches!(what, Bookkeeping::Look { .. }) {
            self.is_look_at_all = true;
        }
        let backoff = if is_conflict { &mut self.conflicts } else { &mut self.failures };
        self.not_before = Some(backoff.failed(cx.now, &mut cx.random));
        // Conflicts are common and repeated at once.
        if !is_conflict || self.conflicts.failures() > 5 {
            cx.event(Event::Trouble { operation: what.name(), error });
        }
    }

    /// A refusal that is an answer. Returns whether it is one.
    fn refused(&mut self, cx: &mut Context, what: &Bookkeeping, error: &Error) -> bool {
        match (what, error) {
            (Bookkeeping::MarkGone { worker, .. }, Error::Refused(refusal)) => {
                match refusal {
                    Refusal::WorkerState { .. } => self.peers.gone(worker),
                    Refusal::NoWorker(_) => self.peers.forgotten(worker),
                    _ => self.peers.alive(cx.now, worker),
                }
                true
            }
            (Bookkeeping::Reap { worker, .. }, error) => {
                // If it is still there, the next survey finds it again.
                self.peers.forgotten(worker);
                if !is_gone(error) {
                    let error = error.to_string();
                    cx.event(Event::Trouble { operation: what.name(), error });
                }
                true
            }
            (Bookkeeping::Leave { .. }, error) if is_gone(error) => {
                self.registration.phase = Phase::Left;
                cx.event(Event::Left);
                true
            }
            (Bookkeeping::Leave { .. }, Error::Refused(Refusal::WorkerActive)) => {
                self.is_audit_due = true;
                self.not_before = Some(self.failures.failed(cx.now, &mut cx.random));
                true
            }
            _ => false,
        }
    }

    fn declared_gone(&mut self, cx: &mut Context, executions: &mut Executions) {
        let worker = self.registration.id.clone();
        cx.event(Event::DeclaredGone { worker });
        executions.stop_all(cx, StopReason::Fenced);
        self.closing.clear();
        self.unknown_leases.clear();
        self.registration.lost(cx);
    }

    /// Takes what a committed transaction has found to the part that wanted it.
    fn found(
        &mut self,
        cx: &mut Context,
        executions: &mut Executions,
        found: Found,
        tid: Option<Tid>,
        read: Vec<Oid>,
    ) {
        match found {
            Found::Done | Found::Filed => {}
            Found::Survey(survey) => self.surveyed(cx, survey),
            Found::Wanted(wanted) => {
                if self.registration.wanted(wanted) {
                    self.shards.wake(cx.now, &mut cx.random);
                }
            }
            Found::Looked(looked) => executions.looked(cx, looked),
            Found::Taken(taken) => self.taken(cx, executions, taken, tid, read),
            Found::Closed(closed) => {
                self.closing.closed(cx, closed);
                self.shards.wake_at(Scope::Home, cx.now.after(LOOK_AFTER_CLOSING));
            }
            Found::Recovered { adopted, returned } => {
                self.is_audit_due = false;
                self.unknown_leases.clear();
                if !returned.is_empty() {
                    cx.event(Event::Returned { jobs: returned });
                }
                let claimed = tid.unwrap_or(Tid::ZERO);
                for (job, lease) in adopted {
                    executions.begin(cx, job, lease, claimed);
                }
            }
            Found::Tended { operation, jobs, refused } => {
                if !jobs.is_empty() {
                    cx.event(Event::Tended { operation, jobs });
                }
                for error in refused {
                    cx.event(Event::Malformed { error });
                }
                self.shards.wake(cx.now, &mut cx.random);
            }
            Found::Reaped { worker, job, state } => cx.event(Event::Reaped { worker, job, state }),
            Found::Forgotten { worker } => {
                self.peers.forgotten(&worker);
                cx.event(Event::Forgotten { worker });
                self.shards.wake(cx.now, &mut cx.random);
            }
        }
    }

    /// What follows from the transaction itself.
    fn done(&mut self, cx: &mut Context, what: &Bookkeeping) {
        match what {
            Bookkeeping::Register { worker, .. } => {
                if self.registration.phase == Phase::Unregistered {
                    self.registration.registered(cx);
                }
                cx.event(Event::Registered { worker: worker.clone() });
            }
            Bookkeeping::MarkGone { worker, .. } => self.peers.gone(worker),
            Bookkeeping::Drain { .. } => self.registration.phase = Phase::Draining,
            Bookkeeping::Leave { .. } => {
                self.registration.phase = Phase::Left;
                cx.event(Event::Left);
            }
            _ => {}
        }
    }

    fn surveyed(&mut self, cx: &mut Context, survey: Survey) {
        self.registration.beat(cx);
        let is_wanted_new = self.registration.wanted(survey.wanted);
        self.peers.surveyed(cx.now, survey.peers);
        let is_changed =
            self.shards.surveyed(survey.shards, &self.registration.id, &self.peers.living());
        let is_sweep_due = self.registration.beats.is_multiple_of(AUDIT_BEATS);
        if is_sweep_due {
            self.is_audit_due = true;
            self.upkeep.swept();
        }
        if is_changed || is_sweep_due || is_wanted_new {
            self.shards.wake(cx.now, &mut cx.random);
        }
    }

    fn taken(
        &mut self,
        cx: &mut Context,
        executions: &mut Executions,
        taken: Taken,
        tid: Option<Tid>,
        read: Vec<Oid>,
    ) {
        let scope = if taken.is_all { Scope::All } else { Scope::Home };
        self.shards.looked(scope, read, taken.next_due);
        self.upkeep.found(cx, &self.shards, &taken);
        let has_room = self.free_slots(executions) > 0;
        if taken.jobs.is_empty() && taken.is_cut && has_room {
            self.shards.deepen(scope, cx.now);
        } else {
            self.shards.was_enough(scope);
        }
        let now = cx.time();
        for (job, lease, due) in taken.jobs {
            let waited = Duration::try_from_secs_f64(now.0 - due.0).unwrap_or_default();
            let claimed = tid.unwrap_or(Tid::ZERO);
            if let Some(info) = executions.begin(cx, job, lease, claimed) {
                cx.job_event(&info, JobEvent::Taken { waited });
            }
        }
    }
}
