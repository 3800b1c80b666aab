//! What the thread for files is given to do.

use bytes::Bytes;
use futures_channel::oneshot;
use rzeo_core::client::cache::Snapshot;
use rzeo_core::client::{Answer, BlobPart, CallError, CallId, TxnId};
use rzeo_core::{Oid, Tid};

use crate::blobs::{Blob, BlobError, Download, Upload};

/// A job of the thread for files.
pub(crate) enum DiskJob {
    /// Append to the journal of the cache.
    Journal(Bytes),
    /// Replace the journal with a compact one.
    Rewrite(Snapshot),
    /// A blob was requested: its bytes follow.
    Download(Oid, Tid, Incoming),
    /// A part of a blob.
    Write(Oid, Tid, BlobPart),
    /// The download has ended; no more parts follow.
    Downloaded(Oid, Tid),
    /// A further blob of a transaction.
    Upload(TxnId, Upload),
    /// Read a piece of a blob, to be sent.
    Read {
        txn: TxnId,
        /// Number of the blob in the transaction.
        blob: usize,
        /// Offset of the piece.
        at: u64,
        /// Length of the piece.
        len: usize,
    },
    /// The transaction has ended: keep its blobs if it is committed, then give the answer.
    Settle(TxnId, CallId, Result<Answer, CallError>),
    /// The transaction is aborted.
    Discard(TxnId),
}

impl DiskJob {
    /// Number of bytes that it keeps in memory.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Journal(bytes) | Self::Write(_, _, BlobPart::Chunk(bytes)) => bytes.len(),
            _ => 0,
        }
    }
}

/// A download, and the channel for its result.
pub(crate) struct Incoming {
    pub(crate) download: Download,
    pub(crate) done: oneshot::Sender<Result<Blob, BlobError>>,
}
