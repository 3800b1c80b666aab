//! Listening sockets, and the life of the server.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rzeo_host::Host;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;

use crate::workers::{Accepted, Workers};

/// How long connections may take to end when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// How long to wait when the system has no more descriptors for a new connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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

/// A server that listens.
pub struct Server {
    host: Arc<Host>,
    sockets: Vec<std::net::TcpListener>,
    unix: Option<(std::os::unix::net::UnixListener, PathBuf)>,
}

impl Server {
    /// Listens. Clients that connect are served when [`Self::run`] is called.
    ///
    /// # Errors
    /// A name that does not resolve, a port in use, a path that is not free.
    pub fn bind(host: Arc<Host>, address: &Address) -> Result<Self, ListenError> {
        let failed = |error| ListenError { address: address.clone(), error };
        let (sockets, unix) = match address {
            Address::Tcp { host: name, port } => {
                (bind_tcp(name.as_deref(), *port).map_err(failed)?, None)
            }
            Address::Unix(path) => {
                let listener = bind_unix(path).map_err(failed)?;
                (Vec::new(), Some((listener, path.clone())))
            }
        };
        Ok(Self { host, sockets, unix })
    }

    /// Where it listens: the port is the real one, and IPv4 comes first.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        let tcp = self.sockets.iter().filter_map(|socket| socket.local_addr().ok());
        let tcp = tcp.map(|address| Address::Tcp {
            host: Some(address.ip().to_string()),
            port: address.port(),
        });
        let unix = self.unix.iter().map(|(_, path)| Address::Unix(path.clone()));
        tcp.chain(unix).collect()
    }

    /// Serves until `stop` is done; then stops listening and ends all connections. The host is not
    /// closed. Blocks the calling thread.
    ///
    /// # Errors
    /// If the runtime cannot be made.
    pub fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let workers = Workers::start(self.host.clone())?;
        let unix_path = self.unix.as_ref().map(|(_, path)| path.clone());
        runtime.block_on(async {
            let mut accepting = JoinSet::new();
            for socket in self.sockets {
                let listener = TcpListener::from_std(socket)?;
                accepting.spawn(accept_tcp(listener, workers.dealer()));
            }
            if let Some((socket, _)) = self.unix {
                let listener = UnixListener::from_std(socket)?;
                accepting.spawn(accept_unix(listener, workers.dealer()));
            }
            stop.await;
            accepting.shutdown().await;
            Ok::<(), io::Error>(())
        })?;
        if let Some(path) = unix_path {
            // Somebody may have removed it, which is what we want.
            let _ = std::fs::remove_file(path);
        }
        self.host.stop_connections();
        workers.stop(STOP_TIME_MAX);
        Ok(())
    }
}

async fn accept_tcp(listener: TcpListener, mut dealer: crate::workers::Dealer) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let accepted = prepare(&stream).and_then(|()| stream.into_std());
                match accepted {
                    Ok(stream) => dealer.deal(Accepted::Tcp(stream, display_peer(peer))),
                    // The peer has gone already.
                    Err(error) => tracing::debug!("connection from {peer} lost: {error}"),
                }
            }
            Err(error) => pause_accepting(&error).await,
        }
    }
}

/// Small replies go out at once. A peer whose machine is gone without a word is found by the system,
/// because it may hold locks: no ZEO server asks its clients whether they are there.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

async fn accept_unix(listener: UnixListener, mut dealer: crate::workers::Dealer) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match stream.into_std() {
                Ok(stream) => dealer.deal(Accepted::Unix(stream)),
                Err(error) => tracing::debug!("connection lost: {error}"),
            },
            Err(error) => pause_accepting(&error).await,
        }
    }
}

/// Out of descriptors or memory: those who are connected are served on.
async fn pause_accepting(error: &io::Error) {
    tracing::error!("cannot accept a connection: {error}");
    tokio::time::sleep(ACCEPT_RETRY).await;
}

/// As Python's server names a peer in its log.
fn display_peer(peer: SocketAddr) -> String {
    format!("{}:{}", peer.ip(), peer.port())
}

fn bind_tcp(host: Option<&str>, port: u16) -> io::Result<Vec<std::net::TcpListener>> {
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
fn bind_socket(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
