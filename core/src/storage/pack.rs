//! A pack that is running.

use alloc::boxed::Box;

use super::StorageError;

/// A pack that has done everything that can run beside writers.
pub trait PreparedPack: Send {
    /// Copies the transactions committed meanwhile and switches to the packed file. The caller
    /// holds back all writers during the call. May always wait for the disk.
    ///
    /// # Errors
    /// `Disk`, `Corrupt`; the storage then stays as it was before.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// The progress of a pack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackProgress {
    /// The step that is running; steps follow one another in the order of [`PackStep`].
    pub step: PackStep,
    /// How much of this step is done, from 0 to 1. Commits during the pack make a step longer.
    pub done: f64,
}

/// The steps of a pack, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackStep {
    /// Finding each object's revision as of the pack time.
    Survey,
    /// Finding the reachable objects.
    Mark,
    /// Copying the records that stay.
    Copy,
    /// Waiting for the writers, and switching to the new file.
    Switch,
}
