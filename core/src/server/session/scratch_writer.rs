//! A temporary file of the storage, written while its bytes arrive.
//!
//! Bytes that arrive while a write is under way are gathered and go into the next one: one vectored
//! write for many chunks, and at most one under way, so the bytes reach the file in the order in which
//! they arrived. The session stops reading from its peer while too much is gathered
//! ([`ScratchWriter::is_full`]).

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::pickle::Sink as _;
use crate::server::storage_calls::{WriteScratch, Writer};
use crate::storage::Scratch;
use crate::wire::Outgoing;

/// With this many bytes gathered, no more are read. As many can be in the write under way.
const GATHERED_BYTES_MAX: usize = 1 << 20;

/// A file, and the bytes that are on their way into it.
#[derive(Debug)]
pub(super) struct ScratchWriter {
    writer: Writer,
    file: Arc<dyn Scratch>,
    gathered: Outgoing,
    /// Where in the file `gathered` begins.
    at: u64,
    writing: bool,
}

impl ScratchWriter {
    pub(super) fn new(writer: Writer, file: Arc<dyn Scratch>) -> Self {
        Self { writer, file, gathered: Outgoing::new(), at: 0, writing: false }
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

    /// The next write, if there is something to write and no write is under way.
    pub(super) fn next_write(&mut self) -> Option<WriteScratch> {
        if self.writing || self.gathered.is_empty() {
            return None;
        }
        self.writing = true;
        let (writer, file, at) = (self.writer, self.file.clone(), self.at);
        self.at += self.gathered.len() as u64;
        let chunks: Vec<Bytes> = core::iter::from_fn(|| self.gathered.take_chunk()).collect();
        Some(WriteScratch { writer, file, at, chunks })
    }

    /// The write under way is done.
    pub(super) const fn wrote(&mut self) {
        self.writing = false;
    }

    /// Whether everything is in the file.
    pub(super) fn is_written(&self) -> bool {
        !self.writing && self.gathered.is_empty()
    }

    /// Whether no more bytes should be read until some are written.
    pub(super) fn is_full(&self) -> bool {
        self.gathered.len() >= GATHERED_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::NoFile;
    use super::*;
    use crate::server::ids::Ticket;

    #[test]
    fn one_write_is_under_way_and_the_next_one_takes_what_arrived_meanwhile() {
        let mut writer = ScratchWriter::new(Writer::Spool(Ticket(1)), Arc::new(NoFile));
        assert!(writer.next_write().is_none() && writer.is_written());
        assert_eq!(writer.push(&Bytes::from_static(b"abc")), 0);
        let first = writer.next_write().expect("there is something to write");
        assert_eq!((first.at, first.chunks.concat()), (0, b"abc".to_vec()));
        assert_eq!(writer.push(&Bytes::from_static(b"de")), 3);
        assert_eq!(writer.push(&Bytes::from_static(b"f")), 5);
        assert!(writer.next_write().is_none() && !writer.is_written());
        writer.wrote();
        let second = writer.next_write().expect("more has arrived");
        assert_eq!((second.at, second.chunks.concat()), (3, b"def".to_vec()));
        writer.wrote();
        assert!(writer.is_written());
    }
}
