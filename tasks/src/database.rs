//! Transactions on the objects of a database, through a client.
//!
//! An operation is a function of a [`Snapshot`]. It is applied to the records at hand; those that it lacks are
//! loaded, and it is applied again. What it has changed is committed. So an operation may run several times,
//! and changes nothing but the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use rzeo_client::{Begin, CallError, Client, ClientEvent, Refused, Subscription};
use rzeo_core::{Oid, Tid};
use rzeo_objects::{Changes, ObjectId, Snapshot, Step, Transaction};
use thiserror::Error;

/// Number of times that an operation is repeated that conflicted.
const REPEATS: u32 = 10;

/// Maximum bytes of a record. Storages take more, but every reader of the object loads all of it; large
/// data belongs into objects of its own, or into blobs.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// Maximum number of records that a snapshot keeps between transactions.
const RECORDS_MAX: usize = 50_000;

/// A database.
#[derive(Clone, Debug)]
pub struct Database {
    client: Client,
}

/// A transaction that is committed.
#[derive(Clone, Debug)]
pub struct Committed<R> {
    /// What the operation returned.
    pub result: R,
    /// The commit; `None` if the operation has changed nothing.
    pub tid: Option<Tid>,
    /// Objects that the operation has read, and perhaps others.
    pub read: Vec<Oid>,
    /// The oids of new objects.
    pub new_oids: BTreeMap<ObjectId, Oid>,
}

/// Why a transaction is not committed.
#[derive(Debug, Error)]
pub enum Uncommitted<E> {
    /// The operation failed. It has changed nothing.
    #[error(transparent)]
    Failed(E),
    /// Others have changed what the operation has read, at every repetition.
    #[error("others have changed the same objects {0} times")]
    Conflict(u32),
    /// The connection was lost while it was committed. It may be committed, also later.
    #[error("whether the transaction is committed is not known: {0}")]
    Unknown(CallError),
    /// The storage could not be reached. Nothing is committed.
    #[error("{0}")]
    Lost(CallError),
    /// The storage does not commit it.
    #[error("{0}")]
    Denied(CallError),
    /// A record is too large. Nothing is committed.
    #[error("the record of object {oid} has {bytes} bytes, more than {RECORD_BYTES_MAX}")]
    TooLarge {
        /// The object.
        oid: Oid,
        /// Bytes of its record.
        bytes: usize,
    },
}

