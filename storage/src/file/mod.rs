//! FileStorage: a database in one append-only file, as Python's ZODB writes it.
//!
//! ```text
//!   PATH         the log: transactions one after the other (`format`)
//!   PATH.index   where each object's current record is, as of the last close (`index_file`)
//!   PATH.lock    held by the process that may write
//!   PATH.old     the log before the last pack
//!   PATH.spool   records of a big transaction before its vote; has its name for an instant
//!   PATH.trN     an interrupted write, cut off the end when the log was opened
//! ```
//!
//! `recover` opens the database: it reads the index file, scans the transactions that were
//! committed since, and decides what to do with an invalid end. From then on the index is in
//! memory, and all threads share a `VisibleState` behind a read-write lock. A reader holds that
//! lock only while it looks up a position and copies a handle on the file; then it reads without
//! any lock, because committed bytes never change. The writer appends past the visible end, and
//! takes the lock to make a commit visible after it is durable. A pack writes a new file and swaps
//! the whole state; readers of the old file keep it open.

mod commit;
mod disk_space;
pub(crate) mod format;
pub(crate) mod history;
pub mod index;
pub(crate) mod index_file;
mod iterate;
pub(crate) mod log;
mod options;
mod pack;
mod read;
pub(crate) mod recover;
mod restore;
pub(crate) mod scan;
mod scratch;
mod state;
mod storage;
mod undo;
mod vote;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rzeo_core::storage::{
    BlobStore, Committed, CurrentRecord, Description, Finishing, HistoryEntry, HistoryShape, Info,
    Load, PackProgress, Patience, PreparedPack, Scratch, Storage, StorageError, TransactionHeader,
    TransactionIterator, TransactionMeta, Vote,
};
use rzeo_core::{Oid, Tid, UnixTime};

pub use self::options::FileOptions;
pub use self::recover::{Cut, IndexUse, Opening};
pub use self::storage::FileStorage;
use self::vote::FileVote;

/// What Python's FileStorage provides, in the order of its class.
const INTERFACES: [(&str, &str); 9] = [
    ("ZODB.interfaces", "IBlobStorageRestoreable"),
    ("ZODB.interfaces", "IBlobStorage"),
    ("ZODB.interfaces", "IStorageRestoreable"),
    ("ZODB.interfaces", "IStorageIteration"),
    ("ZODB.interfaces", "IStorageUndoable"),
    ("ZODB.interfaces", "IStorageCurrentRecordIteration"),
    ("ZODB.interfaces", "IExternalGC"),
    ("ZODB.interfaces", "IStorage"),
    ("zope.interface", "Interface"),
];
/// Number of these, at the end, that only storages with blobs provide.
const BLOB_INTERFACES: usize = 2;

impl Storage for FileStorage {
    fn description(&self) -> Description {
        let skipped = if self.blobs.is_some() { 0 } else { BLOB_INTERFACES };
        Description {
            name: self.path.display().to_string(),
            read_only: self.options.read_only,
            supports_undo: true,
            supports_record_iternext: true,
            interfaces: INTERFACES[skipped..].to_vec(),
            history: HistoryShape::FileStorage,
            is_proxy: false,
        }
    }

    fn info(&self) -> Info {
        let state = self.state.read();
        Info { length: state.index.len(), size: state.log.end }
    }

    fn last_tid(&self) -> Tid {
        self.state.read().last_tid
    }

    fn recent(&self, count: usize) -> Result<Option<Vec<(Tid, Vec<Oid>)>>, StorageError> {
        history::recent(&self.log(), count).map(Some)
    }

    fn load_before(&self, oid: Oid, before: Tid, patience: Patience) -> Result<Load, StorageError> {
        read::load_before(&self.state, oid, before, patience)
    }

    fn load_serial(
        &self,
        oid: Oid,
        serial: Tid,
        patience: Patience,
    ) -> Result<Bytes, StorageError> {
        read::load_serial(&self.state, oid, serial, patience)
    }

    fn current_serial(&self, oid: Oid, patience: Patience) -> Result<Tid, StorageError> {
        read::current_serial(&self.state, oid, patience)
    }

    fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, StorageError> {
        history::history(self, oid, size)
    }

    fn next_record(&self, from: Oid) -> Result<CurrentRecord, StorageError> {
        read::next_record(&self.state, from)
    }

    fn new_oids(&self, count: usize, _: Patience) -> Result<Vec<Oid>, StorageError> {
        self.check_writable()?;
        let count = count as u64;
        let last = self
            .last_oid
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| last.checked_add(count))
            .map_err(|_| StorageError::Broken("all oids are used".to_owned()))?;
        Ok((1..=count).map(|n| Oid(last + n)).collect())
    }

    fn undo_log(
        &self,
        visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        if self.pack_flag.is_set() {
            return Err(StorageError::Undo {
                reason: "Undo is currently disabled for database maintenance.<p>".to_owned(),
                oid: None,
            });
        }
        history::undo_log(&self.log(), visit)
    }

    fn iterate(
        &self,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Box<dyn TransactionIterator>, StorageError> {
        Ok(Box::new(iterate::FileTransactions::new(self.log(), start, stop)?))
    }

    fn begin_vote<'a>(
        &'a self,
        meta: &TransactionMeta,
        patience: Patience,
    ) -> Result<Box<dyn Vote + 'a>, StorageError> {
        self.check_writable()?;
        Ok(Box::new(FileVote::new(self, meta, patience)?))
    }

    fn commit(&self, group: Vec<Finishing>) -> Result<Vec<Committed>, StorageError> {
        self.check_writable()?;
        commit::commit(self, group)
    }

    fn pack(&self, time: UnixTime) -> Result<Option<Box<dyn PreparedPack>>, StorageError> {
        self.check_writable()?;
        pack::pack(self, Tid::from_unix(time))
    }

    fn blobs(&self) -> Option<&dyn BlobStore> {
        self.blobs.as_ref().map(|blobs| blobs as _)
    }

    fn scratch(&self) -> Result<Option<Arc<dyn Scratch>>, StorageError> {
        self.check_writable()?;
        self.spools.create(&*self.disk, &self.path).map(Some)
    }

    fn clean_up_due(&self) -> bool {
        self.clean_up.lock().is_some()
    }

    fn clean_up(&self) -> Result<(), StorageError> {
        pack::clean_up(self)
    }

    fn pack_progress(&self) -> Option<PackProgress> {
        self.pack_flag.progress()
    }

    fn broken(&self) -> Option<String> {
        // While an append is in progress, the storage is not broken.
        self.append.try_lock().and_then(|append| append.broken.clone())
    }

    fn close(&self) -> Result<(), StorageError> {
        let mut append = self.append.lock();
        let saved = if self.options.read_only || append.broken.is_some() {
            Ok(())
        } else {
            let state = self.state.read();
            self.disk_space.release(&state.log);
            index_file::save(&*self.disk, &self.path, state.log.end, &state.index)
        };
        if let Some(blobs) = &self.blobs {
            blobs.close();
        }
        // A pack that is still running must not replace a file that another process has opened by
        // then.
        append.broken.get_or_insert_with(|| "the storage is closed".to_owned());
        // Releasing the lock lets another process open the file.
        drop(self.lock.lock().take());
        saved
    }
}
