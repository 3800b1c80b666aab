//! Loads: from an oid to its current record, and from there along the revisions.
//!
//! A load takes one index lookup and, for a current record of ordinary size, one read.

use bytes::Bytes;
use parking_lot::RwLock;
use rzeo_core::storage::{CurrentRecord, Load, Patience, Revision, StorageError};
use rzeo_core::{Oid, Tid};

use super::log::{Log, Payload, RecordReader};
use super::state::VisibleState;

/// The position of an object's current record, and the log to read it from.
pub(crate) fn locate(state: &RwLock<VisibleState>, oid: Oid) -> Result<(Log, u64), StorageError> {
    let state = state.read();
    let at = state.index.position(oid).ok_or(StorageError::NoSuchObject(oid))?;
    Ok((state.log.clone(), at))
}

pub(super) fn load_before(
    state: &RwLock<VisibleState>,
    oid: Oid,
    before: Tid,
    patience: Patience,
) -> Result<Load, StorageError> {
    let (log, at) = locate(state, oid)?;
    let mut reader = RecordReader::new(&log, oid, at, patience)?;
    let mut end = None;
    while reader.head().tid >= before {
        let first = reader.head().tid;
        if !reader.go_to_prev()? {
            return Ok(Load::Younger { first });
        }
        end = Some(first);
    }
    let serial = reader.head().tid;
    Ok(match reader.data()? {
        Some(data) => Load::Found(Revision { data, serial, end }),
        None => Load::Deleted { serial, end },
    })
}

pub(super) fn load_serial(
    state: &RwLock<VisibleState>,
    oid: Oid,
    serial: Tid,
    patience: Patience,
) -> Result<Bytes, StorageError> {
    let (log, at) = locate(state, oid)?;
    let mut reader = RecordReader::new(&log, oid, at, patience)?;
    while reader.head().tid != serial {
        if reader.head().tid < serial || !reader.go_to_prev()? {
            return Err(StorageError::NoSuchObject(oid));
        }
    }
    reader.data()?.ok_or(StorageError::NoSuchObject(oid))
}

/// Whether the object has a record of that tid: a revision, or one that only back pointers lead to.
pub(super) fn has_revision(state: &VisibleState, oid: Oid, tid: Tid) -> Result<bool, StorageError> {
    state.index.position(oid).map_or(Ok(false), |at| goes_back_to(&state.log, oid, at, tid))
}

/// The same, without holding the lock while it reads, so that writers can publish their commits.
pub(super) fn has_revision_now(
    state: &RwLock<VisibleState>,
    oid: Oid,
    tid: Tid,
) -> Result<bool, StorageError> {
    let (log, at) = {
        let state = state.read();
        (state.log.clone(), state.index.position(oid))
    };
    at.map_or(Ok(false), |at| goes_back_to(&log, oid, at, tid))
}

fn goes_back_to(log: &Log, oid: Oid, at: u64, tid: Tid) -> Result<bool, StorageError> {
    let mut reader = RecordReader::new(log, oid, at, Patience::Wait)?;
    loop {
        if reader.head().tid == tid || points_back_to(log, oid, reader.at(), tid)? {
            return Ok(true);
        }
        if !reader.go_to_prev()? {
            return Ok(false);
        }
    }
}

/// Whether the back pointers from a record lead to one of that tid. A pack keeps such records, although no
/// later record has replaced them in the packed file.
fn points_back_to(log: &Log, oid: Oid, at: u64, tid: Tid) -> Result<bool, StorageError> {
    let mut reader = RecordReader::new(log, oid, at, Patience::Wait)?;
    while reader.head().data_len == 0 {
        match reader.payload()? {
            Payload::Back(back) => reader.go_back(back)?,
            Payload::Data(_) | Payload::Deleted => return Ok(false),
        }
        if reader.head().tid == tid {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads only one record: if it has a back pointer, the object counts as existing.
pub(super) fn current_serial(
    state: &RwLock<VisibleState>,
    oid: Oid,
    patience: Patience,
) -> Result<Tid, StorageError> {
    let (log, at) = locate(state, oid)?;
    let reader = RecordReader::new(&log, oid, at, patience)?;
    let gone = reader.head().data_len == 0 && reader.payload()? == Payload::Deleted;
    if gone { Err(StorageError::NoSuchObject(oid)) } else { Ok(reader.head().tid) }
}

pub(super) fn next_record(
    state: &RwLock<VisibleState>,
    from: Oid,
) -> Result<CurrentRecord, StorageError> {
    let (log, (oid, at), next) = {
        let state = state.read();
        let mut entries = state.index.range(from..);
        let empty = state.index.is_empty();
        let first = entries.next().ok_or(StorageError::NoMoreRecords { empty })?;
        (state.log.clone(), first, entries.next().map(|(oid, _)| oid))
    };
    let mut reader = RecordReader::new(&log, oid, at, Patience::Wait)?;
    let serial = reader.head().tid;
    let data = reader.data()?.ok_or(StorageError::NoSuchObject(oid))?;
    Ok(CurrentRecord { oid, serial, data, next })
}
