//! The queue of bytes to write to a socket.
//!
//! Short pieces are gathered in one buffer, so that a batch of replies becomes one write. A byte
//! string of [`SHARED_FROM`] bytes or more is chained: a loaded record is not copied between the
//! storage's read and the socket's write.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::Unwritable;
use crate::pickle::Sink;

/// Minimum bytes of a byte string that is chained rather than copied. Measured with 1 KB to 64 KB
/// records over loopback: below 16 KiB a copy is cheaper than another entry in a vectored write.
pub const SHARED_FROM: usize = 16 * 1024;

/// Frames that wait to be written.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The bytes before `tail`.
    chunks: VecDeque<Bytes>,
    /// The buffer that short pieces are appended to.
    tail: BytesMut,
    /// Total bytes of `chunks` and `tail`.
    len: usize,
}

impl Outgoing {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a copy of the bytes.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends the length of the frame that follows.
    pub(super) fn push_length(&mut self, length: usize) -> Result<(), Unwritable> {
        let prefix = u32::try_from(length).map_err(|_| Unwritable::TooLong { length })?;
        self.push_raw(&prefix.to_be_bytes());
        Ok(())
    }

    /// Appends a short payload without an encoding, such as a handshake, as a frame.
    pub fn push_frame(&mut self, payload: &[u8]) {
        self.push_length(payload.len()).expect("handshakes are short");
        self.push_raw(payload);
    }

    /// Takes the next bytes to write. All short pieces between two chained byte strings are one
    /// chunk.
    pub fn take_chunk(&mut self) -> Option<Bytes> {
        let chunk = match self.chunks.pop_front() {
            Some(chunk) => chunk,
            None if self.tail.is_empty() => return None,
            None => self.tail.split().freeze(),
        };
        self.len -= chunk.len();
        Some(chunk)
    }

    /// Whether all bytes were taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of bytes in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Sink for Outgoing {
    fn put(&mut self, bytes: &[u8]) {
        self.push_raw(bytes);
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_FROM {
            return self.push_raw(bytes);
        }
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.chunks.push_back(bytes.clone());
        self.len += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn small_things_share_a_chunk_and_large_ones_share_their_bytes() {
        let record = Bytes::from(vec![7; SHARED_FROM]);
        let mut outgoing = Outgoing::new();
        assert!(outgoing.is_empty());
        outgoing.push_raw(b"a");
        outgoing.push_frame(b"Z5");
        outgoing.put_shared(&record.slice(1..));
        outgoing.put_shared(&record);
        outgoing.put(b"b");
        assert_eq!(outgoing.len(), 7 + 2 * SHARED_FROM);

        let head = outgoing.take_chunk().expect("small things come first");
        assert_eq!(head.len(), 7 + SHARED_FROM - 1);
        assert!(head.starts_with(b"a\0\0\0\x02Z5\x07"));
        let shared = outgoing.take_chunk().expect("then the record");
        assert_eq!(shared.as_ptr(), record.as_ptr());
        assert_eq!(outgoing.take_chunk(), Some(Bytes::from_static(b"b")));
        assert_eq!(outgoing.take_chunk(), None);
        assert!(outgoing.is_empty());
    }
}
