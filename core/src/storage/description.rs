//! What a storage is, and its figures.

use alloc::string::String;
use alloc::vec::Vec;

/// What a storage is, fixed for its life.
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
    /// Which keys an entry of `history` has that the storage itself keeps.
    pub history: HistoryShape,
    /// Whether the data are another server's. That one gives the tids, has one transaction at a time
    /// from each of its clients, and takes commits from others, of which [`Storage::listen`] tells. A
    /// proxy is served as it is: no other storage can be put over it.
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
