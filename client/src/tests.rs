//! A client without sockets: what its handles, its driver and its links promise each other.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rzeo_core::client::CallError;
use rzeo_core::value::{ReadLimits, Value};
use rzeo_core::wire::{Codec, Deframer, Flag, Outgoing};
use rzeo_core::{Oid, Tid};

use crate::shared::BACKLOG_BYTES_MAX;
use crate::{
    Address, Begin, Client, ClientOptions, ConnectError, Driver, Link, Order, Reconnect, Retry,
};

const NOWHERE: &str = "nowhere:1";

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// A client whose calls do not wait for a connection.
fn client() -> (Client, Driver) {
    let wait_timeout = Duration::ZERO;
    let address = NOWHERE.parse().unwrap();
    ClientOptions { wait_timeout, ..ClientOptions::new([address]) }.open().unwrap()
}

fn link(driver: &mut Driver) -> Link {
    match driver.poll_order(&mut cx()) {
        Poll::Ready(Order::Connect(link)) => link,
        _ => panic!("a connection is wanted"),
    }
}

/// Why there is no connection.
fn problem(client: &Client) -> String {
    match pin!(client.ping()).poll(&mut cx()) {
        Poll::Ready(Err(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A server that is played here, one answer after the other.
struct Server {
    link: Link,
    deframer: Deframer,
}

impl Server {
    fn connect(driver: &mut Driver) -> Self {
        let mut server = Self { link: link(driver), deframer: Deframer::new(u32::MAX) };
        server.link.connected();
        server.link.received(b"\0\0\0\x02Z5");
        server.read();
        assert_eq!(server.deframer.next_frame(), Ok(Some("Z5".into())));
        server.answer("register", &Value::tid(Tid(1)));
        server.answer("get_info", &Value::Dict(Vec::new()));
        server
    }

    /// Takes what the client has sent. -> how many bytes that are
    fn read(&mut self) -> usize {
        let mut chunks = VecDeque::new();
        assert!(self.link.take_outbox(&mut cx(), &mut chunks));
        chunks.iter().for_each(|chunk| self.deframer.push(chunk));
        let bytes = chunks.iter().map(bytes::Bytes::len).sum();
        self.link.sent(bytes);
        bytes
    }

    /// Answers the next call, which must be this one.
    fn answer(&mut self, method: &str, value: &Value) {
        self.read();
        let frame = self.deframer.next_frame().unwrap().expect("something was said");
        let envelope = Codec::Pickle.read(&frame, &ReadLimits::default()).unwrap();
        assert_eq!(envelope.name, method);
        let mut out = Outgoing::new();
        Codec::Pickle.write(&mut out, &envelope.msgid, Flag::Reply, ".reply", value).unwrap();
        while let Some(chunk) = out.take_chunk() {
            self.link.received(&chunk);
        }
    }
}

#[test]
fn a_reply_wakes_its_caller_and_is_cached_if_the_caller_was_dropped() {
    let (client, mut driver) = client();
    let mut server = Server::connect(&mut driver);
    assert!(client.is_connected());
    let revision =
        Value::Tuple(vec![Value::Bytes("a record".into()), Value::tid(Tid(1)), Value::None]);
    let eager = Arc::new(Eager { client: client.clone(), was_woken: AtomicBool::new(false) });
    let waker = Waker::from(eager.clone());
    let mut asked = Box::pin(client.load(Oid(1)));
    assert!(asked.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut dropped = Box::pin(client.load(Oid(2)));
    assert!(dropped.as_mut().poll(&mut cx()).is_pending());
    drop(dropped);
    server.answer("loadBefore", &revision);
    assert!(eager.was_woken.load(Ordering::SeqCst));
    let found = Poll::Ready(Ok(("a record".into(), Tid(1))));
    assert_eq!(asked.as_mut().poll(&mut cx()), found);
    server.answer("loadBefore", &revision);
    assert_eq!(pin!(client.load(Oid(2))).poll(&mut cx()), found);
    assert_eq!(server.read(), 0, "nothing was asked for again");
}

#[test]
fn a_store_waits_while_the_send_queue_is_full() {
    let (client, mut driver) = client();
    let mut server = Server::connect(&mut driver);
    let Poll::Ready(Ok(mut txn)) = pin!(client.begin(Begin::default())).poll(&mut cx()) else {
        panic!("it is its turn")
    };
    let much = || vec![b'.'; BACKLOG_BYTES_MAX].into();
    let stored = pin!(txn.store(Oid(1), Tid::ZERO, much())).poll(&mut cx());
    assert_eq!(stored, Poll::Ready(Ok(())));
    let eager = Arc::new(Eager { client: client.clone(), was_woken: AtomicBool::new(false) });
    let waker = Waker::from(eager.clone());
    let mut second = Box::pin(txn.store(Oid(2), Tid::ZERO, much()));
    assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(server.read() < 2 * BACKLOG_BYTES_MAX, "it is not sent yet");
    assert!(eager.was_woken.load(Ordering::SeqCst));
    assert_eq!(second.as_mut().poll(&mut cx()), Poll::Ready(Ok(())));
    drop(second);
    let mut third = Box::pin(txn.store(Oid(3), Tid::ZERO, much()));
    assert!(third.as_mut().poll(&mut cx()).is_pending());
    // A connection that is lost has nothing left to send.
    drop(server);
    assert_eq!(third.as_mut().poll(&mut cx()), Poll::Ready(Ok(())));
    drop(third);
    assert!(matches!(pin!(txn.vote()).poll(&mut cx()), Poll::Ready(Err(CallError::Lost(_)))));
}

#[test]
fn a_client_needs_an_address() {
    let opened = ClientOptions::default().open();
    assert!(matches!(opened, Err(ConnectError::NoAddress)));
    let (client, _driver) = client();
    assert!(matches!(client.set_addresses([]), Err(ConnectError::NoAddress)));
}

#[test]
fn a_driver_returns_where_to_connect_and_when_to_retry() {
    let (client, mut driver) = client();
    let link = link(&mut driver);
    assert_eq!(link.address(), &NOWHERE.parse::<Address>().unwrap());
    assert!(link.poll_given_up(&mut cx()).is_pending());
    assert!(driver.poll_order(&mut cx()).is_pending());
    link.failed(&"no such host");
    assert!(problem(&client).contains("nowhere:1: no such host"), "{}", problem(&client));
    assert!(driver.poll_order(&mut cx()).is_pending());
    assert!(driver.wait().is_some_and(|wait| wait < Duration::from_secs(2)));
}

#[test]
fn a_link_that_is_dropped_is_a_connection_that_is_lost() {
    let (client, mut driver) = client();
    drop(link(&mut driver));
    assert!(problem(&client).contains("its task has ended"), "{}", problem(&client));
}

#[test]
fn a_peer_that_is_not_a_server_is_disconnected() {
    let (client, mut driver) = client();
    let mut link = link(&mut driver);
    let mut chunks = VecDeque::new();
    link.connected();
    assert!(link.take_outbox(&mut cx(), &mut chunks));
    link.received(b"\0\0\0\x02XY");
    assert!(!link.take_outbox(&mut cx(), &mut chunks));
    assert!(problem(&client).contains("XY"), "{}", problem(&client));
}

#[test]
fn the_end_comes_after_that_of_all_connections() {
    let (client, mut driver) = client();
    let mut events = client.subscribe();
    let link = link(&mut driver);
    let mut close = Box::pin(client.close());
    assert!(close.as_mut().poll(&mut cx()).is_pending());
    assert!(link.poll_given_up(&mut cx()).is_ready());
    assert!(driver.poll_order(&mut cx()).is_pending());
    drop(link);
    assert!(matches!(driver.poll_order(&mut cx()), Poll::Ready(Order::End)));
    assert!(close.as_mut().poll(&mut cx()).is_pending());
    drop(driver);
    assert!(close.as_mut().poll(&mut cx()).is_ready());
    assert!(pin!(events.next()).poll(&mut cx()).is_ready());
    assert_eq!(pin!(client.load(Oid(1))).poll(&mut cx()), Poll::Ready(Err(CallError::Closed)));
}

#[test]
fn without_its_driver_or_its_handles_a_client_is_closed() {
    let (client, driver) = client();
    drop(driver);
    assert_eq!(pin!(client.ping()).poll(&mut cx()), Poll::Ready(Err(CallError::Closed)));

    let (client, mut driver) = self::client();
    let clone = client.clone();
    let link = link(&mut driver);
    drop(client);
    assert!(link.poll_given_up(&mut cx()).is_pending());
    drop(clone);
    assert!(link.poll_given_up(&mut cx()).is_ready());
}

#[test]
fn when_all_attempts_are_used_up_calls_fail_at_once() {
    let max_attempts = NonZeroU32::new(2);
    let reconnect = Reconnect { min_delay: Duration::ZERO, max_attempts, ..Reconnect::default() };
    let options = ClientOptions { reconnect, ..ClientOptions::new([NOWHERE.parse().unwrap()]) };
    let (client, mut driver) = options.open().unwrap();
    let mut waiting = Box::pin(client.load(Oid(1)));
    link(&mut driver).failed(&"no such host");
    assert!(waiting.as_mut().poll(&mut cx()).is_pending());
    driver.handle_timeout();
    link(&mut driver).failed(&"no such host");
    let Poll::Ready(Err(error)) = waiting.as_mut().poll(&mut cx()) else { panic!("it gave up") };
    let text = "no server was reached in 2 attempts each: nowhere:1: no such host";
    assert_eq!(error.to_string(), text);
    assert_eq!(error.retry(), Retry::No);
    assert_eq!(problem(&client), text);
    assert!(driver.poll_order(&mut cx()).is_pending());
    assert_eq!(driver.wait(), None);
    // New addresses are tried, and calls wait for them.
    client.set_addresses(["elsewhere:1".parse().unwrap()]).unwrap();
    assert!(pin!(client.ping()).poll(&mut cx()).is_pending());
    let mut server = Server::connect(&mut driver);
    assert!(server.read() > 0, "the ping is sent");
    assert!(client.is_connected());
}

/// A task that uses the client at the very moment when it is woken.
struct Eager {
    client: Client,
    was_woken: AtomicBool,
}

impl Wake for Eager {
    fn wake(self: Arc<Self>) {
        let _ = self.client.last_tid();
        self.was_woken.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_task_that_is_woken_finds_the_client_unlocked() {
    let options = ClientOptions::new([NOWHERE.parse().unwrap()]);
    let (client, driver) = options.open().unwrap();
    let eager = Arc::new(Eager { client: client.clone(), was_woken: AtomicBool::new(false) });
    let waker = Waker::from(eager.clone());
    let mut cx = Context::from_waker(&waker);
    let mut ping = Box::pin(client.ping());
    assert!(ping.as_mut().poll(&mut cx).is_pending());
    drop(driver);
    assert!(eager.was_woken.load(Ordering::SeqCst));
    assert_eq!(ping.as_mut().poll(&mut cx), Poll::Ready(Err(CallError::Closed)));
}
