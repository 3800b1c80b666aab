//! The client's side: a client on smol, and the connections that it asks for.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use async_executor::Executor;
use async_io::{Async, Timer};
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::FutureExt as _;
use futures_lite::future::yield_now;
use futures_rustls::TlsConnector;
use rzeo_client::{Client, ClientOptions, ConnectError, Driver, Link, Order};
use rzeo_net::{Address, LOOPBACK, prepare_tcp};

use crate::connection::{LINGER, TURN_EVENTS};
use crate::socket::Socket;

/// Makes a client, and waits until a server is connected and the cache verified.
///
/// It is driven by a thread of its own, so its handles may be used anywhere: on every executor, and
/// without one.
///
/// # Errors
/// If the options make no sense, files cannot be used, or no server was reached in the time that calls
/// may take.
pub async fn connect(options: ClientOptions) -> Result<Client, ConnectError> {
    let client = blocking::unblock(move || open(options)).await?;
    client.wait_connected().await?;
    Ok(client)
}

/// The same without waiting for a server: calls do. May wait for the disk.
///
/// # Errors
/// If the options make no sense, or files cannot be used.
pub fn open(options: ClientOptions) -> Result<Client, ConnectError> {
    let (client, driver) = options.open()?;
    let thread = std::thread::Builder::new().name("zeo-client".to_owned());
    let started = thread.spawn(move || async_io::block_on(drive(driver)));
    started.map_err(ConnectError::Thread)?;
    Ok(client)
}

/// Drives a client to its end. For who wants to say on which executor; dropped, it closes the client.
pub async fn drive(mut driver: Driver) {
    let runtime = Executor::new();
    let orders = async {
        let mut timer = pin!(Timer::never());
        while let Order::Connect(link) =
            poll_fn(|cx| poll_order(&mut driver, cx, timer.as_mut())).await
        {
            runtime.spawn(follow(link)).detach();
        }
    };
    runtime.run(orders).await;
}

/// The next order; meanwhile the driver looks at the clock when it wants to.
fn poll_order(
    driver: &mut Driver,
    cx: &mut Context<'_>,
    mut timer: Pin<&mut Timer>,
) -> Poll<Order> {
    loop {
        if let Poll::Ready(order) = driver.poll_order(cx) {
            return Poll::Ready(order);
        }
        let Some(wait) = driver.wait() else { return Poll::Pending };
        // Timers are late by a little. One that is set anew to a time that has come is late for ever.
        if !wait.is_zero() {
            timer.as_mut().set_after(wait);
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
        Address::Unix(path) => secure(link, Async::<UnixStream>::connect(path)).await,
    }
}

/// Tries all addresses of a name in turn.
async fn dial(host: String, port: u16) -> io::Result<Async<TcpStream>> {
    let addresses = blocking::unblock(move || (host.as_str(), port).to_socket_addrs()).await?;
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
    let given_up = poll_fn(|cx| link.poll_given_up(cx).map(|()| None));
    let made = async { Some(attempt.await) }.or(given_up).await;
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
    for event in 1_usize.. {
        if event.is_multiple_of(TURN_EVENTS) {
            yield_now().await;
        }
        match poll_fn(|cx| poll_event(&mut link, &mut socket, cx)).await {
            Event::Sent => {}
            Event::Heard => yield_now().await,
            Event::Unwanted => break,
            Event::Gone(error) => return link.gone(&rzeo_tls::explain(&error)),
        }
    }
    // Who does not read the rest in time does not get it.
    let time_is_up = async {
        Timer::after(LINGER).await;
        Ok(())
    };
    let _ = poll_fn(|cx| socket.poll_end(cx)).or(time_is_up).await;
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
