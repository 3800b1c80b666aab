//! Figures of a host's storages, for monitoring.

use std::sync::atomic::{AtomicU64, Ordering};

use rzeo_core::Tid;
use rzeo_core::server::{CommitHistograms, Counters, Figures};
use rzeo_core::storage::{Description, Info, PackProgress};

/// Figures of a storage and its hub. The parts are read one after the other, so they may differ by a few commits.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The name that clients register with.
    pub name: String,
    /// The fixed properties of the storage.
    pub description: Description,
    /// Number of objects and bytes in the storage.
    pub info: Info,
    /// The tid of the last visible commit.
    pub last_tid: Tid,
    /// Figures of the hub.
    pub figures: Figures,
    /// Progress of the running pack, if there is one that reports it.
    pub pack: Option<PackProgress>,
    /// Why the storage refuses all commits until the server is restarted; `None` if it accepts them.
    pub broken: Option<String>,
}

/// Totals of a storage since its start, to compute rates from two of them. They are cheap to read,
/// however many connections there are.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Number of loads.
    pub loads: u64,
    /// Number of records stored.
    pub stores: u64,
    /// Number of committed transactions.
    pub commits: u64,
    /// Measured times of commits.
    pub histograms: CommitHistograms,
}

impl Sample {
    pub(crate) fn new(counters: &Counters, histograms: CommitHistograms) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            loads: read(&counters.loads),
            stores: read(&counters.stores),
            commits: read(&counters.commits),
            histograms,
        }
    }
}
