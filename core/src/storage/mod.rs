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

mod description;
mod error;
mod event;
mod files;
mod layer;
mod pack;
mod patience;
mod revision;
mod transaction;
mod vote;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

pub use self::description::{Description, HistoryShape, Info};
pub use self::error::{ForeignRefusal, StorageError};
pub use self::event::{StorageEvent, Subscriber};
pub use self::files::{BlobFile, BlobStore, RecordData, Scratch};
pub use self::layer::StorageLayer;
pub use self::pack::{PackProgress, PackStep, PreparedPack};
pub use self::patience::Patience;
pub use self::revision::{CurrentRecord, HistoryEntry, Load, Revision};
pub use self::transaction::{
    Record, RecordIterator, TransactionHeader, TransactionIterator, TransactionMeta,
};
pub use self::vote::{Committed, Finishing, Vote, Voted};
use crate::ids::{Oid, Tid};
use crate::time::UnixTime;

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
