//! Listening sockets, and the connections that come out of them.
//!
//! Everything here is the same for every async runtime: a runtime waits until a [`Listener`] is
//! readable and calls [`Listener::accept`], which returns a nonblocking socket of the standard library.
//!
//! What an [`Address`] binds to is decided here and nowhere else:
//!
//! | address | sockets |
//! |---|---|
//! | no host | all IPv4 interfaces, and all IPv6 interfaces if the machine has IPv6 |
//! | a name such as `localhost` | each of the name's addresses that this machine can bind |
//! | an IP address | that one |
//! | a path | one Unix socket |
//!
//! All TCP sockets of an address share one port, also where the system chooses it (port 0).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use thiserror::Error;

use crate::address::Address;

/// How long a peer may be silent before the system probes it.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Time between two probes.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// Maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Number of ports to try before giving up: a port that the system has chosen for one address may be
/// in use on another address of the same name.
const PORTS_TRIED_MAX: usize = 16;

/// Why a server cannot listen on an address.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another program, or this one, listens there.
    #[error(
        "{address} is already in use; stop the program that listens there, or choose another address"
    )]
    InUse {
        /// The address that was asked for.
        address: Address,
    },
    /// The file of a Unix socket exists. It may be left from a server that was killed.
    #[error("{address} already exists; remove it if no server listens there")]
    PathExists {
        /// The address that was asked for.
        address: Address,
    },
    /// No network interface has the address.
    #[error("{address} is not an address of this machine")]
    NotLocal {
        /// The address that was asked for.
        address: Address,
    },
    /// The host name has no address.
    #[error("cannot resolve the host of {address}: {error}")]
    UnknownHost {
        /// The address that was asked for.
        address: Address,
        /// The resolver's error.
        error: io::Error,
    },
    /// Anything else, such as a port or a directory that needs privileges.
    #[error("cannot listen on {address}: {error}")]
    Io {
        /// The address that was asked for.
        address: Address,
        /// The system's error.
        error: io::Error,
    },
}

/// A listening socket. Clients can connect before anything accepts them.
#[derive(Debug)]
pub enum Listener {
    /// For connections over the network.
    Tcp(TcpListener),
    /// For connections within the machine.
    Unix(UnixListener),
}

/// An accepted connection: a nonblocking socket of the standard library.
#[derive(Debug)]
pub enum AcceptedStream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A connection through a Unix socket.
    Unix(UnixStream),
}

/// The sockets of an address, bound but not listening: the address is reserved, and clients are still
/// refused. So a server can find out that it cannot listen before it does anything else.
#[derive(Debug)]
pub struct BoundSockets {
    address: Address,
    sockets: Vec<Listener>,
}

/// Listens on an address, IPv4 first where it has several sockets. The caller removes the file of a
/// Unix socket in the end.
///
/// # Errors
/// If the host cannot be resolved, or the system refuses one of the sockets.
pub fn listen(address: &Address) -> Result<Vec<Listener>, ListenError> {
    bind(address)?.listen()
}

/// Binds the sockets of an address; [`BoundSockets::listen`] is the second half of [`listen`].
///
/// # Errors
/// As for [`listen`].
pub fn bind(address: &Address) -> Result<BoundSockets, ListenError> {
    let sockets = bind_address(address)?;
    Ok(BoundSockets { address: address.clone(), sockets })
}

impl BoundSockets {
    /// Lets clients connect from now on.
    ///
    /// # Errors
    /// If another program has begun to listen on the address meanwhile.
    pub fn listen(self) -> Result<Vec<Listener>, ListenError> {
        for socket in &self.sockets {
            let listening = SockRef::from(socket).listen(BACKLOG);
            listening.map_err(|error| ListenError::new(&self.address, error))?;
        }
        Ok(self.sockets)
    }
}

