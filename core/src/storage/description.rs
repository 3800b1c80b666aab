//! What a storage is, and its figures.

use alloc::string::String;
use alloc::vec::Vec;

/// The fixed properties of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `getName`: for a FileStorage its path as configured.
    pub name: String,
    /// Whether commits are refused.
    pub read_only: bool,
    /// Whether `undo` works.
    pub supports_undo: bool,
    /// Whether `record_iternext` works.
    pub supports_record_iternext: bool,
    /// `(module, name)` of the Python interfaces that a client may claim, in the order that
    /// Python's storage lists them.
    pub interfaces: Vec<(&'static str, &'static str)>,
    /// The keys that an entry of `history` has, for the storage that keeps the data.
    pub history: HistoryShape,
    /// Whether the storage is the client of another server. That server assigns the tids, handles
    /// one transaction at a time from each of its clients, and accepts commits of other clients,
    /// which [`Storage::subscribe`](super::Storage::subscribe) reports. A proxy must be served directly: no other storage can
    /// be a layer over it.
    pub is_proxy: bool,
}

/// The keys of a `history` entry differ between Python's storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryShape {
    /// The extension's items, then `time user_name description tid size` over them.
    FileStorage,
    /// `time tid serial user_name description extension size`.
    MappingStorage,
}

/// The two figures of an `info` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Info {
    /// Number of objects, deleted ones included until packed.
    pub length: u64,
    /// Bytes of the file up to the last commit.
    pub size: u64,
}
