//! The interface between a server and its storages.
//!
//! A storage is shared by all connections and called from many threads; every method takes `&self`.
//! Reads are direct calls. Writes have two steps, as in two-phase commit:
//!
//! 1. [`Storage::begin_vote`] gives a [`Vote`] that checks a transaction's operations one by one
//!    against the committed state and reserves room on the disk. The caller holds locks on all
//!    objects concerned (see `server::locks`), so the checks stay valid. The sealed result is a
//!    [`Voted`], which only the storage can read.
//! 2. [`Storage::commit`] takes a group of voted transactions with their tids, in tid order, and
//!    returns when all of them are durable *and* visible to loads. One thread at a time calls it.
//!
//! Dropping a [`Vote`] or a [`Voted`] aborts it.
//!
//! A storage can be a proxy ([`Description::is_proxy`]): the client of another server, which has
//! other clients too. That server assigns the tids and checks the transactions, so a proxy checks
//! no single operations, but the whole transaction in [`Vote::check_remotely`]. Commits of other
//! clients arrive as [`StorageEvent`]s.
//!
//! No method waits for the disk when called with [`Patience::Now`]: it returns
//! [`StorageError::WouldBlock`] and has no effect, and the caller repeats the call on a thread that
//! may wait. Methods without a `patience` argument never access the disk, unless their
//! documentation says that they may always wait.

mod error;
mod event;
mod files;
mod layer;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::ops::ControlFlow;

use bytes::Bytes;

pub use self::error::{ForeignRefusal, StorageError};
pub use self::event::{StorageEvent, Subscriber};
pub use self::files::{BlobFile, BlobStore, RecordData, Scratch};
pub use self::layer::StorageLayer;
use crate::ids::{Oid, Tid};
use crate::time::UnixTime;

/// Whether the caller's thread may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Do not wait: answer from memory and page cache, or return [`StorageError::WouldBlock`].
    Now,
    /// Wait for the disk if necessary.
    Wait,
}

/// The fixed properties of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `getName`: for a FileStorage its path as configured.
    pub name: String,
    /// Whether commits are refused.
    pub read_only: bool,
    /// Whether `undo` works.
    pub supports_undo: bool,
    /// Whether `record_iternext` works.
    pub supports_record_iternext: bool,
    /// `(module, name)` of the Python interfaces that a client may claim, in the order that
    /// Python's storage lists them.
    pub interfaces: Vec<(&'static str, &'static str)>,
    /// The keys that an entry of `history` has, for the storage that keeps the data.
    pub history: HistoryShape,
    /// Whether the storage is the client of another server. That server assigns the tids, handles
    /// one transaction at a time from each of its clients, and accepts commits of other clients,
    /// which [`Storage::subscribe`] reports. A proxy must be served directly: no other storage can
    /// be a layer over it.
    pub is_proxy: bool,
}

/// The keys of a `history` entry differ between Python's storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryShape {
    /// The extension's items, then `time user_name description tid size` over them.
    FileStorage,
    /// `time tid serial user_name description extension size`.
    MappingStorage,
}

/// The two figures of an `info` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Info {
    /// Number of objects, deleted ones included until packed.
    pub length: u64,
    /// Bytes of the file up to the last commit.
    pub size: u64,
}

/// The answer to a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// The newest revision before the bound.
    Found(Revision),
    /// The object exists, but all its revisions are at or after the bound; `first` is the oldest.
    Younger {
        /// Serial of the oldest revision.
        first: Tid,
    },
    /// The revision found is a deletion or an undone creation, written by `serial` and current
    /// until `end`.
    Deleted {
        /// Serial of the deletion.
        serial: Tid,
        /// The commit that replaced it.
        end: Option<Tid>,
    },
}

/// An object's state between two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The record: two pickles, class and state.
    pub data: Bytes,
    /// The commit that wrote it.
    pub serial: Tid,
    /// The commit that replaced it; `None` while it is current.
    pub end: Option<Tid>,
}

/// One entry of an object's `history`, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Tid of the transaction.
    pub tid: Tid,
    /// The keys that the entry has: a storage over another one passes on the shape of the entries
    /// below.
    pub shape: HistoryShape,
    /// The user who committed, as bytes that the client chose.
    pub user: Bytes,
    /// The description that the client gave, usually the URL of a request.
    pub description: Bytes,
    /// The pickled extension, empty for none.
    pub extension: Bytes,
    /// Length of the record, 0 for back pointers and deletions.
    pub size: u64,
}

