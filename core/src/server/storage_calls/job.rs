//! What the kinds of storage calls have in common.

use crate::storage::{Patience, Storage, StorageError};

/// A storage call together with the type of its answer.
pub(in crate::server) trait StorageJob: Sized {
    /// The result, and what the session needs to continue with it.
    type Answer;

    /// When the session may let the call out.
    const SCHEDULE: Schedule = Schedule::InTurn;

    /// Runs the call. Returns the job itself if it has to wait and may not.
    fn run(self, storage: &dyn Storage, patience: Patience) -> Result<Self::Answer, Self>;
}

/// When a session lets a storage call out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Schedule {
    /// At once: other connections wait for a vote, and bytes for a file wait in memory.
    AtOnce,
    /// In turn, while the peer reads its answers and few calls are under way.
    InTurn,
    /// As [`Self::InTurn`], and only while half of the backlog is free.
    BlobRead,
}

/// The first step of jobs that may always wait for the disk.
pub(super) fn may_wait(patience: Patience) -> Result<(), StorageError> {
    if patience == Patience::Now { Err(StorageError::WouldBlock) } else { Ok(()) }
}

/// Returns the job if the storage has to wait and may not, else its answer.
pub(super) fn unless_blocked<J: StorageJob, T>(
    job: J,
    result: Result<T, StorageError>,
    answer: impl FnOnce(J, Result<T, StorageError>) -> J::Answer,
) -> Result<J::Answer, J> {
    match result {
        Err(StorageError::WouldBlock) => Err(job),
        result => Ok(answer(job, result)),
    }
}
