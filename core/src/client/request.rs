//! What can be asked beside loads and transactions.

use alloc::vec;
use alloc::vec::Vec;

use super::ids::{ConnId, IteratorId};
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
    },
    /// The same of those whose entries have these items. `Answer::UndoLog`
    UndoInfo {
        /// How many to leave out.
        first: i64,
        /// Where to end.
        last: i64,
        /// What the entries must have, for all that have anything.
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
    /// A walk over the transactions from one tid to another, both inclusive. `Answer::Iterator`. It lives
    /// as long as the connection.
    IteratorStart {
        /// From here.
        start: Option<Tid>,
        /// To here.
        stop: Option<Tid>,
    },
    /// Its next transaction. `Answer::Transaction`
    IteratorNext(IteratorId),
    /// A walk over the records of the transaction that this iterator gave last. `Answer::Iterator`
    RecordsStart(IteratorId, Tid),
    /// Its next record. `Answer::Record`
    RecordsNext(IteratorId),
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
            Self::UndoLog { .. } => "undoLog",
            Self::UndoInfo { .. } => "undoInfo",
            Self::Pack { .. } => "pack",
            Self::ServerStatus => "server_status",
            Self::IteratorStart { .. } => "iterator_start",
            Self::IteratorNext(_) => "iterator_next",
            Self::RecordsStart(..) => "iterator_record_start",
            Self::RecordsNext(_) => "iterator_record_next",
            Self::LoadBlob(..) => "sendBlob",
        }
    }
    /// The arguments on the wire.
    pub(super) fn args(&self) -> Vec<Value> {
        let tid = |tid: &Option<Tid>| tid.map_or(Value::None, Value::tid);
        match self {
            Self::Ping | Self::LastTransaction | Self::Info | Self::ServerStatus => vec![],
            Self::CurrentSerial(oid) => vec![Value::oid(*oid)],
            Self::LoadSerial(oid, serial) | Self::LoadBlob(oid, serial) => {
                vec![Value::oid(*oid), Value::tid(*serial)]
            }
            Self::History(oid, size) => vec![Value::oid(*oid), number(*size as u64)],
            Self::NextRecord(oid) => vec![oid.map_or(Value::None, Value::oid)],
            Self::UndoLog { first, last } => vec![Value::Int(*first), Value::Int(*last)],
            Self::UndoInfo { first, last, specification } => {
                let specification = specification.clone().map_or(Value::None, Value::Dict);
                vec![Value::Int(*first), Value::Int(*last), specification]
            }
            Self::Pack { time, wait } => vec![Value::Float(time.0), Value::Int((*wait).into())],
            Self::IteratorStart { start, stop } => vec![tid(start), tid(stop)],
            Self::IteratorNext(walk) | Self::RecordsNext(walk) => vec![number(walk.id)],
            Self::RecordsStart(walk, tid) => vec![number(walk.id), Value::tid(*tid)],
        }
    }

    /// The connection that this is about, if it means nothing on another.
    pub(super) const fn connection(&self) -> Option<ConnId> {
        match self {
            Self::IteratorNext(walk) | Self::RecordsStart(walk, _) | Self::RecordsNext(walk) => {
                Some(walk.connection)
            }
            _ => None,
        }
    }
}

/// An unsigned number; those that are too large for one are no numbers of anything here.
pub(super) fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
