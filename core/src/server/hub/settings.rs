//! How the hub of one storage is set up.

use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use crate::server::counters::Counters;
use crate::storage::Description;

/// The settings of one storage.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// The name that clients register with, for the log.
    pub name: String,
    /// Number of commits in the invalidation queue; at least one.
    pub invalidation_queue_size: usize,
    /// Maximum age in seconds of a returning client's tid that is looked up in the storage when the
    /// queue does not reach back far enough.
    pub invalidation_age: Option<f64>,
    /// Maximum time that locks are held between vote and finish.
    pub transaction_timeout: Option<Duration>,
    /// What a vote locks.
    pub lock_scope: LockScope,
    /// When the server started, as C's `ctime` writes it.
    pub start: Arc<str>,
    /// Shared with the sessions.
    pub counters: Arc<Counters>,
}

/// What a vote locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockScope {
    /// The objects that it writes or checks. Votes without common objects are concurrent.
    Objects,
    /// The storage, as Python's server does: recorded conversations replay with it.
    Storage,
}

impl LockScope {
    /// What a vote locks in that storage: a proxy has one transaction at a time.
    #[must_use]
    pub const fn in_storage(self, description: &Description) -> Self {
        if description.is_proxy { Self::Storage } else { self }
    }
}
