//! The Rust client and the server over real sockets: what a runtime crate adds.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{TryRecvError, channel};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use rzeo_client::blobs::BlobOptions;
use rzeo_client::{
    Access, Address, Begin, BlobFailure, CallError, Client, ClientEvent, ClientOptions, ClientTls,
    ConnectError, Observer, Oid, Refused, Tid, Transaction,
};
use rzeo_core::storage::Storage;
use rzeo_storage::{BlobStorage, MappingStorage};

use super::client::{Dial, certificate, client_config, local};
use super::server::{Running, settings};
use super::{LONG, log, memory};
use crate::{adapter, block_on};

/// A record of `BTrees.Length`, which is resolved by adding up.
fn length(value: u8) -> Bytes {
    [b"\x80\x03cBTrees.Length\nLength\nq\0.\x80\x03K", &[value][..], b"."].concat().into()
}

pub(crate) fn record(len: usize) -> Bytes {
    vec![b'.'; len].into()
}

fn tls(dial: Dial<'_>, name: Option<&str>) -> Option<ClientTls> {
    Some(ClientTls::new(client_config(dial?), name.map(str::to_owned)).unwrap())
}

/// Options for a client of this server.
fn options(address: &Address, dial: Dial<'_>) -> ClientOptions {
    let tls = tls(dial, Some("localhost"));
    ClientOptions { tls, ..ClientOptions::new([address.clone()]) }
}

async fn client_of(server: &Running) -> Client {
    adapter::connect(options(server.address(), None)).await.unwrap()
}

pub(crate) async fn commit(
    client: &Client,
    oid: Oid,
    serial: Tid,
    data: Bytes,
) -> Result<Tid, CallError> {
    let mut txn = client.begin(Begin::default()).await?;
    txn.store(oid, serial, data).await?;
    txn.vote().await?.finish().await
}

/// Commits a long record and loads it; another client receives the invalidation and loads it, too.
async fn commit_and_load(address: &Address, dial: Dial<'_>) {
    let one = adapter::connect(options(address, dial)).await.unwrap();
    let other = adapter::connect(options(address, dial)).await.unwrap();
    let oid = one.new_oid().await.unwrap();
    let mut serial = Tid::ZERO;
    for _ in 0..2 {
        let mut events = other.subscribe();
        serial = commit(&one, oid, serial, record(LONG)).await.unwrap();
        assert_eq!(one.last_tid(), serial);
        assert_eq!(one.load(oid).await.unwrap(), (record(LONG), serial));
        let oids: Arc<[Oid]> = [oid].into();
        loop {
            match events.next().await.unwrap() {
                ClientEvent::Info { .. } => {}
                it => break assert_eq!(it, ClientEvent::Invalidated { tid: serial, oids }),
            }
        }
        assert_eq!(other.load(oid).await.unwrap(), (record(LONG), serial));
    }
    assert!(one.cache_statistics().hits >= 2, "an own commit is in the cache");
    one.close().await;
    other.close().await;
}

#[test]
fn clients_use_tcp_and_unix_sockets_with_and_without_tls() {
    let certificate = certificate();
    let directory = tempfile::tempdir().unwrap();
    for (number, tls) in [None, Some(&certificate)].into_iter().enumerate() {
        for msgpack in [false, true] {
            let path = directory.path().join(format!("{number}{msgpack}"));
            for address in [local(), Address::Unix(path)] {
                let settings = rzeo_host::Settings { msgpack, ..settings() };
                let server = Running::start(&settings, memory(), &address, tls);
                block_on(commit_and_load(server.address(), tls));
                server.stop();
            }
        }
    }
}

