//! A pack that is running.

use alloc::boxed::Box;

use super::StorageError;

/// A pack that has done all it can without stopping writers.
pub trait PreparedPack: Send {
    /// Copies what was committed meanwhile and switches to the packed file. The caller keeps all
    /// writers out meanwhile. Always may wait for the disk.
    ///
    /// # Errors
    /// `Disk`, `Corrupt`; the storage is then what it was before.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// How far a pack has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackProgress {
    /// What it does now.
    pub step: PackStep,
    /// How much of this step is done, from 0 to 1. Commits that come meanwhile make a step longer.
    pub done: f64,
}

/// What a pack does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackStep {
    /// Finding each object's revision as of the pack time.
    Survey,
    /// Finding what can be reached.
    Mark,
    /// Copying what stays.
    Copy,
    /// Waiting until nobody writes, and switching.
    Switch,
}
