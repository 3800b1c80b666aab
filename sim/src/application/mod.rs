//! One application: asks what applications ask, and judges what its client says.
//!
//! What is checked, for every event in its order, with the promises of `rzeo_core::client` and
//! `rzeo_core::server` that it holds them to:
//!
//! * tids grow; from one to the next, exactly what was changed in between is named, or everything
//!   (promises 1, 2, 4 of the server and 3, 4, 5 of the client; the whole is compared at the end);
//! * the client's last tid is that of the last event (client, 4);
//! * a revision, from the cache or from the server, is the true one as of the last event, with its end
//!   (server, 3; client, 1, 2, 3, 5, 6): so no snapshot is mixed;
//! * a call is answered once (client, 7), and `ping` after everything that anybody knew to be
//!   committed (server, 5);
//! * a transaction is committed if its finish says so, and is not if it says anything but that this is
//!   not known (client, 7; compared at the end).
//!
//! Its transactions are in [`deals`](super::deals), everything else that it asks is in
//! [`questions`](super::questions).

mod queries;
pub(crate) mod transactions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use rzeo_core::client::{
    Answer, CallError, CallId, Conflict, Event, Found, LostBecause, Refused, TxnId,
};
use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::Revision;

use crate::application::queries::{Download, Question, Reader, Walk};
use crate::application::transactions::Deal;
use crate::coverage::Coverage;
use crate::objects;
use crate::oracle::{Outcome, Truth};
use crate::trace::Trace;
use crate::workload::Habit;
use rzeo_fixtures::client::{ClientRig, Happened};
use rzeo_fixtures::random::Random;

/// What everybody knows.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) truth: Truth,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
    /// The last commit that some application knows to be made.
    pub(crate) acknowledged: Tid,
    /// Whether a disk has failed, so that calls may.
    pub(crate) disk_has_failed: bool,
    last_number: u64,
    /// New oids that were handed out. `None` if that was not by one server: what was not used before it
    /// ended may be handed out again, and a client keeps what it got (as Python's).
    pub(crate) new_oids: Option<BTreeSet<Oid>>,
}

impl Shared {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, new_oids: Some(BTreeSet::new()), ..Self::default() }
    }

    /// A number for a transaction.
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn new_oid(&mut self, oid: Oid) {
        self.coverage.count("new oids");
        assert!(oid >= objects::UNUSED, "{oid} is handed out, and in use");
        if let Some(known) = &mut self.new_oids {
            assert!(known.insert(oid), "{oid} is handed out twice");
        }
    }

    /// Errors that a network, or a broken disk, may cause at any time.
    pub(crate) fn away(&mut self, error: &CallError) {
        self.coverage.count(match error {
            CallError::Lost(because) => {
                let may_be = match because {
                    LostBecause::Gone(_)
                    | LostBecause::NotReady { .. }
                    | LostBecause::CommitFailed
                    | LostBecause::TooLate
                    | LostBecause::BegunElsewhere => true,
                    LostBecause::Refused(_) => self.disk_has_failed,
                    _ => false,
                };
                assert!(may_be, "{because}");
                "calls that were lost"
            }
            CallError::Unreachable { .. } => "calls without a server",
            CallError::Refused(Refused::Other { class, payload }) => {
                let is_disk = ["builtins.OSError", "ZODB.POSException.StorageError"];
                assert!(is_disk.contains(&class.as_str()), "{class} {payload:?}");
                assert!(self.disk_has_failed, "{error}");
                "calls that failed with the disk"
            }
            error => panic!("{error}"),
        });
    }
}

/// What a client told of a commit.
#[derive(Debug)]
pub(crate) enum Heard {
    /// These objects changed up to this tid.
    Changed(Tid, BTreeSet<Oid>),
    /// Anything may have.
    Everything(Tid),
}

impl Heard {
    pub(crate) const fn tid(&self) -> Tid {
        match self {
            Self::Changed(tid, _) | Self::Everything(tid) => *tid,
        }
    }
}

/// See the module's introduction.
#[derive(Debug, Default)]
pub(crate) struct Person {
    pub(crate) number: u64,
    /// The tid of the last event.
    pub(crate) told: Tid,
    /// Where its cache began.
    pub(crate) began: Tid,
    pub(crate) heard: Vec<Heard>,
    /// Whether the cache that it began with was verified.
    is_verified: bool,
    is_connected: bool,
    pub(crate) asked: BTreeMap<CallId, Asked>,
    pub(crate) deals: BTreeMap<TxnId, Deal>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) last_reader: u64,
    pub(crate) walk: Option<Walk>,
    pub(crate) downloads: BTreeMap<(Oid, Tid), Download>,
    /// Blobs whose files are read later.
    pub(crate) unread: VecDeque<(TxnId, usize, Bytes)>,
    /// What follows from events, when all of them are heard.
    pub(crate) then: VecDeque<Then>,
}

#[derive(Debug)]
pub(crate) enum Asked {
    Load(Oid, Tid, Why),
    NewOid,
    Begin(TxnId),
    Vote(TxnId),
    Finish(TxnId),
    Abort(TxnId),
    Question(Question),
}

