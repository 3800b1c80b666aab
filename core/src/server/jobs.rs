//! Storage calls, as values that an adapter can carry to the thread that may run them.
//!
//! [`perform`] runs one. Asked with [`Patience::Now`] it answers from memory and page cache, or gives
//! the call back, to be run where waiting for the disk hurts nobody.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::ControlFlow;

use bytes::Bytes;

use crate::ids::{Oid, Tid};
use crate::server::vote::{VoteError, VoteOutcome, VoteRequest, vote};
use crate::storage::{
    BlobFile, BlobStore, HistoryEntry, HistoryShape, Info, Load, Patience, PreparedPack,
    RecordIterator, Scratch, Storage, StorageError, TransactionHeader, TransactionIterator, Voted,
};
use crate::time::UnixTime;
use crate::value::Value;
use crate::wire::reply::{Reply, history_entry, mapping_history_entry, undo_entry};

/// Something a session wants of its storage.
#[derive(Debug)]
#[expect(missing_docs, reason = "named as the storage's methods")]
pub enum StorageCall {
    Load {
        oid: Oid,
        before: Tid,
    },
    LoadSerial {
        oid: Oid,
        serial: Tid,
    },
    CurrentSerial {
        oid: Oid,
    },
    History {
        oid: Oid,
        size: usize,
    },
    NextRecord {
        from: Oid,
    },
    NewOids {
        count: usize,
    },
    Info,
    UndoLog {
        first: i64,
        last: i64,
        specification: Vec<(Value, Value)>,
    },
    Changes {
        after: Tid,
        up_to: Tid,
    },
    Iterate {
        start: Option<Tid>,
        stop: Option<Tid>,
    },
    Step(Walk),
    Vote(Arc<VoteRequest>),
    /// An empty file for an upload.
    Upload,
    /// A file that the client has put into the blob directory.
    SharedUpload {
        oid: Oid,
        name: String,
    },
    /// An empty file for the records of a big transaction.
    Scratch,
    /// Some of what goes into such a file.
    Write {
        file: Arc<dyn Scratch>,
        at: u64,
        chunks: Vec<Bytes>,
    },
    /// A blob, to be read.
    OpenBlob {
        oid: Oid,
        serial: Tid,
    },
    /// The next bytes of one.
    ReadBlob {
        file: Arc<dyn BlobFile>,
        at: u64,
        len: usize,
    },
    /// Let go of what is not needed any more.
    Discard(Leftovers),
}

/// Files that came to nothing, and the vote that may hold them: dropping the last owner removes a file,
/// which may take its time.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Uploads and temporary files.
    pub files: Vec<Arc<dyn Scratch>>,
    /// What has a share in them.
    pub voted: Option<Voted>,
}

/// An iterator, moved to where it may wait for the disk and back.
pub enum Walk {
    /// Fetch the next transaction.
    Transactions(Box<dyn TransactionIterator>),
    /// Open the records of the current transaction.
    Open(Box<dyn TransactionIterator>),
    /// Fetch the next record.
    Records(Box<dyn RecordIterator>),
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transactions(_) => "Transactions",
            Self::Open(_) => "Open",
            Self::Records(_) => "Records",
        })
    }
}

/// What came of a [`StorageCall`].
pub enum StorageReply {
    /// Ready to be sent.
    Ready(Result<Reply, StorageError>),
    /// Of [`StorageCall::Load`].
    Loaded(Result<Load, StorageError>),
    /// Of [`StorageCall::Iterate`].
    Iterating(Result<Box<dyn TransactionIterator>, StorageError>),
    /// Of [`StorageCall::Step`] with transactions.
    Transaction(Box<dyn TransactionIterator>, Result<Option<TransactionHeader>, StorageError>),
    /// Of [`StorageCall::Step`] that opens records.
    Opened(Box<dyn TransactionIterator>, Result<Box<dyn RecordIterator>, StorageError>),
    /// Of [`StorageCall::Step`] with records.
    Record(Box<dyn RecordIterator>, Result<Option<crate::storage::Record>, StorageError>),
    /// Of [`StorageCall::Vote`].
    Voted(Result<VoteOutcome, VoteError>),
    /// Of [`StorageCall::Upload`], [`StorageCall::SharedUpload`] and [`StorageCall::Scratch`]; only
    /// the last may come back with no file.
    Scratch(Result<Option<Arc<dyn Scratch>>, StorageError>),
    /// Of [`StorageCall::Write`].
    Written(Result<(), StorageError>),
    /// Of [`StorageCall::OpenBlob`].
    Blob(Result<Arc<dyn BlobFile>, StorageError>),
    /// Of [`StorageCall::ReadBlob`].
    BlobBytes(Result<Bytes, StorageError>),
    /// Of [`StorageCall::Discard`].
    Discarded,
}

