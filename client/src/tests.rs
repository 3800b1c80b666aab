//! A client without sockets: what its handles, its driver and its links promise each other.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rzeo_core::client::CallError;
use rzeo_core::ids::Oid;

use crate::{Address, Client, ClientOptions, ConnectError, Driver, Link, Order};

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

#[test]
fn a_client_needs_an_address() {
    let opened = ClientOptions::default().open();
    assert!(matches!(opened, Err(ConnectError::NoAddress)));
    let (client, _driver) = client();
    assert!(matches!(client.new_addresses([]), Err(ConnectError::NoAddress)));
}

#[test]
fn a_driver_says_where_to_connect_and_when_to_try_again() {
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
fn what_is_not_a_server_is_let_go_after_what_is_due_to_it() {
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
    let mut news = client.subscribe();
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
    assert!(pin!(news.next()).poll(&mut cx()).is_ready());
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
fn who_is_woken_finds_the_client_unlocked() {
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
