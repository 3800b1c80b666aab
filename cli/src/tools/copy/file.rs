//! FileStorages as source and target.
//!
//! Transactions are committed in groups, because a commit waits for the disk. A group ends before a record
//! with a back pointer to a transaction of the group, because only committed transactions can be found.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rzeo_core::pickle;
use rzeo_core::storage::{
    BlobFile, Finishing, Patience, Record, RecordData, RecordIterator, Scratch, Storage as _,
    StorageError, TransactionIterator, TransactionMeta,
};
use rzeo_core::value::Value;
use rzeo_core::{Oid, Tid};
use rzeo_storage::FileStorage;
use rzeo_storage::file::FileOptions;

use super::database::{Database, Extension, Header, Source, Target, TransactionCursor};
use crate::tools::ToolError;

/// A group is committed when it has this many bytes.
const GROUP_BYTES: usize = 16 << 20;
/// Maximum number of transactions in a group.
const GROUP_MAX: usize = 4096;
/// Maximum bytes of a transaction in memory; further records go to a temporary file.
const TRANSACTION_MEMORY_BYTES: usize = 8 << 20;
/// Bytes of a blob that are read and written at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Whether two paths name the same file.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// A file to copy from; another process may be writing to it.
pub(super) struct FileSource(FileStorage);

impl FileSource {
    pub(super) fn open(path: &Path, blob_dir: Option<PathBuf>) -> Result<Self, ToolError> {
        let options = FileOptions { read_only: true, blob_dir, ..FileOptions::default() };
        Ok(Self(FileStorage::open_file(path, options)?))
    }
}

impl Database for FileSource {
    fn name(&self) -> String {
        self.0.path().display().to_string()
    }

    fn transactions(
        &self,
        start: Option<Tid>,
    ) -> Result<Box<dyn TransactionCursor + '_>, ToolError> {
        transactions(&self.0, start)
    }

    fn has_blobs(&self) -> bool {
        self.0.blobs().is_some()
    }

    fn size(&self) -> u64 {
        self.0.info().size
    }
}

impl Source for FileSource {
    fn blob(&self, oid: Oid, tid: Tid) -> Result<Option<Box<dyn Read + '_>>, ToolError> {
        let Some(blobs) = self.0.blobs() else { return Ok(None) };
        match blobs.open(oid, tid) {
            Ok(blob) => Ok(Some(Box::new(BlobReader { blob, at: 0 }))),
            Err(StorageError::NoSuchBlob { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

struct BlobReader {
    blob: Arc<dyn BlobFile>,
    at: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.blob.read(self.at, buffer.len(), Patience::Wait);
        let piece = piece.map_err(io::Error::other)?;
        buffer[..piece.len()].copy_from_slice(&piece);
        self.at += piece.len() as u64;
        Ok(piece.len())
    }
}

fn transactions(
    storage: &FileStorage,
    start: Option<Tid>,
) -> Result<Box<dyn TransactionCursor + '_>, ToolError> {
    Ok(Box::new(FileCursor { transactions: storage.iterate(start, None)?, records: None }))
}

struct FileCursor {
    transactions: Box<dyn TransactionIterator>,
    records: Option<Box<dyn RecordIterator>>,
}

impl TransactionCursor for FileCursor {
    fn next_transaction(&mut self) -> Result<Option<Header>, ToolError> {
        let Some(header) = self.transactions.next_transaction()? else { return Ok(None) };
        self.records = Some(self.transactions.records()?);
        let texts = [&header.user, &header.description, &header.extension];
        let text_bytes: usize = texts.iter().map(|text| text.len()).sum();
        Ok(Some(Header {
            tid: header.tid,
            status: header.status,
            user: header.user,
            description: header.description,
            extension: Extension::Pickled(header.extension),
            // With the fixed part of its header and its length at the end.
            bytes: text_bytes as u64 + 31,
        }))
    }

    fn next_record(&mut self) -> Result<Option<Record>, ToolError> {
        match &mut self.records {
            Some(records) => Ok(records.next_record()?),
            None => Ok(None),
        }
    }
}

/// A file to copy to.
pub(super) struct FileTarget {
    storage: FileStorage,
    open: Open,
    group: Vec<Finishing>,
    group_bytes: usize,
}

/// The transaction that is being copied.
#[derive(Default)]
struct Open {
    meta: TransactionMeta,
    records: Vec<Restored>,
    /// Bytes of its records in memory.
    bytes: usize,
    spool: Option<Spool>,
}

struct Restored {
    oid: Oid,
    tid: Tid,
    data: Option<RecordData>,
    data_txn: Option<Tid>,
    blob: Option<Arc<dyn Scratch>>,
}

/// The temporary file with the further records of a large transaction.
struct Spool {
    file: Arc<dyn Scratch>,
    end: u64,
}

impl FileTarget {
    pub(super) fn open(path: &Path, blob_dir: Option<PathBuf>) -> Result<Self, ToolError> {
        let options = FileOptions { blob_dir, ..FileOptions::default() };
        let storage = FileStorage::open_file(path, options)?;
        Ok(Self { storage, open: Open::default(), group: Vec::new(), group_bytes: 0 })
    }

    fn keep(&mut self, data: Bytes) -> Result<RecordData, ToolError> {
        if self.open.bytes + data.len() <= TRANSACTION_MEMORY_BYTES {
            self.open.bytes += data.len();
            return Ok(data.into());
        }
        let spool = match &mut self.open.spool {
            Some(spool) => spool,
            none => match self.storage.scratch()? {
                Some(file) => none.insert(Spool { file, end: 0 }),
                None => return Ok(data.into()),
            },
        };
        let (at, len) = (spool.end, data.len());
        spool.file.write(at, &[data])?;
        spool.end += len as u64;
        Ok(RecordData::Spooled { file: Arc::clone(&spool.file), at, len })
    }

    fn add(&mut self, record: Record, blob: Option<Arc<dyn Scratch>>) -> Result<(), ToolError> {
        let Record { oid, tid, data, data_txn } = record;
        let data = data.map(|data| self.keep(data)).transpose()?;
        self.open.records.push(Restored { oid, tid, data, data_txn, blob });
        Ok(())
    }
}

impl Database for FileTarget {
    fn name(&self) -> String {
        self.storage.path().display().to_string()
    }

    fn transactions(
        &self,
        start: Option<Tid>,
    ) -> Result<Box<dyn TransactionCursor + '_>, ToolError> {
        transactions(&self.storage, start)
    }

    fn has_blobs(&self) -> bool {
        self.storage.blobs().is_some()
    }

    fn size(&self) -> u64 {
        self.storage.info().size
    }
}

impl Target for FileTarget {
    fn last_tid(&mut self) -> Result<Tid, ToolError> {
        Ok(self.storage.last_tid())
    }

