//! Whether a call may wait for the disk.

/// Whether the caller's thread may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Answer from memory and page cache, or [`StorageError::WouldBlock`].
    Now,
    /// Take as long as it takes.
    Wait,
}
