//! ZEO servers and clients on tokio.
//!
//! # Serve
//!
//! [`serve`] is a future for programs that have a runtime; [`serve_blocking`] is for those that do not.
//! What they need comes from this crate: a [`Host`] with its [`Settings`], storages from
//! [`rzeo_storage`] (or one of one's own), and sockets from [`listen`].
//!
//! ```no_run
//! use std::future::pending;
//! use std::sync::Arc;
//!
//! use rzeo_tokio::rzeo_storage::MappingStorage;
//! use rzeo_tokio::{Host, Settings, StorageSpec, listen, serve};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = StorageSpec { name: "1".to_owned(), storage: Arc::new(MappingStorage::new()) };
//! let host = Host::new(&Settings::default(), vec![storage])?;
//! let listeners = listen(&"localhost:8100".parse()?)?;
//! let stop = async { drop(tokio::signal::ctrl_c().await) };
//! serve(host.clone(), listeners, None, stop, pending()).await?;
//! host.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! For TLS, [`rzeo_tls::server_config`] reads certificates and keys. [`serve_stream`] serves a single
//! connection over any stream.
//!
//! # Use a server
//!
//! [`connect`] makes a [`Client`]. `examples/client.rs` uses one. [`open_local_client`] makes one of a server in
//! the same process.
//!
//! # Inside
//!
//! One task owns a connection: [`rzeo_net::drive`] carries the bytes, the session in `rzeo-core` decides.
//! Connections are distributed to one single-threaded runtime per core (`workers.rs`), which measures
//! better than work stealing: a connection's session stays in one core's cache.
//!
//! `rzeo-smol` is the same on smol. `docs/runtimes.md` says which to choose.

mod client;
mod connection;
mod server;
mod workers;

pub use client::{connect, drive_client, open_client, open_local_client};
pub use connection::serve_stream;
pub use rzeo_client::{self, Client, ClientOptions, ConnectError};
pub use rzeo_host::{self, Host, Settings, StorageSpec};
pub use rzeo_net::{self, Address, Listener, listen};
#[cfg(feature = "storage")]
pub use rzeo_storage;
pub use rzeo_tls;
pub use server::{serve, serve_blocking};
pub use tokio_rustls::rustls::ServerConfig;

/// The example in the README is compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
