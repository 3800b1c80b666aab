//! A stream of bytes, and the output that waits to be written to it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use crate::protocol::READ_BYTES_MAX;

/// Maximum number of chunks in one write.
const WRITE_CHUNKS_MAX: usize = 64;

thread_local! {
    /// One read buffer for all connections of a thread: protocols take what they need at once.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into());
}

/// A connected stream of bytes that is polled: a socket of a runtime, a TLS stream, a pipe in memory.
pub trait Stream {
    /// Reads into `buffer`; ready with the number of bytes, 0 at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes from several buffers; ready with the number of bytes taken.
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Sends what the stream has taken and holds in a buffer of its own.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Flushes, then tells the peer that no more bytes come.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A stream with its queue of output.
pub(crate) struct Socket<S> {
    stream: S,
    pub(crate) output: VecDeque<Bytes>,
    /// Whether bytes were written that may be in a buffer of the stream.
    is_unflushed: bool,
}

impl<S: Stream> Socket<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, output: VecDeque::new(), is_unflushed: false }
    }

    /// Writes output, then flushes; ready with the number of bytes that the stream has taken. Pending
    /// also when there is nothing to write.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.output.is_empty() {
            return self.poll_write(cx);
        }
        if self.is_unflushed {
            ready!(self.stream.poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Pending
    }

    /// Writes all output, then closes.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            ready!(self.poll_write(cx))?;
        }
        self.stream.poll_close(cx)
    }

    /// Passes the bytes that are there, up to a maximum, to `receive`; ready with their number.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        bytes_max: usize,
        receive: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let buffer = &mut buffer[..bytes_max.min(READ_BYTES_MAX)];
            let read = ready!(self.stream.poll_read(cx, buffer))?;
            receive(&buffer[..read]);
            Poll::Ready(Ok(read))
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS_MAX];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.output) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        match ready!(self.stream.poll_write_vectored(cx, &slices[..count])) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                self.remove_written(written);
                self.is_unflushed = true;
                Poll::Ready(Ok(written))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn remove_written(&mut self, mut written: usize) {
        while written > 0 {
            let Some(chunk) = self.output.front_mut() else { return };
            if chunk.len() > written {
                return chunk.advance(written);
            }
            written -= chunk.len();
            self.output.pop_front();
        }
    }
}

/// Implements [`Stream`] for an enum of a `Tcp` and a `Unix` variant.
#[cfg(any(feature = "tokio", feature = "smol"))]
macro_rules! either_stream {
    ($socket:ident) => {
        impl Stream for $socket {
            fn poll_read(
                &mut self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                match self {
                    Self::Tcp(stream) => stream.poll_read(cx, buffer),
                    Self::Unix(stream) => stream.poll_read(cx, buffer),
                }
            }

            fn poll_write_vectored(
                &mut self,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self {
                    Self::Tcp(stream) => stream.poll_write_vectored(cx, buffers),
                    Self::Unix(stream) => stream.poll_write_vectored(cx, buffers),
                }
            }

            fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self {
                    Self::Tcp(stream) => stream.poll_flush(cx),
                    Self::Unix(stream) => stream.poll_flush(cx),
                }
            }

            fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self {
                    Self::Tcp(stream) => stream.poll_close(cx),
                    Self::Unix(stream) => stream.poll_close(cx),
                }
            }
        }
    };
}

#[cfg(any(feature = "tokio", feature = "smol"))]
pub(crate) use either_stream;
