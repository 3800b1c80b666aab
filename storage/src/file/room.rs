//! Disk space reserved for voted transactions.
//!
//! A successful vote promises that the transaction can be committed, so a full disk must be
//! detected before. The storage allocates blocks past the end of the file in large steps, without
//! making it longer, so that they are invisible to other readers (Python's ZODB, a backup). Every
//! voted transaction holds a [`SpaceReservation`] for its bytes, whatever its later position:
//!
//! ```text
//!   0 ───────────── end ──────────── end + promised ──────── reserved
//!     what committed     voted transactions           nobody's yet
//! ```
//!
//! Dropping the reservation, when the transaction is committed or aborted, returns the bytes. On a
//! file system that cannot allocate blocks the reservation has no effect; then a commit may find
//! the disk full, and the whole group is refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use rzeo_core::storage::{Patience, StorageError};

use super::log::{DataFile, Log};
use super::state::VisibleState;
use crate::disk::failed;

/// Bytes allocated beyond the current need, so that most votes make no system call.
const STEP_BYTES: u64 = 4 << 20;

/// The reserved space that a storage's voted transactions share.
#[derive(Debug, Default)]
pub(crate) struct Room {
    promised: AtomicU64,
    reserved: Mutex<Reserved>,
}

/// The file, and the position up to which its blocks are allocated. (A pack replaces the file.)
#[derive(Debug, Default)]
struct Reserved {
    file: Weak<DataFile>,
    to: u64,
}

/// The space reserved for one transaction; released on drop.
#[derive(Debug)]
pub(super) struct Promise {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.room.promised.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Room {
    /// Reserves space for this many more bytes.
    pub(super) fn promise(
        self: &Arc<Self>,
        state: &RwLock<VisibleState>,
        bytes: u64,
        patience: Patience,
    ) -> Result<Promise, StorageError> {
        let mut reserved = match patience {
            Patience::Now => self.reserved.try_lock().ok_or(StorageError::WouldBlock)?,
            Patience::Wait => self.reserved.lock(),
        };
        // A commit moves the end of the log first and drops its reservation afterwards. With this
        // order of reads its bytes may be counted twice, but are never left out.
        let promised = self.promised.load(Ordering::Acquire);
        let log = state.read().log.clone();
        let needed = log.end.saturating_add(promised).saturating_add(bytes);
        if needed > reserved.reach(&log) {
            if patience == Patience::Now {
                return Err(StorageError::WouldBlock);
            }
            reserved.extend(&log, needed)?;
        }
        self.promised.fetch_add(bytes, Ordering::AcqRel);
        Ok(Promise { room: Arc::clone(self), bytes })
    }

    /// Allocates blocks again after the file was cut at `log`'s end, which released them. If this
    /// fails, the reservations have no effect, as on a file system that cannot allocate blocks.
    pub(super) fn renew(&self, log: &Log) {
        let mut reserved = self.reserved.lock();
        *reserved = Reserved::default();
        let needed = log.end.saturating_add(self.promised.load(Ordering::Acquire));
        if let Err(error) = reserved.extend(log, needed) {
            tracing::warn!(%error, "cannot reserve disk space for voted transactions; their commits may fail if the disk is full");
        }
    }

    /// Releases the blocks that no transaction needs.
    pub(super) fn release(&self, log: &Log) {
        let mut reserved = self.reserved.lock();
        if reserved.reach(log) > log.end {
            // The blocks are not lost: the next writer uses them.
            if let Err(error) = log.file.disk_file.set_len(log.end) {
                tracing::warn!(%error, "cannot release reserved disk space");
            }
        }
        *reserved = Reserved::default();
    }
}

impl Reserved {
    /// The position up to which blocks are allocated in this file.
    fn reach(&self, log: &Log) -> u64 {
        if std::ptr::eq(self.file.as_ptr(), Arc::as_ptr(&log.file)) { self.to } else { 0 }
    }

    fn extend(&mut self, log: &Log, needed: u64) -> Result<(), StorageError> {
        let from = self.reach(log).max(log.end);
        let generous = needed.saturating_add(STEP_BYTES);
        let reserve = |to: u64| log.file.disk_file.reserve(from, to - from);
        let to = match reserve(generous) {
            Ok(()) => generous,
            // There may be enough space for this transaction alone.
            Err(_) => reserve(needed)
                .map(|()| needed)
                .map_err(|error| failed(|| log.file.doing("reserve disk space for"), &error))?,
        };
        *self = Self { file: Arc::downgrade(&log.file), to };
        Ok(())
    }
}
