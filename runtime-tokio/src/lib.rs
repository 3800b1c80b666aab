//! Serves storages on tokio: bytes in, bytes out, no decision about ZEO.
//!
//! One task owns a connection's reading and writing (`connection.rs`). It reads what is there, hands
//! all of it to the session and writes everything that came out at once; measured against a task per
//! direction, a write per reply and a codec wrapper, that is two to ten times the throughput.
//!
//! Connections are dealt out to one single-threaded runtime per core (`workers.rs`), which measures
//! better than work stealing: a connection's session stays in one core's cache.
//!
//! `runtime-smol` is the same adapter, line for line. What is changed here is changed there.

mod client;
mod connection;
mod server;
mod workers;

pub use client::{connect, drive_client, open_client};
pub use connection::serve_stream;
pub use rzeo_client::{self, Client, ClientOptions, ConnectError};
pub use server::{serve, serve_blocking};
pub use tokio_rustls::rustls::ServerConfig;

/// The example in the README is compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
