//! The transactions of an application, from their beginning to what became of them.
//!
//! ```text
//!   Queued ─► Reading ─► Voting ─► Finishing ─► committed, refused, or nobody knows
//!                                      any stage before that may be given up: Aborting
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use rzeo_core::client::{Answer, Begin, CallError, Conflict, Misuse, Refused, TxnId};
use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::Revision;

use crate::application::{Asked, Desk, Person, Shared, Then, Why};
use crate::objects::{self, TICKS};
use crate::oracle::{Outcome, Plan};
use rzeo_fixtures::client::ClientRig;
use rzeo_fixtures::random::Random;

/// What a transaction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DealKind {
    /// Moves money from one account to another.
    Transfer,
    /// Counts up the own counter, and the ticks.
    Count,
    /// Changes the whole crowd.
    Mass,
    /// Changes one of the crowd, provided that an account stays what it is.
    Depend,
    /// Stores a blob, and may count.
    Blob,
    /// Takes a transfer back.
    Undo,
    /// Changes nothing.
    Nothing,
}

/// A transaction.
#[derive(Debug)]
pub(crate) struct Deal {
    /// Its description.
    pub(crate) number: u64,
    kind: DealKind,
    wanted: Vec<Oid>,
    read: BTreeMap<Oid, Option<Revision>>,
    /// For an undo: the commit, and what the server calls it.
    undoes: Option<(Tid, Bytes)>,
    amount: i64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Queued,
    Reading,
    Voting,
    Finishing,
    Aborting,
}

impl Deal {
    pub(crate) const fn is_finishing(&self) -> bool {
        matches!(self.stage, Stage::Finishing)
    }
}

/// How many transactions an application has at once.
const DEALS_MAX: usize = 2;
/// How long blobs may be; longer than a chunk on the wire.
const BLOB_BYTES_MAX: usize = 140_000;

impl Person {
    /// Begins a transaction, if there are not enough of them.
    pub(crate) fn begin(&mut self, desk: &mut Desk<'_>, kind: DealKind) {
        if self.deals.len() >= DEALS_MAX || kind == DealKind::Undo {
            return;
        }
        let wanted = self.wanted(kind, desk.random);
        self.begin_deal(desk, kind, wanted, None);
    }

    /// Begins a transaction that takes another one back.
    pub(crate) fn begin_undo(&mut self, desk: &mut Desk<'_>, tid: Tid, id: Bytes) {
        if self.deals.len() < DEALS_MAX {
            self.begin_deal(desk, DealKind::Undo, Vec::new(), Some((tid, id)));
        }
    }

    fn begin_deal(
        &mut self,
        desk: &mut Desk<'_>,
        kind: DealKind,
        wanted: Vec<Oid>,
        undoes: Option<(Tid, Bytes)>,
    ) {
        let number = desk.shared.next_number();
        let begin = Begin { description: Bytes::from(number.to_string()), ..Begin::default() };
        let (txn, call) = desk.rig.act(|client, now| client.begin(now, begin));
        let amount = i64::try_from(desk.random.below(20)).unwrap_or_default();
        let read = BTreeMap::new();
        let deal = Deal { number, kind, wanted, read, undoes, amount, stage: Stage::Queued };
        self.say(desk.shared, || format!("begins {number}: {kind:?} {:?}", deal.wanted));
        self.deals.insert(txn, deal);
        self.asked.insert(call, Asked::Begin(txn));
    }

    /// What a transaction has to read first.
    fn wanted(&self, kind: DealKind, random: &mut Random) -> Vec<Oid> {
        match kind {
            DealKind::Transfer => {
                let from = objects::some(random, objects::accounts());
                let others = objects::accounts().filter(|oid| *oid != from);
                vec![from, objects::some(random, others)]
            }
            DealKind::Count => vec![objects::counter(self.number), TICKS],
            DealKind::Mass => objects::crowd().collect(),
            DealKind::Depend => {
                let account = objects::some(random, objects::accounts());
                vec![account, objects::some(random, objects::crowd())]
            }
            DealKind::Blob => {
                let mut wanted = vec![objects::some(random, objects::blobs())];
                if random.below(3) == 0 {
                    wanted.extend([objects::counter(self.number), TICKS]);
                }
                wanted
            }
            DealKind::Undo | DealKind::Nothing => Vec::new(),
        }
    }

    pub(crate) fn begun(
        &mut self,
        txn: TxnId,
        result: Result<Answer, CallError>,
        shared: &mut Shared,
    ) {
        let Some(deal) = self.deals.get_mut(&txn) else { return };
        match result {
            Ok(_) => self.then.push_back(Then::Read(txn)),
            Err(CallError::Misuse(Misuse::NotOpen)) => assert_eq!(deal.stage, Stage::Aborting),
            Err(error) => {
                shared.away(&error);
                self.then.push_back(Then::Abort(txn));
            }
        }
    }

