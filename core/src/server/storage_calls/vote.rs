//! The call behind `vote`, once the locks are held.

use alloc::sync::Arc;

use super::job::{Schedule, StorageJob};
use crate::server::caller::Caller;
use crate::server::ids::Ticket;
use crate::server::vote::{VoteError, VoteOutcome, VoteRequest, vote};
use crate::storage::{Patience, Storage, StorageError};

/// A vote of more operations keeps a thread busy for milliseconds, even if all is in memory.
const OPERATIONS_NOW_MAX: usize = 1_000;

/// Checks a transaction against the storage.
#[derive(Debug)]
pub(in crate::server) struct VoteJob {
    pub(in crate::server) ticket: Ticket,
    pub(in crate::server) caller: Caller,
    /// Shared with the transaction, which owns the files in it if the connection ends meanwhile.
    pub(in crate::server) request: Arc<VoteRequest>,
}

/// The answer to a [`VoteJob`].
pub(in crate::server) struct VotedJob {
    pub(in crate::server) ticket: Ticket,
    pub(in crate::server) caller: Caller,
    pub(in crate::server) request: Arc<VoteRequest>,
    pub(in crate::server) result: Result<VoteOutcome, VoteError>,
}

impl StorageJob for VoteJob {
    type Answer = VotedJob;

    const SCHEDULE: Schedule = Schedule::AtOnce;

    fn run(self, storage: &dyn Storage, patience: Patience) -> Result<VotedJob, Self> {
        if patience == Patience::Now && self.request.operations.len() > OPERATIONS_NOW_MAX {
            return Err(self);
        }
        match vote(storage, &self.request, patience) {
            Err(VoteError::Storage(StorageError::WouldBlock)) => Err(self),
            result => {
                let Self { ticket, caller, request } = self;
                Ok(VotedJob { ticket, caller, request, result })
            }
        }
    }
}
