//! Acts for an application, and checks every event that its client reports.

use rzeo_core::client::{Answer, CallError, Event, Found, Refused};
use rzeo_core::storage::Revision;
use rzeo_core::{Oid, Tid};
use rzeo_fixtures::client::{ClientRig, Effect};

use crate::application::shared::Shared;
use crate::application::state::{
    Application, Context, FollowUp, Invalidation, LoadPurpose, PendingCall,
};
use crate::objects;
use crate::oracle::Outcome;
use crate::workload::Action;

impl Application {
    /// Performs one action.
    pub(crate) fn act(&mut self, context: &mut Context<'_>, action: Action) {
        match action {
            Action::Load => self.load_any(context),
            Action::BeginSnapshot => self.begin_snapshot(),
            Action::ContinueSnapshot => self.continue_snapshot(context),
            Action::Prefetch => self.prefetch(context),
            Action::Query => self.send_query(context),
            Action::NewOid => match context.rig.act(rzeo_core::client::Client::new_oid) {
                Found::Now(oid) => context.shared.new_oid(oid),
                Found::Later(call) => {
                    self.pending.insert(call.id, PendingCall::NewOid);
                }
            },
            Action::Iterate => self.iterate(context),
            Action::ReadBlob => self.read_blob(context),
            Action::Pack => self.pack(context),
            Action::Abort => self.abort_any(context),
            Action::Transaction(kind) => self.begin(context, kind),
        }
        if context.random.below(3) == 0 {
            self.read_files(context);
        }
        self.process_events(context);
    }

    pub(crate) fn load(
        &mut self,
        context: &mut Context<'_>,
        oid: Oid,
        before: Tid,
        purpose: LoadPurpose,
    ) {
        match context.rig.act(|client, now| client.load_before(now, oid, before)) {
            Found::Now(revision) => {
                context.shared.coverage.count("loads from caches");
                self.loaded(oid, before, purpose, Ok(revision), context.shared);
            }
            Found::Later(call) => {
                context.shared.coverage.count("loads from servers");
                self.pending.insert(call.id, PendingCall::Load(oid, before, purpose));
            }
        }
    }

    /// Checks every event that the client reports, and then performs what follows from them.
    pub(crate) fn process_events(&mut self, context: &mut Context<'_>) {
        loop {
            while let Some(effect) = context.rig.take_effect() {
                match effect {
                    Effect::Event(event) => self.event(event, context),
                    Effect::Blob(oid, serial, part) => self.receive_blob(oid, serial, part),
                    Effect::Connect(..) | Effect::Disconnect(_) => {}
                }
            }
            let last = context.rig.client.last_tid();
            assert_eq!(last, self.last_tid, "the last tid is not that of the last event");
            match self.follow_ups.pop_front() {
                Some(follow_up) => self.follow_up(follow_up, context),
                None => return,
            }
        }
    }

    fn event(&mut self, event: Event, context: &mut Context<'_>) {
        let shared = &mut *context.shared;
        match event {
            Event::Connected { .. } => {
                self.is_verified = true;
                self.is_connected = true;
                shared.coverage.count("connections");
                self.log(shared, || "is connected".into());
            }
            Event::Disconnected => {
                self.is_connected = false;
                self.log(shared, || "is disconnected".into());
            }
            Event::Invalidated { tid, oids } => {
                let quick = if self.is_connected { "invalidations" } else { "quick verifications" };
                shared.coverage.count(quick);
                self.log(shared, || format!("receives: {tid} changed {oids:?}"));
                self.add_invalidation(tid, &oids);
            }
            Event::Committed { tid, oids } => {
                self.log(shared, || format!("receives: its commit {tid} changed {oids:?}"));
                self.add_invalidation(tid, &oids);
            }
            Event::InvalidatedAll { tid } => {
                shared
                    .coverage
                    .add("caches that were dropped", u64::from(self.last_tid > Tid::ZERO));
                self.log(shared, || format!("receives: anything may have changed up to {tid}"));
                assert!(tid > self.last_tid, "{tid} comes after {}", self.last_tid);
                self.last_tid = tid;
                self.invalidations.push(Invalidation::Everything(tid));
            }
            Event::Answered { call, result } => {
                let pending = self.pending.remove(&call);
                let pending = pending.unwrap_or_else(|| panic!("{call:?} is answered twice"));
                self.answered(pending, result, context);
            }
            Event::Conflict(conflict) => self.follow_ups.push_back(FollowUp::Resolve(conflict)),
            _ => {}
        }
    }

    fn add_invalidation(&mut self, tid: Tid, oids: &[Oid]) {
        assert!(tid > self.last_tid, "{tid} comes after {}", self.last_tid);
        self.last_tid = tid;
        self.invalidations.push(Invalidation::Changed(tid, oids.iter().copied().collect()));
    }

