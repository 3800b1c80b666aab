//! Numbers that name connections, storages, calls and votes.

/// A connection, numbered by the adapter; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A storage: its place in [`ServerSettings::storages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageId(pub usize);

/// A storage call on its way, numbered per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// A question or a vote on its way through the hub, numbered per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);