/// Waits until the log of a client that reaches no server has a line with these parts.
fn fails_with(options: ClientOptions, parts: &[&str]) {
    log::collect();
    let (sender, client) = channel();
    let thread = std::thread::spawn(move || {
        block_on(async {
            let client = adapter::open_client(options).unwrap();
            sender.send(client.clone()).unwrap();
            assert_eq!(client.wait_connected().await, Err(CallError::Closed));
            client.close().await;
        });
    });
    let client = client.recv().unwrap();
    log::wait_for_line(parts);
    block_on(client.close());
    thread.join().unwrap();
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    let certificate = certificate();
    let server = Running::start(&settings(), memory(), &local(), Some(&certificate));
    let tls = tls(Some(&certificate), None);
    let options = ClientOptions { tls, ..options(server.address(), None) };
    let address = server.address().to_string();
    fails_with(options, &[&format!("server 1: {address}: invalid peer certificate")]);
    server.stop();
}

#[test]
fn tls_on_the_client_alone_is_named_on_both_sides() {
    let certificate = certificate();
    let server = Running::start(&settings(), memory(), &local(), None);
    let address = server.address().to_string();
    let options = options(server.address(), Some(&certificate));
    fails_with(options, &[&format!("server 1: {address}: the peer does not speak TLS")]);
    log::wait_for_line(&["disconnected: ", "the peer speaks TLS and this side does not"]);
    server.stop();
}

#[test]
fn connecting_to_no_server_fails_after_the_timeout() {
    let options = ClientOptions::new([Address::unix("/nowhere/zeo.sock")]);
    fails_with(options.clone(), &["server 1: /nowhere/zeo.sock: No such file"]);
    let wait_timeout = Duration::from_millis(1);
    let failed = block_on(adapter::connect(ClientOptions { wait_timeout, ..options })).unwrap_err();
    assert!(matches!(failed, ConnectError::Call(CallError::Unreachable { .. })), "{failed}");
}

/// Polls a future once, which sends its request. The answer may even be there already.
fn begin_and_drop(future: impl Future) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn after_a_dropped_transaction_the_next_one_begins() {
    let server = Running::start(&settings(), memory(), &local(), None);
    block_on(async {
        let client = client_of(&server).await;
        let mut first = client.begin(Begin::default()).await.unwrap();
        first.store(Oid(1), Tid::ZERO, record(1)).await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut second = Box::pin(client.begin(Begin::default()));
        let mut third = Box::pin(client.begin(Begin::default()));
        assert!(second.as_mut().poll(&mut cx).is_pending(), "one at a time");
        assert!(third.as_mut().poll(&mut cx).is_pending());
        // A transaction can be dropped while it waits, after its vote, and during its vote.
        drop(second);
        drop(first.vote().await.unwrap());
        let mut third = third.await.unwrap();
        third.store(Oid(1), Tid::ZERO, record(2)).await.unwrap();
        begin_and_drop(third.vote());
        let tid = commit(&client, Oid(1), Tid::ZERO, record(3)).await.unwrap();
        assert_eq!(client.load(Oid(1)).await.unwrap(), (record(3), tid));
        client.close().await;
    });
    server.stop();
}

#[test]
fn a_dropped_finish_commits() {
    let server = Running::start(&settings(), memory(), &local(), None);
    block_on(async {
        let client = client_of(&server).await;
        let mut txn = client.begin(Begin::default()).await.unwrap();
        txn.store(Oid(1), Tid::ZERO, record(1)).await.unwrap();
        let voted = txn.vote().await.unwrap();
        let mut events = client.subscribe();
        begin_and_drop(voted.finish());
        while !matches!(events.next().await, Some(ClientEvent::Committed { .. })) {}
        let (data, serial) = client.load(Oid(1)).await.unwrap();
        assert_eq!((data, serial), (record(1), client.last_tid()));
        client.close().await;
    });
    server.stop();
}

