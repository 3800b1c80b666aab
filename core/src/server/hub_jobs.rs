//! Jobs of the hub, as values that an adapter carries to a thread that may wait.
//!
//! A job carries the caller of the pack, and its answer brings the caller back.

use alloc::boxed::Box;
use core::fmt;

use super::caller::Caller;
use super::ids::ConnId;
use crate::storage::{Info, PreparedPack, Storage, StorageError};
use crate::time::UnixTime;

/// The connection that waits for the end of a pack, if one does. Travels with the jobs of the pack.
#[derive(Debug, Default)]
pub struct PackCaller(pub(super) Option<(ConnId, Caller)>);

/// A call of the hub to its storage. Always run where waiting is allowed.
pub enum HubJob {
    /// Pack, up to the switch.
    Pack(PackCaller, UnixTime),
    /// Switch to the packed file; the hub holds the whole storage meanwhile.
    FinishPack(PackCaller, Box<dyn PreparedPack>),
    /// Remove files after a pack, beside commits.
    CleanUp(PackCaller),
}

impl fmt::Debug for HubJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pack(_, time) => write!(f, "Pack({time:?})"),
            Self::FinishPack(..) => f.write_str("FinishPack"),
            Self::CleanUp(_) => f.write_str("CleanUp"),
        }
    }
}

/// The answer to a [`HubJob`], with the storage's figures after it.
pub enum HubJobDone {
    /// Of [`HubJob::Pack`]; `None` if there was nothing to pack.
    Packed(PackCaller, Result<Option<Box<dyn PreparedPack>>, StorageError>, Info),
    /// Of [`HubJob::FinishPack`].
    Switched(PackCaller, Result<(), StorageError>, Info),
    /// Of [`HubJob::FinishPack`], when the storage has to clean up before the pack is done.
    CleanUpDue(PackCaller),
    /// Of [`HubJob::CleanUp`].
    CleanedUp(PackCaller, Result<(), StorageError>, Info),
}

impl fmt::Debug for HubJobDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packed(..) => "Packed",
            Self::Switched(..) => "Switched",
            Self::CleanUpDue(_) => "CleanUpDue",
            Self::CleanedUp(..) => "CleanedUp",
        })
    }
}

/// Runs a job of the hub.
pub fn perform_hub_job(storage: &dyn Storage, job: HubJob) -> HubJobDone {
    match job {
        HubJob::Pack(caller, time) => {
            let prepared = storage.pack(time);
            HubJobDone::Packed(caller, prepared, storage.info())
        }
        HubJob::FinishPack(caller, pack) => {
            let switched = pack.finish();
            if switched.is_ok() && storage.clean_up_due() {
                return HubJobDone::CleanUpDue(caller);
            }
            HubJobDone::Switched(caller, switched, storage.info())
        }
        HubJob::CleanUp(caller) => {
            HubJobDone::CleanedUp(caller, storage.clean_up(), storage.info())
        }
    }
}
