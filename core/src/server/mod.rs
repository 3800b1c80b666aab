//! The server: one [`Session`] per connection, one [`Hub`] per storage.
//!
//! ```text
//!   bytes ──► Session ──► Transmit ──► socket          Session: phase, transaction, iterators,
//!               │ ▲                                             the tid it reads at
//!       Perform │ │ Answer          (loads, votes)
//!               ▼ │
//!            Storage ◄────────────┐
//!                                 │ Commit(group)      Hub: who is connected, object locks,
//!   Ask ─► Hub ──► Deliver ─► inbox of a Session            groups on their way to the disk,
//!           ▲ └──► Commit, Perform ─► writer, workers       recent invalidations
//!           └───── Committed, Packed, News
//! ```
//!
//! A session asks the storage for loads itself, so loads run on as many cores as there are
//! connections. What connections share goes through the hub, in messages that an adapter carries.
//!
//! # What an adapter must do
//!
//! * Drain `poll_output` after every other call on a machine, and do what it says in that order.
//! * Carry a session's [`HubRequest`]s to its storage's hub in the order in which they were emitted.
//! * Put a [`Notice`] into the session's inbox in the order in which the hub delivered it, and feed it
//!   in that order. Notices for different sessions may be late by any amount.
//! * Run [`StorageCall`]s with [`perform`], anywhere and in any order, and feed the answers.
//! * Give a group to [`Storage::commit`](crate::storage::Storage::commit), and when it returns, feed the
//!   result to the hub before the next group is given.
//! * Feed what a storage says behind everybody's back ([`Storage::listen`](crate::storage::Storage::listen))
//!   at once and in its order: before the result of a group that was given back later.
//! * On [`Output::Close`], close the socket after what was transmitted; the session is finished.
//!
//! # Promises about order
//!
//! 1. A commit is visible to loads, then its invalidation stands in the inbox of every other
//!    connection, then the committer's reply stands in its own: [`Hub`] does all three in one step
//!    after the storage said so (`hub::Hub::committed`).
//! 2. Tids grow and every connection gets every invalidation once, in tid order, also empty ones; the
//!    committer gets none for its own: the same step, with one queue of groups. What others commit
//!    behind a proxy stands in the same order (`hub::outside`).
//! 3. A connection reads at its own tid: a session bounds every load by the last tid it told its peer
//!    (`session::desk::Desk::load`), and computes a load again when a notice that touches
//!    its oid came in between.
//! 4. A connection joins the list before the tid for its `register` reply is read: one step of the hub.
//! 5. `lastTransaction` and `ping` go through the hub and come back through the inbox, behind all that
//!    was committed before.
//! 6. No invalidation is dropped: a peer that does not read is disconnected when its backlog passes the
//!    limit.
//! 7. A connection that goes tells the hub in the same step, and the hub lets go of all it held.

mod hub;
mod jobs;
mod session;
pub mod vote;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use bytes::Bytes;
use thiserror::Error;

pub use hub::{
    Client, Figures, Histogram, Hub, HubInput, HubOutput, HubSettings, LockScope, LockSet,
    Measured, Moved, Packs, Traffic,
};
pub use jobs::{
    HubJob, HubJobDone, Leftovers, StorageCall, StorageReply, perform, perform_for_hub,
};
pub use session::Session;

use crate::ids::{Oid, Tid};
use crate::storage::{Description, Info, Voted};
use crate::time::UnixTime;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Status;
use crate::wire::{Codec, Malformed, Unwritable};

/// A connection, numbered by the adapter; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A storage: its place in [`ServerSettings::storages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageId(pub usize);

/// A storage call on its way, numbered per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// A question or a vote on its way through the hub, numbered per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What all sessions of a server share, fixed for its life.
#[derive(Debug)]
pub struct ServerSettings {
    /// The encoding announced to clients; they may choose the other one.
    pub announce: Codec,
    /// Whether all writing is refused.
    pub read_only: bool,
    /// Whether clients are asked to resolve write conflicts.
    pub client_conflict_resolution: bool,
    /// What a peer may take.
    pub limits: Limits,
    /// The storages, in the order of the configuration.
    pub storages: Vec<StorageEntry>,
}

/// A storage as sessions know it.
#[derive(Debug)]
pub struct StorageEntry {
    /// The name that clients register with.
    pub name: String,
    /// What it is.
    pub description: Description,
    /// Its statistics.
    pub counters: Arc<Counters>,
}

