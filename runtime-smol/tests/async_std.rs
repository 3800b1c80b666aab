//! A real ZEO conversation over a stream of async-std, on async-std's own executor.
//!
//! async-std is discontinued (RUSTSEC-2025-0052), so nothing here depends on it but this test, with the
//! feature `async-std`. Its streams are those of futures-io, and that is all an application that still
//! uses it needs.

#![cfg(feature = "async-std")]
#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use async_std::net::TcpListener;
use rzeo_core::ids::Tid;
use rzeo_core::wire::Codec;
use rzeo_host::{Host, StorageSpec};
use rzeo_net::Address;
use rzeo_smol as adapter;

#[expect(dead_code, reason = "the tests of every adapter need more of it")]
#[path = "../../runtime-tokio/tests/sockets/client.rs"]
mod client;

#[test]
fn a_stream_of_async_std_is_served() {
    let settings = rzeo_host::Settings {
        read_only: false,
        msgpack: false,
        client_conflict_resolution: false,
        invalidation_queue_size: 100,
        invalidation_age: None,
        transaction_timeout: None,
        lock_scope: rzeo_core::server::LockScope::Objects,
        limits: rzeo_core::server::Limits::default(),
        connections: rzeo_host::ConnectionLimits::default(),
        stop_time_max: std::time::Duration::from_secs(10),
        start: String::new(),
    };
    let storage = std::sync::Arc::new(rzeo_storage::MappingStorage::new());
    let spec = StorageSpec { name: "1".into(), storage };
    let host = Host::new(&settings, vec![spec]).unwrap();
    async_std::task::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = std::thread::spawn(move || converse(port));
        for _ in 0..2 {
            let (stream, peer) = listener.accept().await.unwrap();
            adapter::serve_stream(host.clone(), stream, peer.to_string()).await;
        }
        client.join().unwrap();
    });
    assert_eq!(host.connection_counts().open, 0);
    host.close().unwrap();
}

/// Commits something and reads it back, in both encodings, one after the other.
fn converse(port: u16) {
    let address = Address::tcp("127.0.0.1", port);
    for codec in [Codec::Pickle, Codec::Msgpack] {
        let mut client = client::Client::connect(&address, None, codec).registered();
        let oid = client.new_oid();
        let tid = client.commit(&[(oid, Tid::ZERO)], 300_000);
        assert_eq!(client.load(oid), (300_000, tid));
    }
}
