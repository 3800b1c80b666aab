//! Sockets to listen on, and the connections that come out of them: everything that needs no runtime.
//!
//! A runtime only waits until a [`Listener`] can be read and calls [`Listener::accept`]. What comes
//! out is a socket of the standard library, prepared and not blocking.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// How long a peer may be silent before the system asks whether it is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// How often it asks then.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// Connections that have not been accepted yet.
const BACKLOG: i32 = 1024;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or number of a network interface, and a port; 0 means any free one.
    Tcp {
        /// `None` for all interfaces.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// As the configuration spells it, IPv6 in brackets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: None, port } => write!(f, ":{port}"),
            Self::Tcp { host: Some(host), port } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp { host: Some(host), port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An address on which the server cannot listen.
#[derive(Debug)]
pub struct ListenError {
    /// The address.
    pub address: Address,
    /// What the system says.
    pub error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.error)
    }
}

impl std::error::Error for ListenError {}

/// A socket that listens. Clients can connect; they are served when a runtime accepts them.
#[derive(Debug)]
pub enum Listener {
    /// For connections over the network.
    Tcp(TcpListener),
    /// For connections within the machine.
    Unix(UnixListener),
}

/// A connection as the system gave it, prepared for serving.
#[derive(Debug)]
pub enum Stream {
    /// Over the network.
    Tcp(TcpStream),
    /// Within the machine.
    Unix(UnixStream),
}

/// Listens; on a name with several addresses, and on all interfaces, with several sockets, IPv4
/// first. Whoever made a Unix socket's file removes it.
///
/// # Errors
/// A name that does not resolve, a port in use, a path that is not free.
pub fn listen(address: &Address) -> Result<Vec<Listener>, ListenError> {
    let sockets = match address {
        Address::Tcp { host, port } => bind_tcp(host.as_deref(), *port),
        Address::Unix(path) => bind_unix(path).map(|socket| vec![socket]),
    };
    sockets.map_err(|error| ListenError { address: address.clone(), error })
}

impl Listener {
    /// Where it listens: the port is the real one.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(|address| Address::Tcp {
                host: Some(address.ip().to_string()),
                port: address.port(),
            }),
            Self::Unix(socket) => {
                let address = socket.local_addr()?;
                let path = address.as_pathname().unwrap_or_else(|| Path::new("(no path)"));
                Ok(Address::Unix(path.to_owned()))
            }
        }
    }

    /// The next connection that waits, and the name of its peer for the log. Connections that were
    /// lost while they waited are passed over.
    ///
    /// # Errors
    /// `WouldBlock` if none waits; otherwise the system has run out of something.
    pub fn accept(&self) -> io::Result<(Stream, String)> {
        loop {
            let lost = match self.accept_one() {
                Ok((stream, peer)) => match stream.prepare() {
                    Ok(()) => return Ok((stream, peer)),
                    Err(error) => error,
                },
                Err(error) if is_of_the_peer(&error) => error,
                Err(error) => return Err(error),
            };
            tracing::debug!("a connection was lost while it waited: {lost}");
        }
    }

    /// As Python's server names peers in its log.
    fn accept_one(&self) -> io::Result<(Stream, String)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                Ok((Stream::Tcp(stream), format!("{}:{}", peer.ip(), peer.port())))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                Ok((Stream::Unix(stream), "unix".to_owned()))
            }
        }
    }
}

impl Stream {
    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                prepare_tcp(stream)?;
                stream.set_nonblocking(true)
            }
            Self::Unix(stream) => stream.set_nonblocking(true),
        }
    }
}

/// Small messages go out at once. A peer whose machine is gone without a word is found by the system:
/// a client may hold locks, and no ZEO server asks whether it is there; a server may be replaced by
/// another.
///
/// # Errors
/// If the system refuses that.
pub fn prepare_tcp(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Whether one connection is lost and nothing else has happened: Linux gives what the network said
/// about a connection that waited as the error of `accept`.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
    )
}

fn bind_tcp(host: Option<&str>, port: u16) -> io::Result<Vec<Listener>> {
    let Some(host) = host else {
        let v4 = bind_socket(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))?;
        // A machine without IPv6 is served by IPv4 alone.
        let v6 = bind_socket(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
        return Ok([Some(v4), v6.ok()].into_iter().flatten().collect());
    };
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    addresses.into_iter().map(bind_socket).collect()
}

/// `SO_REUSEADDR`, so that a server can be restarted at once; IPv6 sockets leave IPv4 alone.
fn bind_socket(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Listener::Tcp(socket.into()))
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let socket = UnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Unix(socket))
}