impl Database {
    /// The database of a client.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// A snapshot of what is committed, and at least of what was committed up to `at_least`.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn snapshot(&self, at_least: Tid) -> Result<Snapshot, CallError> {
        self.wait_for(at_least).await?;
        Ok(Snapshot::new(self.client.last_tid()))
    }

    /// Waits until the client is connected and has seen a commit.
    async fn wait_for(&self, tid: Tid) -> Result<(), CallError> {
        self.client.wait_connected().await?;
        while self.client.last_tid() < tid {
            // The answer follows all invalidations.
            self.client.ping().await?;
        }
        Ok(())
    }

    /// Applies an operation to what is committed now, and commits what it has changed. Repeats that after a
    /// conflict.
    ///
    /// # Errors
    /// [`Uncommitted`].
    pub async fn transact<R, E>(
        &self,
        operation: impl FnMut(&mut Snapshot) -> Result<R, E>,
    ) -> Result<Committed<R>, Uncommitted<E>>
    where
        E: From<rzeo_objects::Error>,
    {
        let mut snapshot = self.snapshot(Tid::ZERO).await.map_err(Uncommitted::Lost)?;
        self.transact_on(&mut snapshot, &mut Vec::new(), REPEATS, operation).await
    }

    /// The same on a snapshot, which keeps the records that are loaded. New objects get `oids`, to which
    /// others are added if there are too few. At most `repeats` conflicts are followed by another
    /// try.
    ///
    /// # Errors
    /// [`Uncommitted`].
    pub async fn transact_on<R, E>(
        &self,
        snapshot: &mut Snapshot,
        oids: &mut Vec<Oid>,
        repeats: u32,
        operation: impl FnMut(&mut Snapshot) -> Result<R, E>,
    ) -> Result<Committed<R>, Uncommitted<E>>
    where
        E: From<rzeo_objects::Error>,
    {
        let start = std::mem::replace(snapshot, Snapshot::new(snapshot.tid()));
        let mut transaction = Transaction::new(start, operation).retries(repeats);
        transaction.add_oids(oids.iter().copied());
        loop {
            let changes = match self.next_step(&mut transaction, oids).await {
                Ok(Some(Step::Commit(changes))) => changes,
                Ok(Some(Step::Unchanged(result))) => {
                    let read = transaction.snapshot().oids().collect();
                    *snapshot = transaction.into_snapshot();
                    return Ok(Committed { result, tid: None, read, new_oids: BTreeMap::new() });
                }
                Ok(Some(Step::Failed(error))) => {
                    *snapshot = transaction.into_snapshot();
                    return Err(Uncommitted::Failed(error));
                }
                Ok(_) => continue,
                Err(error) => return Err(Uncommitted::Lost(error)),
            };
            let mut stores = changes.stores.iter();
            if let Some(large) = stores.find(|store| store.record.len() > RECORD_BYTES_MAX) {
                let (oid, bytes) = (large.oid, large.record.len());
                return Err(Uncommitted::TooLarge { oid, bytes });
            }
            match self.commit(&changes).await {
                Ok(tid) => {
                    let read = transaction.snapshot().oids().collect();
                    let Some((result, after)) = transaction.into_result() else {
                        // A step that commits has a result.
                        return Err(Uncommitted::Conflict(0));
                    };
                    *snapshot = after;
                    let new_oids = changes.new_oids;
                    return Ok(Committed { result, tid: Some(tid), read, new_oids });
                }
                Err(NotCommitted::Conflict) => {
                    self.client.ping().await.map_err(Uncommitted::Lost)?;
                    let loaded: Vec<Oid> = transaction.snapshot().oids().collect();
                    let again = transaction.conflict(self.client.last_tid(), loaded);
                    again.map_err(|many| Uncommitted::Conflict(many.attempts))?;
                }
                Err(NotCommitted::Unknown(error)) => return Err(Uncommitted::Unknown(error)),
                Err(NotCommitted::Lost(error)) => return Err(Uncommitted::Lost(error)),
                Err(NotCommitted::Denied(error)) => return Err(Uncommitted::Denied(error)),
            }
        }
    }

    /// Reads what is committed now.
    ///
    /// # Errors
    /// [`Uncommitted::Failed`] and [`Uncommitted::Lost`].
    pub async fn read<R, E>(
        &self,
        operation: impl FnMut(&mut Snapshot) -> Result<R, E>,
    ) -> Result<R, Uncommitted<E>>
    where
        E: From<rzeo_objects::Error>,
    {
        Ok(self.transact(operation).await?.result)
    }

    /// Gives a transaction what it asks for. `None` if it has to be asked again.
    async fn next_step<F, R, E>(
        &self,
        transaction: &mut Transaction<F, R>,
        oids: &mut Vec<Oid>,
    ) -> Result<Option<Step<R, E>>, CallError>
    where
        F: FnMut(&mut Snapshot) -> Result<R, E>,
        E: From<rzeo_objects::Error>,
    {
        match transaction.step() {
            Step::Load(lacking) => {
                let before = transaction.snapshot().tid().next();
                self.client.prefetch(&lacking, before);
                for oid in lacking {
                    let record = match self.client.load_before(oid, before).await {
                        Ok(revision) => revision.map(|found| (found.serial, found.data)),
                        Err(CallError::Refused(Refused::NoSuchObject { .. })) => None,
                        Err(error) => return Err(error),
                    };
                    transaction.loaded(oid, record);
                }
                Ok(None)
            }
            Step::NewOids(count) => {
                for _ in 0..count {
                    let oid = self.client.new_oid().await?;
                    oids.push(oid);
                    transaction.add_oids([oid]);
                }
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    /// Commits. Nothing else is awaited between the vote and its end, because others wait for its locks.
    async fn commit(&self, changes: &Changes) -> Result<Tid, NotCommitted> {
        let mut open = self.client.begin(Begin::default()).await?;
        for store in &changes.stores {
            open.store(store.oid, store.serial, store.record.clone()).await?;
        }
        for check in &changes.checks {
            open.check_current(check.oid, check.serial).await?;
        }
        Ok(open.vote().await?.finish().await?)
    }
}

/// Why the storage has not committed.
enum NotCommitted {
    Conflict,
    Unknown(CallError),
    Lost(CallError),
    Denied(CallError),
}

impl From<CallError> for NotCommitted {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(Refused::Conflict { .. } | Refused::ReadConflict { .. })
            | CallError::ConflictsForever { .. } => Self::Conflict,
            CallError::MaybeCommitted(_) => Self::Unknown(error),
            CallError::Unreachable { .. }
            | CallError::GaveUp { .. }
            | CallError::Lost(_)
            | CallError::Closed
            | CallError::Refused(Refused::Transaction(_)) => Self::Lost(error),
            _ => Self::Denied(error),
        }
    }
}

