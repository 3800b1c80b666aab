//! What one peer may use.

use core::time::Duration;

/// Limits of one peer. Beyond them it is refused, disconnected, or not read from.
///
/// Most are settings of `rzeo serve`; `cli/src/serve.rs` has their names in configuration files.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum bytes of a message. Records of hundreds of megabytes are legal.
    pub frame_bytes_max: u32,
    /// Maximum bytes queued for a peer that does not read. With more, the next notification ends the
    /// connection.
    pub backlog_bytes_max: usize,
    /// Maximum bytes queued for a peer while its requests are read and performed.
    pub backlog_bytes_high: usize,
    /// Maximum number of open iterators.
    pub iterators_max: usize,
    /// Maximum number of requests to the storage that wait or are in progress. Further ones are left
    /// unread.
    pub jobs_max: usize,
    /// Maximum time between the acceptance of a connection and its registration.
    pub register_time_max: Duration,
    /// Maximum number of operations of one transaction: stores, deletions, checks, undos, blobs.
    pub transaction_stores_max: usize,
    /// Maximum bytes of all records of one transaction; blobs do not count.
    pub transaction_bytes_max: u64,
    /// Maximum bytes of records of an open transaction in memory. Later records go to a temporary file,
    /// if the storage has temporary files.
    pub transaction_memory_bytes: usize,
    /// Maximum bytes of one blob.
    pub blob_bytes_max: u64,
    /// Maximum number of blobs of one transaction.
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
