//! What a server needs of a storage.
//!
//! A storage is shared by all connections and called from many threads; every method takes `&self`.
//! Reading goes straight to it. Writing is in two steps that mirror two-phase commit:
//!
//! 1. [`Storage::begin_vote`] gives a [`Vote`] that checks a transaction's operations one by one
//!    against the committed state and reserves room on the disk. The caller holds locks on all
//!    objects concerned (see `server::locks`), so what was checked stays true. The sealed result is a
//!    [`Voted`], opaque to everybody but the storage.
//! 2. [`Storage::commit`] takes a group of voted transactions with their tids, in tid order, and
//!    returns when all are durable *and* visible to loads. It is called by one thread at a time.
//!
//! Dropping a [`Vote`] or a [`Voted`] aborts it.
//!
//! A storage may be the client of another server, which others use too: a proxy
//! ([`Description::is_proxy`]). That server gives the tids and checks the transactions, so a proxy checks
//! nothing operation by operation, but everything in [`Vote::settle`]. What others commit comes as
//! [`News`].
//!
//! No method waits for the disk when asked with [`Patience::Now`]: it answers
//! [`StorageError::WouldBlock`] and has no effect, and the caller asks again from a thread that may
//! wait. Methods without a `patience` argument never touch the disk, unless their documentation says
//! that they always may.

mod error;
mod files;
mod layer;
mod news;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::ops::ControlFlow;

use bytes::Bytes;

pub use self::error::{ForeignRefusal, StorageError};
pub use self::files::{BlobFile, BlobStore, RecordData, Scratch};
pub use self::layer::StorageLayer;
pub use self::news::{Listener, News};
use crate::ids::{Oid, Tid};
use crate::time::UnixTime;

/// Whether the caller's thread may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Answer from memory and page cache, or [`StorageError::WouldBlock`].
    Now,
    /// Take as long as it takes.
    Wait,
}

/// What a storage is, fixed for its life.
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
    /// Which keys an entry of `history` has that the storage itself keeps.
    pub history: HistoryShape,
    /// Whether the data are another server's. That one gives the tids, has one transaction at a time
    /// from each of its clients, and takes commits from others, of which [`Storage::listen`] tells. A
    /// proxy is served as it is: no other storage can be put over it.
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
    Gone {
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
    /// The commit.
    pub tid: Tid,
    /// Which keys the entry has: a storage over another one passes on what that one says.
    pub shape: HistoryShape,
    /// Who and why.
    pub user: Bytes,
    /// Who and why.
    pub description: Bytes,
    /// The pickled extension, empty for none.
    pub extension: Bytes,
    /// Length of the record, 0 for back pointers and deletions.
    pub size: u64,
}

/// One transaction, as `iterator` and `undoLog` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHeader {
    /// The commit.
    pub tid: Tid,
    /// `b' '` for a plain commit, `b'p'` for one that a pack rewrote.
    pub status: u8,
    /// Who.
    pub user: Bytes,
    /// Why.
    pub description: Bytes,
    /// The pickled extension, empty for none.
    pub extension: Bytes,
    /// For undoLog: length of the transaction in bytes (`tlen`). 0 where a storage has no such thing.
    pub size: u64,
}

/// One record of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The object.
    pub oid: Oid,
    /// The record's tid (the transaction's, except in files with corrected tids).
    pub tid: Tid,
    /// `None` for a deletion or an undone creation.
    pub data: Option<Bytes>,
    /// The transaction whose record this one points back to, if it does.
    pub data_txn: Option<Tid>,
}

/// `record_iternext`: one current record and the oid to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentRecord {
    /// The object.
    pub oid: Oid,
    /// Its current serial.
    pub serial: Tid,
    /// Its record.
    pub data: Bytes,
    /// The next greater oid, if there is one.
    pub next: Option<Oid>,
}

/// A snapshot walk over transactions in file order. Outlives packs: it keeps what it reads open.
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

