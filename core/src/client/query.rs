//! Queries: what a client can ask its server beside loads, new oids, blobs and transactions.
//!
//! A query is a type that knows its method, its arguments and how to read its answer. Adding one means to
//! write that type, here for the protocol and as a method of a handle for applications; the machine
//! passes all of them on alike:
//!
//! ```text
//!   impl Query ─► Request ─► Client::call ─► server
//!   Q::Answer ◄─ Reply::read::<Q> ◄─ Answer::Reply ◄─┘
//! ```

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::error::CallError;
use super::ids::{ConnId, IteratorId};
use super::reading::{Reading, expected};
use super::server_info::ServerInfo;
use crate::ids::{Oid, Tid};
use crate::storage::{CurrentRecord, Record};
use crate::time::UnixTime;
use crate::value::Value;

/// A question to the server, and its answer.
pub trait Query {
    /// What the server answers.
    type Answer;
    /// Name of the method on the wire.
    const METHOD: &'static str;
    /// Whether the answer is an iterator, which the server keeps until the client releases it.
    const OPENS_ITERATOR: bool = false;

    /// The arguments on the wire.
    fn args(self) -> Vec<Value>;

    /// The connection that the query belongs to, if it means nothing on another.
    fn connection(&self) -> Option<ConnId> {
        None
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    fn read(reply: Reply) -> Result<Self::Answer, String>;
}

/// A query of any type, ready to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: &'static str,
    pub(super) args: Vec<Value>,
    pub(super) connection: Option<ConnId>,
    pub(super) opens_iterator: bool,
}

/// The answer to a query of any type, not read yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub(super) connection: ConnId,
    pub(super) opens_iterator: bool,
    pub(super) value: Value,
}

impl<Q: Query> From<Q> for Request {
    fn from(query: Q) -> Self {
        Self {
            method: Q::METHOD,
            connection: query.connection(),
            opens_iterator: Q::OPENS_ITERATOR,
            args: query.args(),
        }
    }
}

impl Reply {
    /// Reads the answer to a query of this type.
    ///
    /// # Errors
    /// [`CallError::Odd`] if it is not what such a query is answered with.
    pub fn read<Q: Query>(self) -> Result<Q::Answer, CallError> {
        Q::read(self).map_err(|problem| CallError::Odd { method: Q::METHOD, problem })
    }

    /// The iterator that was opened. If the answer is no longer needed, the server must be told to
    /// forget it.
    #[must_use]
    pub fn iterator(&self) -> Option<IteratorId> {
        match self.value {
            Value::Int(id) if self.opens_iterator => {
                Some(IteratorId { connection: self.connection, id: u64::try_from(id).ok()? })
            }
            _ => None,
        }
    }

    fn into_iterator(self) -> Result<IteratorId, String> {
        Ok(IteratorId { connection: self.connection, id: self.value.into_number()? })
    }
}

/// All that was committed before is announced when this is answered.
#[derive(Clone, Copy, Debug)]
pub struct Ping;

impl Query for Ping {
    type Answer = ();
    const METHOD: &'static str = "ping";

    fn args(self) -> Vec<Value> {
        vec![]
    }

    fn read(_: Reply) -> Result<(), String> {
        Ok(())
    }
}

/// The server's newest commit.
#[derive(Clone, Copy, Debug)]
pub struct LastTransaction;

impl Query for LastTransaction {
    type Answer = Tid;
    const METHOD: &'static str = "lastTransaction";

    fn args(self) -> Vec<Value> {
        vec![]
    }

    fn read(reply: Reply) -> Result<Tid, String> {
        reply.value.into_tid()
    }
}

/// Size and abilities of the storage.
#[derive(Clone, Copy, Debug)]
pub struct Info;

impl Query for Info {
    type Answer = Arc<ServerInfo>;
    const METHOD: &'static str = "get_info";

    fn args(self) -> Vec<Value> {
        vec![]
    }

    fn read(reply: Reply) -> Result<Arc<ServerInfo>, String> {
        ServerInfo::read(&reply.value).map(Arc::new)
    }
}