/// One transaction, as `iterator` and `undoLog` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHeader {
    /// Tid of the transaction.
    pub tid: Tid,
    /// `b' '` for a plain commit, `b'p'` for one that a pack rewrote.
    pub status: u8,
    /// The user who committed, as bytes that the client chose.
    pub user: Bytes,
    /// The description that the client gave, usually the URL of a request.
    pub description: Bytes,
    /// The pickled extension, empty for none.
    pub extension: Bytes,
    /// For undoLog: length of the transaction in bytes (`tlen`). 0 from storages without such a
    /// length.
    pub size: u64,
}

/// One record of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Oid of the object.
    pub oid: Oid,
    /// The record's tid (the transaction's, except in files with corrected tids).
    pub tid: Tid,
    /// `None` for a deletion or an undone creation.
    pub data: Option<Bytes>,
    /// The transaction whose record this one points back to, if it has a back pointer.
    pub data_txn: Option<Tid>,
}

/// `record_iternext`: one current record and the oid to continue with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentRecord {
    /// Oid of the object.
    pub oid: Oid,
    /// Its current serial.
    pub serial: Tid,
    /// The current record.
    pub data: Bytes,
    /// The next greater oid, if there is one.
    pub next: Option<Oid>,
}

/// Iterates over a snapshot of the transactions, in file order. Packs do not affect it: it keeps
/// the file open that it reads.
pub trait TransactionIterator: Send {
    /// The next transaction, or `None` at the end. May wait for the disk.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`], [`StorageError::Disk`].
    fn next_transaction(&mut self) -> Result<Option<TransactionHeader>, StorageError>;

    /// The records of the transaction last returned by `next_transaction`.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`], [`StorageError::Disk`].
    fn records(&self) -> Result<Box<dyn RecordIterator>, StorageError>;
}

/// The records of one transaction, in file order.
pub trait RecordIterator: Send {
    /// The next record, or `None` at the end. May wait for the disk.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`], [`StorageError::Disk`].
    fn next_record(&mut self) -> Result<Option<Record>, StorageError>;
}

/// The metadata of a transaction that is to be voted.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TransactionMeta {
    /// The user who committed, as bytes that the client chose.
    pub user: Bytes,
    /// The description that the client gave, usually the URL of a request.
    pub description: Bytes,
    /// A pickled dict, or empty.
    pub extension: Bytes,
    /// Given only when transactions are copied: the tid to commit under.
    pub tid: Option<Tid>,
    /// `b' '`, or the status of the copied transaction.
    pub status: u8,
    /// Whether the server may resolve conflicts (`false` under `client-conflict-resolution`).
    pub resolve_conflicts: bool,
}

/// A transaction whose operations are being checked, in the order in which the client sent them.
/// After an error other than [`StorageError::Conflict`] the vote must be dropped.
pub trait Vote {
    /// Writes a record. `serial` is the revision the client read; ignored for an unknown oid.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] (the vote stays usable), `WouldBlock`, `Quota`, `EmptyRecord`.
    fn store(&mut self, oid: Oid, serial: Tid, data: RecordData) -> Result<(), StorageError>;

