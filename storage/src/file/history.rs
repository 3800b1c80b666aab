//! Queries of the past: an object's revisions, the newest transactions, those that can be undone.

use std::ops::ControlFlow;

use rzeo_core::storage::{HistoryEntry, HistoryShape, Patience, StorageError, TransactionHeader};
use rzeo_core::{Oid, Tid};

use super::format::{Status, TransactionHead};
use super::log::{Log, RecordReader};
use super::scan::{self, Window};
use super::{FileStorage, read};

/// Python stops looking for undoable transactions below this position. No transaction with a
/// predecessor starts there.
const UNDO_START_MIN: u64 = 39;

pub(super) fn history(
    storage: &FileStorage,
    oid: Oid,
    size: usize,
) -> Result<Vec<HistoryEntry>, StorageError> {
    let (log, at) = read::locate(&storage.state, oid)?;
    let mut entries = Vec::new();
    let mut reader = RecordReader::new(&log, oid, at, Patience::Wait)?;
    while entries.len() < size {
        let record = reader.head();
        let head = log.transaction(record.transaction, Patience::Wait)?;
        let meta = log.meta(record.transaction, head, Patience::Wait)?;
        entries.push(HistoryEntry {
            tid: record.tid,
            shape: HistoryShape::FileStorage,
            user: meta.user,
            description: meta.description,
            extension: meta.extension,
            size: record.data_len,
        });
        if entries.len() == size || !reader.go_to_prev()? {
            break;
        }
    }
    Ok(entries)
}

pub(super) fn recent(log: &Log, count: usize) -> Result<Vec<(Tid, Vec<Oid>)>, StorageError> {
    let mut starts = Vec::new();
    let mut at = log.end;
    while starts.len() < count
        && let Some((start, _)) = log.transaction_before(at)?
    {
        starts.push(start);
        at = start;
    }
    let mut window = Window::new(log.clone());
    let mut records = Vec::new();
    let mut recent = Vec::with_capacity(starts.len());
    for start in starts.into_iter().rev() {
        let head = scan::check(&mut window, start, &mut records)?
            .map_err(|flaw| log.corrupt(flaw.at, flaw.what))?;
        if head.status == Status::UNDONE {
            continue;
        }
        recent.push((head.tid, records.iter().map(|record| record.oid).collect()));
    }
    Ok(recent)
}

pub(super) fn undo_log(
    log: &Log,
    visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let mut at = log.end;
    while at >= UNDO_START_MIN
        && let Some((start, head)) = log.transaction_before(at)?
        && head.status != Status::PACKED
    {
        at = start;
        if head.status == Status::COMMITTED && visit(header(log, at, head)?).is_break() {
            break;
        }
    }
    Ok(())
}

/// The public header of the transaction at a position.
pub(crate) fn header(
    log: &Log,
    at: u64,
    head: TransactionHead,
) -> Result<TransactionHeader, StorageError> {
    let meta = log.meta(at, head, Patience::Wait)?;
    Ok(TransactionHeader {
        tid: head.tid,
        status: head.status.0,
        user: meta.user,
        description: meta.description,
        extension: meta.extension,
        size: head.len,
    })
}