/// The serial of the current record of an object.
#[derive(Clone, Copy, Debug)]
pub struct CurrentSerial(pub Oid);

impl Query for CurrentSerial {
    type Answer = Tid;
    const METHOD: &'static str = "getTid";

    fn args(self) -> Vec<Value> {
        vec![Value::oid(self.0)]
    }

    fn read(reply: Reply) -> Result<Tid, String> {
        reply.value.into_tid()
    }
}

/// The record of exactly this revision.
#[derive(Clone, Copy, Debug)]
pub struct LoadSerial(pub Oid, pub Tid);

impl Query for LoadSerial {
    type Answer = Bytes;
    const METHOD: &'static str = "loadSerial";

    fn args(self) -> Vec<Value> {
        vec![Value::oid(self.0), Value::tid(self.1)]
    }

    fn read(reply: Reply) -> Result<Bytes, String> {
        reply.value.into_bytes()
    }
}

/// Revisions of an object, newest first, at most this number: dicts with `time`, `user_name`,
/// `description`, `tid`, `size` and others.
#[derive(Clone, Copy, Debug)]
pub struct History(pub Oid, pub usize);

impl Query for History {
    type Answer = Vec<Value>;
    const METHOD: &'static str = "history";

    fn args(self) -> Vec<Value> {
        vec![Value::oid(self.0), number(self.1 as u64)]
    }

    fn read(reply: Reply) -> Result<Vec<Value>, String> {
        reply.value.into_items()
    }
}

/// The current record of the smallest oid at or after this one.
#[derive(Clone, Copy, Debug)]
pub struct NextRecord(pub Option<Oid>);

impl Query for NextRecord {
    type Answer = CurrentRecord;
    const METHOD: &'static str = "record_iternext";

    fn args(self) -> Vec<Value> {
        vec![self.0.map_or(Value::None, Value::oid)]
    }

    fn read(reply: Reply) -> Result<CurrentRecord, String> {
        let [oid, serial, data, next] = reply.value.into_parts()?;
        Ok(CurrentRecord {
            oid: oid.into_oid()?,
            serial: serial.into_tid()?,
            data: data.into_bytes()?,
            next: next.into_maybe(Reading::into_oid)?,
        })
    }
}

/// Undoable transactions, newest first.
#[derive(Clone, Copy, Debug)]
pub struct UndoLog {
    /// Number of transactions to leave out.
    pub first: i64,
    /// Position at which to end; if negative, the maximum number of transactions.
    pub last: i64,
}

impl Query for UndoLog {
    type Answer = Vec<UndoEntry>;
    const METHOD: &'static str = "undoLog";

    fn args(self) -> Vec<Value> {
        vec![Value::Int(self.first), Value::Int(self.last)]
    }

    fn read(reply: Reply) -> Result<Vec<UndoEntry>, String> {
        reply.value.into_list(UndoEntry::read)
    }
}

/// Undoable transactions whose entries have certain items, newest first.
#[derive(Clone, Debug)]
pub struct UndoInfo {
    /// Number of transactions to leave out.
    pub first: i64,
    /// Position at which to end; if negative, the maximum number of transactions.
    pub last: i64,
    /// The items that an entry must have.
    pub specification: Option<Vec<(Value, Value)>>,
}

impl Query for UndoInfo {
    type Answer = Vec<UndoEntry>;
    const METHOD: &'static str = "undoInfo";

    fn args(self) -> Vec<Value> {
        let specification = self.specification.map_or(Value::None, Value::Dict);
        vec![Value::Int(self.first), Value::Int(self.last), specification]
    }

    fn read(reply: Reply) -> Result<Vec<UndoEntry>, String> {
        reply.value.into_list(UndoEntry::read)
    }
}

/// Removes what is not reachable as of a time.
#[derive(Clone, Copy, Debug)]
pub struct Pack {
    /// The server removes revisions that were replaced before this time, and objects that were
    /// unreachable then.
    pub time: UnixTime,
    /// Whether the answer comes only when the pack is done.
    pub wait: bool,
}

