//! The transactions of an application, from begin to outcome.
//!
//! ```text
//!   Queued ─► Reading ─► Voting ─► Finishing ─► committed, refused, or unknown
//!                   each of the first three stages can be aborted: Aborting
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use rzeo_core::client::{Answer, Begin, CallError, Conflict, Misuse, Refused, TxnId};
use rzeo_core::storage::Revision;
use rzeo_core::{Oid, Tid};

use crate::application::shared::Shared;
use crate::application::state::{Application, Context, FollowUp, LoadPurpose, PendingCall};
use crate::application::transaction::{Stage, Transaction, plan};
use crate::objects::{self, TICKS};
use crate::oracle::Outcome;
use crate::workload::TransactionKind;
use rzeo_fixtures::client::ClientRig;
use rzeo_fixtures::random::Random;

/// Maximum number of transactions that an application has at once.
const TRANSACTIONS_MAX: usize = 2;

impl Application {
    /// Begins a transaction, unless the application has [`TRANSACTIONS_MAX`].
    pub(crate) fn begin(&mut self, context: &mut Context<'_>, kind: TransactionKind) {
        if self.transactions.len() >= TRANSACTIONS_MAX || kind == TransactionKind::Undo {
            return;
        }
        let wanted = self.objects_to_read(kind, context.random);
        self.begin_new(context, kind, wanted, None);
    }

    /// Begins a transaction that undoes another one.
    pub(crate) fn begin_undo(&mut self, context: &mut Context<'_>, tid: Tid, id: Bytes) {
        if self.transactions.len() < TRANSACTIONS_MAX {
            self.begin_new(context, TransactionKind::Undo, Vec::new(), Some((tid, id)));
        }
    }

    fn begin_new(
        &mut self,
        context: &mut Context<'_>,
        kind: TransactionKind,
        wanted: Vec<Oid>,
        undoes: Option<(Tid, Bytes)>,
    ) {
        let number = context.shared.next_number();
        let begin = Begin { description: Bytes::from(number.to_string()), ..Begin::default() };
        let (txn, call) = context.rig.act(|client, now| client.begin(now, begin));
        let amount = i64::try_from(context.random.below(20)).unwrap_or_default();
        let read = BTreeMap::new();
        let transaction =
            Transaction { number, kind, wanted, read, undoes, amount, stage: Stage::Queued };
        self.log(context.shared, || format!("begins {number}: {kind:?} {:?}", transaction.wanted));
        self.transactions.insert(txn, transaction);
        self.pending.insert(call.id, PendingCall::Begin(txn));
    }

    /// The objects that a transaction reads first.
    fn objects_to_read(&self, kind: TransactionKind, random: &mut Random) -> Vec<Oid> {
        match kind {
            TransactionKind::Transfer => {
                let from = objects::some(random, objects::accounts());
                let others = objects::accounts().filter(|oid| *oid != from);
                vec![from, objects::some(random, others)]
            }
            TransactionKind::Count => vec![objects::counter(self.number), TICKS],
            TransactionKind::Mass => objects::crowd().collect(),
            TransactionKind::Depend => {
                let account = objects::some(random, objects::accounts());
                vec![account, objects::some(random, objects::crowd())]
            }
            TransactionKind::Blob => {
                let mut wanted = vec![objects::some(random, objects::blobs())];
                if random.below(3) == 0 {
                    wanted.extend([objects::counter(self.number), TICKS]);
                }
                wanted
            }
            TransactionKind::Undo | TransactionKind::Nothing => Vec::new(),
        }
    }

    pub(crate) fn begun(
        &mut self,
        txn: TxnId,
        result: Result<Answer, CallError>,
        shared: &mut Shared,
    ) {
        let Some(transaction) = self.transactions.get_mut(&txn) else { return };
        match result {
            Ok(_) => self.follow_ups.push_back(FollowUp::Read(txn)),
            Err(CallError::Misuse(Misuse::NotOpen)) => {
                assert_eq!(transaction.stage, Stage::Aborting)
            }
            Err(error) => {
                shared.allow_failure(&error);
                self.follow_ups.push_back(FollowUp::Abort(txn));
            }
        }
    }

