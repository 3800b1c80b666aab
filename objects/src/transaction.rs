//! A transaction from its begin to its commit, as a machine that a driver feeds.
//!
//! ```text
//!        ┌───────────── load ◄─────────────┐
//!        ▼                                 │ records are lacking
//!      begin ──────► the operation runs ───┤
//!        ▲                                 │ it ends, with changes
//!        └── conflict ◄── commit ◄─────────┘
//! ```
//!
//! The driver loads records, gets oids and commits; the machine decides when. The operation is a
//! function of the snapshot and may run any number of times, so it does nothing else.

use alloc::vec::Vec;

use bytes::Bytes;
use rzeo_core::{Oid, Tid};
use thiserror::Error;

use crate::changes::Changes;
use crate::error::Error;
use crate::snapshot::Snapshot;

/// What the driver of a [`Transaction`] does next.
#[derive(Debug)]
pub enum Step<R, E> {
    /// Load the current records of these objects before the snapshot's `tid().next()` and pass each
    /// to [`Transaction::loaded`].
    Load(Vec<Oid>),
    /// Get this many unused oids and pass them to [`Transaction::add_oids`].
    NewOids(usize),
    /// Commit these changes, then call [`Transaction::conflict`] if the storage refused them because of
    /// a conflict, or [`Transaction::into_result`] if it committed them.
    Commit(Changes),
    /// The operation has changed nothing. There is nothing to commit.
    Unchanged(R),
    /// The operation has failed. Its changes are gone.
    Failed(E),
}

/// The storage refused the changes of the last attempt because of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("conflicts at {attempts} attempts, which is the maximum for this transaction")]
pub struct TooManyConflicts {
    /// Number of commits that the storage refused.
    pub attempts: u32,
}

/// An operation on the objects of a database that is committed as one transaction.
#[derive(Debug)]
pub struct Transaction<F, R> {
    operation: F,
    snapshot: Snapshot,
    oids: Vec<Oid>,
    result: Option<R>,
    retries: u32,
    conflicts: u32,
}

impl<F, R, E> Transaction<F, R>
where
    F: FnMut(&mut Snapshot) -> Result<R, E>,
    E: From<Error>,
{
    /// A transaction that ends at the first conflict.
    pub fn new(snapshot: Snapshot, operation: F) -> Self {
        Self { operation, snapshot, oids: Vec::new(), result: None, retries: 0, conflicts: 0 }
    }

    /// Maximum number of times that the operation is repeated on a newer snapshot after a conflict.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// Runs the operation as far as possible.
    pub fn step(&mut self) -> Step<R, E> {
        let result = match self.result.take() {
            Some(result) => result,
            None => match self.snapshot.attempt(&mut self.operation) {
                Ok(result) => result,
                Err(error) => {
                    let lacking = self.snapshot.take_lacking();
                    return if lacking.is_empty() {
                        Step::Failed(error)
                    } else {
                        Step::Load(lacking)
                    };
                }
            },
        };
        if !self.snapshot.has_changes() {
            return Step::Unchanged(result);
        }
        let lacking = self.snapshot.new_objects().saturating_sub(self.oids.len());
        if lacking > 0 {
            self.result = Some(result);
            return Step::NewOids(lacking);
        }
        match self.snapshot.changes(&self.oids) {
            Ok(changes) => {
                self.result = Some(result);
                Step::Commit(changes)
            }
            Err(error) => Step::Failed(error.into()),
        }
    }

    /// Takes a record, or the fact that the storage has none.
    pub fn loaded(&mut self, oid: Oid, record: Option<(Tid, Bytes)>) {
        match record {
            Some((serial, record)) => self.snapshot.add_record(oid, serial, record),
            None => self.snapshot.add_absent(oid),
        }
    }

    /// Takes unused oids.
    pub fn add_oids(&mut self, oids: impl IntoIterator<Item = Oid>) {
        self.oids.extend(oids);
    }

    /// Begins again at a later tid after a conflict. `invalidated` is as in [`Snapshot::advance`]; a
    /// driver without invalidations passes all [`Snapshot::oids`].
    ///
    /// # Errors
    /// [`TooManyConflicts`], if the operation is not to be repeated again.
    pub fn conflict(
        &mut self,
        tid: Tid,
        invalidated: impl IntoIterator<Item = Oid>,
    ) -> Result<(), TooManyConflicts> {
        self.conflicts += 1;
        if self.conflicts > self.retries {
            return Err(TooManyConflicts { attempts: self.conflicts });
        }
        self.result = None;
        self.snapshot.advance(tid, invalidated);
        Ok(())
    }

    /// The snapshot of the current attempt.
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The snapshot, for the next transaction to [`advance`](Snapshot::advance).
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }

    /// The result of the operation, and the snapshot, after the commit of the changes that the last
    /// [`Step::Commit`] had; `None` if there was none.
    pub fn into_result(self) -> Option<(R, Snapshot)> {
        self.result.map(|result| (result, self.snapshot))
    }
}