impl Query for Pack {
    type Answer = ();
    const METHOD: &'static str = "pack";

    fn args(self) -> Vec<Value> {
        vec![Value::Float(self.time.0), Value::Int(self.wait.into())]
    }

    fn read(_: Reply) -> Result<(), String> {
        Ok(())
    }
}

/// Figures of the server, by name.
#[derive(Clone, Copy, Debug)]
pub struct ServerStatus;

impl Query for ServerStatus {
    type Answer = Vec<(String, Value)>;
    const METHOD: &'static str = "server_status";

    fn args(self) -> Vec<Value> {
        vec![]
    }

    fn read(reply: Reply) -> Result<Vec<(String, Value)>, String> {
        let named = |(key, figure)| match key {
            Value::Str(key) => Ok((key, figure)),
            other => Err(expected("a name", &other)),
        };
        reply.value.into_dict()?.into_iter().map(named).collect()
    }
}

/// An iterator over the transactions from one tid to another, both inclusive. The server keeps it as
/// long as the connection lasts.
#[derive(Clone, Copy, Debug)]
pub struct IteratorStart {
    /// The first tid, if not the oldest.
    pub start: Option<Tid>,
    /// The last tid, if not the newest.
    pub stop: Option<Tid>,
}

impl Query for IteratorStart {
    type Answer = IteratorId;
    const METHOD: &'static str = "iterator_start";
    const OPENS_ITERATOR: bool = true;

    fn args(self) -> Vec<Value> {
        [self.start, self.stop].map(|tid| tid.map_or(Value::None, Value::tid)).into()
    }

    fn read(reply: Reply) -> Result<IteratorId, String> {
        reply.into_iterator()
    }
}

/// The next transaction of an iterator, `None` at the end.
#[derive(Clone, Copy, Debug)]
pub struct IteratorNext(pub IteratorId);

impl Query for IteratorNext {
    type Answer = Option<TransactionInfo>;
    const METHOD: &'static str = "iterator_next";

    fn args(self) -> Vec<Value> {
        vec![number(self.0.id)]
    }

    fn connection(&self) -> Option<ConnId> {
        Some(self.0.connection)
    }

    fn read(reply: Reply) -> Result<Option<TransactionInfo>, String> {
        reply.value.into_maybe(transaction)
    }
}

/// An iterator over the records of the transaction that another one returned last.
#[derive(Clone, Copy, Debug)]
pub struct RecordsStart(pub IteratorId, pub Tid);

impl Query for RecordsStart {
    type Answer = IteratorId;
    const METHOD: &'static str = "iterator_record_start";
    const OPENS_ITERATOR: bool = true;

    fn args(self) -> Vec<Value> {
        vec![number(self.0.id), Value::tid(self.1)]
    }

    fn connection(&self) -> Option<ConnId> {
        Some(self.0.connection)
    }

    fn read(reply: Reply) -> Result<IteratorId, String> {
        reply.into_iterator()
    }
}

/// The next record of an iterator, `None` at the end.
#[derive(Clone, Copy, Debug)]
pub struct RecordsNext(pub IteratorId);

impl Query for RecordsNext {
    type Answer = Option<Record>;
    const METHOD: &'static str = "iterator_record_next";

    fn args(self) -> Vec<Value> {
        vec![number(self.0.id)]
    }

    fn connection(&self) -> Option<ConnId> {
        Some(self.0.connection)
    }

    fn read(reply: Reply) -> Result<Option<Record>, String> {
        reply.value.into_maybe(record)
    }
}

/// A transaction's metadata, as iterators return it.
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionInfo {
    /// Tid of the transaction, which is also the time of its commit.
    pub tid: Tid,
    /// `b' '` for a plain commit, `b'p'` for one that a pack rewrote.
    pub status: u8,
    /// User name, as the committing application encoded it.
    pub user: Bytes,
    /// Description, as the committing application encoded it.
    pub description: Bytes,
    /// Further metadata: a dict.
    pub extension: Value,
}

