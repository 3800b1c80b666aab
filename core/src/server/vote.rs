//! Checks one transaction against a storage: what `vote` does between taking its locks and replying.
//!
//! A client sends its operations without answers until it votes. They are then passed to
//! the storage's [`Vote`] in the order in which they were sent:
//!
//! ```text
//!   operations ──► begin_vote ──► store, delete, … ──► seal ──► Ready
//!                                   │
//!                                   │ conflict ──► resolved by the server ──► store
//!                                   │          ──► for the client: collected ──► Conflicts
//!                                   ▼          ──► cannot be resolved: refused
//!                              any other error: refused
//! ```
//!
//! A conflict that the client resolves does not end the vote, because the client answers by sending
//! the resolved record as one more store and by voting again over the *whole* list: the stale store
//! fails again, and the later store of the same object cancels that failure. So one round
//! of the conversation settles all conflicts at once.
//!
//! A call depends on no earlier one and leaves only the sealed vote. So it can be
//! tried with [`Patience::Now`] and, after [`StorageError::WouldBlock`], be repeated by a thread that may
//! wait.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;

use crate::ids::{Oid, Tid};
use crate::resolve::resolve;
use crate::storage::{
    Patience, RecordData, Scratch, Storage, StorageError, TransactionMeta, Vote, Voted,
};

/// One operation of a transaction, with the arguments of its message.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "fields are the wire arguments")]
pub enum Operation {
    /// `storea`.
    Store { oid: Oid, serial: Tid, data: RecordData },
    /// `storeBlobEnd` and `storeBlobShared`: a record and the file of its blob.
    StoreBlob { oid: Oid, serial: Tid, data: RecordData, blob: Arc<dyn Scratch> },
    /// `deleteObject`.
    Delete { oid: Oid, serial: Tid },
    /// `checkCurrentSerialInTransaction`.
    CheckCurrent { oid: Oid, serial: Tid },
    /// `restorea`.
    Restore { oid: Oid, tid: Tid, data: Option<RecordData>, prev_txn: Option<Tid> },
    /// `undoa`.
    Undo { tid: Tid },
}

/// A transaction as the client described it, ready to be checked.
#[derive(Clone, Debug)]
pub struct VoteRequest {
    /// User, description and extension of the transaction.
    pub meta: TransactionMeta,
    /// Its operations, in the order of the messages; blob records last.
    pub operations: Vec<Operation>,
    /// Whether the client resolves conflicts of stores instead of the server.
    pub client_resolution: bool,
}

/// The outcome of a vote that was not refused.
#[derive(Debug)]
pub enum VoteOutcome {
    /// The transaction can be committed.
    Ready {
        /// The argument of [`Storage::commit`].
        voted: Voted,
        /// The objects in the invalidation of the commit, see [`vote`].
        changed: Vec<Oid>,
        /// The objects in the reply: those whose records differ from what the client sent, undone
        /// ones first, then those that the server resolved.
        resolved: Vec<Oid>,
        /// Number of objects whose conflicts the server resolved.
        resolved_here: usize,
    },
    /// The client may resolve these and vote again. The storage reserves nothing.
    Conflicts(Vec<ClientConflict>),
}

/// A conflict that the client has to resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConflict {
    /// Object in conflict.
    pub oid: Oid,
    /// Tid of the current revision.
    pub committed: Tid,
    /// Tid of the revision that the client changed.
    pub read: Tid,
    /// The record that the client sent.
    pub data: Bytes,
}

/// Why a transaction cannot be committed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VoteError {
    /// Python: `ConflictError`.
    #[error("object {oid} was read at {read} but is at {committed}")]
    Conflict {
        /// Object in conflict.
        oid: Oid,
        /// Tid of the current revision.
        committed: Tid,
        /// Tid of the revision that the client changed.
        read: Tid,
        /// The record that the client sent, whose class the error names; none for a deletion.
        data: Option<Bytes>,
    },
    /// All other errors, among them `ReadConflict` and `WouldBlock`.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Checks a transaction. The caller holds the locks that [`Storage`] asks for.