    fn follow_up(&mut self, follow_up: FollowUp, context: &mut Context<'_>) {
        match follow_up {
            FollowUp::Read(txn) => self.load_all(txn, context),
            FollowUp::Vote(txn) => self.vote(txn, context),
            FollowUp::Finish(txn) => self.finish(txn, context),
            FollowUp::Abort(txn) => self.abort(txn, context),
            FollowUp::Resolve(conflict) => self.resolve(&conflict, context),
            FollowUp::Iterate => self.continue_iteration(context),
        }
    }

    fn answered(
        &mut self,
        pending: PendingCall,
        result: Result<Answer, CallError>,
        context: &mut Context<'_>,
    ) {
        match pending {
            PendingCall::Load(oid, before, purpose) => {
                let result = result.map(|answer| match answer {
                    Answer::Loaded(found) => found,
                    other => panic!("a load is answered with {other:?}"),
                });
                self.loaded(oid, before, purpose, result, context.shared);
            }
            PendingCall::NewOid => match result {
                Ok(Answer::Oid(oid)) => context.shared.new_oid(oid),
                Ok(other) => panic!("a new oid is {other:?}"),
                Err(error) => context.shared.allow_failure(&error),
            },
            PendingCall::Begin(txn) => self.begun(txn, result, context.shared),
            PendingCall::Vote(txn) => self.voted(txn, result, context),
            PendingCall::Finish(txn) => self.finished(txn, result, context.shared),
            PendingCall::Abort(txn) => {
                assert_eq!(result, Ok(Answer::Done));
                if let Some(transaction) = self.transactions.remove(&txn) {
                    context.shared.oracle.outcome(transaction.number, Outcome::NotCommitted);
                }
            }
            PendingCall::Query(query) => self.check_answer(query, result, context),
        }
    }

    /// Checks a loaded revision against the oracle as of the last event.
    fn loaded(
        &mut self,
        oid: Oid,
        before: Tid,
        purpose: LoadPurpose,
        result: Result<Option<Revision>, CallError>,
        shared: &mut Shared,
    ) {
        let found = match result {
            Ok(Some(found)) => {
                let as_of = self.as_of(&found);
                let oracle = shared.oracle.before(oid, before, as_of);
                assert_eq!(Some(&found), oracle.as_ref(), "{oid} before {before} as of {as_of}");
                Some(found)
            }
            Ok(None) | Err(CallError::Refused(Refused::NoSuchObject { .. })) => {
                let bound = before.min(self.last_tid.next());
                let oracle = shared.oracle.before(oid, bound, self.last_tid);
                let packed = shared.oracle.may_be_packed(oid, bound);
                assert!(oracle.is_none() || packed, "{oid} before {before} is {oracle:?}");
                shared.coverage.count(if oracle.is_some() {
                    "revisions that were packed"
                } else {
                    "loads of missing objects"
                });
                None
            }
            Err(error) => {
                shared.allow_failure(&error);
                None
            }
        };
        match purpose {
            LoadPurpose::Check => {}
            LoadPurpose::Snapshot(number) => self.add_to_snapshot(number, oid, found, shared),
            LoadPurpose::Transaction(txn) => self.loaded_for_transaction(txn, oid, found),
        }
    }

    /// The tid as of which a revision must be right: that of the last event. A truncated journal
    /// may hold records of a commit without its tid; such a cache is ahead of the events
    /// until it is verified.
    fn as_of(&self, found: &Revision) -> Tid {
        let known = found.end.unwrap_or(found.serial);
        if self.is_verified { self.last_tid } else { self.last_tid.max(known) }
    }

    /// Checks every cached record against the oracle.
    pub(crate) fn compare_cache(&self, rig: &mut ClientRig, shared: &mut Shared) {
        if !self.is_verified {
            return;
        }
        let before = self.last_tid.next();
        for oid in (0..objects::UNUSED.0).map(Oid) {
            let cached = rig.act(|client, _| client.cached_before(oid, before));
            if let Some(cached) = cached {
                let oracle = shared.oracle.before(oid, before, self.last_tid);
                assert_eq!(Some(cached), oracle, "{oid} in the cache as of {}", self.last_tid);
                shared.coverage.count("cached records compared");
            }
        }
        let statistics = rig.client.cache().statistics();
        let (bytes, max) = (statistics.bytes, statistics.bytes_max);
        assert!(bytes <= max, "the cache takes {bytes} bytes of {max}");
    }

    /// Ends the application; the outcome of a transaction that is finishing stays unknown.
    pub(crate) fn end(self, shared: &mut Shared) -> Vec<Invalidation> {
        for transaction in self.transactions.into_values() {
            let outcome =
                if transaction.is_finishing() { Outcome::Unknown } else { Outcome::NotCommitted };
            shared.oracle.outcome(transaction.number, outcome);
        }
        self.invalidations
    }
}
