//! The client: one storage, reached through one or more servers.
//!
//! ```text
//!   commands ─► Client ─► Connect, Transmit ─► sockets      Client: which server, calls in flight,
//!                │ ▲                                                the transaction, its cache
//!          Event │ │ Connected, Bytes, Gone
//!                ▼ │
//!             callers
//! ```
//!
//! It has the same four doors as the server's machines, and commands beside them: methods that return a
//! [`CallId`], which returns in an [`Event::Answered`]. Loads look into the cache first and then
//! need no event.
//!
//! # Parts
//!
//! The outer machine (`machine`, with the commands in `commands`) routes between parts that own their state
//! and its handlers: `connections` with `servers` (which server is used, which is tried when), `verify`,
//! `loads`, `new_oids`, `downloads`, `transaction_queue` with `vote` and `uploads`, and `waiting` for calls
//! without a connection. A part gets the `Context` (time, settings, cache, outputs, numbers of calls) and, if
//! it sends something, the `Channel` of the connection as arguments. Everything else that can be asked is
//! a [`query`].
//!
//! # What an adapter must do
//!
//! * Drain `poll_output` after every other call, and do what it says in that order.
//! * For [`Output::Connect`], connect, and say [`Input::Connected`] or [`Input::Failed`]. After
//!   [`Output::Disconnect`] the connection is not mentioned again, even if it was not made yet. For a
//!   connection that is gone it comes, too, and has no effect.
//! * Feed what arrives on a connection in its order, whole: [`Input::Gone`] comes last.
//! * Deliver events before the client can be used again: whatever [`Client::last_tid`] shows has been
//!   announced.
//!
//! # Promises about order
//!
//! What makes a client's cache right is that it changes in the order of one connection's stream:
//!
//! 1. Frames are handled one by one, in order. A load's reply is in the cache before the next frame is
//!    looked at, so an invalidation behind it finds it (`loads`).
//! 2. A reply that says "current" of a revision that was invalidated after the request was sent is kept
//!    as what it is: ended by that invalidation.
//! 3. From the `register` reply to the end of the verification of the cache, invalidations of that
//!    connection are held back, and those of other connections are ignored; then those after the verified tid are applied in
//!    order (`verify`).
//! 4. [`Client::last_tid`] grows to a tid when all that it changed is out of the cache and the event
//!    that says so is in the queue.
//! 5. An own commit is in the cache, and announced, where its reply stands in the stream.
//! 6. Only one connection changes the cache at any time.
//! 7. A connection that ends in the middle of anything fails what was asked on it. Whether an
//!    unanswered `finish` was committed cannot be known, and that is what the error says.

mod answer;
pub mod cache;
mod channel;
mod commands;
mod connection;
mod connections;
mod context;
mod downloads;
mod error;
mod ids;
mod input;
mod jitter;
mod loads;
mod machine;
mod new_oids;
mod output;
pub mod query;
mod reading;
mod refused;
mod server_info;
mod servers;
mod settings;
mod status_query;
mod transaction;
mod transaction_queue;
mod uploads;
mod verify;
mod vote;
mod waiting;

pub use self::answer::{Answer, Begun, Call};
pub use self::error::{CallError, LostBecause, Misuse};
pub use self::ids::{CallId, ConnId, IteratorId, ServerId, TxnId};
pub use self::input::Input;
pub use self::machine::Client;
pub use self::output::{BlobPart, Event, Found, Output};
pub use self::query::{Reply, Request, TransactionInfo, UndoEntry};
pub use self::refused::{Refused, Retry};
pub use self::server_info::ServerInfo;
pub use self::settings::{Access, ClientSettings, Reconnect};
pub use self::status_query::{StatusQuery, StatusQueryError};
pub use self::transaction::{Begin, Conflict};
