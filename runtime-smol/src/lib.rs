//! Serves storages on smol: bytes in, bytes out, no decision about ZEO.
//!
//! One task owns a connection's reading and writing (`connection.rs`). It reads what is there, hands
//! all of it to the session and writes everything that came out at once. Connections are dealt out to
//! one single-threaded executor per core (`workers.rs`).
//!
//! [`serve`] takes any stream of the futures-io traits, also those of async-std, on any executor.
//!
//! `runtime-tokio` is the same adapter, line for line. What is changed here is changed there.

pub mod blocking;
mod client;
mod connection;
mod server;
mod workers;

pub use client::{connect, drive_client, open_client};
pub use connection::serve_stream;
pub use futures_rustls::rustls::ServerConfig;
pub use rzeo_client::{self, Client, ClientOptions, ConnectError};
pub use server::{serve, serve_blocking};
