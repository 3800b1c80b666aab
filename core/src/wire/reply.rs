//! Replies and notifications, with the exact shapes that Python clients require.
//!
//! The pickle encoding distinguishes lists and tuples (`spec: zeo-protocol-gotchas 14`); this
//! module decides which of them a reply has.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Oid, Tid};
use crate::pickle;
use crate::server::vote::ClientConflict;
use crate::storage::{
    CurrentRecord, Description, HistoryEntry, Info, Record, Revision, TransactionHeader,
};
use crate::value::{ReadLimits, Value};

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `None`: the call succeeded without a result, or found nothing.
    Nil,
    /// A tid: `register`, `lastTransaction`, `getTid`, `tpc_finish`.
    Tid(Tid),
    /// Record data: `loadSerial`.
    Data(Bytes),
    /// A number: the id of an iterator.
    Number(u64),
    /// `loadBefore`.
    Loaded(Revision),
    /// `getInvalidations`: the newest tid and the objects changed up to it.
    Changes(Tid, Vec<Oid>),
    /// A list of oids: `new_oids`, `vote`.
    Oids(Vec<Oid>),
    /// `vote` under client-side conflict resolution.
    Conflicts(Vec<ClientConflict>),
    /// `get_info`.
    Info(Box<Description>, Info),
    /// `history`, already as dicts.
    Entries(Vec<Value>),
    /// `undoLog` and `undoInfo` of a storage without undo.
    NoUndo,
    /// `record_iternext`.
    Current(CurrentRecord),
    /// `iterator_next`.
    Transaction(TransactionHeader),
    /// `iterator_record_next`.
    Record(Record),
    /// `server_status`.
    Status(Status),
}

/// `server_status` of one storage. Field names are the keys on the wire.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "spec: zeo-protocol 14.3")]
pub struct Status {
    pub connections: u64,
    pub loads: u64,
    pub stores: u64,
    pub commits: u64,
    pub aborts: u64,
    pub active_txns: u64,
    /// When the oldest of the held commit locks was acquired, in seconds since 1970.
    pub lock_time: Option<f64>,
    pub conflicts: u64,
    pub conflicts_resolved: u64,
    /// When the server started, as C's `ctime` writes it.
    pub start: Arc<str>,
    pub waiting: u64,
    /// Whether a transaction timeout is configured.
    pub timeout: bool,
    pub last_transaction: Tid,
}

impl Reply {
    /// The value for the envelope.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self {
            Self::Nil => Value::None,
            Self::Tid(tid) => Value::tid(tid),
            Self::Data(data) => Value::Bytes(data),
            Self::Number(number) => count(number),
            Self::Loaded(revision) => Value::Tuple(vec![
                Value::Bytes(revision.data),
                Value::tid(revision.serial),
                revision.end.map_or(Value::None, Value::tid),
            ]),
            Self::Changes(tid, oids) => Value::Tuple(vec![Value::tid(tid), list_of_oids(&oids)]),
            Self::Oids(oids) => list_of_oids(&oids),
            Self::Conflicts(conflicts) => {
                Value::List(conflicts.into_iter().map(conflict).collect())
            }
            Self::Info(description, info) => get_info(&description, info),
            Self::Entries(entries) => Value::List(entries),
            Self::NoUndo => Value::Tuple(vec![]),
            Self::Current(record) => Value::Tuple(vec![
                Value::oid(record.oid),
                Value::tid(record.serial),
                Value::Bytes(record.data),
                record.next.map_or(Value::None, Value::oid),
            ]),
            Self::Transaction(header) => transaction(header),
            Self::Record(record) => Value::Tuple(vec![
                Value::oid(record.oid),
                Value::tid(record.tid),
                record.data.map_or(Value::None, Value::Bytes),
                record.data_txn.map_or(Value::None, Value::tid),
            ]),
            Self::Status(status) => status.to_value(),
        }
    }
}

/// The data that the client needs to resolve a conflict.
fn conflict(conflict: ClientConflict) -> Value {
    let serials = Value::Tuple(vec![Value::tid(conflict.committed), Value::tid(conflict.read)]);
    Value::Dict(vec![
        (Value::text("oid"), Value::oid(conflict.oid)),
        (Value::text("serials"), serials),
        (Value::text("data"), Value::Bytes(conflict.data)),
    ])
}

/// `iterator_next`: a header as a tuple, the status as text. An unreadable extension is sent as
/// empty: one such transaction must not stop a copy.
fn transaction(header: TransactionHeader) -> Value {
    Value::Tuple(vec![
        Value::tid(header.tid),
        Value::Str(String::from(char::from(header.status))),
        Value::Bytes(header.user),
        Value::Bytes(header.description),
        Value::Dict(extension(&header.extension)),
    ])
}