/// What a peer may take before it is refused or disconnected.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message in bytes. Records of hundreds of megabytes are legal.
    pub frame_bytes_max: u32,
    /// Bytes queued for a peer that does not read; with more, the next news ends the connection.
    pub backlog_bytes_max: usize,
    /// Bytes queued for a peer beyond which its requests are left unread, and those that were read
    /// wait.
    pub backlog_bytes_high: usize,
    /// Iterators open at once.
    pub iterators_max: usize,
    /// Requests to the storage that wait or are in progress; further ones are left unread.
    pub jobs_max: usize,
    /// How long a peer may take to register, from when its connection was accepted.
    pub register_time_max: Duration,
    /// Operations of one transaction: stores, deletions, checks, undos, blobs.
    pub transaction_stores_max: usize,
    /// Bytes of all records of one transaction; blobs do not count.
    pub transaction_bytes_max: u64,
    /// Bytes of records of an open transaction that are kept in memory; later ones go to a temporary
    /// file, if the storage has such.
    pub transaction_memory_bytes: usize,
    /// Bytes of one blob.
    pub blob_bytes_max: u64,
    /// Blobs of one transaction.
    pub transaction_blobs_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 1 << 30,
            backlog_bytes_max: 256 << 20,
            backlog_bytes_high: 1 << 20,
            iterators_max: 10_000,
            jobs_max: 1_000,
            register_time_max: Duration::from_secs(60),
            transaction_stores_max: 10_000_000,
            transaction_bytes_max: 64 << 30,
            transaction_memory_bytes: 8 << 20,
            blob_bytes_max: 1 << 40,
            transaction_blobs_max: 100_000,
        }
    }
}

/// Statistics of one storage, counted by its sessions and its hub.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "spec: zeo-protocol 14.3")]
pub struct Counters {
    pub loads: AtomicU64,
    pub stores: AtomicU64,
    pub commits: AtomicU64,
    pub aborts: AtomicU64,
    pub conflicts: AtomicU64,
    pub conflicts_resolved: AtomicU64,
    pub active_txns: AtomicU64,
}

/// Counts one up. The counters are figures for people: no order is needed between them.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What happened to a connection.
#[derive(Debug)]
pub enum Input<'a> {
    /// The peer said something.
    Bytes(&'a [u8]),
    /// That many transmitted bytes were taken by the socket.
    Sent(usize),
    /// The hub has something for this connection.
    Notice(Notice),
    /// A storage call is done.
    Answer(JobId, StorageReply),
    /// The peer is gone.
    Gone,
    /// The server stops: a commit that is on its way to the disk is answered, then the connection ends.
    Stop,
}

/// What to do for a connection.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit(Bytes),
    /// Call the storage and feed the answer.
    Perform(StorageId, JobId, StorageCall),
    /// Tell the storage's hub.
    Ask(StorageId, HubRequest),
    /// Write a line to the log.
    Log(LogLine),
    /// Close the connection after what was transmitted.
    Close(CloseReason),
}

/// What a connection asks of its storage's hub.
#[derive(Debug)]
pub enum HubRequest {
    /// Join the list of those to be notified. Answered by [`Notice::Registered`].
    Register,
    /// Tell who this is, for people to read; again if that has changed. Not answered.
    Introduce(Client),
    /// Leave it, and let go of everything. Not answered.
    Leave,
    /// Answered by [`Notice::Barrier`], behind everything committed before.
    Barrier(Ticket),
    /// What changed since a tid? Answered by [`Notice::Changes`].
    ChangesSince(Ticket, Tid),
    /// Figures. Answered by [`Notice::Status`]; needs no registration.
    Status(Ticket),
    /// Lock these objects. Answered by [`Notice::Locked`], or first by [`Notice::Waiting`].
    Lock(Ticket, LockSet),
    /// Give the locks back, or stop waiting for them. Not answered.
    Unlock(Ticket),
    /// Commit what was voted under this ticket. Answered by [`Notice::Finished`].
    Finish(Ticket, Finish),
    /// Pack; with a ticket, tell when it is done by [`Notice::Packed`].
    Pack(UnixTime, Option<Ticket>),
}

/// A voted transaction on its way to the disk.
#[derive(Debug)]
pub struct Finish {
    /// What the storage gave at vote.
    pub voted: Voted,
    /// The objects that others have to forget, in the order of the stores.
    pub changed: Vec<Oid>,
    /// The tid to use, for copied transactions.
    pub tid: Option<Tid>,
}

