//! Revisions of an object, as loads and `history` return them.

use bytes::Bytes;

use super::HistoryShape;
use crate::ids::{Oid, Tid};

/// The answer to a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// The newest revision before the bound.
    Found(Revision),
    /// The object exists, but all its revisions are at or after the bound; `first` is the oldest.
    Younger {
        /// Serial of the oldest revision.
        first: Tid,
    },
    /// The revision found is a deletion or an undone creation, written by `serial` and current
    /// until `end`.
    Deleted {
        /// Serial of the deletion.
        serial: Tid,
        /// The commit that replaced it.
        end: Option<Tid>,
    },
}

/// An object's state between two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The record: two pickles, class and state.
    pub data: Bytes,
    /// The commit that wrote it.
    pub serial: Tid,
    /// The commit that replaced it; `None` while it is current.
    pub end: Option<Tid>,
}

/// One entry of an object's `history`, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Tid of the transaction.
    pub tid: Tid,
    /// The keys that the entry has: a storage over another one passes on the shape of the entries
    /// below.
    pub shape: HistoryShape,
    /// The user who committed, as bytes that the client chose.
    pub user: Bytes,
    /// The description that the client gave, usually the URL of a request.
    pub description: Bytes,
    /// The pickled extension, empty for none.
    pub extension: Bytes,
    /// Length of the record, 0 for back pointers and deletions.
    pub size: u64,
}

/// `record_iternext`: one current record and the oid to continue with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentRecord {
    /// Oid of the object.
    pub oid: Oid,
    /// Tid of its current revision.
    pub serial: Tid,
    /// Record of the current revision.
    pub data: Bytes,
    /// The next greater oid, if there is one.
    pub next: Option<Oid>,
}
