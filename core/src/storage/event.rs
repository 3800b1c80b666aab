//! Events of the server behind a proxy.

use alloc::sync::Arc;
use core::fmt;

use crate::ids::{Oid, Tid};

/// A change at the server behind a proxy.
///
/// Events arrive in the order of the changes: tids increase, except that during a commit of the
/// proxy the server may send invalidations late. A commit is reported when it is visible to loads.
/// A commit that came through the proxy itself and succeeded is not reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageEvent {
    /// Another client of the server committed.
    Invalidated {
        /// Tid of the commit, or of the last of several.
        tid: Tid,
        /// Objects that it changed.
        oids: Arc<[Oid]>,
    },
    /// The proxy has reconnected to the server.
    Reconnected {
        /// Tid of the server's newest commit.
        tid: Tid,
        /// Whether commits up to `tid` may not have been reported.
        may_have_missed: bool,
    },
}

impl StorageEvent {
    /// Tid of the newest commit that the event covers.
    #[must_use]
    pub const fn tid(&self) -> Tid {
        match self {
            Self::Invalidated { tid, .. } | Self::Reconnected { tid, .. } => *tid,
        }
    }
}

/// Receives the events of a proxy. It must return at once, and must not wait for the storage.
#[derive(Clone)]
pub struct Subscriber(Arc<dyn Fn(StorageEvent) + Send + Sync>);

impl Subscriber {
    /// A subscriber that calls this function.
    pub fn new(notify: impl Fn(StorageEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(notify))
    }

    /// Passes an event to the subscriber.
    pub fn notify(&self, event: StorageEvent) {
        (self.0)(event);
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscriber")
    }
}
