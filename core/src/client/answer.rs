//! What calls are answered with.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Oid, Tid};
use crate::storage::{CurrentRecord, Record, Revision};
use crate::value::Value;

/// What a call is answered with.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// Done.
    Done,
    /// A load; `None` if the object exists, but not before that tid.
    Loaded(Option<Revision>),
    /// A tid.
    Tid(Tid),
    /// A record.
    Data(Bytes),
    /// One new oid.
    Oid(Oid),
    /// Figures and abilities of the storage.
    Info(Arc<ServerInfo>),
    /// Dicts with `time`, `user_name`, `description`, `tid`, `size` and others, newest first.
    History(Vec<Value>),
    /// Undoable transactions.
    UndoLog(Vec<UndoEntry>),
    /// A current record.
    Current(CurrentRecord),
    /// The id of an iterator.
    Iterator(u64),
    /// The next transaction, `None` at the end.
    Transaction(Option<WalkedTransaction>),
    /// The next record, `None` at the end.
    Record(Option<Record>),
    /// Figures by name.
    Status(Vec<(String, Value)>),
    /// The turn of the transaction has come.
    Begun,
    /// Voted. These objects are not what was stored: they were resolved, or undone.
    Voted(Vec<Oid>),
    /// Committed.
    Finished(Tid),
}

/// A transaction that an iterator walked to.
#[derive(Clone, Debug, PartialEq)]
pub struct WalkedTransaction {
    /// The commit.
    pub tid: Tid,
    /// `b' '` for a plain commit, `b'p'` for one that a pack rewrote.
    pub status: u8,
    /// Who.
    pub user: Bytes,
    /// Why.
    pub description: Bytes,
    /// What else was said of it: a dict.
    pub extension: Value,
}

/// An undoable transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct UndoEntry {
    /// What to give to `undo`.
    pub id: Bytes,
    /// When, in seconds since 1970.
    pub time: f64,
    /// Who.
    pub user: Bytes,
    /// Why.
    pub description: Bytes,
    /// All items as they came.
    pub items: Vec<(Value, Value)>,
}

/// What a server says of its storage.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerInfo {
    /// Its name; for a FileStorage the path.
    pub name: String,
    /// Number of objects.
    pub length: u64,
    /// Bytes.
    pub size: u64,
    /// Whether undo works.
    pub supports_undo: bool,
    /// Whether [`Request::NextRecord`](super::Request::NextRecord) works.
    pub supports_record_iternext: bool,
    /// The Python interfaces of the storage, `(module, name)`.
    pub interfaces: Vec<(String, String)>,
}
