//! Two-phase commit from the client's side.

use bytes::Bytes;

use crate::ids::{Oid, Tid};
use crate::value::Value;

/// A transaction, numbered by the client; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub u64);

/// What a transaction says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Begin {
    /// Who.
    pub user: Bytes,
    /// Why.
    pub description: Bytes,
    /// What else: a dict.
    pub extension: Value,
    /// For copied transactions: the tid to commit under, and the status.
    pub copied: Option<(Tid, u8)>,
    /// What to call it on the wire, where only being equal counts; `None` for its [`TxnId`]. Only who
    /// plays a recorded conversation cares.
    pub handle: Option<Value>,
}

/// A write conflict that the server leaves to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// Whose.
    pub txn: TxnId,
    /// The object.
    pub oid: Oid,
    /// The revision that was read.
    pub read: Tid,
    /// The revision that is current.
    pub committed: Tid,
    /// The record that was to be written.
    pub new: Bytes,
    /// The records of the two revisions, once they were asked for: as read, as committed.
    pub states: Option<(Bytes, Bytes)>,
}