#[test]
fn many_stores_wait_for_the_socket() {
    let server = Running::start(&settings(), memory(), &local(), None);
    block_on(async {
        let client = client_of(&server).await;
        let mut txn = client.begin(Begin::default()).await.unwrap();
        for oid in 1..=100 {
            txn.store(Oid(oid), Tid::ZERO, record(LONG)).await.unwrap();
        }
        let tid = txn.vote().await.unwrap().finish().await.unwrap();
        for oid in 1..=100 {
            assert_eq!(client.load(Oid(oid)).await.unwrap(), (record(LONG), tid));
        }
        client.close().await;
    });
    server.stop();
}

/// Slow, so that a reader that does not wait for it sees a tid too early.
#[derive(Default)]
struct Slow(AtomicU64);

impl Observer for Slow {
    fn invalidated(&self, tid: Tid, _oids: &Arc<[Oid]>) {
        for _ in 0..1_000 {
            std::thread::yield_now();
        }
        self.0.store(tid.0, Ordering::SeqCst);
    }
}

#[test]
fn no_commit_is_visible_before_the_observer_was_called() {
    let server = Running::start(&settings(), memory(), &local(), None);
    block_on(async {
        let observer = Arc::new(Slow::default());
        let observing = Some(observer.clone() as Arc<dyn Observer>);
        let observed = ClientOptions { observer: observing, ..options(server.address(), None) };
        let client = adapter::connect(observed).await.unwrap();
        let writer = client_of(&server).await;
        let (stop, stopped) = channel();
        let other = client.clone();
        let reader = std::thread::spawn(move || {
            let mut known = Tid::ZERO;
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                let last = other.last_tid();
                assert!(last == known || observer.0.load(Ordering::SeqCst) >= last.0, "{last}");
                known = last;
            }
        });
        let mut serial = Tid::ZERO;
        for _ in 0..20 {
            serial = commit(&writer, Oid(1), serial, record(1)).await.unwrap();
            client.ping().await.unwrap();
            assert_eq!(client.last_tid(), serial);
        }
        stop.send(()).unwrap();
        reader.join().unwrap();
        client.close().await;
        writer.close().await;
    });
    server.stop();
}

#[test]
fn the_client_resolves_conflicts_that_the_server_leaves_to_it() {
    let settings = rzeo_host::Settings { client_conflict_resolution: true, ..settings() };
    let server = Running::start(&settings, memory(), &local(), None);
    block_on(async {
        let one = client_of(&server).await;
        let other = client_of(&server).await;
        let read = commit(&one, Oid(1), Tid::ZERO, length(10)).await.unwrap();
        commit(&one, Oid(1), read, length(15)).await.unwrap();
        let mut txn = other.begin(Begin::default()).await.unwrap();
        txn.store(Oid(1), read, length(12)).await.unwrap();
        let voted = txn.vote().await.unwrap();
        assert_eq!(voted.resolved(), [Oid(1)]);
        let tid = voted.finish().await.unwrap();
        assert_eq!(other.load(Oid(1)).await.unwrap().1, tid);
        one.ping().await.unwrap();
        let resolved = one.load(Oid(1)).await.unwrap();
        assert_eq!(resolved.1, tid);
        assert!(resolved.0.ends_with(b"K\x11."), "{resolved:?}");
        // Other classes cannot be resolved.
        let refused = commit(&one, Oid(1), read, record(1)).await;
        assert!(
            matches!(refused, Err(CallError::Refused(Refused::Conflict { .. }))),
            "{refused:?}"
        );
        one.close().await;
        other.close().await;
    });
    server.stop();
}

