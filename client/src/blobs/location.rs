//! Where the blobs of a client are.

use std::sync::Arc;

use super::cache::Cache;
use super::shared::Shared;

/// Where the blobs of a client are.
#[derive(Clone, Debug)]
pub(super) enum Location {
    Cache(Arc<Cache>),
    Shared(Arc<Shared>),
}
