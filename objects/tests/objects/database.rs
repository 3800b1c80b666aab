//! A storage in memory, with a driver.

use std::collections::BTreeMap;

use bytes::Bytes;
use rzeo_core::{Oid, Tid};
use rzeo_objects::{Changes, Error, PersistentMapping, Snapshot, Step, Transaction};

/// Current revisions, and the next oid.
pub(crate) struct Database {
    pub(crate) records: BTreeMap<Oid, (Tid, Bytes)>,
    pub(crate) tid: Tid,
    pub(crate) next_oid: u64,
    /// How often a record was loaded.
    pub(crate) loads: usize,
}

impl Database {
    /// A database with an empty root object.
    pub(crate) fn new() -> Self {
        let mut database = Self { records: BTreeMap::new(), tid: Tid(1), next_oid: 1, loads: 0 };
        database.run(|snapshot| {
            snapshot.add(Oid::ROOT, &PersistentMapping::class(), PersistentMapping::new());
            Ok(())
        });
        database
    }

    /// A database with one record.
    pub(crate) fn with(oid: Oid, record: impl Into<Bytes>) -> Self {
        let records = [(oid, (Tid(1), record.into()))].into();
        Self { records, tid: Tid(1), next_oid: 1, loads: 0 }
    }

    /// Runs and commits an operation that succeeds; returns its result and what it has changed.
    pub(crate) fn run<R>(
        &mut self,
        operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
    ) -> (R, Changes) {
        self.try_run(operation).unwrap()
    }

    /// Runs and commits an operation.
    pub(crate) fn try_run<R>(
        &mut self,
        operation: impl FnMut(&mut Snapshot) -> Result<R, Error>,
    ) -> Result<(R, Changes), Error> {
        let mut transaction = Transaction::new(Snapshot::new(self.tid), operation);
        let changes = match self.drive(&mut transaction) {
            Step::Unchanged(result) => return Ok((result, Changes::default())),
            Step::Failed(error) => return Err(error),
            Step::Commit(changes) => changes,
            Step::Load(_) | Step::NewOids(_) => unreachable!("they were given"),
        };
        self.commit(&changes);
        let (result, _) = transaction.into_result().unwrap();
        Ok((result, changes))
    }

    /// Loads the records that a transaction lacks until it ends or commits.
    pub(crate) fn drive<F, R, E>(&mut self, transaction: &mut Transaction<F, R>) -> Step<R, E>
    where
        F: FnMut(&mut Snapshot) -> Result<R, E>,
        E: From<Error>,
    {
        loop {
            match transaction.step() {
                Step::Load(oids) => {
                    for oid in oids {
                        self.loads += 1;
                        transaction.loaded(oid, self.records.get(&oid).cloned());
                    }
                }
                Step::NewOids(count) => {
                    let first = self.next_oid;
                    self.next_oid += u64::try_from(count).unwrap();
                    transaction.add_oids((first..self.next_oid).map(Oid));
                }
                other => return other,
            }
        }
    }

    /// Stores what a transaction has changed.
    pub(crate) fn commit(&mut self, changes: &Changes) {
        self.tid = self.tid.next();
        for store in &changes.stores {
            let current = self.records.get(&store.oid).map_or(Tid::ZERO, |(serial, _)| *serial);
            assert_eq!(store.serial, current, "a conflict");
            self.records.insert(store.oid, (self.tid, store.record.clone()));
        }
    }
}
