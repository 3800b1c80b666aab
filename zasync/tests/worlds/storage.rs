//! A storage in memory that keeps all revisions, with a clock that can jump.

use std::collections::BTreeMap;

use bytes::Bytes;
use rzeo_core::{Oid, Tid, UnixTime};
use rzeo_objects::{Changes, PersistentMapping, Snapshot, Step, Transaction};
use rzeo_zasync::Error;

/// All revisions, and the commits in their order.
pub(crate) struct Storage {
    revisions: BTreeMap<Oid, Vec<(Tid, Bytes)>>,
    pub(crate) log: Vec<(Tid, Vec<Oid>)>,
    /// Seconds since 1970 by the storage's clock.
    pub(crate) clock: f64,
    next_oid: u64,
}

/// An operation that was applied to a snapshot.
pub(crate) struct Prepared<R> {
    pub(crate) result: R,
    /// `None` if nothing was changed.
    pub(crate) changes: Option<Changes>,
    pub(crate) read: Vec<Oid>,
}

impl Storage {
    pub(crate) fn new(clock: f64) -> Self {
        let mut storage = Self { revisions: BTreeMap::new(), log: vec![], clock, next_oid: 1 };
        let root = |snapshot: &mut Snapshot| {
            snapshot.add(Oid::ROOT, &PersistentMapping::class(), PersistentMapping::new());
            Ok::<_, Error>(())
        };
        storage.run(root).unwrap();
        storage
    }

    /// The last commit.
    pub(crate) fn tid(&self) -> Tid {
        self.log.last().map_or(Tid::ZERO, |(tid, _)| *tid)
    }

    fn load(&self, oid: Oid, at: Tid) -> Option<(Tid, Bytes)> {
        let revisions = self.revisions.get(&oid)?;
        let end = revisions.partition_point(|(tid, _)| *tid <= at);
        end.checked_sub(1).map(|last| revisions[last].clone())
    }

    /// Applies an operation to the state as of a commit.
    pub(crate) fn prepare<R>(
        &mut self,
        at: Tid,
        operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
    ) -> Result<Prepared<R>, Error> {
        self.prepare_on(&mut Snapshot::new(at), operation)
    }

    /// Applies an operation to a snapshot, and keeps the records that it has loaded.
    pub(crate) fn prepare_on<R>(
        &mut self,
        snapshot: &mut Snapshot,
        operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
    ) -> Result<Prepared<R>, Error> {
        let at = snapshot.tid();
        let before = std::mem::replace(snapshot, Snapshot::new(at));
        let mut transaction = Transaction::new(before, operation);
        let ended = loop {
            match transaction.step() {
                Step::Load(oids) => {
                    for oid in oids {
                        transaction.loaded(oid, self.load(oid, at));
                    }
                }
                Step::NewOids(count) => {
                    let first = self.next_oid;
                    self.next_oid += u64::try_from(count).unwrap();
                    transaction.add_oids((first..self.next_oid).map(Oid));
                }
                Step::Unchanged(result) => break Ok((Some(result), None)),
                Step::Commit(changes) => break Ok((None, Some(changes))),
                Step::Failed(error) => break Err(error),
            }
        };
        let read = transaction.snapshot().oids().collect();
        let (result, changes) = match ended {
            Ok((Some(result), changes)) => {
                *snapshot = transaction.into_snapshot();
                (result, changes)
            }
            Ok((None, changes)) => {
                let (result, after) = transaction.into_result().expect("it was applied");
                *snapshot = after;
                (result, changes)
            }
            Err(error) => {
                *snapshot = transaction.into_snapshot();
                return Err(error);
            }
        };
        Ok(Prepared { result, changes, read })
    }

    /// Moves a snapshot to a later commit.
    pub(crate) fn advance(&self, snapshot: &mut Snapshot, to: Tid) {
        let from = self.log.partition_point(|(tid, _)| *tid <= snapshot.tid());
        let until = self.log.partition_point(|(tid, _)| *tid <= to);
        let changed = self.log[from..until].iter().flat_map(|(_, oids)| oids.iter().copied());
        snapshot.advance(to, changed);
    }

    /// Commits, unless an object has changed.
    pub(crate) fn commit(&mut self, changes: &Changes) -> Option<Tid> {
        let stores = changes.stores.iter().map(|store| (store.oid, store.serial));
        let checks = changes.checks.iter().map(|check| (check.oid, check.serial));
        let current = self.tid();
        for (oid, serial) in stores.chain(checks) {
            if self.load(oid, current).map_or(Tid::ZERO, |(tid, _)| tid) != serial {
                return None;
            }
        }
        let tid = Tid::from_unix(UnixTime(self.clock)).later_than(current);
        for store in &changes.stores {
            let revisions = self.revisions.entry(store.oid).or_default();
            revisions.push((tid, store.record.clone()));
        }
        self.log.push((tid, changes.stores.iter().map(|store| store.oid).collect()));
        Some(tid)
    }

    /// Applies and commits an operation at once.
    pub(crate) fn run<R>(
        &mut self,
        operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let prepared = self.prepare(self.tid(), operation)?;
        if let Some(changes) = &prepared.changes {
            self.commit(changes).expect("nothing comes between");
        }
        Ok(prepared.result)
    }

    /// Reads the present state.
    pub(crate) fn read<R>(
        &mut self,
        operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
    ) -> Result<R, Error> {
        Ok(self.prepare(self.tid(), operation)?.result)
    }
}
