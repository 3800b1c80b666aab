//! Jobs of the hub, as values that an adapter carries to a thread that may wait.

use alloc::boxed::Box;
use core::fmt;

use crate::storage::{Info, PreparedPack, Storage, StorageError};
use crate::time::UnixTime;

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