impl fmt::Debug for StorageReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready",
            Self::Loaded(_) => "Loaded",
            Self::Iterating(_) => "Iterating",
            Self::Transaction(..) => "Transaction",
            Self::Opened(..) => "Opened",
            Self::Record(..) => "Record",
            Self::Voted(_) => "Voted",
            Self::Scratch(_) => "Scratch",
            Self::Written(_) => "Written",
            Self::Blob(_) => "Blob",
            Self::BlobBytes(_) => "BlobBytes",
            Self::Discarded => "Discarded",
        })
    }
}

/// A vote of more operations keeps a thread busy for milliseconds, wherever they come from.
const OPERATIONS_NOW_MAX: usize = 1_000;

/// Runs a call.
///
/// # Errors
/// With [`Patience::Now`], the call itself if it has to wait; run it again with [`Patience::Wait`].
pub fn perform(
    storage: &dyn Storage,
    call: StorageCall,
    patience: Patience,
) -> Result<StorageReply, StorageCall> {
    let reply = match call {
        StorageCall::Load { oid, before } => {
            StorageReply::Loaded(storage.load_before(oid, before, patience))
        }
        StorageCall::LoadSerial { oid, serial } => {
            StorageReply::Ready(storage.load_serial(oid, serial, patience).map(Reply::Data))
        }
        StorageCall::CurrentSerial { oid } => {
            StorageReply::Ready(storage.current_serial(oid, patience).map(Reply::Tid))
        }
        StorageCall::NewOids { count } => {
            StorageReply::Ready(storage.new_oids(count, patience).map(Reply::Oids))
        }
        StorageCall::Info => {
            StorageReply::Ready(Ok(Reply::Info(Box::new(storage.description()), storage.info())))
        }
        StorageCall::Vote(ref request)
            if patience == Patience::Now && request.operations.len() > OPERATIONS_NOW_MAX =>
        {
            return Err(call);
        }
        StorageCall::Vote(ref request) => StorageReply::Voted(vote(storage, request, patience)),
        StorageCall::ReadBlob { ref file, at, len } => {
            StorageReply::BlobBytes(file.read(at, len, patience))
        }
        slow if patience == Patience::Now => return Err(slow),
        slow => return Ok(perform_slow(storage, slow)),
    };
    if would_block(&reply) { Err(call) } else { Ok(reply) }
}

fn would_block(reply: &StorageReply) -> bool {
    matches!(
        reply,
        StorageReply::Ready(Err(StorageError::WouldBlock))
            | StorageReply::Loaded(Err(StorageError::WouldBlock))
            | StorageReply::Voted(Err(VoteError::Storage(StorageError::WouldBlock)))
            | StorageReply::BlobBytes(Err(StorageError::WouldBlock))
    )
}

/// The calls that always may wait for the disk.
fn perform_slow(storage: &dyn Storage, call: StorageCall) -> StorageReply {
    match call {
        StorageCall::History { oid, size } => StorageReply::Ready(history(storage, oid, size)),
        StorageCall::NextRecord { from } => {
            StorageReply::Ready(storage.next_record(from).map(Reply::Current))
        }
        StorageCall::UndoLog { first, last, specification } => {
            StorageReply::Ready(undo_log(storage, first, last, &specification))
        }
        StorageCall::Changes { after, up_to } => {
            StorageReply::Ready(changes(storage, after, up_to))
        }
        StorageCall::Iterate { start, stop } => {
            StorageReply::Iterating(storage.iterate(start, stop))
        }
        StorageCall::Step(Walk::Transactions(mut walk)) => {
            let next = walk.next_transaction();
            StorageReply::Transaction(walk, next)
        }
        StorageCall::Step(Walk::Open(walk)) => {
            let records = walk.records();
            StorageReply::Opened(walk, records)
        }
        StorageCall::Step(Walk::Records(mut walk)) => {
            let next = walk.next_record();
            StorageReply::Record(walk, next)
        }
        StorageCall::Upload => {
            let file = blobs(storage).and_then(BlobStore::upload);
            StorageReply::Scratch(file.map(Some))
        }
        StorageCall::SharedUpload { oid, name } => {
            let file = blobs(storage).and_then(|blobs| blobs.shared_upload(oid, &name));
            StorageReply::Scratch(file.map(Some))
        }
        StorageCall::Scratch => StorageReply::Scratch(storage.scratch()),
        StorageCall::Write { file, at, chunks } => StorageReply::Written(file.write(at, &chunks)),
        StorageCall::OpenBlob { oid, serial } => {
            StorageReply::Blob(blobs(storage).and_then(|blobs| blobs.open(oid, serial)))
        }
        StorageCall::Discard(leftovers) => {
            drop(leftovers);
            StorageReply::Discarded
        }
        quick @ (StorageCall::Load { .. }
        | StorageCall::LoadSerial { .. }
        | StorageCall::CurrentSerial { .. }
        | StorageCall::NewOids { .. }
        | StorageCall::Info
        | StorageCall::Vote(_)
        | StorageCall::ReadBlob { .. }) => perform(storage, quick, Patience::Wait)
            .expect("a storage never answers WouldBlock to a caller that waits"),
    }
}

