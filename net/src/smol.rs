//! Connections on smol, and on any executor whose streams have the traits of futures-io.
//!
//! Timers and blocking threads are smol's. They work on any executor, async-std's included, because smol
//! runs them on threads of its own.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use smol::io::{AsyncRead, AsyncWrite};
use smol::{Async, Timer as SmolTimer};

use crate::address::{Address, LOOPBACK};
use crate::listen::{AcceptedStream, Listener, prepare_tcp};
use crate::runtime::{Runtime, Timer};
use crate::stream::Stream;

/// The timers and threads of smol, on whatever executor the task runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Smol;

impl Runtime for Smol {
    type Timer = SmolTimer;

    const EVENTS_PER_TURN: Option<usize> = Some(32);

    fn timer(&self) -> SmolTimer {
        SmolTimer::never()
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        smol::future::yield_now()
    }

    fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        smol::unblock(work).detach();
    }
}

impl Timer for SmolTimer {
    fn set_after(self: Pin<&mut Self>, wait: Duration) {
        self.get_mut().set_after(wait);
    }

    fn poll_expired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx).map(drop)
    }
}

/// Any stream with the traits of futures-io.
#[derive(Debug)]
pub struct FuturesStream<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for FuturesStream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
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
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// A socket of either kind.
#[derive(Debug)]
pub enum SmolSocket {
    /// A TCP connection.
    Tcp(FuturesStream<Async<TcpStream>>),
    /// A connection through a Unix socket.
    Unix(FuturesStream<Async<UnixStream>>),
}

impl TryFrom<AcceptedStream> for SmolSocket {
    type Error = io::Error;

    fn try_from(accepted: AcceptedStream) -> io::Result<Self> {
        Ok(match accepted {
            AcceptedStream::Tcp(stream) => {
                Self::Tcp(FuturesStream(Async::new_nonblocking(stream)?))
            }
            AcceptedStream::Unix(stream) => {
                Self::Unix(FuturesStream(Async::new_nonblocking(stream)?))
            }
        })
    }
}

crate::stream::either_stream!(SmolSocket);

/// Connects to an address. A name's addresses are tried in turn.
///
/// # Errors
/// If the name cannot be resolved, or the last of its addresses cannot be connected to.
pub async fn connect(address: &Address) -> io::Result<SmolSocket> {
    Ok(match address {
        Address::Tcp { host, port } => {
            let host = host.as_deref().unwrap_or(LOOPBACK);
            SmolSocket::Tcp(FuturesStream(connect_tcp(host, *port).await?))
        }
        Address::Unix(path) => {
            SmolSocket::Unix(FuturesStream(Async::<UnixStream>::connect(path).await?))
        }
    })
}

/// Connects to a host. A name's addresses are tried in turn.
///
/// # Errors
/// As [`connect`].
pub async fn connect_tcp(host: &str, port: u16) -> io::Result<Async<TcpStream>> {
    let host = host.to_owned();
    let addresses = smol::unblock(move || (host.as_str(), port).to_socket_addrs()).await?;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => {
                prepare_tcp(&stream)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A listener whose connections can be awaited.
#[derive(Debug)]
pub struct SmolListener(Async<Listener>);

impl SmolListener {
    /// Registers the listener with smol's reactor.
    ///
    /// # Errors
    /// If the system refuses that.
    pub fn new(listener: Listener) -> io::Result<Self> {
        Async::new_nonblocking(listener).map(Self)
    }

    /// The next connection, and the name of its peer for the log.
    ///
    /// # Errors
    /// If the system is out of descriptors or memory. The listener can still be used, after a while.
    pub async fn accept(&self) -> io::Result<(AcceptedStream, String)> {
        self.0.read_with(Listener::accept).await
    }
}
