//! Numbers that name connections, storages and votes.

/// A connection, numbered by the adapter; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A storage: its place in [`ServerSettings::storages`](super::ServerSettings::storages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageId(pub usize);

/// A transaction's vote on its way through the hub, numbered by its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);
