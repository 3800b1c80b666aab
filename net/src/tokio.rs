//! Connections on tokio.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

use crate::address::{Address, LOOPBACK};
use crate::listen::{AcceptedStream, Listener, prepare_tcp};
use crate::runtime::{Runtime, Timer};
use crate::stream::Stream;

/// The current runtime, which needs its I/O and its timers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl Runtime for Tokio {
    type Timer = Sleep;

    /// Every task has a budget.
    const EVENTS_PER_TURN: Option<usize> = None;

    fn timer(&self) -> Sleep {
        tokio::time::sleep(Duration::ZERO)
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }

    fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        tokio::task::spawn_blocking(work);
    }
}

impl Timer for Sleep {
    fn set_after(self: Pin<&mut Self>, wait: Duration) {
        self.reset(Instant::now() + wait);
    }

    fn poll_expired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx)
    }
}

/// Any stream with tokio's traits.
#[derive(Debug)]
pub struct TokioStream<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for TokioStream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A socket of either kind.
#[derive(Debug)]
pub enum TokioSocket {
    /// A TCP connection.
    Tcp(TokioStream<TcpStream>),
    /// A connection through a Unix socket.
    Unix(TokioStream<UnixStream>),
}

impl TryFrom<AcceptedStream> for TokioSocket {
    type Error = io::Error;

    fn try_from(accepted: AcceptedStream) -> io::Result<Self> {
        Ok(match accepted {
            AcceptedStream::Tcp(stream) => Self::Tcp(TokioStream(TcpStream::from_std(stream)?)),
            AcceptedStream::Unix(stream) => Self::Unix(TokioStream(UnixStream::from_std(stream)?)),
        })
    }
}

crate::stream::either_stream!(TokioSocket);

/// Connects to an address. A name's addresses are tried in turn.
///
/// # Errors
/// If the name cannot be resolved, or the last of its addresses cannot be connected to.
pub async fn connect(address: &Address) -> io::Result<TokioSocket> {
    Ok(match address {
        Address::Tcp { host, port } => {
            let host = host.as_deref().unwrap_or(LOOPBACK);
            TokioSocket::Tcp(TokioStream(connect_tcp(host, *port).await?))
        }
        Address::Unix(path) => TokioSocket::Unix(TokioStream(UnixStream::connect(path).await?)),
    })
}

/// Connects to a host. A name's addresses are tried in turn.
///
/// # Errors
/// As [`connect`].
pub async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    prepare_tcp(&stream)?;
    Ok(stream)
}

/// A listener whose connections can be awaited.
#[derive(Debug)]
pub struct TokioListener(AsyncFd<Listener>);

impl TokioListener {
    /// Registers the listener with the current runtime.
    ///
    /// # Errors
    /// If the system refuses that.
    #[expect(deprecated, reason = "its replacement is unsafe; a listener keeps its descriptor")]
    pub fn new(listener: Listener) -> io::Result<Self> {
        AsyncFd::with_interest(listener, Interest::READABLE).map(Self)
    }

    /// The next connection, and the name of its peer for the log.
    ///
    /// # Errors
    /// If the system is out of descriptors or memory. The listener can still be used, after a while.
    pub async fn accept(&self) -> io::Result<(AcceptedStream, String)> {
        self.0.async_io(Interest::READABLE, Listener::accept).await
    }
}