    /// Loads the objects of a transaction, all as of now.
    pub(crate) fn load_all(&mut self, txn: TxnId, context: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&txn) else { return };
        if transaction.stage != Stage::Queued {
            return;
        }
        transaction.stage = Stage::Reading;
        let (wanted, before) = (transaction.wanted.clone(), self.last_tid.next());
        if wanted.is_empty() {
            self.follow_ups.push_back(FollowUp::Vote(txn));
        }
        if wanted.len() > 2 {
            context.rig.act(|client, _| client.prefetch(&wanted, before));
        }
        for oid in wanted {
            self.load(context, oid, before, LoadPurpose::Transaction(txn));
        }
    }

    pub(crate) fn loaded_for_transaction(&mut self, txn: TxnId, oid: Oid, found: Option<Revision>) {
        let Some(transaction) = self.transactions.get_mut(&txn) else { return };
        // Only blobs may be missing.
        if found.is_none() && objects::at_first(oid).is_some() {
            return self.follow_ups.push_back(FollowUp::Abort(txn));
        }
        transaction.read.insert(oid, found);
        if transaction.read.len() == transaction.wanted.len() {
            self.follow_ups.push_back(FollowUp::Vote(txn));
        }
    }

    /// Stores what the transaction writes, and votes.
    pub(crate) fn vote(&mut self, txn: TxnId, context: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&txn) else { return };
        if transaction.stage != Stage::Reading {
            return;
        }
        transaction.stage = Stage::Voting;
        let plan = plan(transaction, context.random);
        let number = transaction.number;
        context.shared.oracle.plan(number, plan.clone());
        for (oid, (serial, data)) in plan.writes {
            let Some(content) = plan.blobs.get(&oid) else {
                let stored = context.rig.act(|client, _| client.store(txn, oid, serial, data));
                assert_eq!(stored, Ok(()));
                continue;
            };
            let stored = context.rig.act(|client, _| client.store_blob(txn, oid, serial, data));
            let blob = stored.expect("the transaction is open");
            self.unread.push_back((txn, blob, content.clone()));
        }
        for (oid, serial) in plan.depends {
            let checked = context.rig.act(|client, _| client.check_current(txn, oid, serial));
            assert_eq!(checked, Ok(()));
        }
        if let Some((_, id)) =
            self.transactions.get(&txn).and_then(|transaction| transaction.undoes.clone())
        {
            assert_eq!(context.rig.act(|client, _| client.undo(txn, id)), Ok(()));
        }
        let call = context.rig.act(|client, now| client.vote(now, txn));
        self.pending.insert(call.id, PendingCall::Vote(txn));
        context.shared.coverage.count("votes");
        self.log(context.shared, || format!("votes for {number}"));
    }

    /// Gives the client the content of blobs; a few cannot be read.
    pub(crate) fn read_files(&mut self, context: &mut Context<'_>) {
        while let Some((txn, blob, bytes)) = self.unread.pop_front() {
            let is_there = context.random.below(20) > 0;
            let bytes = if is_there { Ok(bytes) } else { Err("the file is gone".to_owned()) };
            context.rig.upload(txn, blob, bytes);
        }
    }

    /// Gives the client the content of all its blobs.
    pub(crate) fn read_all_files(&mut self, rig: &mut ClientRig) {
        while let Some((txn, blob, bytes)) = self.unread.pop_front() {
            rig.upload(txn, blob, Ok(bytes));
        }
    }

    pub(crate) fn voted(
        &mut self,
        txn: TxnId,
        result: Result<Answer, CallError>,
        context: &mut Context<'_>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&txn) else { return };
        let (number, shared) = (transaction.number, &mut *context.shared);
        shared.trace.log(|| format!("client {}: {number} is voted: {result:?}", self.number));
        let conflict = match result {
            Ok(Answer::Voted(oids)) => {
                let is_resolved = !oids.is_empty() && transaction.kind != TransactionKind::Undo;
                shared.coverage.add("votes with resolved conflicts", u64::from(is_resolved));
                let aborts = context.random.below(10) == 0;
                let next = if aborts { FollowUp::Abort(txn) } else { FollowUp::Finish(txn) };
                return self.follow_ups.push_back(next);
            }
            Ok(other) => panic!("a vote is answered with {other:?}"),
            Err(CallError::Misuse(Misuse::NotOpen)) => {
                assert_eq!(transaction.stage, Stage::Aborting);
                return;
            }
            Err(CallError::Refused(Refused::Conflict { .. })) => "conflicts",
            Err(CallError::Refused(Refused::ReadConflict { .. })) => "read conflicts",
            Err(CallError::ConflictsForever { .. }) => "conflicts after all retries",
            Err(CallError::Blob(_)) => "blobs that could not be read",
            Err(CallError::Refused(Refused::Undo { .. } | Refused::UndoFailures(_)))
                if transaction.kind == TransactionKind::Undo =>
            {
                "undos that failed"
            }
            Err(error) => {
                shared.allow_failure(&error);
                "votes that were lost"
            }
        };
        shared.coverage.count(conflict);
        self.follow_ups.push_back(FollowUp::Abort(txn));
    }

    /// Resolves a write conflict that the server leaves to its client.
    pub(crate) fn resolve(&mut self, conflict: &Conflict, context: &mut Context<'_>) {
        let Conflict { txn, oid, read, committed, .. } = *conflict;
        let resolved = match &conflict.states {
            _ if !objects::is_a_sum(oid) || context.random.below(20) == 0 => None,
            None => return context.rig.act(|client, _| client.conflict_states(txn)),
            Some((old, new)) => {
                let state = |tid| context.shared.oracle.record(tid, oid).cloned().flatten();
                let states = (Some(old.clone()), Some(new.clone()));
                assert_eq!(states, (state(read), state(committed)), "{oid} is in conflict");
                context.shared.coverage.count("conflicts that a client resolved");
                Some(objects::resolved(oid, old, new, &conflict.new))
            }
        };
        context.rig.act(|client, _| client.conflict_resolved(txn, resolved));
    }

    pub(crate) fn finish(&mut self, txn: TxnId, context: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&txn) else { return };
        if transaction.stage == Stage::Voting {
            transaction.stage = Stage::Finishing;
            let call = context.rig.act(|client, now| client.finish(now, txn));
            self.pending.insert(call.id, PendingCall::Finish(txn));
        }
    }

    pub(crate) fn finished(
        &mut self,
        txn: TxnId,
        result: Result<Answer, CallError>,
        shared: &mut Shared,
    ) {
        let transaction =
            self.transactions.remove(&txn).expect("a finishing transaction is removed only here");
        let outcome = match result {
            Ok(Answer::Finished(tid)) => {
                let is_known = self.invalidations.iter().any(|it| it.tid() == tid);
                assert!(is_known, "{tid} was not announced");
                shared.acknowledged = shared.acknowledged.max(tid);
                shared.coverage.count("commits");
                shared.coverage.count(match transaction.kind {
                    TransactionKind::Transfer => "transfers",
                    TransactionKind::Count => "counters incremented",
                    TransactionKind::Mass => "changes of the whole group",
                    TransactionKind::Depend => "changes that depend on another object",
                    TransactionKind::Blob => "blobs stored",
                    TransactionKind::Undo => "undos",
                    TransactionKind::Nothing => "empty commits",
                });
                Outcome::Committed(tid)
            }
            Ok(other) => panic!("a finish is answered with {other:?}"),
            Err(CallError::MaybeCommitted(_)) => {
                shared.coverage.count("finishes that were lost");
                Outcome::Unknown
            }
            Err(CallError::Refused(Refused::Transaction(_))) => {
                shared.coverage.count("finishes that were refused");
                Outcome::NotCommitted
            }
            Err(error) => {
                shared.allow_failure(&error);
                Outcome::NotCommitted
            }
        };
        self.log(shared, || format!("finished {}: {outcome:?}", transaction.number));
        shared.oracle.outcome(transaction.number, outcome);
    }

    /// Aborts a transaction that is not finishing.
    pub(crate) fn abort_any(&mut self, context: &mut Context<'_>) {
        let Some((&txn, transaction)) = self.transactions.iter().next() else { return };
        if matches!(transaction.stage, Stage::Queued | Stage::Reading | Stage::Voting) {
            context.shared.coverage.count("transactions that were aborted");
            self.abort(txn, context);
        }
    }

    pub(crate) fn abort(&mut self, txn: TxnId, context: &mut Context<'_>) {
        let is_over = |it: &Transaction| matches!(it.stage, Stage::Finishing | Stage::Aborting);
        if let Some(transaction) = self.transactions.get_mut(&txn).filter(|it| !is_over(it)) {
            transaction.stage = Stage::Aborting;
            let call = context.rig.act(|client, now| client.abort(now, txn));
            self.pending.insert(call.id, PendingCall::Abort(txn));
        }
    }
}
