//! A storage that is the client of another ZEO server: a server of it is a proxy of that one.
//!
//! ```text
//!   sessions ─► load, vote, commit ─► Proxy ─► rzeo_client::Client ─► server
//!                                                     │
//!   Hub ◄─ StorageEvent ◄─ Subscriber ◄─────────── InvalidationRelay ◄─ commits of others
//! ```
//!
//! [`Proxy::open`] makes a [`Storage`](rzeo_core::storage::Storage), which a host serves like any other.
//! An adapter (`rzeo-tokio`, `rzeo-smol`) runs the client's driver:
//!
//! ```no_run
//! use rzeo_client::{Address, ClientOptions, Driver};
//! use rzeo_core::storage::Storage as _;
//! use rzeo_proxy::{Proxy, ProxyOptions};
//!
//! # fn run_on_another_thread(_: Driver) -> std::io::Result<()> { Ok(()) }
//! let client = ClientOptions::new([Address::tcp("db.example.com", 8100)]);
//! let proxy = Proxy::open(ProxyOptions { client, name: None }, run_on_another_thread)?;
//! println!("{} is at {}", proxy.description().name, proxy.last_tid());
//! # Ok::<(), rzeo_core::storage::StorageError>(())
//! ```
//!
//! The client has the cache, the connection and the order of what happens; this crate turns its answers
//! into those of a storage. A load is answered from the cache at once, or by a thread that may wait. A
//! transaction is sent to the server when all of it is there, in [`Vote::check_remotely`]: begun, stored and
//! voted. From then on it holds the server's lock, until it is committed or dropped.
//!
//! When the server is lost, cached records can still be loaded, as of the last announced tid; everything
//! else waits for a connection for as long as the client's options say, and then fails. When the server
//! is back, commits of others are announced first, and then all clients have to verify
//! (`invalidations`).
//!
//! Apart from the client's driver, only dropped transactions need a thread: they are dropped while the
//! hub is locked, and telling the server takes the client's lock, under which invalidations are passed to
//! the hub.
//!
//! [`Vote::check_remotely`]: rzeo_core::storage::Vote::check_remotely

mod blobs;
mod errors;
mod histories;
mod invalidations;
mod iterators;
mod proxy;
mod vote;

pub use crate::proxy::{Proxy, ProxyOptions};
