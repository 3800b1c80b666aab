//! Blobs on their way to the peer.
//!
//! ```text
//!   sendBlob ──► open ──► receiveBlobStart ──► read ──► receiveBlobChunk… ──► receiveBlobStop, reply
//!                                               ▲            │
//!                                               └────────────┘ while the peer has little to read
//! ```
//!
//! One read is under way at a time, and it is let out only while the peer keeps up
//! ([`CallQueue`](super::call_queue::CallQueue)): so a blob of any size takes the memory of a few
//! chunks. Chunks name their blob; other answers and notifications may come between them. The
//! downloads of one connection follow each other.
//!
//! A blob that cannot be read to its end is answered with an error and without `receiveBlobStop`. Python's
//! client does not take what it received for the blob without that.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;

use bytes::Bytes;

use super::context::Context;
use crate::ids::{Oid, Tid};
use crate::server::caller::Caller;
use crate::server::log_line::LogLevel;
use crate::server::storage_calls::{OpenBlob, OpenedBlob, ReadBlob, ReadBlobPart};
use crate::storage::{BlobFile, StorageError};
use crate::value::Value;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;

/// Bytes of a blob in one message, as Python's server cuts it.
const CHUNK_BYTES: usize = 59_000;

/// Bytes read at a time.
const READ_BYTES: usize = 4 * CHUNK_BYTES;

/// The downloads of a connection.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    current: Option<Download>,
    waiting: VecDeque<(Caller, Oid, Tid)>,
}

#[derive(Debug)]
struct Download {
    caller: Caller,
    oid: Oid,
    serial: Tid,
    /// Bytes sent so far.
    at: u64,
}

impl Downloads {
    /// Downloads that wait for the one under way.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl Download {
    fn send_part(&self, cx: &mut Context<'_>, name: &str, chunk: Option<Bytes>) {
        let mut args = vec![Value::oid(self.oid), Value::tid(self.serial)];
        args.extend(chunk.map(Value::Bytes));
        cx.out.send_part(name, args);
    }

    /// Sends what was read, in chunks that share its memory.
    fn send(&mut self, cx: &mut Context<'_>, mut bytes: Bytes) {
        self.at += bytes.len() as u64;
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            self.send_part(cx, "receiveBlobChunk", Some(chunk));
        }
    }
}

impl Downloads {
    /// `sendBlob`.
    pub(super) fn send_blob(
        &mut self,
        cx: &mut Context<'_>,
        caller: Caller,
        oid: Oid,
        serial: Tid,
    ) {
        if let Err(refusal) = cx.refuse_without_blobs("loadBlob") {
            return cx.answer(caller, Err(refusal));
        }
        self.waiting.push_back((caller, oid, serial));
        if self.current.is_none() {
            self.start_next(cx);
        }
    }

    fn start_next(&mut self, cx: &mut Context<'_>) {
        let next = self.waiting.pop_front();
        self.current = next.map(|(caller, oid, serial)| Download { caller, oid, serial, at: 0 });
        if let Some(Download { oid, serial, .. }) = self.current {
            cx.perform(OpenBlob { oid, serial });
        }
    }

    /// The storage has opened the blob, or has no such blob.
    pub(super) fn opened(&mut self, cx: &mut Context<'_>, opened: OpenedBlob) {
        match opened {
            Ok(file) => {
                if let Some(download) = &self.current {
                    download.send_part(cx, "receiveBlobStart", None);
                }
                self.read_on(cx, file);
            }
            Err(error) => self.end(cx, Err(error)),
        }
    }

    fn read_on(&mut self, cx: &mut Context<'_>, file: Arc<dyn BlobFile>) {
        let Some(download) = &self.current else { return };
        let at = download.at;
        if at < file.len() {
            return cx.perform(ReadBlob { file, at, len: READ_BYTES });
        }
        download.send_part(cx, "receiveBlobStop", None);
        self.end(cx, Ok(()));
    }

    /// The storage has read the next part of the blob.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, (file, read): ReadBlobPart) {
        let Some(download) = &mut self.current else { return };
        match read {
            Ok(bytes) if bytes.is_empty() => {
                let error = StorageError::Corrupt {
                    file: format!("blob of object {} at {}", download.oid, download.serial),
                    position: download.at,
                    what: format!("it ends here, but had {} bytes when it was opened", file.len()),
                };
                self.end(cx, Err(error));
            }
            Ok(bytes) => {
                download.send(cx, bytes);
                self.read_on(cx, file);
            }
            Err(error) => self.end(cx, Err(error)),
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, result: Result<(), StorageError>) {
        let Some(Download { caller, oid, serial, at }) = self.current.take() else { return };
        match &result {
            Ok(()) | Err(StorageError::NoSuchBlob { .. }) => {}
            Err(error) => cx.out.log(
                LogLevel::Error,
                &format!("blob of object {oid} at {serial} not sent, after {at} bytes: {error}"),
            ),
        }
        cx.answer(caller, result.map(|()| Reply::Nil).map_err(Refusal::from));
        self.start_next(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use crate::server::storage_calls::Job;
    use crate::storage::Patience;

    /// A blob of this many zeros.
    #[derive(Debug)]
    struct Zeros(u64);

    impl BlobFile for Zeros {
        fn len(&self) -> u64 {
            self.0
        }

        fn read(&self, _: u64, _: usize, _: Patience) -> Result<Bytes, StorageError> {
            Ok(Bytes::new())
        }
    }

    #[test]
    fn the_second_download_starts_when_the_first_has_ended() {
        let mut bench = Bench::new();
        let mut downloads = Downloads::default();
        for number in 1..=2 {
            let caller = Caller::numbered(number);
            downloads.send_blob(&mut bench.context(), caller, Oid(1), Tid(1));
        }
        assert_eq!((bench.jobs().len(), downloads.waiting()), (1, 1));
        downloads.opened(&mut bench.context(), Ok(Arc::new(Zeros(0))));
        assert!(matches!(bench.jobs().as_slice(), [Job::OpenBlob(_)]));
        assert_eq!(bench.replies(), [(1, Value::None)]);
    }

    #[test]
    fn a_blob_that_ends_too_early_is_an_error() {
        let mut bench = Bench::new();
        let mut downloads = Downloads::default();
        downloads.send_blob(&mut bench.context(), Caller::numbered(1), Oid(1), Tid(1));
        let file: Arc<dyn BlobFile> = Arc::new(Zeros(9));
        downloads.opened(&mut bench.context(), Ok(file.clone()));
        downloads.read(&mut bench.context(), (file, Ok(Bytes::new())));
        let replies = bench.replies();
        let [(1, error)] = replies.as_slice() else { panic!("one reply expected: {replies:?}") };
        assert_ne!(*error, Value::None);
    }
}
