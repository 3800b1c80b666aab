//! The call behind `loadBefore`.

use super::job::{StorageJob, unless_blocked};
use crate::ids::{Oid, Tid};
use crate::storage::{Load, Patience, Storage, StorageError};

/// A load under way, numbered by its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) struct LoadId(pub(in crate::server) u64);

/// Finds the revision of an object that is current before a tid.
#[derive(Debug)]
pub(in crate::server) struct LoadJob {
    pub(in crate::server) id: LoadId,
    pub(in crate::server) oid: Oid,
    pub(in crate::server) before: Tid,
}

impl StorageJob for LoadJob {
    type Answer = (LoadId, Result<Load, StorageError>);

    fn run(self, storage: &dyn Storage, patience: Patience) -> Result<Self::Answer, Self> {
        let result = storage.load_before(self.oid, self.before, patience);
        unless_blocked(self, result, |job, result| (job.id, result))
    }
}