/// One entry of `undoLog`: the standard keys, then the extension's items over them
/// (`spec: filestorage 12`).
#[must_use]
pub fn undo_entry(header: &TransactionHeader) -> Value {
    let mut items = vec![
        (Value::text("id"), Value::Bytes(super::base64::encode(header.tid).into())),
        (Value::text("time"), Value::Float(header.tid.to_unix().0)),
        (Value::text("user_name"), Value::Bytes(header.user.clone())),
        (Value::text("size"), count(header.size)),
        (Value::text("description"), Value::Bytes(header.description.clone())),
    ];
    for (key, value) in extension(&header.extension) {
        set(&mut items, key, value);
    }
    Value::Dict(items)
}

/// One entry of FileStorage's `history`: the extension's items, then the standard keys over them.
#[must_use]
pub fn history_entry(entry: &HistoryEntry) -> Value {
    let mut items = extension(&entry.extension);
    set(&mut items, Value::text("time"), Value::Float(entry.tid.to_unix().0));
    set(&mut items, Value::text("user_name"), Value::Bytes(entry.user.clone()));
    set(&mut items, Value::text("description"), Value::Bytes(entry.description.clone()));
    set(&mut items, Value::text("tid"), Value::tid(entry.tid));
    set(&mut items, Value::text("size"), count(entry.size));
    Value::Dict(items)
}

/// One entry of MappingStorage's `history`, which has keys of its own.
#[must_use]
pub fn mapping_history_entry(entry: &HistoryEntry) -> Value {
    Value::Dict(vec![
        (Value::text("time"), Value::Float(entry.tid.to_unix().0)),
        (Value::text("tid"), Value::tid(entry.tid)),
        (Value::text("serial"), Value::tid(entry.tid)),
        (Value::text("user_name"), Value::Bytes(entry.user.clone())),
        (Value::text("description"), Value::Bytes(entry.description.clone())),
        (Value::text("extension"), Value::Dict(extension(&entry.extension))),
        (Value::text("size"), count(entry.size)),
    ])
}

/// The items common to `info` notifications and `get_info`.
#[must_use]
pub fn info_items(info: Info) -> Vec<(Value, Value)> {
    vec![(Value::text("length"), count(info.length)), (Value::text("size"), count(info.size))]
}

/// The items of a pickled extension dict, empty if it is not one. Objects of Python classes are left
/// out: not every peer can read them.
fn extension(pickled: &Bytes) -> Vec<(Value, Value)> {
    if pickled.is_empty() {
        return Vec::new();
    }
    match pickle::load(pickled, &ReadLimits::default()) {
        Ok(Value::Dict(items)) => items.into_iter().filter(|(_, value)| value.is_plain()).collect(),
        _ => Vec::new(),
    }
}

/// Sets a key as a Python dict does: in place if it exists, otherwise at the end.
fn set(items: &mut Vec<(Value, Value)>, key: Value, value: Value) {
    match items.iter_mut().find(|(known, _)| *known == key) {
        Some(item) => item.1 = value,
        None => items.push((key, value)),
    }
}

fn list_of_oids(oids: &[Oid]) -> Value {
    Value::List(oids.iter().copied().map(Value::oid).collect())
}

fn count(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn get_info(description: &Description, info: Info) -> Value {
    let interfaces = description
        .interfaces
        .iter()
        .map(|(module, name)| Value::Tuple(vec![Value::text(module), Value::text(name)]))
        .collect();
    let mut items = info_items(info);
    items.extend([
        (Value::text("name"), Value::Str(description.name.clone())),
        (Value::text("supportsUndo"), Value::Bool(description.supports_undo)),
        (
            Value::text("supports_record_iternext"),
            Value::Bool(description.supports_record_iternext),
        ),
        (Value::text("interfaces"), Value::Tuple(interfaces)),
    ]);
    Value::Dict(items)
}

impl Status {
    /// Keys and values in the order in which Python sends them.
    #[must_use]
    pub fn items(&self) -> Vec<(&'static str, Value)> {
        let alive = if self.timeout { Value::Bool(true) } else { Value::text("stub") };
        let last = alloc::format!("{:016x}", self.last_transaction.0);
        vec![
            ("connections", count(self.connections)),
            ("loads", count(self.loads)),
            ("stores", count(self.stores)),
            ("commits", count(self.commits)),
            ("aborts", count(self.aborts)),
            ("active_txns", count(self.active_txns)),
            ("lock_time", self.lock_time.map_or(Value::None, Value::Float)),
            ("conflicts", count(self.conflicts)),
            ("conflicts_resolved", count(self.conflicts_resolved)),
            ("start", Value::text(&self.start)),
            ("waiting", count(self.waiting)),
            ("timeout-thread-is-alive", alive),
            ("last-transaction", Value::Str(last)),
        ]
    }

    fn to_value(&self) -> Value {
        let items = self.items();
        Value::Dict(items.into_iter().map(|(key, value)| (Value::text(key), value)).collect())
    }
}