    /// Writes a record with its blob, a file that this storage's [`BlobStore`] created. The file
    /// does not move until the commit, so it can be voted again.
    ///
    /// # Errors
    /// As for [`Vote::store`], and `Unsupported` from storages without blobs.
    fn store_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: RecordData,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        let _ = (oid, serial, data, blob);
        Err(StorageError::Unsupported("blobs"))
    }

    /// Writes a deletion.
    ///
    /// # Errors
    /// `NoSuchObject`, `Conflict`, `WouldBlock`, `Quota`.
    fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), StorageError>;

    /// Checks that `serial` is the current revision.
    ///
    /// # Errors
    /// `ReadConflict`, `NoSuchObject`, `WouldBlock`.
    fn check_current(&mut self, oid: Oid, serial: Tid) -> Result<(), StorageError>;

    /// Writes a record under its original tid, without conflict checks. `prev_txn` hints at a
    /// transaction with the same data.
    ///
    /// # Errors
    /// `Undo` when `prev_txn` is unknown, `WouldBlock`.
    fn restore(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: Option<RecordData>,
        prev_txn: Option<Tid>,
    ) -> Result<(), StorageError>;

    /// Writes a record and its blob, as [`Vote::restore`] and [`Vote::store_blob`]; both get this tid.
    ///
    /// # Errors
    /// As for these two; `seal` refuses a revision that already has a blob with `BlobExists`.
    fn restore_blob(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: RecordData,
        prev_txn: Option<Tid>,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        let _ = (oid, tid, data, prev_txn, blob);
        Err(StorageError::Unsupported("restoreBlob"))
    }

    /// Undoes a transaction; returns the oids of its records, in file order.
    ///
    /// # Errors
    /// `Undo`, `UndoFailures`, `WouldBlock`.
    fn undo(&mut self, tid: Tid) -> Result<Vec<Oid>, StorageError>;

    /// Lets the server behind a proxy check the transaction. Returns the objects whose records
    /// differ from those stored, because that server resolved a conflict or undid a change. Called
    /// once, after the last operation and before [`Vote::seal`]. May always wait; a storage that
    /// has to wait refuses to begin the vote with [`Patience::Now`].
    ///
    /// # Errors
    /// Those of all operations; after an error the vote must be dropped.
    fn check_remotely(&mut self) -> Result<Vec<Oid>, StorageError> {
        Ok(Vec::new())
    }

    /// Reserves disk space. After this, `commit` fails only if the disk fails.
    ///
    /// # Errors
    /// `Disk` (no space), `WouldBlock`.
    fn seal(self: Box<Self>) -> Result<Voted, StorageError>;
}

/// A voted transaction. Only the storage that created it can read its content.
pub struct Voted(pub Box<dyn Any + Send>);

impl core::fmt::Debug for Voted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Voted")
    }
}

/// A voted transaction with its tid.
#[derive(Debug)]
pub struct Finishing {
    /// The tid to commit under, greater than all before it (unless the transaction is copied with
    /// its tid). A proxy ignores it.
    pub tid: Tid,
    /// The result of [`Vote::seal`].
    pub voted: Voted,
}

/// A transaction that is durable and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its tid: the given one, or for a proxy, that of the server behind it.
    pub tid: Tid,
    /// Number of objects and bytes after the transaction.
    pub info: Info,
}

/// A pack that has done everything that can run beside writers.
pub trait PreparedPack: Send {
    /// Copies the transactions committed meanwhile and switches to the packed file. The caller
    /// holds back all writers during the call. May always wait for the disk.
    ///
    /// # Errors
    /// `Disk`, `Corrupt`; the storage then stays as it was before.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// The progress of a pack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackProgress {
    /// The current step.
    pub step: PackStep,
    /// How much of this step is done, from 0 to 1. Commits during the pack make a step longer.
    pub done: f64,
}

/// The steps of a pack, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackStep {
    /// Finding each object's revision as of the pack time.
    Survey,
    /// Finding the reachable objects.
    Mark,
    /// Copying the records that stay.
    Copy,
    /// Waiting for the writers, and switching to the new file.
    Switch,
}

/// A database. See the documentation of the module for the rules.
pub trait Storage: Send + Sync {
    /// The fixed properties of the storage.
    fn description(&self) -> Description;

    /// Number of objects and bytes as of the last visible commit.
    fn info(&self) -> Info;

    /// The last visible commit, [`Tid::ZERO`] when empty.
    fn last_tid(&self) -> Tid;

    /// The newest `count` transactions, oldest first, with the oids of their records (deletions
    /// included). `None` from storages that do not keep that order. May always wait for the disk.
    ///
    /// # Errors
    /// `Disk`, `Corrupt`.
    #[expect(clippy::type_complexity, reason = "the pairs are the invalidation queue's entries")]
    fn recent(&self, count: usize) -> Result<Option<Vec<(Tid, Vec<Oid>)>>, StorageError>;

    /// The newest revision of `oid` with a serial less than `before`.
    ///
    /// # Errors
    /// `NoSuchObject` for an oid that never existed, `WouldBlock`, `Disk`, `Corrupt`.
    fn load_before(&self, oid: Oid, before: Tid, patience: Patience) -> Result<Load, StorageError>;

    /// The record of exactly this revision.
    ///
    /// # Errors
    /// `NoSuchObject` or `NoSuchRevision`, `WouldBlock`, `Disk`, `Corrupt`.
    fn load_serial(&self, oid: Oid, serial: Tid, patience: Patience)
    -> Result<Bytes, StorageError>;

