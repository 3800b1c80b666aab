//! A server on real sockets, with clients that block. Both runtime crates run these tests.
//!
//! The protocol is tested without sockets. These tests are about what a runtime crate adds: all kinds of
//! sockets, peers that are not ZEO clients or do not read, limits, and the end.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

pub(crate) mod client;
mod clients;
mod local_clients;
mod log;
pub(crate) mod server;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Dial, local, tls_stream};
use log::wait_for_line;
use rzeo_core::value::Value;
use rzeo_core::wire::{Codec, Deframer, Malformed};
use rzeo_core::{Oid, Tid};
use rzeo_net::Address;
use rzeo_storage::MappingStorage;
use server::{Gate, Running, settings};

const CODECS: [Codec; 2] = [Codec::Pickle, Codec::Msgpack];

/// A record that fills several TLS records and several reads.
const LONG: usize = 300_000;

fn memory() -> Arc<MappingStorage> {
    Arc::new(MappingStorage::new())
}

/// Commits a long record and loads it, in both encodings.
fn commit_and_load(address: &Address, dial: Dial<'_>) {
    for codec in CODECS {
        let mut client = Client::connect(address, dial, codec).registered();
        let oid = client.new_oid();
        let tid = client.commit(&[(oid, Tid::ZERO)], LONG);
        let (length, serial) = client.load(oid);
        assert_eq!((length, serial), (LONG, tid));
    }
}

#[test]
fn clients_are_served_over_tcp_and_unix_sockets_with_and_without_tls() {
    let certificate = client::certificate();
    let directory = tempfile::tempdir().unwrap();
    for (number, tls) in [None, Some(&certificate)].into_iter().enumerate() {
        let path = directory.path().join(number.to_string());
        for address in [local(), Address::Unix(path)] {
            let server = Running::start(&settings(), memory(), &address, tls);
            commit_and_load(server.address(), tls);
            server.stop();
        }
    }
}

/// Connections that have sent two bytes: of a frame's length, or of a TLS record's head.
fn halves(server: &Running) -> Vec<TcpStream> {
    let half = || {
        let mut stream = server.dial();
        stream.write_all(&[0x16, 0x03]).unwrap();
        stream
    };
    std::iter::repeat_with(half).take(20).collect()
}

#[test]
fn a_peer_that_stops_in_the_greeting_disturbs_no_other() {
    let certificate = client::certificate();
    for tls in [None, Some(&certificate)] {
        let server = Running::start(&settings(), memory(), &local(), tls);
        let mut halves = halves(&server);
        commit_and_load(server.address(), tls);
        server.stop();
        for half in &mut halves {
            client::read_to_end(half);
        }
    }
}

#[test]
fn a_peer_that_stops_in_the_greeting_is_closed_after_the_timeout() {
    let mut settings = settings();
    settings.limits.register_time_max = Duration::from_millis(50);
    let certificate = client::certificate();
    for tls in [None, Some(&certificate)] {
        let server = Running::start(&settings, memory(), &local(), tls);
        for mut half in halves(&server) {
            let peer = half.local_addr().unwrap();
            client::read_to_end(&mut half);
            let what = if tls.is_some() { "TLS handshake not finished" } else { "not registered" };
            wait_for_line(&[&format!("({peer}) disconnected: {what} after 0")]);
        }
        server.stop();
    }
}

#[test]
fn a_failed_tls_handshake_is_logged_once_and_disturbs_no_other() {
    let certificate = client::certificate();
    let server = Running::start(&settings(), memory(), &local(), Some(&certificate));
    let mut other = Client::connect(server.address(), Some(&certificate), Codec::Pickle);
    let mut plain = server.dial();
    let peer = plain.local_addr().unwrap();
    plain.write_all(b"\0\0\0\x02Z5").unwrap();
    let mut alert = Deframer::new(1 << 20);
    alert.push(&client::read_to_end(&mut plain));
    assert_eq!(alert.next_frame(), Err(Malformed::Tls));
    let text = format!("({peer}) disconnected: TLS handshake failed: the peer does not speak TLS");
    wait_for_line(&[&text]);
    // A client that closes during the handshake.
    let closed = server.dial();
    let peer = closed.local_addr().unwrap();
    closed.shutdown(Shutdown::Both).unwrap();
    wait_for_line(&[&format!("({peer}) disconnected: TLS handshake failed: ")]);
    other.register();
    server.stop();
}

#[test]
fn a_tls_connection_ends_with_and_without_close_notify() {
    let certificate = client::certificate();
    let server = Running::start(&settings(), memory(), &local(), Some(&certificate));
    // Closed by the server: close_notify comes before the end.
    let mut client = Client::connect(server.address(), Some(&certificate), Codec::Pickle);
    client.send_frame(b"nonsense");
    client.end().expect("the end is announced");
    // Closed by the client without close_notify.
    let stream = server.dial();
    let peer = stream.local_addr().unwrap();
    let mut tls = tls_stream(stream, &certificate);
    tls.read_exact(&mut [0; 6]).unwrap();
    tls.sock.shutdown(Shutdown::Both).unwrap();
    wait_for_line(&[&format!("({peer}) disconnected")]);
    server.stop();
}

