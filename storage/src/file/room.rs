//! Room on the disk for transactions that were voted.
//!
//! A vote is a promise that the transaction can be committed, so the disk must not turn out to be full
//! afterwards. Blocks are set aside past the end of the file in generous steps, without making it
//! longer: whoever looks at the file (Python's ZODB, a backup) does not see them. Every voted
//! transaction holds a [`Promise`] for its bytes, wherever in the queue it will end up:
//!
//! ```text
//!   0 ───────────── end ──────────── end + promised ──────── reserved
//!     what committed     voted transactions           nobody's yet
//! ```
//!
//! Dropping the promise, because the transaction was committed or given up, gives the bytes back. On
//! a disk that cannot set blocks aside the promise is only a wish; then a commit may find the disk
//! full and is refused as a whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use rzeo_core::storage::{Patience, StorageError};

use super::log::{DataFile, Log};
use super::state::VisibleState;
use crate::disk::failed;

/// How much more is set aside than is needed at the time, so that most votes need not ask the disk.
const STEP_BYTES: u64 = 4 << 20;

/// The room that a storage's voted transactions share.
#[derive(Debug, Default)]
pub(crate) struct Room {
    promised: AtomicU64,
    reserved: Mutex<Reserved>,
}

/// Up to where blocks are set aside, in which file. (A pack puts another file in place.)
#[derive(Debug, Default)]
struct Reserved {
    file: Weak<DataFile>,
    to: u64,
}

/// A transaction's share of the room.
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
    /// Reserves room for this many more bytes.
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
        // A commit moves the end of the log first and drops its promise afterwards. So in this order of
        // reading, its bytes may be counted twice, but are never left out.
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

    /// Sets room aside again after the file was cut at `log`'s end, which let go of it. If that does
    /// not work the promises are what they are on a disk that cannot set blocks aside.
    pub(super) fn renew(&self, log: &Log) {
        let mut reserved = self.reserved.lock();
        *reserved = Reserved::default();
        let needed = log.end.saturating_add(self.promised.load(Ordering::Acquire));
        if let Err(error) = reserved.extend(log, needed) {
            tracing::warn!(%error, "no room could be set aside for voted transactions");
        }
    }

    /// Lets go of the blocks that nobody needs any more.
    pub(super) fn release(&self, log: &Log) {
        let mut reserved = self.reserved.lock();
        if reserved.reach(log) > log.end {
            // They are only blocks: whoever opens the file next uses them up.
            if let Err(error) = log.file.disk_file.set_len(log.end) {
                tracing::warn!(%error, "room set aside could not be released");
            }
        }
        *reserved = Reserved::default();
    }
}

impl Reserved {
    /// Up to where room was set aside in this file.
    fn reach(&self, log: &Log) -> u64 {
        if std::ptr::eq(self.file.as_ptr(), Arc::as_ptr(&log.file)) { self.to } else { 0 }
    }

    fn extend(&mut self, log: &Log, needed: u64) -> Result<(), StorageError> {
        let from = self.reach(log).max(log.end);
        let generous = needed.saturating_add(STEP_BYTES);
        let reserve = |to: u64| log.file.disk_file.reserve(from, to - from);
        let to = match reserve(generous) {
            Ok(()) => generous,
            // There may be room for this one all the same.
            Err(_) => reserve(needed)
                .map(|()| needed)
                .map_err(|error| failed(|| log.file.doing("make room in"), &error))?,
        };
        *self = Self { file: Arc::downgrade(&log.file), to };
        Ok(())
    }
}
