//! ZEO without I/O: the protocol between a ZODB's clients and its server, as state machines.
//!
//! Nothing here opens a socket or a file, starts a thread, or reads a clock; the crate is `no_std`. A
//! machine takes bytes, answers and times, and returns bytes and commands. The owner of the sockets (an
//! *adapter*, such as `rzeo-tokio`) passes them on, so the same machines run on any runtime, in a test,
//! and in a simulation.
//!
//! | module | for |
//! |---|---|
//! | [`server`] | programs that serve: one [`Session`](server::Session) for each connection, one [`Hub`](server::Hub) for each storage |
//! | [`client`] | programs that use a server: one [`Client`](client::Client) with its [`Cache`](client::cache::Cache) |
//! | [`storage`] | storages to be served: the trait [`Storage`](storage::Storage), and layers over another one |
//! | [`wire`] | tools that look into the stream: frames, both encodings, calls and replies |
//!
//! [`record`], [`resolve`], [`pickle`] and [`value`] read and write what is in the stream and in files:
//! references and classes of records, conflicts of BTrees, pickles as data. They execute nothing.
//!
//! Every machine has four methods, which an adapter calls in a loop: `handle_input` and `handle_timeout`
//! tell it what happened, `poll_output` returns what to do until there is nothing more, and `poll_timeout`
//! says when to call `handle_timeout`.
//!
//! # A server's side
//!
//! ```
//! use std::sync::Arc;
//!
//! use rzeo_core::Now;
//! use rzeo_core::server::{Input, Limits, Output, ServerSettings, Session};
//! use rzeo_core::wire::Codec;
//!
//! let settings = Arc::new(ServerSettings {
//!     announce: Codec::Msgpack,
//!     read_only: false,
//!     client_conflict_resolution: false,
//!     limits: Limits::default(),
//!     storages: Vec::new(),
//! });
//! let now = Now::default();
//! let mut session = Session::new(now, settings, "127.0.0.1:40000".to_owned());
//! // A client chooses the encoding that is announced, and asks for a storage that is not served.
//! session.handle_input(now, Input::Bytes(b"\0\0\0\x02M5"));
//! session.handle_input(now, Input::Bytes(b"\0\0\0\x10\x94\x01\xc2\xa8register\x92\xa1x\xc2"));
//!
//! let (mut sent, mut closed) = (Vec::new(), false);
//! while let Some(output) = session.poll_output() {
//!     match output {
//!         Output::Transmit(bytes) => sent.extend_from_slice(&bytes),
//!         Output::Close(_reason) => closed = true,
//!         Output::Log(line) => println!("{}", line.text),
//!         // Calls of a storage and messages to its hub; there is no storage in this example.
//!         Output::Perform(..) | Output::Ask(..) => unreachable!(),
//!     }
//! }
//! assert!(sent.starts_with(b"\0\0\0\x02M5"), "the server announces its encoding");
//! assert!(String::from_utf8_lossy(&sent).contains("unknown storage"), "{sent:?}");
//! assert!(!closed, "the client may ask for another storage");
//! ```
//!
//! # A client's side
//!
//! ```
//! use rzeo_core::client::cache::Cache;
//! use rzeo_core::client::{Client, ClientSettings, Found, Input, Output};
//! use rzeo_core::{Now, Oid, Tid};
//!
//! let now = Now::default();
//! let mut client = Client::new(now, ClientSettings::default(), Cache::new(1 << 20));
//! client.set_servers(now, 1);
//! // Nothing is cached, so the load waits for a connection; the answer is an event later.
//! assert!(matches!(client.load_before(now, Oid::ROOT, Tid::MAX), Found::Later(_)));
//!
//! let mut sent = Vec::new();
//! while let Some(output) = client.poll_output() {
//!     match output {
//!         // An adapter connects to the address with this number. Here the server answers at once.
//!         Output::Connect(connection, _server) => {
//!             client.handle_input(now, Input::Connected(connection));
//!             client.handle_input(now, Input::Bytes(connection, b"\0\0\0\x02M5"));
//!         }
//!         Output::Transmit(_connection, bytes) => sent.extend_from_slice(&bytes),
//!         _ => {}
//!     }
//! }
//! assert!(sent.starts_with(b"\0\0\0\x02M5"), "the encoding that the server has announced");
//! assert!(sent.windows(8).any(|bytes| bytes == b"register"));
//! ```

#![no_std]

extern crate alloc;

pub mod client;
mod ids;
pub mod number;
pub mod pickle;
pub mod record;
pub mod resolve;
pub mod server;
pub mod storage;
mod time;
pub mod value;
pub mod wire;

pub use ids::{Oid, Short, Tid};
pub use time::{Instant, Now, UnixTime};
