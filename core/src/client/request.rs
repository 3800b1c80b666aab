//! What can be asked beside loads and transactions.

use alloc::vec::Vec;

use crate::ids::{Oid, Tid};
use crate::time::UnixTime;
use crate::value::Value;

/// A question with one answer; the variant of [`Answer`](super::Answer) is named with each.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// All that was committed before is announced when this is answered. `Answer::Done`
    Ping,
    /// The server's newest commit. `Answer::Tid`
    LastTransaction,
    /// Figures and abilities of the storage. `Answer::Info`
    Info,
    /// The serial of the current record. `Answer::Tid`
    CurrentSerial(Oid),
    /// The record of exactly that revision. `Answer::Data`
    LoadSerial(Oid, Tid),
    /// At most so many revisions, newest first. `Answer::History`
    History(Oid, usize),
    /// The current record of the smallest oid at or after this one. `Answer::Current`
    NextRecord(Option<Oid>),
    /// Undoable transactions, newest first: from the `first`th up to the `last`th, or for a negative
    /// `last`, so many. `Answer::UndoLog`
    UndoLog {
        /// How many to leave out.
        first: i64,
        /// Where to end.
        last: i64,
        /// Only those whose entries have these items; for none, `undoLog` is called.
        specification: Option<Vec<(Value, Value)>>,
    },
    /// Remove what is not reachable as of a time. With `wait`, answered when it is done. `Answer::Done`
    Pack {
        /// As of when.
        time: UnixTime,
        /// Whether to wait until it is done.
        wait: bool,
    },
    /// Figures of the server. `Answer::Status`
    ServerStatus,
    /// A walk over the transactions from one tid to another, both inclusive. `Answer::Iterator`. Belongs
    /// to the connection: after another is made, the server does not know it.
    IteratorStart {
        /// From here.
        start: Option<Tid>,
        /// To here.
        stop: Option<Tid>,
    },
    /// Its next transaction. `Answer::Transaction`
    IteratorNext(u64),
    /// A walk over the records of the transaction that this iterator gave last. `Answer::Iterator`
    RecordsStart(u64, Tid),
    /// Its next record. `Answer::Record`
    RecordsNext(u64),
    /// A blob, whose bytes come as [`Output::WriteBlob`](super::Output::WriteBlob) before the answer.
    /// Asked for twice at the same time it comes once. `Answer::Done`
    LoadBlob(Oid, Tid),
}

impl Request {
    /// The name of the method on the wire.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::LastTransaction => "lastTransaction",
            Self::Info => "get_info",
            Self::CurrentSerial(_) => "getTid",
            Self::LoadSerial(..) => "loadSerial",
            Self::History(..) => "history",
            Self::NextRecord(_) => "record_iternext",
            Self::UndoLog { specification: None, .. } => "undoLog",
            Self::UndoLog { .. } => "undoInfo",
            Self::Pack { .. } => "pack",
            Self::ServerStatus => "server_status",
            Self::IteratorStart { .. } => "iterator_start",
            Self::IteratorNext(_) => "iterator_next",
            Self::RecordsStart(..) => "iterator_record_start",
            Self::RecordsNext(_) => "iterator_record_next",
            Self::LoadBlob(..) => "sendBlob",
        }
    }
}