/// Sessions ask only storages that say that they keep blobs.
fn blobs(storage: &dyn Storage) -> Result<&dyn BlobStore, StorageError> {
    storage.blobs().ok_or(StorageError::Unsupported("loadBlob"))
}

fn history(storage: &dyn Storage, oid: Oid, size: usize) -> Result<Reply, StorageError> {
    let shown = |entry: &HistoryEntry| match entry.shape {
        HistoryShape::FileStorage => history_entry(entry),
        HistoryShape::MappingStorage => mapping_history_entry(entry),
    };
    let entries = storage.history(oid, size)?;
    Ok(Reply::Entries(entries.iter().map(shown).collect()))
}

/// Entries `first..last` of the undoable transactions that fit `specification`, newest first; a
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
            if fits(&entry, specification) {
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

fn fits(entry: &Value, specification: &[(Value, Value)]) -> bool {
    let Value::Dict(items) = entry else { return false };
    specification.iter().all(|wanted| items.contains(wanted))
}

/// All oids of the transactions in `(after, up_to]`, and the last tid seen; `None` if there are no
/// such transactions (`spec: zeo-protocol 12`).
fn changes(storage: &dyn Storage, after: Tid, up_to: Tid) -> Result<Reply, StorageError> {
    let mut walk = storage.iterate(Some(after.next()), Some(up_to))?;
    let mut oids = BTreeSet::new();
    let mut last = None;
    while let Some(header) = walk.next_transaction()? {
        last = Some(header.tid);
        let mut records = walk.records()?;
        while let Some(record) = records.next_record()? {
            oids.insert(record.oid);
        }
    }
    Ok(last.map_or(Reply::Nil, |tid| Reply::Changes(tid, oids.into_iter().collect())))
}

/// Something the hub wants of its storage. Always run where waiting is allowed.
pub enum HubJob {
    /// Pack, up to the switch.
    Pack(UnixTime),
    /// Switch to the packed file; the hub holds the whole storage meanwhile.
    FinishPack(Box<dyn PreparedPack>),
    /// Do what a pack has left to be done beside commits.
    CleanUp,
}

impl fmt::Debug for HubJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pack(time) => write!(f, "Pack({time:?})"),
            Self::FinishPack(_) => f.write_str("FinishPack"),
            Self::CleanUp => f.write_str("CleanUp"),
        }
    }
}

/// What came of a [`HubJob`], with the storage's figures after it.
pub enum HubJobDone {
    /// Of [`HubJob::Pack`]; `None` if there was nothing to pack.
    Packed(Result<Option<Box<dyn PreparedPack>>, StorageError>, Info),
    /// Of [`HubJob::FinishPack`].
    Switched(Result<(), StorageError>, Info),
    /// Of [`HubJob::FinishPack`], when the storage has to clean up before the pack is done.
    Untidy,
    /// Of [`HubJob::CleanUp`].
    CleanedUp(Result<(), StorageError>, Info),
}

impl fmt::Debug for HubJobDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packed(..) => "Packed",
            Self::Switched(..) => "Switched",
            Self::Untidy => "Untidy",
            Self::CleanedUp(..) => "CleanedUp",
        })
    }
}

/// Runs a job of the hub.
pub fn perform_for_hub(storage: &dyn Storage, job: HubJob) -> HubJobDone {
    match job {
        HubJob::Pack(time) => {
            let prepared = storage.pack(time);
            HubJobDone::Packed(prepared, storage.info())
        }
        HubJob::FinishPack(pack) => {
            let switched = pack.finish();
            if switched.is_ok() && storage.clean_up_due() {
                return HubJobDone::Untidy;
            }
            HubJobDone::Switched(switched, storage.info())
        }
        HubJob::CleanUp => HubJobDone::CleanedUp(storage.clean_up(), storage.info()),
    }
}
