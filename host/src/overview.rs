//! What a host can tell of its storages, for those who watch over the server.

use std::sync::atomic::{AtomicU64, Ordering};

use rzeo_core::Tid;
use rzeo_core::server::{Counters, Figures, Measured};
use rzeo_core::storage::{Description, Info, PackProgress};

/// A storage and its hub at one moment. The parts are not read in one go: figures for people.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The name that clients register with.
    pub name: String,
    /// What the storage is.
    pub description: Description,
    /// Its objects and bytes.
    pub info: Info,
    /// Its last visible commit.
    pub last_tid: Tid,
    /// What the hub can tell.
    pub figures: Figures,
    /// How far the pack has come that is running, if there is one that can tell.
    pub pack: Option<PackProgress>,
    /// Why every commit is refused until the server is started anew, if that is so.
    pub broken: Option<String>,
}

/// How much has happened in a storage so far. Costs next to nothing, however many connections there
/// are: the difference between two tells what happens now.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Loads.
    pub loads: u64,
    /// Records stored.
    pub stores: u64,
    /// Transactions committed.
    pub commits: u64,
    /// What was measured of commits.
    pub measured: Measured,
}

impl Sample {
    pub(crate) fn new(counters: &Counters, measured: Measured) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            loads: read(&counters.loads),
            stores: read(&counters.stores),
            commits: read(&counters.commits),
            measured,
        }
    }
}
