//! Blobs on their way out.
//!
//! ```text
//!   sendBlob ──► open ──► receiveBlobStart ──► read ──► receiveBlobChunk… ──► receiveBlobStop, reply
//!                                               ▲            │
//!                                               └────────────┘ while the peer has little to read
//! ```
//!
//! One read is out at a time, and the [`Line`] lets it out only while the peer keeps up: so a blob of
//! any size takes the memory of a few chunks. Chunks name their blob; other answers and notices may
//! come between them. Downloads of one connection go one after the other.
//!
//! A blob that cannot be read to its end gets an error for an answer and no `receiveBlobStop`, without
//! which Python's client never takes what it has for the blob.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;

use bytes::Bytes;

use super::desk::{Desk, Job};
use super::line::{Caller, Line};
use crate::ids::{Oid, Tid};
use crate::server::jobs::StorageCall;
use crate::server::log_line::LogLevel;
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
    /// How much was sent.
    at: u64,
}

impl Downloads {
    /// How many wait for the one that is under way.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl Download {
    fn say(&self, line: &mut Line, name: &str, chunk: Option<Bytes>) {
        let mut args = vec![Value::oid(self.oid), Value::tid(self.serial)];
        args.extend(chunk.map(Value::Bytes));
        line.say(name, args);
    }

    /// Sends what was read, in chunks that share its memory.
    fn send(&mut self, line: &mut Line, mut bytes: Bytes) {
        self.at += bytes.len() as u64;
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            self.say(line, "receiveBlobChunk", Some(chunk));
        }
    }
}

impl Desk {
    pub(super) fn send_blob(&mut self, line: &mut Line, caller: Caller, oid: Oid, serial: Tid) {
        if let Some(refusal) = self.without_blobs("loadBlob") {
            return line.answer(caller, Err(refusal));
        }
        self.downloads.waiting.push_back((caller, oid, serial));
        if self.downloads.current.is_none() {
            self.next_download(line);
        }
    }

    fn next_download(&mut self, line: &mut Line) {
        let next = self.downloads.waiting.pop_front();
        self.downloads.current =
            next.map(|(caller, oid, serial)| Download { caller, oid, serial, at: 0 });
        if let Some(Download { oid, serial, .. }) = self.downloads.current {
            self.perform(line, Job::OpenBlob, StorageCall::OpenBlob { oid, serial });
        }
    }

    /// The storage has opened the blob, or has none such.
    pub(super) fn blob_opened(
        &mut self,
        line: &mut Line,
        opened: Result<Arc<dyn BlobFile>, StorageError>,
    ) {
        match opened {
            Ok(file) => {
                if let Some(download) = &self.downloads.current {
                    download.say(line, "receiveBlobStart", None);
                }
                self.read_blob(line, file);
            }
            Err(error) => self.download_ended(line, Err(error)),
        }
    }

    fn read_blob(&mut self, line: &mut Line, file: Arc<dyn BlobFile>) {
        let Some(download) = &self.downloads.current else { return };
        let at = download.at;
        if at < file.len() {
            let call = StorageCall::ReadBlob { file: file.clone(), at, len: READ_BYTES };
            return self.perform(line, Job::ReadBlob(file), call);
        }
        download.say(line, "receiveBlobStop", None);
        self.download_ended(line, Ok(()));
    }

    /// Some more of the blob was read.
    pub(super) fn blob_read(
        &mut self,
        line: &mut Line,
        file: Arc<dyn BlobFile>,
        read: Result<Bytes, StorageError>,
    ) {
        let Some(download) = &mut self.downloads.current else { return };
        match read {
            Ok(bytes) if bytes.is_empty() => {
                let error = StorageError::Corrupt {
                    file: format!("blob of object {} at {}", download.oid, download.serial),
                    position: download.at,
                    what: format!("it ends here, but had {} bytes when it was opened", file.len()),
                };
                self.download_ended(line, Err(error));
            }
            Ok(bytes) => {
                download.send(line, bytes);
                self.read_blob(line, file);
            }
            Err(error) => self.download_ended(line, Err(error)),
        }
    }

    fn download_ended(&mut self, line: &mut Line, result: Result<(), StorageError>) {
        let Some(Download { caller, oid, serial, at }) = self.downloads.current.take() else {
            return;
        };
        match &result {
            Ok(()) | Err(StorageError::NoSuchBlob { .. }) => {}
            Err(error) => line.log(
                LogLevel::Error,
                &format!("blob of object {oid} at {serial} not sent, after {at} bytes: {error}"),
            ),
        }
        line.answer(caller, result.map(|()| Reply::Nil).map_err(Refusal::from));
        self.next_download(line);
    }
}