///
/// The list of changed objects has one entry for each record, in order. Python's server leaves out
/// deletions and restored records; a client that has such an object in its cache would never receive the change.
///
/// # Errors
/// [`VoteError::Conflict`] for a conflict that cannot be resolved, [`VoteError::Storage`] for all other
/// errors of the storage; [`StorageError::WouldBlock`] under [`Patience::Now`] also for a conflict
/// that the server must resolve.
pub fn vote(
    storage: &dyn Storage,
    request: &VoteRequest,
    patience: Patience,
) -> Result<VoteOutcome, VoteError> {
    let mut checking = Checking {
        storage,
        patience,
        client_resolution: request.client_resolution,
        vote: storage.begin_vote(&request.meta, patience)?,
        changed: Vec::new(),
        undone: Vec::new(),
        resolved: Vec::new(),
        conflicts: Conflicts::default(),
    };
    for operation in &request.operations {
        checking.perform(operation)?;
    }
    checking.settle(&request.operations)?;
    checking.finish()
}

/// A vote in progress.
struct Checking<'a> {
    storage: &'a dyn Storage,
    patience: Patience,
    client_resolution: bool,
    vote: alloc::boxed::Box<dyn Vote + 'a>,
    changed: Vec<Oid>,
    undone: Vec<Oid>,
    resolved: Vec<Oid>,
    conflicts: Conflicts,
}

