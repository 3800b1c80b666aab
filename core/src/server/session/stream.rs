//! A temporary file of the storage, written while its bytes arrive.
//!
//! Whatever arrives while a write is out is gathered, and goes into the next one: one vectored write
//! for many chunks, at most one out at a time, so the bytes get into the file in the order in which
//! they came. What is gathered is bounded by whoever listens to the peer: see [`Stream::is_full`].

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::pickle::Sink as _;
use crate::server::jobs::StorageCall;
use crate::storage::Scratch;
use crate::wire::Outgoing;

/// From so many bytes on that wait to be written, no more are asked for. As many can be in the write
/// that is out.
const GATHERED_BYTES_MAX: usize = 1 << 20;

/// A file and what is on its way into it.
#[derive(Debug)]
pub(super) struct Stream {
    file: Arc<dyn Scratch>,
    gathered: Outgoing,
    /// Where in the file `gathered` begins.
    at: u64,
    writing: bool,
}

impl Stream {
    pub(super) fn new(file: Arc<dyn Scratch>) -> Self {
        Self { file, gathered: Outgoing::new(), at: 0, writing: false }
    }

    pub(super) fn file(&self) -> &Arc<dyn Scratch> {
        &self.file
    }

    /// Appends bytes; returns where in the file they begin.
    pub(super) fn push(&mut self, bytes: &Bytes) -> u64 {
        let at = self.at + self.gathered.len() as u64;
        self.gathered.put_shared(bytes);
        at
    }

    /// The next write, if there is something to write and none is out.
    pub(super) fn next_write(&mut self) -> Option<StorageCall> {
        if self.writing || self.gathered.is_empty() {
            return None;
        }
        self.writing = true;
        let (file, at) = (self.file.clone(), self.at);
        self.at += self.gathered.len() as u64;
        let chunks: Vec<Bytes> = core::iter::from_fn(|| self.gathered.take_chunk()).collect();
        Some(StorageCall::Write { file, at, chunks })
    }

    /// The write that was out is done.
    pub(super) const fn wrote(&mut self) {
        self.writing = false;
    }

    /// Whether everything is in the file.
    pub(super) fn is_written(&self) -> bool {
        !self.writing && self.gathered.is_empty()
    }

    /// Whether no more bytes should be asked for until some are written.
    pub(super) fn is_full(&self) -> bool {
        self.gathered.len() >= GATHERED_BYTES_MAX
    }
}
