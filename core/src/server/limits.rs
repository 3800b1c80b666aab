//! What one peer may use.

use core::time::Duration;

/// What a peer may take before it is refused or disconnected.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message in bytes. Records of hundreds of megabytes are legal.
    pub frame_bytes_max: u32,
    /// Bytes queued for a peer that does not read; with more, the next news ends the connection.
    pub backlog_bytes_max: usize,
    /// Bytes queued for a peer beyond which its requests are left unread, and those that were read
    /// wait.
    pub backlog_bytes_high: usize,
    /// Iterators open at once.
    pub iterators_max: usize,
    /// Requests to the storage that wait or are in progress; further ones are left unread.
    pub jobs_max: usize,
    /// How long a peer may take to register, from when its connection was accepted.
    pub register_time_max: Duration,
    /// Operations of one transaction: stores, deletions, checks, undos, blobs.
    pub transaction_stores_max: usize,
    /// Bytes of all records of one transaction; blobs do not count.
    pub transaction_bytes_max: u64,
    /// Bytes of records of an open transaction that are kept in memory; later ones go to a temporary
    /// file, if the storage has such.
    pub transaction_memory_bytes: usize,
    /// Bytes of one blob.
    pub blob_bytes_max: u64,
    /// Blobs of one transaction.
    pub transaction_blobs_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 1 << 30,
            backlog_bytes_max: 256 << 20,
            backlog_bytes_high: 1 << 20,
            iterators_max: 10_000,
            jobs_max: 1_000,
            register_time_max: Duration::from_secs(60),
            transaction_stores_max: 10_000_000,
            transaction_bytes_max: 64 << 30,
            transaction_memory_bytes: 8 << 20,
            blob_bytes_max: 1 << 40,
            transaction_blobs_max: 100_000,
        }
    }
}