impl Checking<'_> {
    fn perform(&mut self, operation: &Operation) -> Result<(), VoteError> {
        match operation {
            Operation::Store { oid, serial, data } => self.store(*oid, *serial, data, None),
            Operation::StoreBlob { oid, serial, data, blob } => {
                self.store(*oid, *serial, data, Some(blob))
            }
            Operation::Delete { oid, serial } => {
                self.vote.delete(*oid, *serial).map_err(|error| refused(error, None))?;
                self.changed.push(*oid);
                Ok(())
            }
            Operation::CheckCurrent { oid, serial } => {
                Ok(self.vote.check_current(*oid, *serial)?)
            }
            Operation::Restore { oid, tid, data, prev_txn } => {
                self.vote.restore(*oid, *tid, data.clone(), *prev_txn)?;
                self.changed.push(*oid);
                Ok(())
            }
            Operation::Undo { tid } => {
                let oids = self.vote.undo(*tid)?;
                self.changed.extend_from_slice(&oids);
                self.undone.extend(oids);
                Ok(())
            }
        }
    }

    /// A blob's record is only a class name, so a conflict of blobs is never resolved; nor does Python.
    fn store(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: &RecordData,
        blob: Option<&Arc<dyn Scratch>>,
    ) -> Result<(), VoteError> {
        let stored = match blob {
            Some(blob) => self.vote.store_blob(oid, serial, data.clone(), blob),
            None => self.vote.store(oid, serial, data.clone()),
        };
        match stored {
            Ok(()) => {}
            Err(StorageError::Conflict { oid, committed, read }) => {
                let data = data.bytes(self.patience)?;
                let conflict = ClientConflict { oid, committed, read, data };
                if self.client_resolution {
                    self.conflicts.remember(conflict);
                    return Ok(());
                }
                self.resolve(&conflict)?;
            }
            Err(error) => return Err(error.into()),
        }
        self.conflicts.forget(oid);
        self.changed.push(oid);
        Ok(())
    }

    /// Resolves a conflict between the committed record and the client's record, and stores the result. A conflict
    /// with a revision that a pack removed cannot be resolved.
    fn resolve(&mut self, conflict: &ClientConflict) -> Result<(), VoteError> {
        if self.patience == Patience::Now {
            return Err(StorageError::WouldBlock.into());
        }
        let resolved = match (
            self.revision(conflict.oid, conflict.read)?,
            self.revision(conflict.oid, conflict.committed)?,
        ) {
            (Some(old), Some(committed)) => resolve(&old, &committed, &conflict.data),
            _ => None,
        };
        let ClientConflict { oid, committed, read, ref data } = *conflict;
        let Some(resolved) = resolved else {
            return Err(VoteError::Conflict { oid, committed, read, data: Some(data.clone()) });
        };
        self.vote
            .store(oid, committed, resolved.into())
            .map_err(|error| refused(error, Some(data)))?;
        self.resolved.push(oid);
        Ok(())
    }

    fn revision(&self, oid: Oid, serial: Tid) -> Result<Option<Bytes>, StorageError> {
        match self.storage.load_serial(oid, serial, self.patience) {
            Ok(data) => Ok(Some(data)),
            Err(StorageError::NoSuchObject(_) | StorageError::NoSuchRevision(..)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets the server behind a proxy check the transaction. Its answer may contain other records than those that
    /// were stored. A conflict that the client must resolve ends the check; the remaining operations are checked
    /// when the client votes again.
    fn settle(&mut self, operations: &[Operation]) -> Result<(), VoteError> {
        if !self.conflicts.is_empty() {
            return Ok(());
        }
        match self.vote.check_remotely() {
            Ok(settled) => {
                let known: BTreeSet<Oid> = self.changed.iter().copied().collect();
                self.changed.extend(settled.iter().filter(|oid| !known.contains(oid)));
                self.undone.extend(settled);
                Ok(())
            }
            Err(StorageError::Conflict { oid, committed, read }) => {
                let data = last_store(operations, oid).map(|data| data.bytes(self.patience));
                match data.transpose()? {
                    Some(data) if self.client_resolution => {
                        self.conflicts.remember(ClientConflict { oid, committed, read, data });
                        Ok(())
                    }
                    data => Err(VoteError::Conflict { oid, committed, read, data }),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn finish(self) -> Result<VoteOutcome, VoteError> {
        let Self { vote, changed, undone, resolved, conflicts, .. } = self;
        if !conflicts.is_empty() {
            return Ok(VoteOutcome::Conflicts(conflicts.into_list()));
        }
        let voted = vote.seal()?;
        let resolved_here = resolved.len();
        let resolved = undone.into_iter().chain(resolved).collect();
        Ok(VoteOutcome::Ready { voted, changed, resolved, resolved_here })
    }
}

/// The record that a client sent for an object; `None` for a blob, whose conflicts are not resolved.
fn last_store(operations: &[Operation], wanted: Oid) -> Option<&RecordData> {
    operations.iter().rev().find_map(|operation| match operation {
        Operation::Store { oid, data, .. } if *oid == wanted => Some(data),
        _ => None,
    })
}

/// Adds the record that the client sent to a conflict, because the storage does not keep it.
fn refused(error: StorageError, data: Option<&Bytes>) -> VoteError {
    match error {
        StorageError::Conflict { oid, committed, read } => {
            VoteError::Conflict { oid, committed, read, data: data.cloned() }
        }
        error => VoteError::Storage(error),
    }
}

/// Conflicts that the client has to resolve, at most one for each object, in the order in which they came up.
#[derive(Default)]
struct Conflicts {
    by_oid: BTreeMap<Oid, (usize, ClientConflict)>,
    seen: usize,
}

impl Conflicts {
    /// A second conflict of an object replaces the first and keeps its place.
    fn remember(&mut self, conflict: ClientConflict) {
        let place = self.by_oid.get(&conflict.oid).map_or(self.seen, |(place, _)| *place);
        self.seen += 1;
        self.by_oid.insert(conflict.oid, (place, conflict));
    }

    fn forget(&mut self, oid: Oid) {
        self.by_oid.remove(&oid);
    }

    fn is_empty(&self) -> bool {
        self.by_oid.is_empty()
    }

    fn into_list(self) -> Vec<ClientConflict> {
        let mut list: Vec<_> = self.by_oid.into_values().collect();
        list.sort_unstable_by_key(|(place, _)| *place);
        list.into_iter().map(|(_, conflict)| conflict).collect()
    }
}
