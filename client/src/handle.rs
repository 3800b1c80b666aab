//! What all handles of a client share: with the last of them the client is closed.

use std::fmt;
use std::sync::Arc;

use rzeo_core::client::query::Query;
use rzeo_core::client::{CallError, IteratorId};
use rzeo_tls::client::ClientTls;

use crate::blobs::BlobDir;
use crate::error::BlobFailure;
use crate::shared::Shared;

pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) blobs: Option<BlobDir>,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) server_sync: bool,
}

impl Handle {
    /// Asks the server, and reads its answer.
    pub(crate) async fn ask<Q: Query>(&self, query: Q) -> Result<Q::Answer, CallError> {
        self.shared.ask(|machine, now| machine.ask(now, query)).await?.read::<Q>()
    }

    pub(crate) fn forget(&self, iterator: IteratorId) {
        self.shared.with(|state, _| state.machine.forget_iterators(&[iterator]));
    }

    pub(crate) fn blob_dir(&self) -> Result<&BlobDir, BlobFailure> {
        self.blobs.as_ref().ok_or(BlobFailure::NoDirectory)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