/// What an application does because of an event.
#[derive(Debug)]
pub(crate) enum Then {
    Read(TxnId),
    Vote(TxnId),
    Finish(TxnId),
    Abort(TxnId),
    Resolve(Conflict),
    WalkOn,
}

/// What a load is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Why {
    Look,
    Snapshot(u64),
    Deal(TxnId),
}

/// What an application needs to act: its client, a choice, and what everybody knows.
pub(crate) struct Desk<'a> {
    pub(crate) rig: &'a mut ClientRig,
    pub(crate) random: &'a mut Random,
    pub(crate) shared: &'a mut Shared,
}

impl Person {
    /// An application whose cache is right as of this tid.
    pub(crate) fn new(number: u64, began: Tid) -> Self {
        Self { number, told: began, began, ..Self::default() }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.deals.is_empty()
    }

    /// Does something that an application might do now.
    pub(crate) fn act(&mut self, desk: &mut Desk<'_>, habit: Habit) {
        match habit {
            Habit::Look => self.look(desk),
            Habit::Snapshot => self.begin_reading(),
            Habit::ReadOn => self.read_on(desk),
            Habit::Prefetch => self.prefetch(desk),
            Habit::Ask => self.ask_something(desk),
            Habit::NewOid => match desk.rig.act(rzeo_core::client::Client::new_oid) {
                Found::Now(oid) => desk.shared.new_oid(oid),
                Found::Later(call) => {
                    self.asked.insert(call, Asked::NewOid);
                }
            },
            Habit::Walk => self.walk(desk),
            Habit::Blob => self.read_blob(desk),
            Habit::Pack => self.pack(desk),
            Habit::ChangeMind => self.change_mind(desk),
            Habit::Deal(kind) => self.begin(desk, kind),
        }
        if desk.random.below(3) == 0 {
            self.read_files(desk);
        }
        self.hear(desk);
    }

    /// Often as of now, sometimes as of some time ago.
    pub(crate) fn some_tid(&self, random: &mut Random) -> Tid {
        let tids: Vec<Tid> = self.heard.iter().rev().take(30).map(Heard::tid).collect();
        match random.below(3) {
            0 if !tids.is_empty() => tids[random.below(tids.len())].next(),
            1 => Tid::MAX,
            _ => self.told.next(),
        }
    }

    pub(crate) fn load(&mut self, desk: &mut Desk<'_>, oid: Oid, before: Tid, why: Why) {
        match desk.rig.act(|client, now| client.load_before(now, oid, before)) {
            Found::Now(revision) => {
                desk.shared.coverage.count("loads from caches");
                self.loaded(oid, before, why, Ok(revision), desk.shared);
            }
            Found::Later(call) => {
                desk.shared.coverage.count("loads from servers");
                self.asked.insert(call, Asked::Load(oid, before, why));
            }
        }
    }

    /// Judges everything that the client has told, and then does what follows from it.
    pub(crate) fn hear(&mut self, desk: &mut Desk<'_>) {
        loop {
            while let Some(happened) = desk.rig.take_happened() {
                match happened {
                    Happened::Event(event) => self.event(event, desk),
                    Happened::Blob(oid, serial, part) => self.blob_comes(oid, serial, part),
                    Happened::Connect(..) | Happened::Disconnect(_) => {}
                }
            }
            let last = desk.rig.client.last_tid();
            assert_eq!(last, self.told, "the last tid is not that of the last event");
            match self.then.pop_front() {
                Some(then) => self.go_on(then, desk),
                None => return,
            }
        }
    }

    fn event(&mut self, event: Event, desk: &mut Desk<'_>) {
        let shared = &mut *desk.shared;
        match event {
            Event::Connected { .. } => {
                self.is_verified = true;
                self.is_connected = true;
                shared.coverage.count("connections");
                self.say(shared, || "is connected".into());
            }
            Event::Disconnected => {
                self.is_connected = false;
                self.say(shared, || "is disconnected".into());
            }
            Event::Invalidated { tid, oids } => {
                let quick = if self.is_connected { "invalidations" } else { "quick verifications" };
                shared.coverage.count(quick);
                self.say(shared, || format!("hears that {tid} changed {oids:?}"));
                self.learn(tid, &oids);
            }
            Event::Committed { tid, oids } => {
                self.say(shared, || format!("hears that its {tid} changed {oids:?}"));
                self.learn(tid, &oids);
            }
            Event::InvalidatedAll { tid } => {
                shared.coverage.add("caches that were dropped", u64::from(self.told > Tid::ZERO));
                self.say(shared, || format!("hears that anything changed up to {tid}"));
                assert!(tid > self.told, "{tid} comes after {}", self.told);
                self.told = tid;
                self.heard.push(Heard::Everything(tid));
            }
            Event::Answered { call, result } => {
                let asked = self.asked.remove(&call);
                let asked = asked.unwrap_or_else(|| panic!("{call:?} is answered twice"));
                self.answered(asked, result, desk);
            }
            Event::Conflict(conflict) => self.then.push_back(Then::Resolve(conflict)),
            _ => {}
        }
    }

