//! What a host serves, and how.

use std::sync::Arc;
use std::time::Duration;

use rzeo_core::server::{Limits, LockScope};
use rzeo_core::storage::Storage;

use crate::admission::ConnectionLimits;

/// Default number of commits in the invalidation queue, as in Python's server.
const INVALIDATION_QUEUE_SIZE: usize = 100;

/// A storage to serve.
pub struct StorageSpec {
    /// The name that clients register with.
    pub name: String,
    /// Where its data are.
    pub storage: Arc<dyn Storage>,
}

/// How to serve. The defaults are those of `rzeo serve`, and each is defined once: here, in [`Limits`] or in
/// [`ConnectionLimits`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether stores, packs and undo are refused. Default: no.
    pub read_only: bool,
    /// Announce msgpack rather than pickle.
    pub msgpack: bool,
    /// Ask clients to resolve write conflicts.
    pub client_conflict_resolution: bool,
    /// Number of commits in the invalidation queue, for returning clients.
    pub invalidation_queue_size: usize,
    /// Maximum age in seconds of a returning client's tid that is looked up in the storage when the
    /// invalidation queue does not reach back far enough.
    pub invalidation_age: Option<f64>,
    /// Maximum time that locks are held between vote and finish.
    pub transaction_timeout: Option<Duration>,
    /// What a vote locks.
    pub lock_scope: LockScope,
    /// What one peer may use.
    pub limits: Limits,
    /// Maximum number of peers.
    pub connections: ConnectionLimits,
    /// Maximum time that connections may take to end when the server stops.
    pub stop_time_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            read_only: false,
            msgpack: false,
            client_conflict_resolution: false,
            invalidation_queue_size: INVALIDATION_QUEUE_SIZE,
            invalidation_age: None,
            transaction_timeout: None,
            lock_scope: LockScope::Objects,
            limits: Limits::default(),
            connections: ConnectionLimits::default(),
            stop_time_max: Duration::from_secs(10),
        }
    }
}
