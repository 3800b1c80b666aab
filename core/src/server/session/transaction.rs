//! The state of one open transaction.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::operations::{Operations, blob_of};
use crate::ids::Oid;
use crate::server::caller::Caller;
use crate::server::ids::Ticket;
use crate::server::lock_set::LockSet;
use crate::server::storage_calls::Leftovers;
use crate::server::vote::{Operation, VoteRequest};
use crate::storage::{TransactionMeta, Voted};
use crate::wire::call::TxnHandle;

/// A transaction between `tpc_begin` and its end.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) handle: TxnHandle,
    pub(super) meta: TransactionMeta,
    pub(super) operations: Operations,
    /// Names this transaction's votes to the hub.
    pub(super) ticket: Ticket,
    pub(super) stage: Stage,
}

/// How far two-phase commit has come.
#[derive(Debug)]
pub(super) enum Stage {
    Building,
    /// The vote waits for records to be in the temporary file.
    Spooling(Caller),
    /// The hub was asked for locks.
    Asked(Caller),
    /// The vote is in the hub's queue.
    Waiting(Caller),
    /// The storage checks the operations.
    Preparing(Arc<VoteRequest>),
    Voted {
        voted: Voted,
        changed: Vec<Oid>,
        /// Whether files of the storage belong to the vote.
        has_files: bool,
    },
    Finishing(Caller),
}

impl Stage {
    /// Whether calls of the transaction have to wait.
    const fn is_under_way(&self) -> bool {
        match self {
            Self::Spooling(_) | Self::Asked(_) | Self::Preparing(_) | Self::Finishing(_) => true,
            Self::Building | Self::Waiting(_) | Self::Voted { .. } => false,
        }
    }
}

impl Transaction {
    pub(super) fn new(handle: TxnHandle, meta: TransactionMeta, ticket: Ticket) -> Self {
        let operations = Operations::default();
        Self { handle, meta, operations, ticket, stage: Stage::Building }
    }

    /// Whether calls of the transaction have to wait.
    pub(super) const fn is_under_way(&self) -> bool {
        self.stage.is_under_way()
    }

    /// Whether it still accepts operations.
    pub(super) const fn is_building(&self) -> bool {
        matches!(self.stage, Stage::Building | Stage::Spooling(_))
    }

    /// Whether the transaction is on its way to the disk.
    pub(super) const fn is_finishing(&self) -> bool {
        matches!(self.stage, Stage::Finishing(_))
    }

    /// Whether the hub knows of the vote.
    pub(super) const fn is_known_to_hub(&self) -> bool {
        !self.is_building()
    }

    /// The locks that its vote needs. Undo, restore and a given tid concern more than the objects named,
    /// so they take the whole storage.
    pub(super) fn locks(&self) -> LockSet {
        let mut locks = LockSet { whole: self.meta.tid.is_some(), ..LockSet::default() };
        for operation in self.operations.iter() {
            match operation {
                Operation::Store { oid, .. }
                | Operation::StoreBlob { oid, .. }
                | Operation::Delete { oid, .. } => locks.exclusive.push(*oid),
                Operation::CheckCurrent { oid, .. } => locks.shared.push(*oid),
                Operation::Restore { .. } | Operation::Undo { .. } => locks.whole = true,
            }
        }
        locks
    }

    /// The files that it leaves behind, and the vote that shares them.
    pub(super) fn into_leftovers(self) -> Leftovers {
        let mut leftovers = Leftovers { files: self.operations.files(), voted: None };
        match self.stage {
            Stage::Preparing(request) => {
                leftovers.files.extend(request.operations.iter().filter_map(blob_of).cloned());
            }
            Stage::Voted { voted, has_files: true, .. } => leftovers.voted = Some(voted),
            Stage::Voted { has_files: false, .. }
            | Stage::Building
            | Stage::Spooling(_)
            | Stage::Asked(_)
            | Stage::Waiting(_)
            | Stage::Finishing(_) => {}
        }
        leftovers
    }
}
