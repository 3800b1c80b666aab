//! A client of ZEO servers, for any runtime.
//!
//! With a runtime's adapter (here `rzeo-tokio`; `rzeo-smol` is alike) an application gets a [`Client`],
//! loads records from it and commits transactions. This works on an empty database, too:
//!
//! ```no_run
//! use rzeo_client::{Begin, CallError, ClientOptions, Oid, Refused, Tid};
//!
//! # async fn main_() -> Result<(), Box<dyn std::error::Error>> {
//! let client = rzeo_tokio::connect(ClientOptions::new(["localhost:8100".parse()?])).await?;
//!
//! // The root and its serial; in an empty database there is none yet.
//! let (old, serial) = match client.load(Oid(0)).await {
//!     Ok((record, serial)) => (Some(record), serial),
//!     Err(CallError::Refused(Refused::NoSuchObject { .. })) => (None, Tid::ZERO),
//!     Err(error) => return Err(error.into()),
//! };
//! // A record is two pickles: the class, and the state.
//! let empty = &b"cpersistent.mapping\nPersistentMapping\n.(dS'data'\n(ds."[..];
//! let new = old.unwrap_or_else(|| empty.into());
//!
//! let mut transaction = client.begin(Begin::default()).await?;
//! transaction.store(Oid(0), serial, new).await?;
//! let tid = transaction.vote().await?.finish().await?;
//! assert!(client.last_tid() >= tid);
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What to look at
//!
//! * [`ClientOptions`]: servers, access, timeouts, reconnecting, TLS, the cache and its file, blobs.
//! * [`Client`]: loads, histories, iterators, blobs, packing. [`Transaction`] and [`Voted`]: two-phase
//!   commit.
//! * [`CallError`] and [`Retry`]: why a call failed, and whether to try again.
//! * [`Observer`] and [`Subscription`]: commits of others, at once or at one's own pace.
//! * [`Resolver`]: conflicts that the server leaves to its clients.
//! * [`blobs`]: the directory of blobs.
//!
//! # How it works
//!
//! ```text
//!   handles: Client, Transaction, …          an adapter's tasks
//!        │ call, under the lock                 Driver, a Link per connection
//!        ▼                                         │ ▲ bytes, orders
//!   ┌─ Mutex ───────────────────────────────────┐  │ │
//!   │  rzeo_core::client::Client, its cache     │◄─┘ │
//!   │  waiters, observers, outboxes             │────┘
//!   └───────────────────────────────────────────┘
//!        ▼ files: the cache's journal, blobs, in a thread of its own
//! ```
//!
//! A handle calls the machine directly, under a short lock: a record that is in the cache costs a
//! look-up, no task is woken for it and nothing is sent. An answer that comes from the server is a plain
//! future that any executor can run.
//!
//! All futures are cancel-safe: a call goes on when its future is dropped, a loaded record only fills
//! the cache then, and a transaction that is dropped is aborted. After [`Voted::finish`] is dropped it is
//! not known whether the transaction was committed; the cache is right all the same.
//!
//! Another adapter makes a client with [`ClientOptions::open`] and runs what it gets, see [`Driver`].

mod answers;
pub mod blobs;
mod cache_file;
mod client;
mod connection;
mod disk;
mod disk_job;
mod driver;
mod error;
mod handle;
mod iterators;
mod observer;
mod options;
mod resolver;
mod shared;
#[cfg(test)]
mod tests;
mod transaction;
mod unblock;
mod waiters;
mod wakers;

pub use rzeo_core::UnixTime;
pub use rzeo_core::client::cache::Statistics;
pub use rzeo_core::client::{
    Access, Begin, CallError, LostBecause, Misuse, Reconnect, Refused, Retry, ServerInfo,
    TransactionInfo, UndoEntry,
};
pub use rzeo_core::storage::{CurrentRecord, Record, Revision};
pub use rzeo_core::value::Value;
pub use rzeo_core::wire::DEFAULT_PORT;
pub use rzeo_core::{Oid, Tid};
pub use rzeo_net::{Address, AddressError};
pub use rzeo_tls::client::{ClientFiles, ClientTls, client_config};

pub use crate::cache_file::{CacheFile, CacheFileError};
pub use crate::client::Client;
pub use crate::driver::{Driver, Link, Order};
pub use crate::error::{BlobFailure, ConnectError};
pub use crate::iterators::{RecordIterator, TransactionIterator};
pub use crate::observer::{ClientEvent, Observer, Subscription};
pub use crate::options::ClientOptions;
pub use crate::resolver::{Builtin, Resolver};
pub use crate::transaction::{Transaction, Voted};