/// What a transaction says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TransactionMeta {
    /// Who.
    pub user: Bytes,
    /// Why.
    pub description: Bytes,
    /// A pickled dict, or empty.
    pub extension: Bytes,
    /// Given only when transactions are copied: the tid to commit under.
    pub tid: Option<Tid>,
    /// `b' '`, or what the copied transaction had.
    pub status: u8,
    /// Whether conflicts may be resolved here (`false` under `client-conflict-resolution`).
    pub resolve_conflicts: bool,
}

/// A transaction being checked. Operations come in the order in which the client sent them.
/// After an error other than [`StorageError::Conflict`] the vote must be dropped.
pub trait Vote {
    /// Writes a record. `serial` is the revision the client read; ignored for an unknown oid.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] (the vote stays usable), `WouldBlock`, `Quota`, `EmptyRecord`.
    fn store(&mut self, oid: Oid, serial: Tid, data: RecordData) -> Result<(), StorageError>;

    /// Writes a record with its blob, a file that this storage's [`BlobStore`] gave. The file stays
    /// where it is until the commit, so the same one can be voted again.
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

    /// Refuses unless `serial` is current.
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
    /// As for these two; sealing refuses a revision that has a blob already with `BlobExists`.
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

    /// Undoes a transaction; returns the oids it touched, in file order.
    ///
    /// # Errors
    /// `Undo`, `UndoFailures`, `WouldBlock`.
    fn undo(&mut self, tid: Tid) -> Result<Vec<Oid>, StorageError>;

    /// Checks what could not be checked operation by operation, because another server does that.
    /// Returns the objects whose records are not what was stored: merged there, or undone. Called
    /// once, after the last operation and before [`Vote::seal`]. Always may wait; a storage that has to
    /// says so when the vote begins.
    ///
    /// # Errors
    /// Those of all operations. The vote must be dropped.
    fn settle(&mut self) -> Result<Vec<Oid>, StorageError> {
        Ok(Vec::new())
    }

    /// Reserves room on the disk. After this, `commit` fails only if the hardware does.
    ///
    /// # Errors
    /// `Disk` (no space), `WouldBlock`.
    fn seal(self: Box<Self>) -> Result<Voted, StorageError>;
}

/// A voted transaction. Only the storage that made it knows what is inside.
pub struct Voted(pub Box<dyn Any + Send>);

impl core::fmt::Debug for Voted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Voted")
    }
}

/// A voted transaction that got its tid.
#[derive(Debug)]
pub struct Finishing {
    /// The tid to commit under, greater than all before it (unless copied with a tid of its own). A
    /// proxy does not look at it.
    pub tid: Tid,
    /// What `seal` returned.
    pub voted: Voted,
}

/// A transaction that is durable and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its tid: the one that was given, or for a proxy, that of the server.
    pub tid: Tid,
    /// The figures after it.
    pub info: Info,
}

/// A pack that has done all it can without stopping writers.
pub trait PreparedPack: Send {
    /// Copies what was committed meanwhile and switches to the packed file. The caller keeps all
    /// writers out meanwhile. Always may wait for the disk.
    ///
    /// # Errors
    /// `Disk`, `Corrupt`; the storage is then what it was before.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// How far a pack has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackProgress {
    /// What it does now.
    pub step: PackStep,
    /// How much of this step is done, from 0 to 1. Commits that come meanwhile make a step longer.
    pub done: f64,
}

/// What a pack does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackStep {
    /// Finding each object's revision as of the pack time.
    Survey,
    /// Finding what can be reached.
    Mark,
    /// Copying what stays.
    Copy,
    /// Waiting until nobody writes, and switching.
    Switch,
}

/// A database. See the module's introduction for the rules.
pub trait Storage: Send + Sync {
    /// What this storage is.
    fn description(&self) -> Description;

    /// Number of objects and bytes as of the last visible commit.
    fn info(&self) -> Info;

    /// The last visible commit, [`Tid::ZERO`] when empty.
    fn last_tid(&self) -> Tid;

    /// The newest `count` transactions, oldest first, with the oids of their records (deletions
    /// included). `None` from storages that keep no such order. Always may wait for the disk.
    ///
    /// # Errors
    /// `Disk`, `Corrupt`.
    #[expect(clippy::type_complexity, reason = "the pairs are the invalidation queue's entries")]
    fn recent(&self, count: usize) -> Result<Option<Vec<(Tid, Vec<Oid>)>>, StorageError>;

