//! Whether a call may wait for the disk.

/// Whether the caller's thread may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Do not wait: answer from memory and page cache, or return [`StorageError::WouldBlock`](super::StorageError::WouldBlock).
    Now,
    /// Wait for the disk if necessary.
    Wait,
}
