//! The client's side: a client on tokio, and the connections that it asks for.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rzeo_client::{Client, ClientOptions, ConnectError, Driver, Link, Order};
use rzeo_net::{Address, LOOPBACK, prepare_tcp};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::yield_now;
use tokio::time::Sleep;
use tokio_rustls::TlsConnector;

use crate::connection::LINGER;
use crate::socket::Socket;

/// Makes a client, and waits until a server is connected and the cache verified.
///
/// It is driven by tasks of the current runtime, which needs its I/O and its timers; its handles may be
/// used anywhere.
///
/// # Errors
/// If the options make no sense, files cannot be used, or no server was reached in the time that calls
/// may take.
pub async fn connect(options: ClientOptions) -> Result<Client, ConnectError> {
    let opening = tokio::task::spawn_blocking(move || options.open());
    let (client, driver) = opening.await.expect("opening a client does not panic")?;
    tokio::spawn(drive(driver));
    client.wait_connected().await?;
    Ok(client)
}

/// The same without waiting for a server: calls do. May wait for the disk.
///
/// # Errors
/// If the options make no sense, or files cannot be used.
pub fn open(options: ClientOptions) -> Result<Client, ConnectError> {
    let (client, driver) = options.open()?;
    tokio::spawn(drive(driver));
    Ok(client)
}

/// Drives a client to its end. For who wants to say on which task; dropped, it closes the client.
pub async fn drive(mut driver: Driver) {
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    while let Order::Connect(link) = poll_fn(|cx| poll_order(&mut driver, cx, timer.as_mut())).await
    {
        tokio::spawn(follow(link));
    }
}

/// The next order; meanwhile the driver looks at the clock when it wants to.
fn poll_order(
    driver: &mut Driver,
    cx: &mut Context<'_>,
    mut timer: Pin<&mut Sleep>,
) -> Poll<Order> {
    loop {
        if let Poll::Ready(order) = driver.poll_order(cx) {
            return Poll::Ready(order);
        }
        let Some(wait) = driver.wait() else { return Poll::Pending };
        // Timers are late by a little. One that is set anew to a time that has come is late for ever.
        if !wait.is_zero() {
            timer.as_mut().reset(tokio::time::Instant::now() + wait);
            ready!(timer.as_mut().poll(cx));
        }
        driver.handle_timeout();
    }
}

/// Makes a connection and carries its bytes, to its end.
async fn follow(link: Link) {
    match link.address().clone() {
        Address::Tcp { host, port } => {
            let host = host.unwrap_or_else(|| LOOPBACK.to_owned());
            secure(link, dial(host, port)).await;
        }
        Address::Unix(path) => secure(link, UnixStream::connect(path)).await,
    }
}

async fn dial(host: String, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    prepare_tcp(&stream)?;
    Ok(stream)
}

/// What has to be done on the stream before the protocol begins.
async fn secure<S>(link: Link, dial: impl Future<Output = io::Result<S>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some((link, stream)) = attempt(link, dial).await else { return };
    let Some((config, name)) = link.tls() else { return converse(link, stream).await };
    let handshake = TlsConnector::from(config).connect(name, stream);
    if let Some((link, stream)) = attempt(link, handshake).await {
        converse(link, stream).await;
    }
}

/// `None` if it fails, or is not wanted any more.
async fn attempt<T>(link: Link, attempt: impl Future<Output = io::Result<T>>) -> Option<(Link, T)> {
    let given_up = poll_fn(|cx| link.poll_given_up(cx));
    let made = tokio::select! {
        made = attempt => Some(made),
        () = given_up => None,
    };
    match made? {
        Ok(made) => Some((link, made)),
        Err(error) => {
            link.failed(&rzeo_tls::explain(&error));
            None
        }
    }
}

/// Bytes read at a time. Who has been answered goes on before more is read, so of many answers that come
/// together the first are followed by new questions while the others are still read, and neither side
/// waits for the other: with 64 loads at once that is twice as many of them a second.
const READ_BYTES: usize = 16 * 1024;

/// What a connection waits for.
enum Event {
    /// Something was written.
    Sent,
    /// Something was read and has been handled.
    Heard,
    /// The connection is not wanted any more.
    Unwanted,
    /// The socket is of no more use.
    Gone(io::Error),
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut link: Link, stream: S) {
    link.connected();
    let mut socket = Socket::new(stream);
    loop {
        match poll_fn(|cx| poll_event(&mut link, &mut socket, cx)).await {
            Event::Sent => {}
            Event::Heard => yield_now().await,
            Event::Unwanted => break,
            Event::Gone(error) => return link.gone(&rzeo_tls::explain(&error)),
        }
    }
    // Who does not read the rest in time does not get it.
    let _ = tokio::time::timeout(LINGER, poll_fn(|cx| socket.poll_end(cx))).await;
}

/// Reading and writing at the same time, because a server may read only when its replies were read,
/// and the other way round.
fn poll_event<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link,
    socket: &mut Socket<S>,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    if !link.take_outbox(cx, &mut socket.outgoing) {
        return Poll::Ready(Event::Unwanted);
    }
    if let Poll::Ready(sent) = socket.poll_send(cx) {
        return Poll::Ready(sent.map_or_else(Event::Gone, |sent| {
            link.sent(sent);
            Event::Sent
        }));
    }
    if !link.wants_input() {
        return Poll::Pending;
    }
    Poll::Ready(match ready!(socket.poll_read(cx, READ_BYTES, |bytes| link.received(bytes))) {
        Ok(0) => Event::Gone(io::Error::other("the server has closed the connection")),
        Ok(_) => Event::Heard,
        Err(error) => Event::Gone(error),
    })
}
