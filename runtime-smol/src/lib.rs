//! ZEO servers and clients on smol, and over any stream of futures-io.
//!
//! # Serve
//!
//! [`serve`] is a future for programs that have an executor; [`serve_blocking`] is for those that do not.
//! What they need comes from this crate: a [`Host`] with its [`Settings`], storages from
//! [`rzeo_storage`] (or one of one's own), and sockets from [`listen`].
//!
//! ```no_run
//! use std::future::pending;
//! use std::sync::Arc;
//!
//! use rzeo_smol::rzeo_storage::MappingStorage;
//! use rzeo_smol::{Host, Settings, StorageSpec, listen, serve};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = StorageSpec { name: "1".to_owned(), storage: Arc::new(MappingStorage::new()) };
//! let host = Host::new(&Settings::default(), vec![storage])?;
//! let listeners = listen(&"localhost:8100".parse()?)?;
//! serve(host.clone(), listeners, None, pending(), pending()).await?;
//! host.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! For TLS, [`rzeo_tls::server_config`] reads certificates and keys. [`serve_stream`] serves a single
//! connection over any stream of futures-io, those of async-std included, on any executor.
//!
//! # Use a server
//!
//! [`connect`] makes a [`Client`], whose calls are futures for any executor. [`blocking::connect`] makes one
//! whose calls block, for programs without an executor. [`open_local_client`] makes one of a server in the same
//! process.
//!
//! # Inside
//!
//! One task owns a connection: [`rzeo_net::drive`] carries the bytes, the session in `rzeo-core` decides.
//! Connections are distributed to one single-threaded executor per core (`workers.rs`).
//!
//! `rzeo-tokio` is the same on tokio. `docs/runtimes.md` says which to choose.

pub mod blocking;
mod client;
mod connection;
mod server;
mod workers;

pub use client::{connect, drive_client, open_client, open_local_client};
pub use connection::serve_stream;
pub use futures_rustls::rustls::ServerConfig;
pub use rzeo_client::{self, Client, ClientOptions, ConnectError};
pub use rzeo_host::{self, Host, Settings, StorageSpec};
pub use rzeo_net::{self, Address, Listener, listen};
#[cfg(feature = "storage")]
pub use rzeo_storage;
pub use rzeo_tls;
pub use server::{serve, serve_blocking};
