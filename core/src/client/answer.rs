//! What calls are answered with.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::ids::{ConnId, IteratorId};
use super::reading::{Reading, expected};
use super::request::Request;
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
    /// An iterator.
    Iterator(IteratorId),
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

/// What was asked, read from what came.
impl Answer {
    pub(super) fn read(
        connection: ConnId,
        request: &Request,
        value: Value,
    ) -> Result<Self, String> {
        Ok(match request {
            Request::Ping | Request::Pack { .. } | Request::LoadBlob(..) => Self::Done,
            Request::LastTransaction | Request::CurrentSerial(_) => Self::Tid(value.into_tid()?),
            Request::Info => Self::Info(Arc::new(ServerInfo::read(&value)?)),
            Request::LoadSerial(..) => Self::Data(value.into_bytes()?),
            Request::History(..) => Self::History(value.into_items()?),
            Request::NextRecord(_) => Self::Current(current(value)?),
            Request::UndoLog { .. } | Request::UndoInfo { .. } => {
                let entries = value.into_items()?.into_iter().map(UndoEntry::read);
                Self::UndoLog(entries.collect::<Result<_, _>>()?)
            }
            Request::ServerStatus => Self::Status(figures(value)?),
            Request::IteratorStart { .. } | Request::RecordsStart(..) => {
                Self::Iterator(IteratorId { connection, id: value.into_number()? })
            }
            Request::IteratorNext(_) => Self::Transaction(value.into_maybe(transaction)?),
            Request::RecordsNext(_) => Self::Record(value.into_maybe(record)?),
        })
    }
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

impl ServerInfo {
    /// What is missing is taken for nothing: servers before 5 say less.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        if !matches!(value, Value::Dict(_)) {
            return Err(expected("a dict", value));
        }
        let name = match value.item("name") {
            Some(Value::Str(name)) => name.clone(),
            _ => String::new(),
        };
        let interfaces = match value.item("interfaces") {
            Some(Value::Tuple(pairs) | Value::List(pairs)) => {
                pairs.iter().filter_map(interface).collect()
            }
            _ => Vec::new(),
        };
        let yes = |key| value.item(key).is_some_and(Value::is_true);
        Ok(Self {
            name,
            length: count(value.item("length")),
            size: count(value.item("size")),
            supports_undo: yes("supportsUndo"),
            supports_record_iternext: yes("supports_record_iternext"),
            interfaces,
        })
    }

    /// As of an `info` message.
    pub(super) fn updated(&self, news: &Value) -> Self {
        let figure = |key, old| news.item(key).map_or(old, |new| count(Some(new)));
        Self {
            length: figure("length", self.length),
            size: figure("size", self.size),
            ..self.clone()
        }
    }
}

fn interface(pair: &Value) -> Option<(String, String)> {
    match pair {
        Value::Tuple(pair) | Value::List(pair) => match &pair[..] {
            [Value::Str(module), Value::Str(name)] => Some((module.clone(), name.clone())),
            _ => None,
        },
        _ => None,
    }
}

fn count(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Int(count)) => u64::try_from(*count).unwrap_or(0),
        _ => 0,
    }
}

fn current(value: Value) -> Result<CurrentRecord, String> {
    let [oid, serial, data, next] = value.into_parts()?;
    Ok(CurrentRecord {
        oid: oid.into_oid()?,
        serial: serial.into_tid()?,
        data: data.into_bytes()?,
        next: next.into_maybe(Reading::into_oid)?,
    })
}

fn transaction(value: Value) -> Result<WalkedTransaction, String> {
    let [tid, status, user, description, extension] = value.into_parts()?;
    let status = match status {
        Value::Str(status) if status.len() == 1 => status.as_bytes()[0],
        Value::Bytes(status) if status.len() == 1 => status[0],
        other => return Err(expected("a status of one character", &other)),
    };
    Ok(WalkedTransaction {
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

fn figures(value: Value) -> Result<Vec<(String, Value)>, String> {
    let named = |(key, figure)| match key {
        Value::Str(key) => Ok((key, figure)),
        other => Err(expected("a name", &other)),
    };
    value.into_dict()?.into_iter().map(named).collect()
}