    /// `getTid`: the serial of the current record.
    ///
    /// # Errors
    /// `NoSuchObject` (also for a deleted one), `WouldBlock`, `Disk`, `Corrupt`.
    fn current_serial(&self, oid: Oid, patience: Patience) -> Result<Tid, StorageError>;

    /// At most `size` revisions, newest first. May always wait for the disk.
    ///
    /// # Errors
    /// `NoSuchObject`, `Disk`, `Corrupt`.
    fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, StorageError>;

    /// The current record of the smallest oid at or after `from`. May always wait for the disk.
    ///
    /// # Errors
    /// `NoMoreRecords`, `NoSuchObject` for a deleted one, `Unsupported`.
    fn next_record(&self, from: Oid) -> Result<CurrentRecord, StorageError>;

    /// Allocates `count` new oids, in ascending order.
    ///
    /// # Errors
    /// `ReadOnly`, `WouldBlock`.
    fn new_oids(&self, count: usize, patience: Patience) -> Result<Vec<Oid>, StorageError>;

    /// Passes undoable transactions to `visit`, newest first, until it breaks or a packed
    /// transaction is next. May always wait for the disk.
    ///
    /// # Errors
    /// `Undo` while packing, `Disk`, `Corrupt`.
    fn undo_log(
        &self,
        visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// Iterates over the transactions with `start <= tid <= stop` that exist now. May always wait
    /// for the disk.
    ///
    /// # Errors
    /// `Disk`, `Corrupt`.
    fn iterate(
        &self,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Box<dyn TransactionIterator>, StorageError>;

    /// Starts checking a transaction.
    ///
    /// # Errors
    /// `ReadOnly`, `MetadataTooLong`.
    fn begin_vote<'a>(
        &'a self,
        meta: &TransactionMeta,
        patience: Patience,
    ) -> Result<Box<dyn Vote + 'a>, StorageError>;

    /// Makes a group durable, then visible, and returns the figures after each transaction. On an
    /// error no transaction of the group is visible, now or later. Always waits for the disk.
    ///
    /// A proxy gets one transaction at a time, and has reported all commits before it when this
    /// returns. If it lost the connection to its server, the outcome may be unknown; if the
    /// transaction is committed, the proxy reports it as a [`StorageEvent`].
    ///
    /// # Errors
    /// `Disk`. If the file cannot be rolled back to its previous state, the storage refuses further
    /// commits with `Broken`. For a proxy `Unreachable` and `Uncertain`.
    fn commit(&self, group: Vec<Finishing>) -> Result<Vec<Committed>, StorageError>;

    /// From now on reports the commits of other clients of the server behind a proxy, all that are
    /// after `since`. The server calls it once; other storages than proxies report nothing.
    fn subscribe(&self, since: Tid, subscriber: Subscriber) {
        let _ = (since, subscriber);
    }

    /// Packs to `time`, up to the point where writers must be held back. `None` if there is nothing
    /// to remove. Commits continue meanwhile. Always waits for the disk.
    ///
    /// # Errors
    /// `ReadOnly`, `AlreadyPacking`, `Unsupported`, `Pack`, `Disk`, `Corrupt`.
    fn pack(&self, time: UnixTime) -> Result<Option<Box<dyn PreparedPack>>, StorageError>;

    /// The blobs of the storage, if it supports them.
    fn blobs(&self) -> Option<&dyn BlobStore> {
        None
    }

    /// Creates an empty temporary file for the records of one big transaction; `None` from a
    /// storage that keeps all records in memory. May always wait.
    ///
    /// # Errors
    /// `Disk`.
    fn scratch(&self) -> Result<Option<Arc<dyn Scratch>>, StorageError> {
        Ok(None)
    }

    /// Whether a finished pack left work for [`Storage::clean_up`].
    fn clean_up_due(&self) -> bool {
        false
    }

    /// Removes the files that a finished pack no longer needs, beside writers. The next opening
    /// does what remains. May always wait for the disk.
    ///
    /// # Errors
    /// `Disk`, `Corrupt`; the pack itself is done.
    fn clean_up(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// The progress of a running pack, if the storage measures it.
    fn pack_progress(&self) -> Option<PackProgress> {
        None
    }

    /// Why the storage refuses all commits until it is opened again, if it does.
    fn broken(&self) -> Option<String> {
        None
    }

    /// Saves the index, which makes the next start fast, and closes the files. No other method may
    /// be called afterwards.
    ///
    /// # Errors
    /// `Disk`; the committed data are safe.
    fn close(&self) -> Result<(), StorageError>;
}
