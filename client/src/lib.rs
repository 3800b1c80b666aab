//! A client of ZEO servers, for any runtime.
//!
//! ```text
//!   handles: Client, Transaction, …          an adapter's tasks
//!        │ call, under the lock                 Driver, a Link per connection
//!        ▼                                         │ ▲ bytes, orders
//!   ┌─ Mutex ───────────────────────────────────┐  │ │
//!   │  rzeo_core::client::Client, its cache     │◄─┘ │
//!   │  who waits, who observes, what is to send │────┘
//!   └───────────────────────────────────────────┘
//!        ▼ files: the cache's journal, blobs, in a thread of its own
//! ```
//!
//! A handle asks the machine directly, under a short lock: a record that is in the cache costs a
//! look-up, no task is woken for it and nothing is sent. What has to come from the server is waited
//! for by a plain future that any executor can run.
//!
//! All futures here can be dropped at any time. What was asked goes on without the one who asked, what
//! comes is kept in the cache, and a transaction that is dropped is aborted. Only of a dropped
//! [`Voted::finish`] nobody will know whether it was done; the cache is right all the same.
//!
//! `rzeo-tokio` and `rzeo-smol` connect a client to sockets. Another adapter makes a client with
//! [`ClientOptions::open`] and drives what it gets, see [`Driver`].

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

pub use rzeo_core::client::cache::Statistics;
pub use rzeo_core::client::{
    Access, Begin, CallError, LostBecause, Misuse, Reconnect, Refused, Retry, ServerInfo,
    TransactionInfo, UndoEntry,
};
pub use rzeo_core::ids::{Oid, Tid};
pub use rzeo_core::storage::{CurrentRecord, Record, Revision};
pub use rzeo_core::time::UnixTime;
pub use rzeo_core::value::Value;
pub use rzeo_core::wire::DEFAULT_PORT;
pub use rzeo_net::{Address, AddressError};
pub use rzeo_tls::client::{ClientFiles, ClientTls, client_config};

pub use crate::cache_file::{CacheFile, CacheFileError};
pub use crate::client::Client;
pub use crate::driver::{Driver, Link, Order};
pub use crate::error::{BlobFailure, ConnectError};
pub use crate::iterators::{RecordIterator, TransactionIterator};
pub use crate::observer::{News, Observer, Subscription};
pub use crate::options::ClientOptions;
pub use crate::resolver::{Builtin, Resolver};
pub use crate::transaction::{Transaction, Voted};
