//! The client's side: a client on tokio, and the connections that it asks for.

use std::future::Future;
use std::io;
use std::sync::Arc;

use rzeo_client::{Client, ClientOptions, ConnectError, Driver, Link};
use rzeo_host::{Host, LOCAL_PEER};
use rzeo_net::tokio::{Tokio, TokioStream, connect_tcp};
use rzeo_net::{Address, LOOPBACK};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

use crate::connection::serve_stream;

/// Makes a client, and waits until a server is connected and the cache verified.
///
/// Tasks of the current runtime drive the client; the runtime needs its I/O and its timers. The client's
/// handles may be used anywhere.
///
/// # Errors
/// If the options are invalid, files cannot be used, or no server was reached within
/// [`ClientOptions::wait_timeout`].
pub async fn connect(options: ClientOptions) -> Result<Client, ConnectError> {
    let opening = tokio::task::spawn_blocking(move || options.open());
    let (client, driver) = opening.await.expect("opening a client does not panic")?;
    tokio::spawn(drive_client(driver));
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
    tokio::spawn(drive_client(driver));
    Ok(client)
}

/// Makes a client of a server in this process. Its connections are pairs of sockets, so the server needs no
/// listener; the addresses and TLS of the options are not used. Otherwise it is a client like others: it counts among
/// the connections of the host, and ends with them.
///
/// Tasks of the current runtime drive the client and serve its connections.
///
/// # Errors
/// If the options are invalid, or files cannot be used.
pub fn open_local_client(host: Arc<Host>, options: ClientOptions) -> Result<Client, ConnectError> {
    let addresses = vec![Address::unix(LOCAL_PEER)];
    let (client, driver) = ClientOptions { addresses, tls: None, ..options }.open()?;
    tokio::spawn(driver.run(Tokio, move |link| {
        tokio::spawn(connect_local(link, host.clone()));
    }));
    Ok(client)
}

/// Drives a client to its end, for callers that choose the task. Dropping the future closes the client.
pub async fn drive_client(driver: Driver) {
    driver.run(Tokio, |link| drop(tokio::spawn(connect_link(link)))).await;
}

/// Makes a connection and serves it to its end.
async fn connect_link(link: Link) {
    match link.address().clone() {
        Address::Tcp { host, port } => {
            let host = host.unwrap_or_else(|| LOOPBACK.to_owned());
            let connecting = async move { connect_tcp(&host, port).await };
            secure(link, connecting).await;
        }
        Address::Unix(path) => secure(link, UnixStream::connect(path)).await,
    }
}

/// Connects to the host itself.
async fn connect_local(link: Link, host: Arc<Host>) {
    let connecting = async {
        let (ours, served) = UnixStream::pair()?;
        tokio::spawn(serve_stream(host, served, LOCAL_PEER.to_owned()));
        Ok(ours)
    };
    if let Some((link, stream)) = link.attempt(connecting).await {
        link.run(Tokio, TokioStream(stream)).await;
    }
}

/// Connects, makes a TLS handshake if the client uses TLS, then runs the protocol.
async fn secure<S>(link: Link, connecting: impl Future<Output = io::Result<S>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some((link, stream)) = link.attempt(connecting).await else { return };
    let Some((config, name)) = link.tls() else {
        return link.run(Tokio, TokioStream(stream)).await;
    };
    let handshake = TlsConnector::from(config).connect(name, stream);
    if let Some((link, stream)) = link.attempt(handshake).await {
        link.run(Tokio, TokioStream(stream)).await;
    }
}