    fn learn(&mut self, tid: Tid, oids: &[Oid]) {
        assert!(tid > self.told, "{tid} comes after {}", self.told);
        self.told = tid;
        self.heard.push(Heard::Changed(tid, oids.iter().copied().collect()));
    }

    fn go_on(&mut self, then: Then, desk: &mut Desk<'_>) {
        match then {
            Then::Read(txn) => self.read_all(txn, desk),
            Then::Vote(txn) => self.vote(txn, desk),
            Then::Finish(txn) => self.finish(txn, desk),
            Then::Abort(txn) => self.abort(txn, desk),
            Then::Resolve(conflict) => self.resolve(&conflict, desk),
            Then::WalkOn => self.walk_on(desk),
        }
    }

    fn answered(&mut self, asked: Asked, result: Result<Answer, CallError>, desk: &mut Desk<'_>) {
        match asked {
            Asked::Load(oid, before, why) => {
                let result = result.map(|answer| match answer {
                    Answer::Loaded(found) => found,
                    other => panic!("a load is answered with {other:?}"),
                });
                self.loaded(oid, before, why, result, desk.shared);
            }
            Asked::NewOid => match result {
                Ok(Answer::Oid(oid)) => desk.shared.new_oid(oid),
                Ok(other) => panic!("a new oid is {other:?}"),
                Err(error) => desk.shared.away(&error),
            },
            Asked::Begin(txn) => self.begun(txn, result, desk.shared),
            Asked::Vote(txn) => self.voted(txn, result, desk),
            Asked::Finish(txn) => self.finished(txn, result, desk.shared),
            Asked::Abort(txn) => {
                assert_eq!(result, Ok(Answer::Done));
                if let Some(deal) = self.deals.remove(&txn) {
                    desk.shared.truth.outcome(deal.number, Outcome::NotCommitted);
                }
            }
            Asked::Question(question) => self.hear_answer(question, result, desk),
        }
    }

    /// Is that the truth as of the last event?
    fn loaded(
        &mut self,
        oid: Oid,
        before: Tid,
        why: Why,
        result: Result<Option<Revision>, CallError>,
        shared: &mut Shared,
    ) {
        let found = match result {
            Ok(Some(found)) => {
                let as_of = self.as_of(&found);
                let truth = shared.truth.before(oid, before, as_of);
                assert_eq!(Some(&found), truth.as_ref(), "{oid} before {before} as of {as_of}");
                Some(found)
            }
            Ok(None) | Err(CallError::Refused(Refused::NoSuchObject { .. })) => {
                let bound = before.min(self.told.next());
                let truth = shared.truth.before(oid, bound, self.told);
                let packed = shared.truth.may_be_gone(oid, bound);
                assert!(truth.is_none() || packed, "{oid} before {before} is {truth:?}");
                shared.coverage.count(if truth.is_some() {
                    "revisions that were packed away"
                } else {
                    "objects that are not there"
                });
                None
            }
            Err(error) => {
                shared.away(&error);
                None
            }
        };
        match why {
            Why::Look => {}
            Why::Snapshot(number) => self.add_up(number, oid, found, shared),
            Why::Deal(txn) => self.has_read(txn, oid, found),
        }
    }

    /// The tid as of which a revision has to be true: that of the last event. A journal that was cut
    /// may have what belongs to a commit and not yet its tid; such a cache knows more than is told,
    /// until it is verified.
    fn as_of(&self, found: &Revision) -> Tid {
        let known = found.end.unwrap_or(found.serial);
        if self.is_verified { self.told } else { self.told.max(known) }
    }

    /// What the client holds of every object is the truth, as far as it holds it.
    pub(crate) fn compare_cache(&self, rig: &mut ClientRig, shared: &mut Shared) {
        if !self.is_verified {
            return;
        }
        let before = self.told.next();
        for oid in (0..objects::UNUSED.0).map(Oid) {
            let cached = rig.act(|client, _| client.cached_before(oid, before));
            if let Some(cached) = cached {
                let truth = shared.truth.before(oid, before, self.told);
                assert_eq!(Some(cached), truth, "{oid} in the cache as of {}", self.told);
                shared.coverage.count("cached records compared");
            }
        }
        let statistics = rig.client.cache().statistics();
        let (bytes, max) = (statistics.bytes, statistics.bytes_max);
        assert!(bytes <= max, "the cache takes {bytes} bytes of {max}");
    }

    /// The application ends, and what it has not heard it does not know.
    pub(crate) fn die(self, shared: &mut Shared) -> Vec<Heard> {
        for deal in self.deals.into_values() {
            let outcome =
                if deal.is_finishing() { Outcome::Unknown } else { Outcome::NotCommitted };
            shared.truth.outcome(deal.number, outcome);
        }
        self.heard
    }

    pub(crate) fn say(&self, shared: &mut Shared, what: impl FnOnce() -> String) {
        shared.trace.mark(self.told.0);
        shared.trace.say(|| format!("client {} {}", self.number, what()));
    }
}