/// An undoable transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct UndoEntry {
    /// The id for [`Client::undo`](super::Client::undo).
    pub id: Bytes,
    /// Time of the commit, in seconds since 1970.
    pub time: f64,
    /// User name, as the committing application encoded it.
    pub user: Bytes,
    /// Description, as the committing application encoded it.
    pub description: Bytes,
    /// All items of the server's entry.
    pub items: Vec<(Value, Value)>,
}

impl UndoEntry {
    fn read(value: Value) -> Result<Self, String> {
        let bytes = |key: &str| match value.item(key) {
            Some(Value::Bytes(bytes)) => Ok(bytes.clone()),
            Some(Value::Str(text)) => Ok(Bytes::from(text.clone())),
            _ => Err(format!("an entry without {key}")),
        };
        let time = match value.item("time") {
            Some(Value::Float(time)) => *time,
            _ => return Err("an entry without time".to_owned()),
        };
        let (id, user) = (bytes("id")?, bytes("user_name")?);
        let description = bytes("description")?;
        Ok(Self { id, time, user, description, items: value.into_dict()? })
    }
}

fn transaction(value: Value) -> Result<TransactionInfo, String> {
    let [tid, status, user, description, extension] = value.into_parts()?;
    let status = match status {
        Value::Str(status) if status.len() == 1 => status.as_bytes()[0],
        Value::Bytes(status) if status.len() == 1 => status[0],
        other => return Err(expected("a status of one character", &other)),
    };
    Ok(TransactionInfo {
        tid: tid.into_tid()?,
        status,
        user: user.into_text_bytes()?,
        description: description.into_text_bytes()?,
        extension,
    })
}

fn record(value: Value) -> Result<Record, String> {
    let [oid, tid, data, data_txn] = value.into_parts()?;
    Ok(Record {
        oid: oid.into_oid()?,
        tid: tid.into_tid()?,
        data: data.into_maybe(Reading::into_bytes)?,
        data_txn: data_txn.into_maybe(Reading::into_tid)?,
    })
}

/// An unsigned number. None here is too large for the wire.
pub(super) fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const CONN: ConnId = ConnId(1);

    fn reply<Q: Query>(value: Value) -> Result<Q::Answer, CallError> {
        Reply { connection: CONN, opens_iterator: Q::OPENS_ITERATOR, value }.read::<Q>()
    }

    #[test]
    fn a_query_reads_what_it_is_answered_with() {
        assert_eq!(reply::<LastTransaction>(Value::tid(Tid(7))), Ok(Tid(7)));
        assert_eq!(reply::<RecordsNext>(Value::None), Ok(None));
        let record = [Value::oid(Oid(1)), Value::tid(Tid(2)), Value::None, Value::None];
        let read = Record { oid: Oid(1), tid: Tid(2), data: None, data_txn: None };
        assert_eq!(reply::<RecordsNext>(Value::List(record.into())), Ok(Some(read)));
        let iterator = IteratorId { connection: CONN, id: 3 };
        assert_eq!(reply::<IteratorStart>(Value::Int(3)), Ok(iterator));
        assert_eq!(Request::from(IteratorNext(iterator)).connection, Some(CONN));
    }

    #[test]
    fn another_answer_is_an_error_that_names_the_method() {
        let error = reply::<LastTransaction>(Value::Int(7)).unwrap_err().to_string();
        assert!(error.contains("lastTransaction") && error.contains("bytes"), "{error}");
        assert!(matches!(reply::<IteratorNext>(Value::Int(1)), Err(CallError::Odd { .. })));
    }

    #[test]
    fn only_answers_that_open_an_iterator_have_one() {
        let of =
            |opens_iterator, value| Reply { connection: CONN, opens_iterator, value }.iterator();
        assert_eq!(of(true, Value::Int(3)), Some(IteratorId { connection: CONN, id: 3 }));
        assert_eq!(of(false, Value::Int(3)), None);
        assert_eq!(of(true, Value::Int(-3)), None);
    }
}