    /// Reads what is wanted, all of it as of now.
    pub(crate) fn read_all(&mut self, txn: TxnId, desk: &mut Desk<'_>) {
        let Some(deal) = self.deals.get_mut(&txn) else { return };
        if deal.stage != Stage::Queued {
            return;
        }
        deal.stage = Stage::Reading;
        let (wanted, before) = (deal.wanted.clone(), self.told.next());
        if wanted.is_empty() {
            self.then.push_back(Then::Vote(txn));
        }
        if wanted.len() > 2 {
            desk.rig.act(|client, _| client.prefetch(&wanted, before));
        }
        for oid in wanted {
            self.load(desk, oid, before, Why::Deal(txn));
        }
    }

    pub(crate) fn has_read(&mut self, txn: TxnId, oid: Oid, found: Option<Revision>) {
        let Some(deal) = self.deals.get_mut(&txn) else { return };
        // Only blobs may not be there yet.
        if found.is_none() && objects::at_first(oid).is_some() {
            return self.then.push_back(Then::Abort(txn));
        }
        deal.read.insert(oid, found);
        if deal.read.len() == deal.wanted.len() {
            self.then.push_back(Then::Vote(txn));
        }
    }

    /// Everything is read, and what is to be written is said.
    pub(crate) fn vote(&mut self, txn: TxnId, desk: &mut Desk<'_>) {
        let Some(deal) = self.deals.get_mut(&txn) else { return };
        if deal.stage != Stage::Reading {
            return;
        }
        deal.stage = Stage::Voting;
        let plan = plan(deal, desk.random);
        let number = deal.number;
        desk.shared.truth.plan(number, plan.clone());
        for (oid, (serial, data)) in plan.writes {
            let Some(content) = plan.blobs.get(&oid) else {
                let stored = desk.rig.act(|client, _| client.store(txn, oid, serial, data));
                assert_eq!(stored, Ok(()));
                continue;
            };
            let stored = desk.rig.act(|client, _| client.store_blob(txn, oid, serial, data));
            let blob = stored.expect("the transaction is open");
            self.unread.push_back((txn, blob, content.clone()));
        }
        for (oid, serial) in plan.depends {
            let said = desk.rig.act(|client, _| client.check_current(txn, oid, serial));
            assert_eq!(said, Ok(()));
        }
        if let Some((_, id)) = self.deals.get(&txn).and_then(|deal| deal.undoes.clone()) {
            assert_eq!(desk.rig.act(|client, _| client.undo(txn, id)), Ok(()));
        }
        let call = desk.rig.act(|client, now| client.vote(now, txn));
        self.asked.insert(call, Asked::Vote(txn));
        desk.shared.coverage.count("votes");
        self.say(desk.shared, || format!("votes for {number}"));
    }

    /// Files that were slow are read; a few cannot be.
    pub(crate) fn read_files(&mut self, desk: &mut Desk<'_>) {
        while let Some((txn, blob, bytes)) = self.unread.pop_front() {
            let is_there = desk.random.below(20) > 0;
            let bytes = if is_there { Ok(bytes) } else { Err("the file is gone".to_owned()) };
            desk.rig.upload(txn, blob, bytes);
        }
    }

    /// Reads all files that are waited for.
    pub(crate) fn read_all_files(&mut self, rig: &mut ClientRig) {
        while let Some((txn, blob, bytes)) = self.unread.pop_front() {
            rig.upload(txn, blob, Ok(bytes));
        }
    }

    pub(crate) fn voted(
        &mut self,
        txn: TxnId,
        result: Result<Answer, CallError>,
        desk: &mut Desk<'_>,
    ) {
        let Some(deal) = self.deals.get_mut(&txn) else { return };
        let (number, shared) = (deal.number, &mut *desk.shared);
        shared.trace.say(|| format!("client {}: {number} is voted: {result:?}", self.number));
        let conflict = match result {
            Ok(Answer::Voted(oids)) => {
                let merged = !oids.is_empty() && deal.kind != DealKind::Undo;
                shared.coverage.add("votes that were merged", u64::from(merged));
                let gives_up = desk.random.below(10) == 0;
                let then = if gives_up { Then::Abort(txn) } else { Then::Finish(txn) };
                return self.then.push_back(then);
            }
            Ok(other) => panic!("a vote is answered with {other:?}"),
            Err(CallError::Misuse(Misuse::NotOpen)) => {
                assert_eq!(deal.stage, Stage::Aborting);
                return;
            }
            Err(CallError::Refused(Refused::Conflict { .. })) => "conflicts",
            Err(CallError::Refused(Refused::ReadConflict { .. })) => "read conflicts",
            Err(CallError::ConflictsForever { .. }) => "conflicts without end",
            Err(CallError::Blob(_)) => "blobs that could not be read",
            Err(CallError::Refused(Refused::Undo { .. } | Refused::UndoFailures(_)))
                if deal.kind == DealKind::Undo =>
            {
                "undos that failed"
            }
            Err(error) => {
                shared.away(&error);
                "votes that were lost"
            }
        };
        shared.coverage.count(conflict);
        self.then.push_back(Then::Abort(txn));
    }

