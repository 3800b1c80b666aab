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

mod description;
mod error;
mod files;
mod layer;
mod news;
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
pub use self::files::{BlobFile, BlobStore, RecordData, Scratch};
pub use self::layer::StorageLayer;
pub use self::news::{Listener, News};
pub use self::pack::{PackProgress, PackStep, PreparedPack};
pub use self::patience::Patience;
pub use self::revision::{CurrentRecord, HistoryEntry, Load, Revision};
pub use self::transaction::{
    Record, RecordIterator, TransactionHeader, TransactionIterator, TransactionMeta,
};
pub use self::vote::{Committed, Finishing, Vote, Voted};
use crate::ids::{Oid, Tid};
use crate::time::UnixTime;

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
