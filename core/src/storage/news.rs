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
pub enum News {
    /// Another client of the server committed.
    Changed {
        /// Tid of the commit, or of the last of several.
        tid: Tid,
        /// The objects that it changed.
        oids: Arc<[Oid]>,
    },
    /// The proxy has reconnected to the server.
    Reset {
        /// Tid of the server's newest commit.
        tid: Tid,
        /// Whether commits up to `tid` may not have been reported.
        missed: bool,
    },
}

impl News {
    /// Tid of the newest commit that the event covers.
    #[must_use]
    pub const fn tid(&self) -> Tid {
        match self {
            Self::Changed { tid, .. } | Self::Reset { tid, .. } => *tid,
        }
    }
}

/// Receives the events of a proxy. It must return at once, and must not wait for the storage.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(News) + Send + Sync>);

impl Listener {
    /// A subscriber that calls this function.
    pub fn new(hear: impl Fn(News) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// Passes an event to the subscriber.
    pub fn hear(&self, news: News) {
        (self.0)(news);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