fn bind_address(address: &Address) -> Result<Vec<Listener>, ListenError> {
    match address {
        Address::Tcp { host, port } => {
            let ips = match host {
                None => all_interfaces(),
                Some(host) => resolve(host).map_err(|error| ListenError::UnknownHost {
                    address: address.clone(),
                    error,
                })?,
            };
            bind_ips(&ips, *port).map_err(|error| ListenError::new(address, error))
        }
        Address::Unix(path) => match bind_unix(path) {
            Ok(listener) => Ok(vec![listener]),
            Err(error) => Err(ListenError::new(address, error)),
        },
    }
}

impl ListenError {
    /// The address that was asked for.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Self::InUse { address }
            | Self::PathExists { address }
            | Self::NotLocal { address }
            | Self::UnknownHost { address, .. }
            | Self::Io { address, .. } => address,
        }
    }

    fn new(address: &Address, error: io::Error) -> Self {
        let is_unix = matches!(address, Address::Unix(_));
        let address = address.clone();
        match error.kind() {
            io::ErrorKind::AddrInUse if is_unix => Self::PathExists { address },
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::AddrNotAvailable => Self::NotLocal { address },
            _ => Self::Io { address, error },
        }
    }
}

impl Listener {
    /// The address that the socket is bound to, with the actual port.
    ///
    /// # Errors
    /// If the system does not return it.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => {
                let address = socket.local_addr()?;
                Ok(Address::tcp(address.ip().to_string(), address.port()))
            }
            Self::Unix(socket) => {
                let address = socket.local_addr()?;
                let path = address.as_pathname().unwrap_or_else(|| Path::new("(no path)"));
                Ok(Address::unix(path))
            }
        }
    }

    /// Accepts the next waiting connection and returns it with the name of its peer for the log.
    /// Connections that were lost while they waited are skipped.
    ///
    /// # Errors
    /// `WouldBlock` if none waits; any other error means that the system is out of a resource.
    pub fn accept(&self) -> io::Result<(AcceptedStream, String)> {
        loop {
            let lost = match self.accept_one() {
                Ok((stream, peer)) => match stream.prepare() {
                    Ok(()) => return Ok((stream, peer)),
                    Err(error) => error,
                },
                Err(error) if is_of_the_peer(&error) => error,
                Err(error) => return Err(error),
            };
            tracing::debug!("a connection was lost before it was accepted: {lost}");
        }
    }

    /// The peer's name has the form that Python's ZEO server writes into its log.
    fn accept_one(&self) -> io::Result<(AcceptedStream, String)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                Ok((AcceptedStream::Tcp(stream), format!("{}:{}", peer.ip(), peer.port())))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                Ok((AcceptedStream::Unix(stream), "unix".to_owned()))
            }
        }
    }
}

