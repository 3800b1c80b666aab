//! The client's side: a client on smol, and the connections that it asks for.

use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use rzeo_client::{Client, ClientOptions, ConnectError, Driver, Link};
use rzeo_host::{Host, LOCAL_PEER};
use rzeo_net::smol::{FuturesStream, Smol, connect_tcp};
use rzeo_net::{Address, LOOPBACK};
use smol::{Async, Executor};

use crate::connection::serve_stream;

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
    start_thread(drive_client(driver))?;
    Ok(client)
}

/// Makes a client of a server in this process. Its connections are pairs of sockets, so the server needs no
/// listener; the addresses and TLS of the options are not used. Otherwise it is a client like others: it
/// counts among the connections of the host, and ends with them.
///
/// A thread of its own drives the client and serves its connections.
///
/// # Errors
/// If the options are invalid, or files cannot be used.
pub fn open_local_client(host: Arc<Host>, options: ClientOptions) -> Result<Client, ConnectError> {
    let addresses = vec![Address::unix(LOCAL_PEER)];
    let (client, driver) = ClientOptions { addresses, tls: None, ..options }.open()?;
    start_thread(async move {
        let connections = Arc::new(Executor::new());
        let spawner = connections.clone();
        let driving = driver.run(Smol, |link| {
            let connecting = connect_local(link, host.clone(), spawner.clone());
            connections.spawn(connecting).detach();
        });
        connections.run(driving).await;
    })?;
    Ok(client)
}

fn start_thread(driving: impl Future<Output = ()> + Send + 'static) -> Result<(), ConnectError> {
    let thread = std::thread::Builder::new().name("zeo-client".to_owned());
    thread.spawn(move || smol::block_on(driving)).map(drop).map_err(ConnectError::Thread)
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

/// Connects to the host itself.
async fn connect_local(link: Link, host: Arc<Host>, executor: Arc<Executor<'static>>) {
    let connecting = async {
        let (ours, served) = UnixStream::pair()?;
        let (ours, served) = (Async::new(ours)?, Async::new(served)?);
        executor.spawn(serve_stream(host, served, LOCAL_PEER.to_owned())).detach();
        Ok(ours)
    };
    if let Some((link, stream)) = link.attempt(connecting).await {
        link.run(Smol, FuturesStream(stream)).await;
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