    /// The newest revision of `oid` with a serial less than `before`.
    ///
    /// # Errors
    /// `NoSuchObject` for an oid that never was, `WouldBlock`, `Disk`, `Corrupt`.
    fn load_before(&self, oid: Oid, before: Tid, patience: Patience) -> Result<Load, StorageError>;

    /// The record of exactly that revision.
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

    /// At most `size` revisions, newest first. Always may wait for the disk.
    ///
    /// # Errors
    /// `NoSuchObject`, `Disk`, `Corrupt`.
    fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, StorageError>;

    /// The current record of the smallest oid at or after `from`. Always may wait for the disk.
    ///
    /// # Errors
    /// `NoMoreRecords`, `NoSuchObject` for a deleted one, `Unsupported`.
    fn next_record(&self, from: Oid) -> Result<CurrentRecord, StorageError>;

    /// `count` oids never handed out before, ascending.
    ///
    /// # Errors
    /// `ReadOnly`, `WouldBlock`.
    fn new_oids(&self, count: usize, patience: Patience) -> Result<Vec<Oid>, StorageError>;

    /// Shows undoable transactions to `visit`, newest first, until it breaks or a packed one is met.
    /// Always may wait for the disk.
    ///
    /// # Errors
    /// `Undo` while packing, `Disk`, `Corrupt`.
    fn undo_log(
        &self,
        visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// Walks the transactions with `start <= tid <= stop` that exist now. Always may wait for the
    /// disk.
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

    /// Makes a group durable, then visible, and tells the figures after each. On an error none of the
    /// group is visible and none will ever be. Always waits for the disk.
    ///
    /// A proxy is given one transaction at a time, and has told of all commits before it when this
    /// returns. If it lost its server it may not know whether the transaction is committed; if it is,
    /// that comes as [`News`].
    ///
    /// # Errors
    /// `Disk`. If the file could not be brought back to its state before, the storage refuses
    /// further commits with `Broken`. For a proxy `Unreachable` and `Uncertain`.
    fn commit(&self, group: Vec<Finishing>) -> Result<Vec<Committed>, StorageError>;

    /// From now on tells of commits that others made, all that are after `since`. Called once, by
    /// whoever serves the storage; nobody but a proxy has anything to tell.
    fn listen(&self, since: Tid, listener: Listener) {
        let _ = (since, listener);
    }

    /// Removes what is not reachable as of `time`, up to the point where writers have to be kept
    /// out. `None` if there is nothing to do. Commits go on meanwhile. Always waits for the disk.
    ///
    /// # Errors
    /// `ReadOnly`, `AlreadyPacking`, `Unsupported`, `Pack`, `Disk`, `Corrupt`.
    fn pack(&self, time: UnixTime) -> Result<Option<Box<dyn PreparedPack>>, StorageError>;

    /// Its blobs, if it keeps any.
    fn blobs(&self) -> Option<&dyn BlobStore> {
        None
    }

    /// An empty temporary file for the records of one big transaction, or nothing from a storage that
    /// keeps its records in memory anyway. Always may wait.
    ///
    /// # Errors
    /// `Disk`.
    fn scratch(&self) -> Result<Option<Arc<dyn Scratch>>, StorageError> {
        Ok(None)
    }

    /// Whether a pack that has switched left something to be done that does not hinder writers.
    fn clean_up_due(&self) -> bool {
        false
    }

    /// Does what a pack has left to be done: removes files that nobody needs any more. What it does
    /// not get done is done at the next opening. Always may wait for the disk.
    ///
    /// # Errors
    /// `Disk`, `Corrupt`; the pack is done all the same.
    fn clean_up(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// How far the pack has come that is running, if there is one that can tell.
    fn pack_progress(&self) -> Option<PackProgress> {
        None
    }

    /// Why every commit is refused until the storage is opened anew, if that is so.
    fn broken(&self) -> Option<String> {
        None
    }

    /// Writes what makes the next start fast and lets go of the files. Nothing may be called after.
    ///
    /// # Errors
    /// `Disk`; the data are safe all the same.
    fn close(&self) -> Result<(), StorageError>;
}
