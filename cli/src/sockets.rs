//! Sockets for everything but serving: connections with or without TLS, an async listener, and the file of a
//! Unix socket.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::task::{Context, Poll};

use rzeo_net::{Address, BoundSockets, ListenError};
use rzeo_tls::client::ClientTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsConnector;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects, with TLS if there is a configuration for it.
pub(crate) async fn connect(
    address: &Address,
    tls: Option<&ClientTls>,
) -> io::Result<Box<dyn Stream>> {
    secure(connect_plain(address).await?, address, tls).await
}

/// Connects without TLS.
pub(crate) async fn connect_plain(address: &Address) -> io::Result<Box<dyn Stream>> {
    match address {
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Address::Tcp { port, .. } => {
            let host = address.host_to_connect().unwrap_or_default();
            let stream = TcpStream::connect((host, *port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
    }
}

/// Starts TLS on a connection, if there is a configuration for it.
pub(crate) async fn secure(
    stream: Box<dyn Stream>,
    address: &Address,
    tls: Option<&ClientTls>,
) -> io::Result<Box<dyn Stream>> {
    let Some(tls) = tls else { return Ok(stream) };
    let name = tls.server_name(address.host_to_connect()).map_err(io::Error::other)?;
    let secured = TlsConnector::from(tls.config().clone()).connect(name, stream).await?;
    Ok(Box::new(secured))
}

/// Binds an address for a server: refuses one in use, and removes the file that a killed server has left.
///
/// # Errors
/// As for [`rzeo_net::bind`].
pub(crate) fn bind(address: &Address) -> Result<(BoundSockets, SocketFile), ListenError> {
    if let Address::Unix(path) = address
        && std::os::unix::net::UnixStream::connect(path).is_ok()
    {
        return Err(ListenError::InUse { address: address.clone() });
    }
    let file = SocketFile::remove_stale(address);
    Ok((rzeo_net::bind(address)?, file))
}

/// The file of a Unix socket, removed in the end.
#[derive(Debug)]
pub(crate) struct SocketFile(Option<PathBuf>);

impl SocketFile {
    fn remove_stale(address: &Address) -> Self {
        let file = match address {
            Address::Unix(path) => Self(Some(path.clone())),
            Address::Tcp { .. } => Self(None),
        };
        file.remove();
        file
    }

    /// Removes the file if it is a socket. If that fails, binding fails and says why.
    fn remove(&self) {
        if let Some(path) = &self.0
            && fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        {
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Listening sockets in a runtime.
pub(crate) struct Listener(Vec<Socket>);

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Registers the sockets with the runtime that the caller runs in.
    pub(crate) fn new(sockets: Vec<rzeo_net::Listener>) -> io::Result<Self> {
        let register = |socket| match socket {
            rzeo_net::Listener::Tcp(socket) => TcpListener::from_std(socket).map(Socket::Tcp),
            rzeo_net::Listener::Unix(socket) => UnixListener::from_std(socket).map(Socket::Unix),
        };
        sockets.into_iter().map(register).collect::<io::Result<_>>().map(Self)
    }

    /// The next connection of any of the sockets.
    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        for socket in &self.0 {
            let accepted: Poll<io::Result<Box<dyn Stream>>> = match socket {
                Socket::Tcp(socket) => socket.poll_accept(cx).map(|accepted| {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    Ok(Box::new(stream) as _)
                }),
                Socket::Unix(socket) => {
                    socket.poll_accept(cx).map_ok(|(stream, _)| Box::new(stream) as _)
                }
            };
            if accepted.is_ready() {
                return accepted;
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_stale_socket_is_removed_and_other_files_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sock");
        let address = Address::unix(&path);
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(bind(&address), Err(ListenError::InUse { .. })));
        drop(listener);
        assert!(path.exists(), "it is stale");
        let bound = bind(&address).unwrap();
        assert!(path.exists());
        drop(bound);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&address), Err(ListenError::PathExists { .. })));
        assert!(path.exists());
    }
}
