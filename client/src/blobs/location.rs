//! The two kinds of blob directories.

use std::sync::Arc;

use super::cache::Cache;
use super::shared::Shared;

/// The directory of a client's blobs, by kind.
#[derive(Clone, Debug)]
pub(super) enum Location {
    Cache(Arc<Cache>),
    Shared(Arc<Shared>),
}
