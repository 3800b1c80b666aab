//! A stream, and what waits to be written to it: the same for both sides of the protocol.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at a time, at most.
pub(crate) const READ_BYTES_MAX: usize = 64 * 1024;

/// Chunks written at a time.
const WRITE_CHUNKS: usize = 64;

thread_local! {
    /// One read buffer for all connections of a worker: machines take what they need at once.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into());
}

/// A stream, and what waits to be written to it.
pub(crate) struct Socket<S> {
    stream: S,
    pub(crate) outgoing: VecDeque<Bytes>,
    /// Whether something was written that may stand in a buffer of the stream.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, outgoing: VecDeque::new(), unflushed: false }
    }

    /// Sends the bytes, then what the stream holds back of them; ready with how many it has taken.
    /// Pending also when nothing is left to be sent.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.outgoing.is_empty() {
            return self.poll_write(cx);
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    /// Tells the peer that no more will come, after all was sent.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            ready!(self.poll_write(cx))?;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Gives what is there, up to so many bytes, to `hear`; ready with how many they are, none at the
    /// end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        bytes_max: usize,
        hear: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let scratch = &mut scratch[..bytes_max.min(READ_BYTES_MAX)];
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            hear(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.outgoing) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        let stream = Pin::new(&mut self.stream);
        match ready!(stream.poll_write_vectored(cx, &slices[..count])) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                self.forget(written);
                self.unflushed = true;
                Poll::Ready(Ok(written))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Drops what the socket has taken.
    fn forget(&mut self, mut written: usize) {
        while written > 0 {
            let Some(chunk) = self.outgoing.front_mut() else { return };
            if chunk.len() > written {
                return chunk.advance(written);
            }
            written -= chunk.len();
            self.outgoing.pop_front();
        }
    }
}