    fn wants_ascending_tids(&self) -> bool {
        !self.has_blobs()
    }

    fn begin(&mut self, header: &Header) -> Result<(), ToolError> {
        let Header { tid, status, user, description, extension, .. } = header.clone();
        let extension = match extension {
            Extension::Pickled(bytes) => bytes,
            Extension::Dict(dict) => pickled(&dict, tid)?,
        };
        let tid = Some(tid);
        let resolve_conflicts = false;
        let meta = TransactionMeta { user, description, extension, tid, status, resolve_conflicts };
        self.open = Open { meta, ..Open::default() };
        Ok(())
    }

    fn restore(&mut self, record: Record) -> Result<(), ToolError> {
        self.add(record, None)
    }

    fn restore_blob(
        &mut self,
        record: &Record,
        blob: &mut dyn Read,
    ) -> Result<Result<(), String>, ToolError> {
        let Some(blobs) = self.storage.blobs() else {
            return Ok(Err(format!("{} keeps no blobs", self.name())));
        };
        let upload = blobs.upload()?;
        write_all(&*upload, blob)?;
        self.add(record.clone(), Some(upload))?;
        Ok(Ok(()))
    }

    fn commit(&mut self) -> Result<(), ToolError> {
        let Open { meta, records, bytes, spool: _ } = std::mem::take(&mut self.open);
        let tid = meta.tid.unwrap_or(Tid::ZERO);
        let is_waiting = |tid: Tid| self.group.iter().any(|waiting| waiting.tid == tid);
        if records.iter().any(|record| record.data_txn.is_some_and(is_waiting)) {
            self.flush()?;
        }
        let mut vote = self.storage.begin_vote(&meta, Patience::Wait)?;
        for Restored { oid, tid, data, data_txn, blob } in records {
            match (data, blob) {
                (Some(data), Some(blob)) => vote.restore_blob(oid, tid, data, data_txn, &blob)?,
                (data, _) => vote.restore(oid, tid, data, data_txn)?,
            }
        }
        let voted = vote.seal()?;
        self.group.push(Finishing { tid, voted });
        self.group_bytes += bytes;
        if self.group_bytes >= GROUP_BYTES || self.group.len() >= GROUP_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ToolError> {
        self.group_bytes = 0;
        if !self.group.is_empty() {
            self.storage.commit(std::mem::take(&mut self.group))?;
        }
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<(), ToolError> {
        self.flush()?;
        Ok(self.storage.close()?)
    }
}

/// An extension as a FileStorage stores it: no bytes for an empty one.
fn pickled(extension: &Value, tid: Tid) -> Result<Bytes, ToolError> {
    match extension {
        Value::None => Ok(Bytes::new()),
        Value::Dict(items) if items.is_empty() => Ok(Bytes::new()),
        dict => pickle::dump(dict).map_err(|unwritable| {
            let text = format!("the extension of transaction {tid} cannot be stored: {unwritable}");
            ToolError::Refused(text)
        }),
    }
}

fn write_all(upload: &dyn Scratch, blob: &mut dyn Read) -> Result<(), ToolError> {
    let mut at = 0;
    loop {
        let mut piece = BytesMut::zeroed(PIECE_BYTES);
        let len = blob.read(&mut piece).map_err(ToolError::Blob)?;
        if len == 0 {
            return Ok(());
        }
        piece.truncate(len);
        upload.write(at, &[piece.freeze()])?;
        at += len as u64;
    }
}