/// A snapshot that is kept from one transaction to the next, so that only changed records are loaded again.
#[derive(Debug)]
pub(crate) struct KeptSnapshot {
    snapshot: Snapshot,
    events: Subscription,
    pending: PendingInvalidations,
}

impl KeptSnapshot {
    pub(crate) fn new(client: &Client) -> Self {
        let events = client.subscribe();
        Self {
            snapshot: Snapshot::new(client.last_tid()),
            events,
            pending: PendingInvalidations::default(),
        }
    }

    /// The snapshot, as of what is committed now, and at least of what was committed up to `at_least`.
    pub(crate) async fn advance(
        &mut self,
        database: &Database,
        at_least: Tid,
    ) -> Result<&mut Snapshot, CallError> {
        database.wait_for(at_least).await?;
        // All events up to this commit are queued before it is shown.
        let tid = database.client().last_tid();
        while let Some(event) = self.events.try_next() {
            self.pending.add(event);
        }
        self.pending.apply(&mut self.snapshot, tid);
        Ok(&mut self.snapshot)
    }
}

/// Invalidations that a snapshot has not applied yet.
#[derive(Debug, Default)]
struct PendingInvalidations {
    commits: Vec<(Tid, Arc<[Oid]>)>,
    is_all_invalid: bool,
}

impl PendingInvalidations {
    fn add(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Invalidated { tid, oids } | ClientEvent::Committed { tid, oids } => {
                self.commits.push((tid, oids));
            }
            ClientEvent::InvalidatedAll { .. } | ClientEvent::Disconnected => {
                self.is_all_invalid = true;
            }
            _ => {}
        }
    }

    /// Advances the snapshot, and keeps later invalidations. Those of commits before the snapshot's tid count, too:
    /// Python's server with uvloop may answer a commit before it has sent the invalidations of earlier ones.
    fn apply(&mut self, snapshot: &mut Snapshot, tid: Tid) {
        let is_large = snapshot.oids().nth(RECORDS_MAX).is_some();
        if std::mem::take(&mut self.is_all_invalid) || is_large || tid < snapshot.tid() {
            *snapshot = Snapshot::new(tid);
        }
        let changed = self.commits.extract_if(.., |(at, _)| *at <= tid);
        snapshot.advance(tid, changed.flat_map(|(_, oids)| oids.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(tid: u64) -> Snapshot {
        let mut snapshot = Snapshot::new(Tid(tid));
        for oid in 1..=3 {
            snapshot.add_record(Oid(oid), Tid(1), Default::default());
        }
        snapshot
    }

    fn invalidated(tid: u64, oid: u64) -> ClientEvent {
        ClientEvent::Invalidated { tid: Tid(tid), oids: [Oid(oid)].into() }
    }

    /// The oids of the records that the snapshot has after it was advanced.
    fn advanced(pending: &mut PendingInvalidations, snapshot: &mut Snapshot, tid: u64) -> Vec<u64> {
        pending.apply(snapshot, Tid(tid));
        assert_eq!(snapshot.tid(), Tid(tid));
        snapshot.oids().map(|oid| oid.0).collect()
    }

    #[test]
    fn a_snapshot_keeps_what_has_not_changed() {
        let (mut pending, mut snapshot) = (PendingInvalidations::default(), snapshot(5));
        pending.add(invalidated(6, 1));
        pending.add(ClientEvent::Committed { tid: Tid(7), oids: [Oid(2)].into() });
        assert_eq!(advanced(&mut pending, &mut snapshot, 6), [2, 3]);
        assert_eq!(advanced(&mut pending, &mut snapshot, 7), [3]);
        pending.add(ClientEvent::Disconnected);
        assert!(advanced(&mut pending, &mut snapshot, 7).is_empty());
    }

    #[test]
    fn an_invalidation_that_comes_late_is_applied() {
        let (mut pending, mut snapshot) = (PendingInvalidations::default(), snapshot(5));
        pending.add(ClientEvent::Committed { tid: Tid(7), oids: [Oid(2)].into() });
        assert_eq!(advanced(&mut pending, &mut snapshot, 7), [1, 3]);
        pending.add(invalidated(6, 1));
        assert_eq!(advanced(&mut pending, &mut snapshot, 7), [3]);
    }
}
