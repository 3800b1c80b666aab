//! Real sockets, a real server, and clients that block. Both adapters pass these very tests.
//!
//! What the server says to whom is tested without sockets; here is what an adapter adds: every kind of
//! socket, strangers, peers that do not read, limits, and the end.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

pub(crate) mod client;
mod clients;
mod log;
pub(crate) mod server;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Dial, local, tls_stream};
use log::wait_for_line;
use rzeo_core::ids::{Oid, Tid};
use rzeo_core::value::Value;
use rzeo_core::wire::Codec;
use rzeo_net::Address;
use rzeo_storage::MappingStorage;
use server::{Gate, Running, settings};

const CODECS: [Codec; 2] = [Codec::Pickle, Codec::Msgpack];

/// A record that fills several TLS records and several reads.
const LONG: usize = 300_000;

fn memory() -> Arc<MappingStorage> {
    Arc::new(MappingStorage::new())
}

/// Commits something long and reads it back, in both encodings.
fn converses(address: &Address, dial: Dial<'_>) {
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
            converses(server.address(), tls);
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
fn half_a_greeting_hurts_nobody() {
    let certificate = client::certificate();
    for tls in [None, Some(&certificate)] {
        let server = Running::start(&settings(), memory(), &local(), tls);
        let mut halves = halves(&server);
        converses(server.address(), tls);
        server.stop();
        halves.iter_mut().for_each(client::read_to_end);
    }
}

#[test]
fn half_a_greeting_is_not_waited_for_for_ever() {
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
fn a_failed_tls_handshake_is_one_line_and_touches_nobody_else() {
    let certificate = client::certificate();
    let server = Running::start(&settings(), memory(), &local(), Some(&certificate));
    let mut other = Client::connect(server.address(), Some(&certificate), Codec::Pickle);
    let mut plain = server.dial();
    let peer = plain.local_addr().unwrap();
    plain.write_all(b"\0\0\0\x02Z5").unwrap();
    client::read_to_end(&mut plain);
    wait_for_line(&[&format!("({peer}) disconnected: TLS handshake failed: ")]);
    // One that goes in the middle.
    let gone = server.dial();
    let peer = gone.local_addr().unwrap();
    gone.shutdown(Shutdown::Both).unwrap();
    wait_for_line(&[&format!("({peer}) disconnected: TLS handshake failed: ")]);
    other.register();
    server.stop();
}

#[test]
fn the_end_of_a_tls_connection_is_told_and_need_not_be() {
    let certificate = client::certificate();
    let server = Running::start(&settings(), memory(), &local(), Some(&certificate));
    // Sent away by the server: close_notify comes before the end.
    let mut client = Client::connect(server.address(), Some(&certificate), Codec::Pickle);
    client.send_frame(b"nonsense");
    client.end().expect("the end is announced");
    // Gone without a word of TLS.
    let stream = server.dial();
    let peer = stream.local_addr().unwrap();
    let mut tls = tls_stream(stream, &certificate);
    tls.read_exact(&mut [0; 6]).unwrap();
    tls.sock.shutdown(Shutdown::Both).unwrap();
    wait_for_line(&[&format!("({peer}) disconnected")]);
    server.stop();
}

#[test]
fn who_reads_nothing_is_sent_away_and_holds_up_nobody() {
    let certificate = client::certificate();
    let directory = tempfile::tempdir().unwrap();
    for (tls, limit) in [(None, 77_777), (Some(&certificate), 88_888)] {
        let mut settings = settings();
        settings.limits.backlog_bytes_max = limit;
        // The buffers of a Unix socket do not grow.
        let address = Address::Unix(directory.path().join(limit.to_string()));
        let server = Running::start(&settings, memory(), &address, tls);
        let mut deaf = Client::connect(&address, tls, Codec::Pickle).registered();
        let mut busy = Client::connect(&address, tls, Codec::Pickle).registered();
        let mut serial = Tid::ZERO;
        // Each is news of 50 KB for the other.
        for _ in 0..20 {
            let stores: Vec<_> = (1..=5_000).map(|oid| (Oid(oid), serial)).collect();
            serial = busy.commit(&stores, 1);
        }
        let limit = format!("are waiting to be read by the peer, the limit is {limit}");
        wait_for_line(&["(unix) disconnected: ", &limit]);
        // What was on its way is there, and then the end.
        deaf.end().unwrap();
        assert_eq!(busy.load(Oid(1)).1, serial);
        drop(busy);
        server.stop();
    }
}

#[test]
fn beyond_a_limit_connections_are_closed_until_there_is_room() {
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
fn a_commit_on_its_way_to_the_disk_is_answered_before_the_end() {
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
        gate.wait_until_somebody_waits();
        server.tell_to_stop();
        idle.end().expect("nothing holds it");
        gate.open();
        client.reply("tpc_finish");
        client.end().expect("it ends after its answer");
        server.ended();
    }
}

#[test]
fn the_end_does_not_take_longer_than_it_may() {
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
        gate.wait_until_somebody_waits();
        server.tell_to_stop();
        if is_hurried {
            server.hurry();
        }
        let host = server.left();
        wait_for_line(&["1 connections have not ended in time"]);
        gate.open();
        host.close().unwrap();
        client.reply("tpc_finish");
    }
}

#[test]
fn strangers_do_not_keep_the_server_from_ending() {
    let certificate = client::certificate();
    for tls in [None, Some(&certificate)] {
        let server = Running::start(&settings(), memory(), &local(), tls);
        let mut strangers: Vec<TcpStream> = (0..3).map(|_| server.dial()).collect();
        server.wait_until(|counts| counts.open == 3);
        server.stop();
        strangers.iter_mut().for_each(client::read_to_end);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Running::start(&settings(), memory(), &Address::Unix(path.clone()), None);
    server.stop();
    assert!(UnixStream::connect(&path).is_err());
}
