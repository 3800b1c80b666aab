//! Proxies of a server that runs in a thread of the test.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use rzeo_client::{Address, ClientOptions, Driver};
use rzeo_core::storage::{
    Committed, Finishing, Load, Patience, Storage, StorageError, StorageEvent, Subscriber,
    TransactionMeta, Voted,
};
use rzeo_core::{Oid, Tid};
use rzeo_host::{Host, Settings, StorageSpec};
use rzeo_net::listen;
use rzeo_proxy::{Proxy, ProxyOptions};
use rzeo_storage::MappingStorage;
use tokio::sync::oneshot;

const OID: Oid = Oid(1);

/// A server on a Unix socket.
struct Server {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(socket: &Path, storage: &Arc<MappingStorage>) -> Self {
        let settings = Settings {
            msgpack: true,
            stop_time_max: Duration::from_secs(100_000),
            ..Settings::default()
        };
        let spec = StorageSpec { name: "1".into(), storage: storage.clone() };
        let host = Host::new(&settings, vec![spec]).unwrap();
        // The one of a server that was here before.
        let _ = std::fs::remove_file(socket);
        let listeners = listen(&Address::Unix(socket.into())).unwrap();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let stopped = async { drop(stopped.await) };
            rzeo_tokio::serve_blocking(host, listeners, None, stopped, std::future::pending())
                .unwrap();
        };
        Self { stop, thread: std::thread::spawn(run) }
    }

    fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

fn drive(driver: Driver) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || runtime.block_on(rzeo_tokio::drive_client(driver)));
    Ok(())
}

/// A proxy, and the events that it sends to its subscriber.
fn proxy(socket: &Path) -> (Proxy, Receiver<StorageEvent>) {
    let client =
        ClientOptions { wait_timeout: LONG, ..ClientOptions::new([Address::unix(socket)]) };
    let proxy = Proxy::open(ProxyOptions { client, name: None }, drive).unwrap();
    let (sender, events) = channel();
    proxy.subscribe(proxy.last_tid(), Subscriber::new(move |event| sender.send(event).unwrap()));
    (proxy, events)
}

const LONG: Duration = Duration::from_secs(100_000);

fn voted(proxy: &Proxy, serial: Tid, data: &'static [u8]) -> Result<Voted, StorageError> {
    let mut vote = proxy.begin_vote(&TransactionMeta::default(), Patience::Wait)?;
    vote.store(OID, serial, Bytes::from_static(data).into())?;
    vote.check_remotely()?;
    vote.seal()
}

/// The tid that the server assigned; it may differ from the requested one.
fn commit(proxy: &Proxy, voted: Voted) -> Tid {
    let committed = proxy.commit(vec![Finishing { tid: Tid(7), voted }]).unwrap();
    let [Committed { tid, info }] = committed[..] else { panic!("{committed:?}") };
    assert_eq!(info.length, 1);
    assert_ne!(tid, Tid(7));
    tid
}

#[test]
fn a_commit_through_one_proxy_is_an_invalidation_in_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("zeo");
    let server = Server::start(&socket, &Arc::new(MappingStorage::new()));
    let (one, told_by_one) = proxy(&socket);
    let (two, told_by_two) = proxy(&socket);
    assert!(one.description().is_proxy);
    let first = commit(&one, voted(&one, Tid::ZERO, b"1").unwrap());
    let changed = |tid| StorageEvent::Invalidated { tid, oids: [OID].into() };
    assert_eq!(told_by_two.recv(), Ok(changed(first)));
    assert_eq!((one.last_tid(), two.last_tid()), (first, first));
    let second = commit(&two, voted(&two, first, b"2").unwrap());
    assert_eq!(told_by_one.recv(), Ok(changed(second)), "and nothing of its own");
    for (before, data, serial, end) in
        [(second.next(), b"2", second, None), (second, b"1", first, Some(second))]
    {
        for patience in [Patience::Wait, Patience::Now] {
            let Ok(Load::Found(found)) = one.load_before(OID, before, patience) else { panic!() };
            assert_eq!((&*found.data, found.serial, found.end), (&data[..], serial, end));
        }
    }
    one.close().unwrap();
    two.close().unwrap();
    server.stop();
}

#[test]
fn the_servers_refusals_are_the_storages() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("zeo");
    let server = Server::start(&socket, &Arc::new(MappingStorage::new()));
    let (one, _events) = proxy(&socket);
    let missing = one.load_before(OID, Tid::MAX, Patience::Wait);
    assert_eq!(missing, Err(StorageError::NoSuchObject(OID)));
    let first = commit(&one, voted(&one, Tid::ZERO, b"1").unwrap());
    assert_eq!(one.load_before(OID, first, Patience::Wait), Ok(Load::Younger { first }));
    let second = commit(&one, voted(&one, first, b"2").unwrap());
    let conflict = StorageError::Conflict { oid: OID, committed: second, read: first };
    assert_eq!(voted(&one, first, b"3").unwrap_err(), conflict);
    let now = one.begin_vote(&TransactionMeta::default(), Patience::Now);
    assert_eq!(now.err(), Some(StorageError::WouldBlock));
    let oids = one.new_oids(3, Patience::Wait).unwrap();
    assert!(oids.is_sorted() && oids.len() == 3, "{oids:?}");
    one.close().unwrap();
    server.stop();
}

/// A dropped transaction releases its locks, in the proxy and in the server behind it.
#[test]
fn a_dropped_transaction_releases_the_servers_lock() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("zeo");
    let server = Server::start(&socket, &Arc::new(MappingStorage::new()));
    let (one, _events) = proxy(&socket);
    let (two, _events) = proxy(&socket);
    drop(voted(&one, Tid::ZERO, b"1").unwrap());
    let first = commit(&two, voted(&two, Tid::ZERO, b"2").unwrap());
    drop(voted(&two, first, b"3").unwrap());
    commit(&two, voted(&two, first, b"4").unwrap());
    one.close().unwrap();
    two.close().unwrap();
    server.stop();
}

#[test]
fn commits_fail_while_the_server_is_lost_and_its_reconnection_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("zeo");
    let storage = Arc::new(MappingStorage::new());
    let server = Server::start(&socket, &storage);
    let (one, events) = proxy(&socket);
    let first = commit(&one, voted(&one, Tid::ZERO, b"1").unwrap());
    one.load_before(OID, first.next(), Patience::Wait).unwrap();
    let voted = voted(&one, first, b"2").unwrap();
    server.stop();
    // The commit may have been sent when the connection is lost.
    let lost = one.commit(vec![Finishing { tid: Tid(7), voted }]).unwrap_err();
    let is_lost = matches!(lost, StorageError::Unreachable(_) | StorageError::Uncertain(_));
    assert!(is_lost, "{lost:?}");
    assert!(one.load_before(OID, first.next(), Patience::Now).is_ok(), "it is in the cache");
    let server = Server::start(&socket, &storage);
    assert_eq!(events.recv(), Ok(StorageEvent::Reconnected { tid: first, may_have_missed: false }));
    one.close().unwrap();
    server.stop();
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("zeo");
    let wait_timeout = Duration::from_millis(1);
    let client = ClientOptions { wait_timeout, ..ClientOptions::new([Address::unix(&*socket)]) };
    let error = Proxy::open(ProxyOptions { client, name: None }, drive).unwrap_err();
    let StorageError::Unreachable(text) = &error else { panic!("{error:?}") };
    assert!(text.contains(&*socket.to_string_lossy()), "{text}");
}
