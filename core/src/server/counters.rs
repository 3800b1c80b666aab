//! Statistics that sessions and hub share.

use core::sync::atomic::{AtomicU64, Ordering};

/// Statistics of one storage, counted by its sessions and its hub.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "spec: zeo-protocol 14.3")]
pub struct Counters {
    pub loads: AtomicU64,
    pub stores: AtomicU64,
    pub commits: AtomicU64,
    pub aborts: AtomicU64,
    pub conflicts: AtomicU64,
    pub conflicts_resolved: AtomicU64,
    pub active_txns: AtomicU64,
}

/// Adds one. The counters are figures for monitoring: no order is needed between them.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
