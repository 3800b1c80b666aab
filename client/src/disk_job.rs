//! What the thread for files is given to do.

use bytes::Bytes;
use futures_channel::oneshot;
use rzeo_core::client::cache::Snapshot;
use rzeo_core::client::{Answer, BlobPart, CallError, CallId, TxnId};
use rzeo_core::ids::{Oid, Tid};

use crate::blobs::{Blob, BlobError, Download, Upload};

/// What is to be done.
pub(crate) enum DiskJob {
    /// Append to the journal of the cache.
    Journal(Bytes),
    /// Write it anew.
    Rewrite(Snapshot),
    /// A blob was asked for.
    Download(Oid, Tid, Incoming),
    /// It comes.
    Write(Oid, Tid, BlobPart),
    /// All that will come of it has come.
    Downloaded(Oid, Tid),
    /// One more blob of a transaction.
    Upload(TxnId, Upload),
    /// Its bytes are to be sent.
    Read {
        /// Of which transaction.
        txn: TxnId,
        /// Which of its blobs.
        blob: usize,
        /// From where.
        at: u64,
        /// How many.
        len: usize,
    },
    /// The transaction is over. If it is committed, its blobs stay. Then somebody is to be told so.
    Settle(TxnId, CallId, Result<Answer, CallError>),
    /// It is given up.
    Discard(TxnId),
}

impl DiskJob {
    /// How many bytes are kept in memory for it.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Journal(bytes) | Self::Write(_, _, BlobPart::Chunk(bytes)) => bytes.len(),
            _ => 0,
        }
    }
}

/// A download, and who waits for it.
pub(crate) struct Incoming {
    pub(crate) download: Download,
    pub(crate) done: oneshot::Sender<Result<Blob, BlobError>>,
}
