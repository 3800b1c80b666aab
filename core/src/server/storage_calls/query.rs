//! The calls whose answer is a reply that needs no further work.
//!
//! A query is a variant of [`Query`]: how it comes from the call ([`Query::from_call`]), which `wire::call`
//! reads, and how a storage answers it ([`Query::answer`]). Sessions pass all of them on alike.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::job::{StorageJob, may_wait, unless_blocked};
use crate::ids::{Oid, Tid};
use crate::server::caller::Caller;
use crate::storage::{Description, HistoryEntry, HistoryShape, Patience, Storage, StorageError};
use crate::value::Value;
use crate::wire::call::QueryCall;
use crate::wire::refusal::Refusal;
use crate::wire::reply::{Reply, history_entry, mapping_history_entry, undo_entry};

/// Python's server hands out between 1 and this many oids at a time.
const NEW_OIDS_MAX: i64 = 100;

/// A query, and the call that waits for the reply.
#[derive(Debug)]
pub(in crate::server) struct QueryJob {
    pub(in crate::server) caller: Caller,
    pub(in crate::server) query: Query,
}

/// What is asked, with checked arguments.
#[derive(Debug)]
pub(in crate::server) enum Query {
    LoadSerial { oid: Oid, serial: Tid },
    CurrentSerial { oid: Oid },
    History { oid: Oid, size: usize },
    NextRecord { from: Oid },
    NewOids { count: usize },
    Info,
    UndoLog { first: i64, last: i64, specification: Vec<(Value, Value)> },
    Changes { after: Tid, up_to: Tid },
}

impl StorageJob for QueryJob {
    type Answer = (Caller, Result<Reply, StorageError>);

    fn run(self, storage: &dyn Storage, patience: Patience) -> Result<Self::Answer, Self> {
        let result = self.query.answer(storage, patience);
        unless_blocked(self, result, |job, result| (job.caller, result))
    }
}

impl Query {
    /// Checks the arguments of a call.
    pub(in crate::server) fn from_call(
        call: QueryCall,
        storage: &Description,
        read_only: bool,
    ) -> Result<Self, Refusal> {
        Ok(match call {
            QueryCall::LoadSerial { oid, serial } => Self::LoadSerial { oid, serial },
            QueryCall::GetTid { oid } => Self::CurrentSerial { oid },
            QueryCall::History { oid, size } => {
                let known = match &oid {
                    Value::Bytes(bytes) => Oid::from_slice(bytes),
                    _ => None,
                };
                let oid = known.ok_or_else(|| Refusal::PosKey(vec![oid]))?;
                let Value::Int(size) = size else {
                    let text = format!("history: int expected, not {}", size.kind());
                    return Err(Refusal::text("builtins.TypeError", text));
                };
                Self::History { oid, size: usize::try_from(size).unwrap_or(0) }
            }
            QueryCall::RecordIternext { .. } if !storage.supports_record_iternext => {
                return Err(Refusal::missing_method("record_iternext"));
            }
            QueryCall::RecordIternext { next } => {
                Self::NextRecord { from: next.unwrap_or(Oid::ROOT) }
            }
            QueryCall::NewOids { .. } if read_only => return Err(Refusal::ReadOnly),
            QueryCall::NewOids { count } => {
                let count = count.clamp(1, NEW_OIDS_MAX);
                Self::NewOids { count: usize::try_from(count).unwrap_or(1) }
            }
            QueryCall::UndoLog { first, last } => {
                Self::UndoLog { first, last, specification: Vec::new() }
            }
            QueryCall::UndoInfo { first, last, specification } => {
                Self::UndoLog { first, last, specification }
            }
            QueryCall::GetInfo => Self::Info,
        })
    }

    fn answer(&self, storage: &dyn Storage, patience: Patience) -> Result<Reply, StorageError> {
        match self {
            Self::LoadSerial { oid, serial } => {
                storage.load_serial(*oid, *serial, patience).map(Reply::Data)
            }
            Self::CurrentSerial { oid } => storage.current_serial(*oid, patience).map(Reply::Tid),
            Self::NewOids { count } => storage.new_oids(*count, patience).map(Reply::Oids),
            Self::Info => Ok(Reply::Info(Box::new(storage.description()), storage.info())),
            Self::History { oid, size } => {
                may_wait(patience)?;
                history(storage, *oid, *size)
            }
            Self::NextRecord { from } => {
                may_wait(patience)?;
                storage.next_record(*from).map(Reply::Current)
            }
            Self::UndoLog { first, last, specification } => {
                may_wait(patience)?;
                undo_log(storage, *first, *last, specification)
            }
            Self::Changes { after, up_to } => {
                may_wait(patience)?;
                changes(storage, *after, *up_to)
            }
        }
    }
}

fn history(storage: &dyn Storage, oid: Oid, size: usize) -> Result<Reply, StorageError> {
    let shown = |entry: &HistoryEntry| match entry.shape {
        HistoryShape::FileStorage => history_entry(entry),
        HistoryShape::MappingStorage => mapping_history_entry(entry),
    };
    let entries = storage.history(oid, size)?;
    Ok(Reply::Entries(entries.iter().map(shown).collect()))
}

/// Entries `first..last` of the undoable transactions that match `specification`, newest first; a
/// negative `last` is a number of entries (`spec: filestorage 12`).
fn undo_log(
    storage: &dyn Storage,
    first: i64,
    last: i64,
    specification: &[(Value, Value)],
) -> Result<Reply, StorageError> {
    if !storage.description().supports_undo {
        return Ok(Reply::NoUndo);
    }
    let last = if last.is_negative() { first.saturating_sub(last) } else { last };
    let mut entries = Vec::new();
    let mut index = 0;
    if index < last {
        storage.undo_log(&mut |header| {
            let entry = undo_entry(&header);
            if matches_all(&entry, specification) {
                if index >= first {
                    entries.push(entry);
                }
                index += 1;
            }
            if index < last { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    Ok(Reply::Entries(entries))
}

fn matches_all(entry: &Value, specification: &[(Value, Value)]) -> bool {
    let Value::Dict(items) = entry else { return false };
    specification.iter().all(|wanted| items.contains(wanted))
}

/// All oids of the transactions in `(after, up_to]`, and the last tid seen; `None` if there are no
/// such transactions (`spec: zeo-protocol 12`).
fn changes(storage: &dyn Storage, after: Tid, up_to: Tid) -> Result<Reply, StorageError> {
    let mut transactions = storage.iterate(Some(after.next()), Some(up_to))?;
    let mut oids = BTreeSet::new();
    let mut last = None;
    while let Some(header) = transactions.next_transaction()? {
        last = Some(header.tid);
        let mut records = transactions.records()?;
        while let Some(record) = records.next_record()? {
            oids.insert(record.oid);
        }
    }
    Ok(last.map_or(Reply::Nil, |tid| Reply::Changes(tid, oids.into_iter().collect())))
}
