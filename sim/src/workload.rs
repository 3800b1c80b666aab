//! What applications do in a world, and what befalls it.

use std::fmt;
use std::str::FromStr;

use crate::application::transactions::DealKind;

/// A kind of world. In each of them everything happens that can; they differ in what happens often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// Money goes from account to account.
    Transfers,
    /// Everybody counts, and the sum of all is merged.
    Counters,
    /// Many loads, few commits.
    ReadMostly,
    /// Snapshots that take their time, of old tids, too.
    LongReaders,
    /// Blobs go up and down.
    Blobs,
    /// Few objects, and clients that resolve their conflicts themselves.
    Conflicts,
    /// Commits that change many objects.
    MassInvalidation,
    /// Walks over transactions, with packs and undos.
    Walks,
    /// All connections break, again and again.
    Storms,
}

impl Workload {
    /// All of them.
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
    pub(crate) const fn clients_merge(self) -> Option<bool> {
        match self {
            Self::Conflicts => Some(true),
            Self::Counters => Some(false),
            _ => None,
        }
    }

    /// What applications do, with weights.
    pub(crate) fn habits(self) -> Vec<(usize, Habit)> {
        use DealKind::{Blob, Count, Depend, Mass, Nothing, Transfer};
        use Habit::{
            Ask, Blob as ReadBlob, ChangeMind, Deal, Look, NewOid, Pack, Prefetch, ReadOn,
            Snapshot, Walk,
        };
        let mut habits = vec![
            (6, Look),
            (2, Snapshot),
            (6, ReadOn),
            (2, Prefetch),
            (4, Ask),
            (1, NewOid),
            (2, Walk),
            (2, ReadBlob),
            (1, Pack),
            (1, ChangeMind),
            (4, Deal(Transfer)),
            (3, Deal(Count)),
            (1, Deal(Mass)),
            (1, Deal(Depend)),
            (2, Deal(Blob)),
            (1, Deal(Nothing)),
        ];
        habits.extend(match self {
            Self::Transfers | Self::Storms => vec![(12, Deal(Transfer))],
            Self::Counters => vec![(16, Deal(Count))],
            Self::ReadMostly => vec![(60, Look), (10, Prefetch), (10, Ask)],
            Self::LongReaders => vec![(12, Snapshot), (24, ReadOn)],
            Self::Blobs => vec![(16, Deal(Blob)), (16, ReadBlob)],
            Self::Conflicts => vec![(12, Deal(Transfer)), (12, Deal(Count)), (6, Deal(Depend))],
            Self::MassInvalidation => vec![(10, Deal(Mass)), (20, Look)],
            Self::Walks => vec![(30, Walk), (4, Pack), (8, Ask)],
        });
        habits
    }

    /// How many of a thousand actions are troubles, and which.
    pub(crate) fn troubles(self) -> (usize, Vec<(usize, Trouble)>) {
        let mut troubles = vec![
            (6, Trouble::Cut),
            (2, Trouble::HalfCut),
            (2, Trouble::Stall),
            (2, Trouble::Deafen),
            (3, Trouble::KillClient),
            (2, Trouble::StopServer),
            (1, Trouble::KillServer),
            (5, Trouble::Disk),
            (2, Trouble::SlowSync),
            (1, Trouble::ClockJump),
            (1, Trouble::Pause),
        ];
        if self == Self::Storms {
            troubles.push((20, Trouble::CutAll));
        }
        (if self == Self::Storms { 80 } else { 40 }, troubles)
    }

    /// What must have happened in many worlds of this kind, beside what must in all.
    #[must_use]
    pub fn expected(self) -> Vec<&'static str> {
        let mut expected = EXPECTED.to_vec();
        expected.extend(match self {
            Self::Conflicts => ["conflicts that a client resolved"].as_slice(),
            Self::Storms => &["storms"],
            _ => &[],
        });
        expected
    }
}

/// What happens in worlds of every kind, if there are a few hundred of them.
const EXPECTED: &[&str] = &[
    "blob files looked for",
    "blobs read",
    "blobs stored",
    "blobs that could not be read",
    "blobs that were packed away",
    "cached records compared",
    "caches that were dropped",
    "caches that survived",
    "calls that a broken disk refused",
    "calls that failed with the disk",
    "calls that were lost",
    "calls without a server",
    "calls without room on the disk",
    "changes of the crowd",
    "changes that depend on something",
    "clients that were killed",
    "clock jumps",
    "commits",
    "conflicts",
    "connections",
    "connections that did not read",
    "connections that nothing came through",
    "connections that one side lost",
    "connections that were cut",
    "counts",
    "crashes in the middle of a pack",
    "databases that could not be opened",
    "databases that were opened",
    "empty commits",
    "ends that were cut off",
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
    "old records that were packed away",
    "packed transactions walked to",
    "packs answered",
    "packs asked for",
    "pings",
    "power cuts",
    "prefetches",
    "questions for serials",
    "quick verifications",
    "read conflicts",
    "reads that failed",
    "reads that had to wait",
    "records walked to",
    "revisions that were packed away",
    "servers that stopped",
    "slow syncs",
    "snapshots",
    "snapshots of old tids",
    "storages that were broken",
    "transactions that were given up",
    "transactions that took too long",
    "transfers",
    "undos",
    "undos that failed",
    "votes that were merged",
    "walks to the end",
];

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no such workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no workload {0:?}; there are {known}", known = Workload::ALL.map(Workload::name).join(", "))]
pub struct UnknownWorkload(String);

impl FromStr for Workload {
    type Err = UnknownWorkload;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|workload| workload.name() == name);
        known.ok_or_else(|| UnknownWorkload(name.to_owned()))
    }
}

/// What an application may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    Look,
    Snapshot,
    ReadOn,
    Prefetch,
    Ask,
    NewOid,
    Walk,
    Blob,
    Pack,
    ChangeMind,
    Deal(DealKind),
}

/// What may befall the world next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Cut,
    HalfCut,
    Stall,
    Deafen,
    CutAll,
    KillClient,
    StopServer,
    KillServer,
    /// Something is to go wrong at one of the next calls.
    Disk,
    SlowSync,
    ClockJump,
    Pause,
}
