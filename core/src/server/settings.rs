//! What all sessions of a server share.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::counters::Counters;
use super::limits::Limits;
use crate::storage::Description;
use crate::wire::Codec;

/// What all sessions of a server share, fixed for its life.
#[derive(Debug)]
pub struct ServerSettings {
    /// The encoding announced to clients; they may choose the other one.
    pub announce: Codec,
    /// Whether all writing is refused.
    pub read_only: bool,
    /// Whether clients are asked to resolve write conflicts.
    pub client_conflict_resolution: bool,
    /// What one peer may use.
    pub limits: Limits,
    /// The storages, in the order of the configuration.
    pub storages: Vec<StorageEntry>,
}

/// A storage, as far as sessions need to know it.
#[derive(Debug)]
pub struct StorageEntry {
    /// The name that clients register with.
    pub name: String,
    /// Its name, its interfaces, and what it supports.
    pub description: Description,
    /// Shared with its hub.
    pub counters: Arc<Counters>,
}
