//! The workloads: the actions of applications, and the faults.

use std::fmt;
use std::str::FromStr;

/// A workload. Every kind of event happens in each of them; they differ in which are frequent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// Applications move money between accounts.
    Transfers,
    /// Applications increment counters and a common sum, whose conflicts are resolved.
    Counters,
    /// Many loads, few commits.
    ReadMostly,
    /// Slow snapshots, also of old tids.
    LongReaders,
    /// Uploads and downloads of blobs.
    Blobs,
    /// Few objects, and clients that resolve their conflicts themselves.
    Conflicts,
    /// Commits that change many objects.
    MassInvalidation,
    /// Iterations over transactions, with packs and undos.
    Walks,
    /// All connections break repeatedly.
    Storms,
}

impl Workload {
    /// All workloads.
    pub const ALL: [Self; 9] = [
        Self::Transfers,
        Self::Counters,
        Self::ReadMostly,
        Self::LongReaders,
        Self::Blobs,
        Self::Conflicts,
        Self::MassInvalidation,
        Self::Walks,
        Self::Storms,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Transfers => "transfers",
            Self::Counters => "counters",
            Self::ReadMostly => "read-mostly",
            Self::LongReaders => "long-readers",
            Self::Blobs => "blobs",
            Self::Conflicts => "conflicts",
            Self::MassInvalidation => "mass-invalidation",
            Self::Walks => "walks",
            Self::Storms => "storms",
        }
    }

    /// Whether servers leave conflicts to their clients; `None` if the seed decides.
    pub(crate) const fn clients_resolve(self) -> Option<bool> {
        match self {
            Self::Conflicts => Some(true),
            Self::Counters => Some(false),
            _ => None,
        }
    }

    /// Actions of applications, with weights.
    pub(crate) fn actions(self) -> Vec<(usize, Action)> {
        use Action::{
            Abort, BeginSnapshot, ContinueSnapshot, Iterate, Load, NewOid, Pack, Prefetch, Query,
            ReadBlob, Transaction,
        };
        use TransactionKind::{Blob, Count, Depend, Mass, Nothing, Transfer};
        let mut actions = vec![
            (6, Load),
            (2, BeginSnapshot),
            (6, ContinueSnapshot),
            (2, Prefetch),
            (4, Query),
            (1, NewOid),
            (2, Iterate),
            (2, ReadBlob),
            (1, Pack),
            (1, Abort),
            (4, Transaction(Transfer)),
            (3, Transaction(Count)),
            (1, Transaction(Mass)),
            (1, Transaction(Depend)),
            (2, Transaction(Blob)),
            (1, Transaction(Nothing)),
        ];
        actions.extend(match self {
            Self::Transfers | Self::Storms => vec![(12, Transaction(Transfer))],
            Self::Counters => vec![(16, Transaction(Count))],
            Self::ReadMostly => vec![(60, Load), (10, Prefetch), (10, Query)],
            Self::LongReaders => vec![(12, BeginSnapshot), (24, ContinueSnapshot)],
            Self::Blobs => vec![(16, Transaction(Blob)), (16, ReadBlob)],
            Self::Conflicts => vec![
                (12, Transaction(Transfer)),
                (12, Transaction(Count)),
                (6, Transaction(Depend)),
            ],
            Self::MassInvalidation => vec![(10, Transaction(Mass)), (20, Load)],
            Self::Walks => vec![(30, Iterate), (4, Pack), (8, Query)],
        });
        actions
    }

    /// Number of faults in a thousand actions, and the faults with weights.
    pub(crate) fn faults(self) -> (usize, Vec<(usize, Fault)>) {
        let mut faults = vec![
            (6, Fault::Cut),
            (2, Fault::HalfCut),
            (2, Fault::Stall),
            (2, Fault::StopReading),
            (3, Fault::KillClient),
            (2, Fault::StopServer),
            (1, Fault::KillServer),
            (5, Fault::Disk),
            (2, Fault::SlowSync),
            (1, Fault::ClockJump),
            (1, Fault::Pause),
        ];
        if self == Self::Storms {
            faults.push((20, Fault::CutAll));
        }
        (if self == Self::Storms { 80 } else { 40 }, faults)
    }

    /// Events that must happen in many worlds of this workload.
    #[must_use]
    pub fn expected(self) -> Vec<&'static str> {
        let mut expected = EXPECTED.to_vec();
        expected.extend(match self {
            Self::Conflicts => ["conflicts that a client resolved"].as_slice(),
            Self::Storms => &["storms"],
            Self::Blobs => &["blobs that were packed"],
            _ => &[],
        });
        expected
    }
}

/// Events that happen in every workload, in a few hundred worlds.
const EXPECTED: &[&str] = &[
    "blob files looked for",
    "blobs read",
    "blobs stored",
    "blobs that could not be read",
    "cached records compared",
    "caches that were dropped",
    "caches that survived",
    "calls that failed on a broken disk",
    "calls that failed with the disk",
    "calls that were lost",
    "calls without a reachable server",
    "calls that failed for lack of space",
    "changes of the whole group",
    "changes that depend on another object",
    "clients that were killed",
    "clock jumps",
    "commits",
    "conflicts",
    "connections",
    "connections closed for their backlog",
    "connections that stalled",
    "connections that one side lost",
    "connections that were cut",
    "counters incremented",
    "crashes in the middle of a pack",
    "databases that could not be opened",
    "databases that were opened",
    "empty commits",
    "databases with a truncated end",
    "evictions",
    "finishes that were lost",
    "histories",
    "index files that were used",
    "invalidations",
    "kills of a server",
    "loads from caches",
    "loads from servers",
    "new oids",
    "old records",
    "old records that were packed",
    "packed transactions iterated",
    "packs answered",
    "packs requested",
    "pings",
    "power cuts",
    "prefetches",
    "requests for serials",
    "quick verifications",
    "read conflicts",
    "reads that failed",
    "reads that had to wait",
    "records iterated",
    "revisions that were packed",
    "servers that were stopped",
    "slow syncs",
    "snapshots",
    "snapshots of old tids",
    "storages that refused commits",
    "transactions that were aborted",
    "transactions that took too long",
    "transfers",
    "undos",
    "undos that failed",
    "votes with resolved conflicts",
    "iterations to the end",
];

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown workload {0:?}; choose one of {known}", known = Workload::ALL.map(Workload::name).join(", "))]
pub struct UnknownWorkload(String);

impl FromStr for Workload {
    type Err = UnknownWorkload;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|workload| workload.name() == name);
        known.ok_or_else(|| UnknownWorkload(name.to_owned()))
    }
}

/// The kind of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionKind {
    /// Moves money from one account to another.
    Transfer,
    /// Increments the client's counter and the common sum.
    Count,
    /// Changes the whole group.
    Mass,
    /// Changes one of the group, provided that an account does not change.
    Depend,
    /// Stores a blob, and sometimes counts.
    Blob,
    /// Undoes a transfer.
    Undo,
    /// Changes nothing.
    Nothing,
}

/// An action of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Load,
    BeginSnapshot,
    ContinueSnapshot,
    Prefetch,
    Query,
    NewOid,
    Iterate,
    ReadBlob,
    Pack,
    Abort,
    Transaction(TransactionKind),
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Cut,
    HalfCut,
    Stall,
    StopReading,
    CutAll,
    KillClient,
    StopServer,
    KillServer,
    /// A fault of the disk at one of the next calls.
    Disk,
    SlowSync,
    ClockJump,
    Pause,
}