#[test]
fn all_transactions_can_be_iterated() {
    let storage = Arc::new(rzeo_storage::FileStorage::open(
        Arc::new(rzeo_storage::disk::memory::MemoryDisk::new()),
        "/Data.fs",
        rzeo_storage::file::FileOptions::default(),
    ));
    let storage = Arc::new(Arc::into_inner(storage).unwrap().unwrap());
    let server = Running::start(&settings(), storage, &local(), None);
    block_on(async {
        let client = client_of(&server).await;
        let mut tids = Vec::new();
        for oid in 1..=3 {
            tids.push(commit(&client, Oid(oid), Tid::ZERO, record(1)).await.unwrap());
        }
        let mut walk = client.transactions(Some(tids[1]), None);
        let mut found = Vec::new();
        while let Some(transaction) = walk.next().await.unwrap() {
            let mut records = walk.records();
            while let Some(record) = records.next().await.unwrap() {
                found.push((transaction.tid, record.oid));
            }
            assert_eq!(records.next().await.unwrap(), None);
        }
        assert_eq!(found, [(tids[1], Oid(2)), (tids[2], Oid(3))]);
        assert_eq!(walk.next().await.unwrap(), None);
        assert_eq!(client.current_serial(Oid(1)).await.unwrap(), tids[0]);
        assert_eq!(client.load_serial(Oid(2), tids[1]).await.unwrap(), record(1));
        assert_eq!(client.next_record(None).await.unwrap().oid, Oid(1));
        assert_eq!(client.history(Oid(1), 10).await.unwrap().len(), 1);
        assert_eq!(client.undo_log(0, -10).await.unwrap().len(), 3);
        assert!(client.info().await.unwrap().supports_undo);
        assert!(!client.server_status().await.unwrap().is_empty());
        client.close().await;
    });
    server.stop();
}

#[test]
fn dropped_iterators_end_at_the_server() {
    let mut settings = settings();
    // An iterator that is dropped during a call ends after that call.
    settings.limits.iterators_max = 3;
    let server = Running::start(&settings, memory(), &local(), None);
    block_on(async {
        let client = client_of(&server).await;
        let tid = commit(&client, Oid(1), Tid::ZERO, record(1)).await.unwrap();
        for _ in 0..5 {
            let mut walk = client.transactions(None, None);
            assert_eq!(walk.next().await.unwrap().unwrap().tid, tid);
            assert_eq!(walk.records().next().await.unwrap().unwrap().oid, Oid(1));
            begin_and_drop(client.transactions(None, None).next());
        }
        client.close().await;
    });
    server.stop();
}

#[test]
fn the_client_reconnects_to_a_restarted_server() {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::Unix(directory.path().join("socket"));
    let storage = memory();
    let server = Running::start(&settings(), storage.clone(), &address, None);
    block_on(async {
        let client = client_of(&server).await;
        let tid = commit(&client, Oid(1), Tid::ZERO, record(1)).await.unwrap();
        let mut events = client.subscribe();
        server.begin_stop();
        while !matches!(events.next().await, Some(ClientEvent::Disconnected)) {}
        assert_eq!(client.load(Oid(1)).await.unwrap(), (record(1), tid), "from the cache");
        server.join();
        std::fs::remove_file(directory.path().join("socket")).unwrap();
        let server = Running::start(&settings(), storage, &address, None);
        client.wait_connected().await.unwrap();
        assert_eq!(client.last_tid(), tid);
        let next = commit(&client, Oid(1), tid, record(2)).await.unwrap();
        assert_eq!(client.load(Oid(1)).await.unwrap(), (record(2), next));
        client.close().await;
        server.stop();
    });
}

/// A proxy for two connections; it closes the first when the client sends a request.
fn proxy_that_closes_the_first(listener: &TcpListener, server: &Address) {
    for is_first in [true, false] {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(server.to_string()).unwrap();
        let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let down = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            to.shutdown(Shutdown::Both)
        });
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            let asks = buffer[..count].windows(4).any(|word| word == b"ping");
            if is_first && asks || server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = down.join().unwrap();
    }
}

#[test]
fn connecting_goes_on_after_a_connection_is_lost_at_once() {
    let server = Running::start(&settings(), memory(), &local(), None);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = server.address().clone();
    let proxy = std::thread::spawn(move || proxy_that_closes_the_first(&listener, &address));
    block_on(async {
        let options = ClientOptions::new([Address::tcp("127.0.0.1", port)]);
        let client = adapter::connect(options).await.unwrap();
        // A client that is connected very soon has sent no request yet.
        while client.ping().await.is_err() {}
        assert!(client.is_connected());
        client.close().await;
    });
    proxy.join().unwrap();
    server.stop();
}