impl AcceptedStream {
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

/// Prepares a TCP connection: small messages are sent at once, and the system probes a silent peer, so
/// that a peer whose machine has vanished is found although the protocol never asks for it.
///
/// # Errors
/// If the system refuses an option.
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

/// Whether only one connection is lost: Linux returns a pending network error of a waiting connection
/// as the error of `accept`.
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

fn all_interfaces() -> Vec<SocketAddr> {
    let ips = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    ips.map(|ip| SocketAddr::new(ip, 0)).to_vec()
}

/// The addresses of a name, IPv4 first, with port 0.
fn resolve(host: &str) -> io::Result<Vec<SocketAddr>> {
    let mut ips: Vec<SocketAddr> = (host, 0).to_socket_addrs()?.collect();
    ips.sort_by_key(SocketAddr::is_ipv6);
    ips.dedup();
    if ips.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(ips)
}

/// Binds all with one port. Where the system chooses it, other ports are tried if one of the addresses
/// does not have it free.
fn bind_ips(ips: &[SocketAddr], port: u16) -> io::Result<Vec<Listener>> {
    let mut tries = 1;
    loop {
        match bind_ips_once(ips, port) {
            Err(error)
                if port == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && tries < PORTS_TRIED_MAX =>
            {
                tries += 1;
            }
            bound => return bound,
        }
    }
}

/// Addresses that the machine does not have are skipped, if there is another: a machine without IPv6
/// may still have an IPv6 address for `localhost` in its hosts file.
fn bind_ips_once(ips: &[SocketAddr], mut port: u16) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    let mut unavailable = None;
    for mut ip in ips.iter().copied() {
        ip.set_port(port);
        match bind_tcp(ip) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(Listener::Tcp(listener));
            }
            Err(error) if is_unavailable(&error) => unavailable = Some(error),
            Err(error) => return Err(error),
        }
    }
    match unavailable {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

/// No interface has the address, or the system has no such addresses at all.
fn is_unavailable(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT` of Linux, for which the standard library has no name.
    const FAMILY_NOT_SUPPORTED: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(FAMILY_NOT_SUPPORTED)
}

/// With `SO_REUSEADDR`, so that a server can be restarted at once. IPv6 sockets leave IPv4 alone.
fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(Listener::Unix(OwnedFd::from(socket).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(listeners: &[Listener]) -> Vec<u16> {
        let port = |listener: &Listener| match listener.address().unwrap() {
            Address::Tcp { port, .. } => port,
            Address::Unix(_) => 0,
        };
        listeners.iter().map(port).collect()
    }

    #[test]
    fn all_sockets_of_an_address_share_a_port() {
        for text in ["localhost:0", ":0", "127.0.0.1:0"] {
            let listeners = listen(&text.parse().unwrap()).unwrap();
            let ports = ports(&listeners);
            assert!(
                ports[0] != 0 && ports.iter().all(|port| *port == ports[0]),
                "{text}: {ports:?}"
            );
        }
    }

    #[test]
    fn a_bound_address_is_reserved_and_refuses_clients() {
        let sockets = bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let address = sockets.sockets[0].address().unwrap();
        let Address::Tcp { port, .. } = address else { panic!("{address} is not of TCP") };
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        let listeners = sockets.listen().unwrap();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(matches!(bind(&address), Err(ListenError::InUse { .. })));
        drop(listeners);
    }

    #[test]
    fn the_reason_that_prevents_listening_is_reported() {
        let bound = listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound[0].address().unwrap();
        let taken = listen(&address).unwrap_err();
        assert!(matches!(taken, ListenError::InUse { .. }), "{taken}");
        // Addresses for documentation: no machine has them.
        let foreign = listen(&Address::tcp("192.0.2.1", 0)).unwrap_err();
        assert!(matches!(foreign, ListenError::NotLocal { .. }), "{foreign}");
        let unknown = listen(&Address::tcp("no-such-host.invalid", 0)).unwrap_err();
        assert!(matches!(unknown, ListenError::UnknownHost { .. }), "{unknown}");
        let directory = tempfile::tempdir().unwrap();
        let path = Address::unix(directory.path().join("socket"));
        let _bound = listen(&path).unwrap();
        let exists = listen(&path).unwrap_err();
        assert!(matches!(exists, ListenError::PathExists { .. }), "{exists}");
        let nowhere = listen(&Address::unix(directory.path().join("no/socket"))).unwrap_err();
        assert!(matches!(nowhere, ListenError::Io { .. }), "{nowhere}");
        assert_eq!(exists.address(), &path);
    }

    #[test]
    fn an_accepted_connection_does_not_block() {
        let listeners = listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let none = listeners[0].accept().unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        let _client = TcpStream::connect(("127.0.0.1", ports(&listeners)[0])).unwrap();
        let (stream, peer) = loop {
            if let Ok(accepted) = listeners[0].accept() {
                break accepted;
            }
        };
        assert!(peer.starts_with("127.0.0.1:"), "{peer}");
        let AcceptedStream::Tcp(mut stream) = stream else { panic!("it is a TCP connection") };
        let read = io::Read::read(&mut stream, &mut [0]).unwrap_err();
        assert_eq!(read.kind(), io::ErrorKind::WouldBlock);
    }
}