/// What the hub tells a connection.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The connection is on the list; `last_tid` is the newest commit.
    Registered {
        /// The newest commit.
        last_tid: Tid,
    },
    /// Everything up to `last_tid` has been delivered.
    Barrier {
        /// The question.
        ticket: Ticket,
        /// The newest commit.
        last_tid: Tid,
    },
    /// What changed.
    Changes {
        /// The question.
        ticket: Ticket,
        /// The answer.
        changes: Changes,
    },
    /// Figures of a storage.
    Status {
        /// The question.
        ticket: Ticket,
        /// The answer.
        status: Box<Status>,
    },
    /// Another connection committed.
    Invalidated {
        /// The commit.
        tid: Tid,
        /// What it changed.
        oids: Arc<[Oid]>,
    },
    /// The locks are held.
    Locked {
        /// The vote.
        ticket: Ticket,
    },
    /// Others hold some of the locks; the vote is in the queue.
    Waiting {
        /// The vote.
        ticket: Ticket,
        /// How many stand before it.
        ahead: usize,
    },
    /// The commit is done, or failed.
    Finished {
        /// The vote.
        ticket: Ticket,
        /// The tid and the storage's figures after it.
        result: Result<(Tid, Info), Refusal>,
        /// What it changed.
        oids: Arc<[Oid]>,
    },
    /// The storage was packed.
    Info(Info),
    /// The server behind the storage was out of reach: the peer has to verify what it has.
    Reset,
    /// The pack that this connection asked for is done.
    Packed {
        /// The question.
        ticket: Ticket,
        /// How it went.
        result: Result<(), Refusal>,
    },
    /// The transaction held its locks for too long; they are gone.
    TimedOut {
        /// The limit.
        after: Duration,
    },
}

/// The answer to [`HubRequest::ChangesSince`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The queue reaches back far enough.
    Known {
        /// The newest commit.
        tid: Tid,
        /// What changed up to it, commit by commit. Whoever asked puts it together: it may be much,
        /// and the hub is everybody's.
        commits: Vec<Arc<[Oid]>>,
    },
    /// The queue does not, but the tid is young enough to look into the storage.
    LookUp {
        /// What the client knows.
        after: Tid,
        /// The newest commit; later ones are in the inbox.
        up_to: Tid,
    },
    /// Too old.
    Unknown,
}

/// A line for the log, with the severity that Python's server gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Severity.
    pub level: LogLevel,
    /// What happened, in one line. If it is about a client, that stands in it already.
    pub text: String,
    /// The client.
    pub client: Option<LogClient>,
}

/// The client that a line of the log is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogClient {
    /// `host:port`, or what else the adapter calls the other end.
    pub address: Arc<str>,
    /// What it calls itself.
    pub label: Option<Arc<str>>,
}

/// Severities of Python's `logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "as in Python")]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

/// Why a connection is closed. All but the first two and [`Self::Reset`] are the peer's fault.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer went, or the server stops.
    #[error("disconnected")]
    Gone,
    /// A monitoring peer got its answer.
    #[error("status sent")]
    StatusSent,
    /// Bytes that are no message.
    #[error("disconnected: unreadable message: {0}")]
    Malformed(#[from] Malformed),
    /// The first message was no handshake.
    #[error("disconnected: handshake {0:?} is not Z5, M5 or ruok")]
    BadHandshake(String),
    /// A method that is unknown or not allowed now.
    #[error("disconnected: method {0:?} is not allowed")]
    UnknownMethod(String),
    /// A one-way call failed, so there is no other way to say no.
    #[error("disconnected: one-way call refused: {refusal}")]
    OneWayRefused {
        /// What a two-way caller would have got.
        refusal: Refusal,
    },
    /// A call whose very id cannot be sent back.
    #[error("disconnected: no answer possible: {0}")]
    Unanswerable(Unwritable),
    /// A transaction held its locks for too long.
    #[error("Transaction timeout after {} seconds", .after.as_secs())]
    TransactionTimeout {
        /// The limit.
        after: Duration,
    },
    /// The server behind the storage was out of reach. The peer comes back and verifies what it has.
    #[error("disconnected: the server behind this one was out of reach and is back")]
    Reset,
    /// The peer did not register in time.
    #[error("disconnected: not registered after {} seconds (handshake-timeout)", .after.as_secs_f64())]
    RegisterTimeout {
        /// The limit.
        after: Duration,
    },
    /// The peer does not read what it is sent.
    #[error(
        "disconnected: {queued} bytes are waiting to be read by the peer, \
         the limit is {limit} (max-backlog)"
    )]
    Backlog {
        /// What is waiting.
        queued: usize,
        /// The limit.
        limit: usize,
    },
}

impl CloseReason {
    /// How much attention it deserves.
    #[must_use]
    pub const fn level(&self) -> LogLevel {
        match self {
            Self::Gone | Self::Reset => LogLevel::Info,
            Self::StatusSent => LogLevel::Debug,
            Self::BadHandshake(_) | Self::RegisterTimeout { .. } | Self::Backlog { .. } => {
                LogLevel::Warning
            }
            Self::Malformed(_)
            | Self::UnknownMethod(_)
            | Self::OneWayRefused { .. }
            | Self::Unanswerable(_) => LogLevel::Error,
            Self::TransactionTimeout { .. } => LogLevel::Critical,
        }
    }
}
