//! An application's state: its transactions, its other calls, and the events of its client.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use rzeo_core::client::{CallId, Conflict, TxnId};
use rzeo_core::{Oid, Tid};
use rzeo_fixtures::client::ClientRig;
use rzeo_fixtures::random::Random;

use crate::application::query::{Download, Iteration, Query, SnapshotReader};
use crate::application::shared::Shared;
use crate::application::transaction::Transaction;

/// An event of a client about commits.
#[derive(Debug)]
pub(crate) enum Invalidation {
    /// These objects changed up to this tid.
    Changed(Tid, BTreeSet<Oid>),
    /// Anything may have changed up to this tid.
    Everything(Tid),
}

impl Invalidation {
    pub(crate) const fn tid(&self) -> Tid {
        match self {
            Self::Changed(tid, _) | Self::Everything(tid) => *tid,
        }
    }
}

/// An application: its pending calls, and the events of its client.
#[derive(Debug, Default)]
pub(crate) struct Application {
    pub(crate) number: u64,
    /// The tid of the last event.
    pub(crate) last_tid: Tid,
    /// The tid of the cache that it started with.
    pub(crate) started_at: Tid,
    pub(crate) invalidations: Vec<Invalidation>,
    /// Whether the cache that it started with was verified.
    pub(crate) is_verified: bool,
    pub(crate) is_connected: bool,
    pub(crate) pending: BTreeMap<CallId, PendingCall>,
    pub(crate) transactions: BTreeMap<TxnId, Transaction>,
    pub(crate) readers: Vec<SnapshotReader>,
    pub(crate) last_reader: u64,
    pub(crate) iteration: Option<Iteration>,
    pub(crate) downloads: BTreeMap<(Oid, Tid), Download>,
    /// Blobs whose content the client does not have yet.
    pub(crate) unread: VecDeque<(TxnId, usize, Bytes)>,
    /// Steps that follow when all events are processed.
    pub(crate) follow_ups: VecDeque<FollowUp>,
}

#[derive(Debug)]
pub(crate) enum PendingCall {
    Load(Oid, Tid, LoadPurpose),
    NewOid,
    Begin(TxnId),
    Vote(TxnId),
    Finish(TxnId),
    Abort(TxnId),
    Query(Query),
}

/// What an application does after an event.
#[derive(Debug)]
pub(crate) enum FollowUp {
    Read(TxnId),
    Vote(TxnId),
    Finish(TxnId),
    Abort(TxnId),
    Resolve(Conflict),
    Iterate,
}

/// The purpose of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LoadPurpose {
    Check,
    Snapshot(u64),
    Transaction(TxnId),
}

/// What an application needs to act.
pub(crate) struct Context<'a> {
    pub(crate) rig: &'a mut ClientRig,
    pub(crate) random: &'a mut Random,
    pub(crate) shared: &'a mut Shared,
}

impl Application {
    /// An application whose cache is up to date as of this tid.
    pub(crate) fn new(number: u64, started_at: Tid) -> Self {
        Self { number, last_tid: started_at, started_at, ..Self::default() }
    }

    /// Whether no request is pending.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.transactions.is_empty()
    }

    /// A bound for a load: often now, sometimes earlier.
    pub(crate) fn some_tid(&self, random: &mut Random) -> Tid {
        let tids: Vec<Tid> =
            self.invalidations.iter().rev().take(30).map(Invalidation::tid).collect();
        match random.below(3) {
            0 if !tids.is_empty() => tids[random.below(tids.len())].next(),
            1 => Tid::MAX,
            _ => self.last_tid.next(),
        }
    }

    pub(crate) fn log(&self, shared: &mut Shared, what: impl FnOnce() -> String) {
        shared.trace.mark(self.last_tid.0);
        shared.trace.log(|| format!("client {} {}", self.number, what()));
    }
}
