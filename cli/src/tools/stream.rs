//! Sockets of either kind, for tools that pass on what others say.

use std::io;
use std::path::PathBuf;

use rzeo_zconfig::SocketAddress;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Where no host is given; [`parse`] has put it there already.
const THIS_MACHINE: &str = "127.0.0.1";

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// Connects.
pub(super) async fn connect(address: &SocketAddress) -> io::Result<Box<dyn Stream>> {
    match address {
        SocketAddress::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        SocketAddress::Tcp { host, port } => {
            let host = host.as_deref().unwrap_or(THIS_MACHINE);
            let stream = TcpStream::connect((host, port.unwrap_or(0))).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
    }
}

/// Where connections come in.
pub(super) enum Listener {
    Tcp(TcpListener),
    /// Its path is removed in the end.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens; on any free port where no port is given.
    pub(super) async fn bind(address: &SocketAddress) -> io::Result<Self> {
        match address {
            SocketAddress::Unix(path) => Ok(Self::Unix(UnixListener::bind(path)?, path.clone())),
            SocketAddress::Tcp { host, port } => {
                let host = host.as_deref().unwrap_or(THIS_MACHINE);
                Ok(Self::Tcp(TcpListener::bind((host, port.unwrap_or(0))).await?))
            }
        }
    }

    /// Where it listens: `HOST:PORT`, or a path.
    pub(super) fn place(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            Self::Unix(_, path) => Ok(path.display().to_string()),
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Somebody may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A server's or a listener's address on the command line: as for `rzeo serve`, or `unix:PATH`.
pub(super) fn parse(text: &str) -> Result<SocketAddress, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err(format!("{text:?} lacks the path of a socket")),
        Some(path) => Ok(SocketAddress::Unix(path.into())),
        None => SocketAddress::parse_peer(text).map_err(|error| error.to_string()),
    }
}