#[test]
fn a_peer_that_does_not_read_is_closed_and_delays_no_other() {
    let certificate = client::certificate();
    let directory = tempfile::tempdir().unwrap();
    for (tls, limit) in [(None, 77_777), (Some(&certificate), 88_888)] {
        let mut settings = settings();
        settings.limits.backlog_bytes_max = limit;
        // The buffers of a Unix socket do not grow.
        let address = Address::Unix(directory.path().join(limit.to_string()));
        let server = Running::start(&settings, memory(), &address, tls);
        let mut idle = Client::connect(&address, tls, Codec::Pickle).registered();
        let mut busy = Client::connect(&address, tls, Codec::Pickle).registered();
        let mut serial = Tid::ZERO;
        // Each is an invalidation of 50 KB for the other client.
        for _ in 0..20 {
            let stores: Vec<_> = (1..=5_000).map(|oid| (Oid(oid), serial)).collect();
            serial = busy.commit(&stores, 1);
        }
        let limit = format!("are waiting to be read by the peer, the limit is {limit}");
        wait_for_line(&["(unix) disconnected: ", &limit]);
        // What the socket had taken arrives, then the end.
        idle.end().unwrap();
        assert_eq!(busy.load(Oid(1)).1, serial);
        drop(busy);
        server.stop();
    }
}

#[test]
fn connections_over_a_limit_are_closed_until_others_end() {
    let mut settings = settings();
    settings.connections.connections_max = 3;
    settings.connections.unfinished_max = 2;
    let server = Running::start(&settings, memory(), &local(), None);
    let mut first = Client::connect(server.address(), None, Codec::Pickle);
    let second = Client::connect(server.address(), None, Codec::Pickle);
    client::read_to_end(&mut server.dial());
    wait_for_line(&[
        "there are 2 that have not registered, the limit is 2 (max-unfinished-handshakes",
    ]);
    first.register();
    let third = Client::connect(server.address(), None, Codec::Pickle);
    client::read_to_end(&mut server.dial());
    wait_for_line(&["there are 3, the limit is 3 (max-connections"]);
    let peer = second.name();
    drop(second);
    wait_for_line(&[&format!("({peer}) disconnected")]);
    server.wait_until(|counts| counts.open == 2);
    Client::connect(server.address(), None, Codec::Pickle).register();
    drop(third);
    server.stop();
}

#[test]
fn a_commit_that_is_being_written_is_answered_before_the_server_ends() {
    let certificate = client::certificate();
    for tls in [None, Some(&certificate)] {
        let gate = Gate::new();
        let server = Running::start(&settings(), gate.storage(), &local(), tls);
        let mut idle = Client::connect(server.address(), tls, Codec::Pickle).registered();
        let mut client = Client::connect(server.address(), tls, Codec::Pickle).registered();
        let oid = client.new_oid();
        client.vote(&[(oid, Tid::ZERO)], 10);
        gate.close();
        client.send("tpc_finish", vec![Value::Int(7)]);
        gate.wait_until_reached();
        server.begin_stop();
        idle.end().expect("no call is pending");
        gate.open();
        client.reply("tpc_finish");
        client.end().expect("it ends after its answer");
        server.join_and_close();
    }
}

#[test]
fn the_server_ends_after_its_timeout_or_when_hurried() {
    let patience = [Duration::from_millis(10), Duration::from_secs(100_000)];
    for (stop_time_max, is_hurried) in patience.into_iter().zip([false, true]) {
        let gate = Gate::new();
        let settings = rzeo_host::Settings { stop_time_max, ..settings() };
        let server = Running::start(&settings, gate.storage(), &local(), None);
        let mut client = Client::connect(server.address(), None, Codec::Pickle).registered();
        let oid = client.new_oid();
        client.vote(&[(oid, Tid::ZERO)], 10);
        gate.close();
        client.send("tpc_finish", vec![Value::Int(7)]);
        gate.wait_until_reached();
        server.begin_stop();
        if is_hurried {
            server.hurry();
        }
        let host = server.join();
        wait_for_line(&["1 connections have not ended in time"]);
        gate.open();
        host.close().unwrap();
        client.reply("tpc_finish");
    }
}

#[test]
fn connections_that_send_nothing_do_not_delay_the_end() {
    let certificate = client::certificate();
    for tls in [None, Some(&certificate)] {
        let server = Running::start(&settings(), memory(), &local(), tls);
        let mut silent: Vec<TcpStream> = (0..3).map(|_| server.dial()).collect();
        server.wait_until(|counts| counts.open == 3);
        server.stop();
        for connection in &mut silent {
            client::read_to_end(connection);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Running::start(&settings(), memory(), &Address::Unix(path.clone()), None);
    server.stop();
    assert!(UnixStream::connect(&path).is_err());
}
