//! What an application gives to a transaction, and the conflicts that it is asked to resolve.

use alloc::vec::Vec;

use bytes::Bytes;

use super::ids::TxnId;
use crate::ids::{Oid, Tid};
use crate::value::Value;

/// The metadata of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Begin {
    /// User name; ZODB encodes it as UTF-8, the server accepts any bytes.
    pub user: Bytes,
    /// Description, encoded like the user name.
    pub description: Bytes,
    /// Further metadata: a dict. Objects in it fail the transaction if msgpack is spoken, and Python's
    /// server closes the connection on them; rzeo's keeps them.
    pub extension: Value,
    /// For copied transactions: the tid to commit under, and the status.
    pub copied: Option<(Tid, u8)>,
    /// The transaction's id on the wire, where only equality counts; `None` for its [`TxnId`]. Replaying
    /// a recorded conversation needs the recorded one.
    pub handle: Option<Value>,
}

impl Default for Begin {
    fn default() -> Self {
        Self {
            user: Bytes::new(),
            description: Bytes::new(),
            extension: Value::Dict(Vec::new()),
            copied: None,
            handle: None,
        }
    }
}

/// A write conflict that the server leaves to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The transaction that is being voted.
    pub txn: TxnId,
    /// Object in conflict.
    pub oid: Oid,
    /// Revision that this client's change is based on.
    pub read: Tid,
    /// Revision that another client committed since, and that is current.
    pub committed: Tid,
    /// The record that the transaction stores.
    pub new: Bytes,
    /// The records of the two revisions, once they were requested: as read, as committed.
    pub states: Option<(Bytes, Bytes)>,
}