    /// A write conflict that the server leaves to its client.
    pub(crate) fn resolve(&mut self, conflict: &Conflict, desk: &mut Desk<'_>) {
        let Conflict { txn, oid, read, committed, .. } = *conflict;
        let merged = match &conflict.states {
            _ if !objects::is_a_sum(oid) || desk.random.below(20) == 0 => None,
            None => return desk.rig.act(|client, _| client.conflict_states(txn)),
            Some((old, new)) => {
                let state = |tid| desk.shared.truth.record(tid, oid).cloned().flatten();
                let states = (Some(old.clone()), Some(new.clone()));
                assert_eq!(states, (state(read), state(committed)), "{oid} is in conflict");
                desk.shared.coverage.count("conflicts that a client resolved");
                Some(objects::merged(oid, old, new, &conflict.new))
            }
        };
        desk.rig.act(|client, _| client.conflict_resolved(txn, merged));
    }

    pub(crate) fn finish(&mut self, txn: TxnId, desk: &mut Desk<'_>) {
        let Some(deal) = self.deals.get_mut(&txn) else { return };
        if deal.stage == Stage::Voting {
            deal.stage = Stage::Finishing;
            let call = desk.rig.act(|client, now| client.finish(now, txn));
            self.asked.insert(call, Asked::Finish(txn));
        }
    }

    pub(crate) fn finished(
        &mut self,
        txn: TxnId,
        result: Result<Answer, CallError>,
        shared: &mut Shared,
    ) {
        let deal = self.deals.remove(&txn).expect("only here a finishing one is removed");
        let outcome = match result {
            Ok(Answer::Finished(tid)) => {
                let is_heard = self.heard.iter().any(|heard| heard.tid() == tid);
                assert!(is_heard, "{tid} was not announced");
                shared.acknowledged = shared.acknowledged.max(tid);
                shared.coverage.count("commits");
                shared.coverage.count(match deal.kind {
                    DealKind::Transfer => "transfers",
                    DealKind::Count => "counts",
                    DealKind::Mass => "changes of the crowd",
                    DealKind::Depend => "changes that depend on something",
                    DealKind::Blob => "blobs stored",
                    DealKind::Undo => "undos",
                    DealKind::Nothing => "empty commits",
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
                shared.away(&error);
                Outcome::NotCommitted
            }
        };
        self.say(shared, || format!("finished {}: {outcome:?}", deal.number));
        shared.truth.outcome(deal.number, outcome);
    }

    /// Gives a transaction up, in whatever stage it is.
    pub(crate) fn change_mind(&mut self, desk: &mut Desk<'_>) {
        let Some((&txn, deal)) = self.deals.iter().next() else { return };
        if matches!(deal.stage, Stage::Queued | Stage::Reading | Stage::Voting) {
            desk.shared.coverage.count("transactions that were given up");
            self.abort(txn, desk);
        }
    }

    pub(crate) fn abort(&mut self, txn: TxnId, desk: &mut Desk<'_>) {
        let is_over = |it: &Deal| matches!(it.stage, Stage::Finishing | Stage::Aborting);
        if let Some(deal) = self.deals.get_mut(&txn).filter(|it| !is_over(it)) {
            deal.stage = Stage::Aborting;
            let call = desk.rig.act(|client, now| client.abort(now, txn));
            self.asked.insert(call, Asked::Abort(txn));
        }
    }
}

/// What a transaction is to do, now that everything is read.
fn plan(deal: &Deal, random: &mut Random) -> Plan {
    let mut plan = Plan { undoes: deal.undoes.as_ref().map(|(tid, _)| *tid), ..Plan::default() };
    for (place, oid) in deal.wanted.iter().enumerate() {
        let Some(read) = &deal.read[oid].as_ref().filter(|_| !objects::is_blob(*oid)) else {
            continue;
        };
        let number = || objects::number(*oid, &read.data);
        let new = match deal.kind {
            DealKind::Transfer if place == 0 => number() - deal.amount,
            DealKind::Transfer => number() + deal.amount,
            DealKind::Depend if place == 0 => {
                plan.depends.push((*oid, read.serial));
                continue;
            }
            DealKind::Count | DealKind::Mass | DealKind::Depend | DealKind::Blob => number() + 1,
            DealKind::Undo | DealKind::Nothing => continue,
        };
        plan.writes.insert(*oid, (read.serial, objects::record(*oid, new)));
    }
    if deal.kind == DealKind::Blob {
        let oid = deal.wanted[0];
        let serial = deal.read[&oid].as_ref().map_or(Tid::ZERO, |read| read.serial);
        plan.writes.insert(oid, (serial, Bytes::from_static(objects::BLOB)));
        plan.blobs.insert(oid, content(deal.number, random));
    }
    plan
}

/// What a blob holds: often little, sometimes more than goes into one message.
fn content(number: u64, random: &mut Random) -> Bytes {
    let max = [1, 100, 5000, BLOB_BYTES_MAX][random.below(4)];
    let mut bytes = number.to_string().into_bytes();
    bytes.resize(random.below(max), u8::try_from(number % 251).unwrap_or_default());
    bytes.into()
}
