//! What others do to the data behind a proxy.

use alloc::sync::Arc;
use core::fmt;

use crate::ids::{Oid, Tid};

/// What a proxy tells of its server.
///
/// News come in the order in which things happened there: tids grow, except that during a commit of the
/// proxy a server may be late with what it tells. A commit is told when it is visible to loads, and never
/// one that came through the proxy itself and succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Somebody else committed.
    Changed {
        /// The commit, or the last of several.
        tid: Tid,
        /// What it changed.
        oids: Arc<[Oid]>,
    },
    /// The server is there again after it was out of reach.
    Reset {
        /// Its newest commit.
        tid: Tid,
        /// Whether commits up to that one may have been missed.
        missed: bool,
    },
}

impl News {
    /// The newest commit that it speaks of.
    #[must_use]
    pub const fn tid(&self) -> Tid {
        match self {
            Self::Changed { tid, .. } | Self::Reset { tid, .. } => *tid,
        }
    }
}

/// Takes news, at once and without waiting for anything of the storage.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(News) + Send + Sync>);

impl Listener {
    /// One that does this.
    pub fn new(hear: impl Fn(News) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// Tells it.
    pub fn hear(&self, news: News) {
        (self.0)(news);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
