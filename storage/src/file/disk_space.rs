//! Disk space reserved for voted transactions.
//!
//! A successful vote promises that the transaction can be committed, so a full disk must be
//! detected before. The storage allocates blocks past the end of the file in large steps, without
//! making it longer, so that they are invisible to other readers (Python's ZODB, a backup). Every
//! voted transaction holds a [`SpaceReservation`] for its bytes, whatever its later position:
//!
//! ```text
//!   0 ───────────── end ──────────── end + reservations ──────── allocated
//!     committed          voted transactions               unused
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

/// The disk space that a storage's voted transactions share.
#[derive(Debug, Default)]
pub(crate) struct DiskSpace {
    reserved_bytes: AtomicU64,
    allocated: Mutex<Allocated>,
}

/// The file, and the position up to which its blocks are allocated. (A pack replaces the file.)
#[derive(Debug, Default)]
struct Allocated {
    file: Weak<DataFile>,
    to: u64,
}

/// The space reserved for one transaction; released on drop.
#[derive(Debug)]
pub(super) struct SpaceReservation {
    disk_space: Arc<DiskSpace>,
    bytes: u64,
}

impl Drop for SpaceReservation {
    fn drop(&mut self) {
        self.disk_space.reserved_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl DiskSpace {
    /// Reserves space for this many more bytes.
    pub(super) fn reserve(
        self: &Arc<Self>,
        state: &RwLock<VisibleState>,
        bytes: u64,
        patience: Patience,
    ) -> Result<SpaceReservation, StorageError> {
        let mut allocated = match patience {
            Patience::Now => self.allocated.try_lock().ok_or(StorageError::WouldBlock)?,
            Patience::Wait => self.allocated.lock(),
        };
        // A commit moves the end of the log first and drops its reservation afterwards. With this
        // order of reads its bytes may be counted twice, but are never left out.
        let reserved_bytes = self.reserved_bytes.load(Ordering::Acquire);
        let log = state.read().log.clone();
        let needed = log.end.saturating_add(reserved_bytes).saturating_add(bytes);
        if needed > allocated.reach(&log) {
            if patience == Patience::Now {
                return Err(StorageError::WouldBlock);
            }
            allocated.extend(&log, needed)?;
        }
        self.reserved_bytes.fetch_add(bytes, Ordering::AcqRel);
        Ok(SpaceReservation { disk_space: Arc::clone(self), bytes })
    }

    /// Allocates blocks again after the file was cut at `log`'s end, which released them. If this
    /// fails, the reservations have no effect, as on a file system that cannot allocate blocks.
    pub(super) fn renew(&self, log: &Log) {
        let mut allocated = self.allocated.lock();
        *allocated = Allocated::default();
        let needed = log.end.saturating_add(self.reserved_bytes.load(Ordering::Acquire));
        if let Err(error) = allocated.extend(log, needed) {
            tracing::warn!(
                %error,
                "cannot reserve disk space for voted transactions; their commits may fail"
            );
        }
    }

    /// Releases the blocks that no transaction needs.
    pub(super) fn release(&self, log: &Log) {
        let mut allocated = self.allocated.lock();
        if allocated.reach(log) > log.end {
            // The blocks are not lost: the next writer uses them.
            if let Err(error) = log.file.disk_file.set_len(log.end) {
                tracing::warn!(%error, "cannot release reserved disk space");
            }
        }
        *allocated = Allocated::default();
    }
}

impl Allocated {
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