#[test]
fn a_read_only_client_cannot_write() {
    let storage = memory();
    let writable = Running::start(&settings(), storage.clone(), &local(), None);
    let read_only = rzeo_host::Settings { read_only: true, ..settings() };
    let read_only = Running::start(&read_only, storage, &local(), None);
    block_on(async {
        let tid = commit(&client_of(&writable).await, Oid(1), Tid::ZERO, record(1)).await.unwrap();
        let access = Access::ReadOnly;
        let options = ClientOptions { access, ..options(writable.address(), None) };
        let reader = adapter::connect(options.clone()).await.unwrap();
        assert!(reader.is_read_only());
        assert_eq!(reader.load(Oid(1)).await.unwrap(), (record(1), tid));
        assert!(reader.begin(Begin::default()).await.is_err());
        reader.close().await;
        // The client changes to a writable server as soon as it knows one.
        let addresses = vec![read_only.address().to_string().parse().unwrap()];
        let access = Access::ReadOnlyFallback;
        let reader = ClientOptions { access, addresses: addresses.clone(), ..options };
        let client = adapter::connect(reader).await.unwrap();
        assert!(client.is_read_only());
        let mut events = client.subscribe();
        let better = writable.address().to_string().parse().unwrap();
        client.set_addresses(addresses.into_iter().chain([better])).unwrap();
        while !matches!(events.next().await, Some(ClientEvent::Connected { read_only: false, .. }))
        {
        }
        assert!(!client.is_read_only());
        client.close().await;
        assert_eq!(events.next().await, Some(ClientEvent::Disconnected));
        assert_eq!(events.next().await, None);
    });
    writable.stop();
    read_only.stop();
}

#[test]
fn pending_calls_fail_when_the_client_is_closed() {
    let address = Address::unix("/nowhere/zeo.sock");
    block_on(async {
        let client = adapter::open_client(ClientOptions::new([address])).unwrap();
        let mut load = Box::pin(client.load(Oid(1)));
        assert!(load.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        client.close().await;
        assert_eq!(load.await, Err(CallError::Closed));
        assert_eq!(client.ping().await, Err(CallError::Closed));
    });
}

fn blob_storage(directory: &Path) -> Arc<dyn Storage> {
    let base = Arc::new(MappingStorage::new());
    Arc::new(BlobStorage::open_directory(directory, base).unwrap())
}

/// Commits a blob with these bytes.
async fn commit_blob(client: &Client, oid: Oid, bytes: &[u8]) -> Tid {
    let path = client.blob_directory().unwrap().temporary().join("new");
    std::fs::write(&path, bytes).unwrap();
    let mut txn: Transaction = client.begin(Begin::default()).await.unwrap();
    txn.store_blob(oid, Tid::ZERO, record(1), &path).await.unwrap();
    assert!(!path.exists(), "it is taken");
    txn.vote().await.unwrap().finish().await.unwrap()
}

#[test]
fn blobs_are_committed_and_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let server = Running::start(&settings(), blob_storage(&at("server")), &local(), None);
    let with = |blobs| ClientOptions { blobs: Some(blobs), ..options(server.address(), None) };
    // Several chunks and several reads, and one that is empty.
    for (oid, len) in [(Oid(1), 300_000), (Oid(2), 0)] {
        let bytes: Vec<u8> = (0..len).map(|number: u32| number.to_le_bytes()[0]).collect();
        block_on(async {
            let one = adapter::connect(with(BlobOptions::cache(at("one")))).await.unwrap();
            let other = adapter::connect(with(BlobOptions::cache(at("other")))).await.unwrap();
            let shared = adapter::connect(with(BlobOptions::shared(at("server")))).await.unwrap();
            let tid = commit_blob(&one, oid, &bytes).await;
            let kept = one.blob_directory().unwrap().lookup(oid, tid).unwrap();
            assert!(kept.is_some(), "the committer has it in its cache");
            for client in [&one, &other, &shared] {
                let path = client.load_blob(oid, tid).await.unwrap();
                assert_eq!(std::fs::read(path).unwrap(), bytes);
            }
            let tid = commit_blob(&shared, Oid(oid.0 + 10), &bytes).await;
            let path = one.load_blob(Oid(oid.0 + 10), tid).await.unwrap();
            assert_eq!(std::fs::read(path).unwrap(), bytes);
            let none = other.load_blob(oid, Tid(1)).await;
            let none = matches!(none, Err(BlobFailure::Call(CallError::Refused(_))));
            assert!(none, "there is no such blob");
            for client in [one, other, shared] {
                client.close().await;
            }
        });
    }
    server.stop();
}

