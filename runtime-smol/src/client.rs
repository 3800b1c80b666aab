//! The client's side: a client on smol, and the connections that it asks for.

use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream;

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use rzeo_client::{Client, ClientOptions, ConnectError, Driver, Link};
use rzeo_net::smol::{FuturesStream, Smol, connect_tcp};
use rzeo_net::{Address, LOOPBACK};
use smol::{Async, Executor};

/// Makes a client, and waits until a server is connected and the cache verified.
///
/// A thread of its own drives the client, so its handles may be used anywhere: on every executor, and
/// without one.
///
/// # Errors
/// If the options are invalid, files cannot be used, or no server was reached within
/// [`ClientOptions::wait_timeout`].
pub async fn connect(options: ClientOptions) -> Result<Client, ConnectError> {
    let client = smol::unblock(move || open_client(options)).await?;
    client.wait_connected().await?;
    Ok(client)
}

/// Makes a client without waiting for a server: its first calls do. Reads the files of its cache, which
/// may block.
///
/// # Errors
/// If the options are invalid, or files cannot be used.
pub fn open_client(options: ClientOptions) -> Result<Client, ConnectError> {
    let (client, driver) = options.open()?;
    let thread = std::thread::Builder::new().name("zeo-client".to_owned());
    let started = thread.spawn(move || smol::block_on(drive_client(driver)));
    started.map_err(ConnectError::Thread)?;
    Ok(client)
}

/// Drives a client to its end, for callers that choose the executor. Dropping the future closes the
/// client.
pub async fn drive_client(driver: Driver) {
    let connections = Executor::new();
    let driving = driver.run(Smol, |link| connections.spawn(connect_link(link)).detach());
    connections.run(driving).await;
}

/// Makes a connection and serves it to its end.
async fn connect_link(link: Link) {
    match link.address().clone() {
        Address::Tcp { host, port } => {
            let host = host.unwrap_or_else(|| LOOPBACK.to_owned());
            let connecting = async move { connect_tcp(&host, port).await };
            secure(link, connecting).await;
        }
        Address::Unix(path) => secure(link, Async::<UnixStream>::connect(path)).await,
    }
}

/// Connects, makes a TLS handshake if the client uses TLS, then runs the protocol.
async fn secure<S>(link: Link, connecting: impl Future<Output = io::Result<S>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some((link, stream)) = link.attempt(connecting).await else { return };
    let Some((config, name)) = link.tls() else {
        return link.run(Smol, FuturesStream(stream)).await;
    };
    let handshake = TlsConnector::from(config).connect(name, stream);
    if let Some((link, stream)) = link.attempt(handshake).await {
        link.run(Smol, FuturesStream(stream)).await;
    }
}