#[test]
fn a_dropped_download_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let server = Running::start(&settings(), blob_storage(&at("server")), &local(), None);
    let with = |name| {
        let blobs = Some(BlobOptions::cache(at(name)));
        ClientOptions { blobs, ..options(server.address(), None) }
    };
    block_on(async {
        let one = adapter::connect(with("one")).await.unwrap();
        let other = adapter::connect(with("other")).await.unwrap();
        let tid = commit_blob(&one, Oid(1), &[7; 300_000]).await;
        begin_and_drop(other.load_blob(Oid(1), tid));
        let path = other.load_blob(Oid(1), tid).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), [7; 300_000]);
        one.close().await;
        other.close().await;
    });
    server.stop();
}

#[test]
fn the_next_client_starts_with_the_cache_file() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(&settings(), memory(), &local(), None);
    let cached = || {
        let cache_path = Some(directory.path().join("cache"));
        ClientOptions { cache_path, ..options(server.address(), None) }
    };
    block_on(async {
        let other = client_of(&server).await;
        let first = commit(&other, Oid(1), Tid::ZERO, record(LONG)).await.unwrap();
        let client = adapter::connect(cached()).await.unwrap();
        let second = commit(&client, Oid(2), Tid::ZERO, record(LONG)).await.unwrap();
        client.load(Oid(1)).await.unwrap();
        assert!(
            matches!(adapter::open_client(cached()), Err(ConnectError::Cache(_))),
            "it is in use"
        );
        client.close().await;
        let changed = commit(&other, Oid(1), first, record(1)).await.unwrap();
        let client = adapter::connect(cached()).await.unwrap();
        assert_eq!(client.load(Oid(2)).await.unwrap(), (record(LONG), second));
        assert_eq!(client.cache_statistics().misses, 0);
        assert_eq!(client.load(Oid(1)).await.unwrap(), (record(1), changed), "it was verified");
        client.close().await;
        other.close().await;
    });
    server.stop();
}

#[test]
fn a_cache_file_with_many_changes_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(&settings(), memory(), &local(), None);
    let path = directory.path().join("cache");
    let (cache_path, cache_bytes) = (Some(path.clone()), 2 * LONG);
    let cached = ClientOptions { cache_path, cache_bytes, ..options(server.address(), None) };
    block_on(async {
        let client = adapter::connect(cached.clone()).await.unwrap();
        let mut serial = Tid::ZERO;
        for _ in 0..30 {
            serial = commit(&client, Oid(1), serial, record(LONG)).await.unwrap();
        }
        client.close().await;
        let len = std::fs::metadata(&path).unwrap().len();
        assert!(len < 20 * LONG as u64, "{len} bytes for a cache of {cache_bytes}");
        let client = adapter::connect(cached).await.unwrap();
        assert_eq!(client.load(Oid(1)).await.unwrap(), (record(LONG), serial));
        assert_eq!(client.cache_statistics().misses, 0);
        client.close().await;
    });
    server.stop();
}
