//! The client: one storage, reached through one or more servers.
//!
//! ```text
//!   commands ─► Client ─► Connect, Transmit ─► sockets      Client: which server, calls in flight,
//!                │ ▲                                                the transaction, its cache
//!          Event │ │ Connected, Bytes, Gone
//!                ▼ │
//!        whoever asked
//! ```
//!
//! It has the same four doors as the server's machines, and commands beside them: methods that return a
//! [`CallId`], which comes back in an [`Event::Answered`]. Loads look into the cache first and then
//! need no event.
//!
//! # What an adapter must do
//!
//! * Drain `poll_output` after every other call, and do what it says in that order.
//! * For [`Output::Connect`], connect, and say [`Input::Connected`] or [`Input::Failed`]. A connection
//!   for which [`Output::Disconnect`] came is not spoken of again, also if it was not made yet.
//! * Feed what arrives on a connection in its order, whole: [`Input::Gone`] comes last.
//! * Show events to whoever waits for them before anybody can look at the client again: what
//!   [`Client::last_tid`] shows has been announced.
//!
//! # Promises about order
//!
//! What makes a client's cache right is that it changes in the order of one connection's stream:
//!
//! 1. Frames are handled one by one, in order. A load's reply is in the cache before the next frame is
//!    looked at, so an invalidation behind it finds it (`loads`).
//! 2. A reply that says "current" of a revision that was invalidated after the request was sent is kept
//!    as what it is: ended by that invalidation.
//! 3. From the `register` reply to the end of the verification of the cache, news of that connection
//!    are held back, and nobody else's are heard; then those after the verified tid are applied in
//!    order (`verify`).
//! 4. [`Client::last_tid`] grows to a tid when all that it changed is out of the cache and the event
//!    that says so is in the queue.
//! 5. An own commit is in the cache, and announced, where its reply stands in the stream.
//! 6. Only one connection speaks to the cache at any time.
//! 7. A connection that ends in the middle of anything fails what was asked on it. Whether an
//!    unanswered `finish` was committed cannot be known, and that is what the error says.

mod answer;
pub mod cache;
mod error;
mod request;
mod transaction;

use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;

pub use self::answer::{Answer, ServerInfo, UndoEntry, WalkedTransaction};
use self::cache::Cache;
pub use self::error::{CallError, LostBecause, Misuse, Refused, Retry};
pub use self::request::Request;
pub use self::transaction::{Begin, Conflict, TxnId};
use crate::ids::{Oid, Tid};
use crate::server::LogLevel;
use crate::storage::Revision;
use crate::time::{Instant, Now};

/// A server: its place in the list of addresses that the adapter keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerId(pub usize);

/// A connection, numbered by the client; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Something that was asked, numbered by the client; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The name of the storage; servers call an unnamed one `1`.
    pub storage: String,
    /// How many servers there are; all serve the same data.
    pub servers: usize,
    /// Whether to write.
    pub access: Access,
    /// What to be called in the server's log.
    pub label: Option<String>,
    /// How long a call waits for a connection before it fails.
    pub wait_timeout: Duration,
    /// How long a server may take from being asked to connect until the client is registered and its
    /// cache verified. Python waits for ever, and for all servers with it.
    pub connect_timeout: Duration,
    /// Size of the cache, see [`cache`].
    pub cache_bytes: usize,
    /// Longest message that is taken.
    pub frame_bytes_max: u32,
    /// For the jitter of retries.
    pub seed: u64,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            storage: String::from("1"),
            servers: 1,
            access: Access::ReadWrite,
            label: None,
            wait_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
            cache_bytes: 20 << 20,
            frame_bytes_max: 1 << 30,
            seed: 0,
        }
    }
}

/// What a client wants of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read and write: servers that refuse writing are of no use.
    ReadWrite,
    /// To read. Writing is refused here.
    ReadOnly,
    /// To write if possible: a server that refuses writing is used until there is one that does not.
    ReadOnlyFallback,
}

/// What happened to a client.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection that was asked for is made.
    Connected(ConnId),
    /// It could not be made; the text says why, for the log.
    Failed(ConnId, String),
    /// The server said something.
    Bytes(ConnId, &'a [u8]),
    /// That many transmitted bytes were taken by the socket.
    Sent(ConnId, usize),
    /// The connection is gone; the text says why, for the log.
    Gone(ConnId, String),
    /// The next bytes of a blob on its way to the server, as asked for by [`Output::ReadBlob`]; empty
    /// at its end. An error fails the transaction's vote with its text.
    BlobBytes(TxnId, Result<Bytes, String>),
    /// The application gives up the client: all calls fail, all connections are closed.
    Close,
}

/// What to do for a client.
#[derive(Debug)]
pub enum Output {
    /// Connect to this server.
    Connect(ConnId, ServerId),
    /// Send these bytes.
    Transmit(ConnId, Bytes),
    /// Close the connection after what was transmitted.
    Disconnect(ConnId),
    /// Show this to whom it concerns.
    Event(Event),
    /// Read on in the blob that the transaction stores now, from a position on, and say
    /// [`Input::BlobBytes`]. The number counts the transaction's blobs from zero.
    ReadBlob {
        /// Whose.
        txn: TxnId,
        /// Which of its blobs.
        blob: usize,
        /// From where.
        at: u64,
        /// How many bytes; fewer only at the end.
        len: usize,
    },
    /// Write what has come of a blob.
    WriteBlob(Oid, Tid, BlobPart),
    /// Append to the journal of the cache, if one is kept (see [`cache::Cache::keep_journal`]).
    Journal(Bytes),
    /// Write a line to the log.
    Log(LogLevel, String),
}

/// What has come of a blob that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPart {
    /// Begin an empty file.
    Start,
    /// Append.
    Chunk(Bytes),
    /// That was all.
    End,
    /// The rest will not come.
    Lost,
}

/// What somebody may want to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A server is chosen, the cache is verified: calls go through.
    Connected {
        /// Which.
        server: ServerId,
        /// Whether it refuses writing.
        read_only: bool,
        /// What it serves.
        info: Arc<ServerInfo>,
    },
    /// The server is lost; others are being tried.
    Disconnected,
    /// A call was answered. A refusal is an answer.
    Answered {
        /// Which.
        call: CallId,
        /// How.
        result: Result<Answer, CallError>,
    },
    /// Others changed these objects.
    Invalidated {
        /// In this commit.
        tid: Tid,
        /// Forget what you hold of them. May be empty.
        oids: Arc<[Oid]>,
    },
    /// Anything may have changed up to this commit: the cache was dropped, or is not trusted.
    InvalidatedAll {
        /// The newest commit known.
        tid: Tid,
    },
    /// A commit of this client is done; it stands in order with [`Self::Invalidated`].
    Committed {
        /// Its tid.
        tid: Tid,
        /// What it changed.
        oids: Arc<[Oid]>,
    },
    /// Figures of the storage have changed.
    Info {
        /// Number of objects.
        length: u64,
        /// Bytes.
        size: u64,
    },
    /// A write conflict that the server leaves to the client: answer with
    /// [`Client::conflict_states`] or [`Client::conflict_resolved`].
    Conflict(Conflict),
}

/// A load: there already, or on its way.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<T> {
    /// Here it is.
    Now(T),
    /// It comes with [`Event::Answered`].
    Later(CallId),
}

/// One storage, as one application uses it.
#[derive(Debug)]
pub struct Client {}

#[expect(
    unused_variables,
    clippy::todo,
    missing_docs,
    clippy::missing_const_for_fn,
    reason = "a sketch"
)]
impl Client {
    /// A client that begins to connect at once. What the cache holds is verified before it is used.
    #[must_use]
    pub fn new(now: Now, settings: ClientSettings, cache: Cache) -> Self {
        todo!()
    }
    /// Tells the client what happened.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        todo!()
    }
    /// The next thing to do. Drain until `None` after every other call, commands too.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }
    /// When to call [`Self::handle_timeout`], if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// Tells the client that time has passed. Calling early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        todo!()
    }

    /// The newest revision with a serial less than `before`; `None` if the object has none so old.
    /// With [`Tid::MAX`], the current one. Answered with [`Answer::Loaded`] if it comes later.
    pub fn load_before(&mut self, now: Now, oid: Oid, before: Tid) -> Found<Option<Revision>> {
        todo!()
    }
    /// Asks for all of these that are not in the cache, and waits for none.
    pub fn prefetch(&mut self, now: Now, oids: &[Oid], before: Tid) {
        todo!()
    }
    /// An oid that nobody has had. Answered with [`Answer::Oid`] if it comes later.
    pub fn new_oid(&mut self, now: Now) -> Found<Oid> {
        todo!()
    }
    /// Asks anything else.
    pub fn call(&mut self, now: Now, request: Request) -> CallId {
        todo!()
    }
    /// Tells the server that these iterators are not needed any more.
    pub fn forget_iterators(&mut self, iterators: &[u64]) {
        todo!()
    }

    /// Begins a transaction. One at a time is open; the call is answered with [`Answer::Begun`] when
    /// it is this one, on a connection. It waits for a connection as calls do.
    pub fn begin(&mut self, now: Now, begin: Begin) -> (TxnId, CallId) {
        todo!()
    }
    /// Writes a record. `serial` is the revision that was read, zero for a new object.
    pub fn store(&mut self, txn: TxnId, oid: Oid, serial: Tid, data: Bytes) -> Result<(), Misuse> {
        todo!()
    }
    /// Deletes an object.
    pub fn delete(&mut self, txn: TxnId, oid: Oid, serial: Tid) -> Result<(), Misuse> {
        todo!()
    }
    /// Lets the vote fail unless this revision is current.
    pub fn check_current(&mut self, txn: TxnId, oid: Oid, serial: Tid) -> Result<(), Misuse> {
        todo!()
    }
    /// Writes a record under its original tid, when transactions are copied.
    pub fn restore(
        &mut self,
        txn: TxnId,
        oid: Oid,
        serial: Tid,
        data: Option<Bytes>,
        prev_txn: Option<Tid>,
    ) -> Result<(), Misuse> {
        todo!()
    }
    /// Undoes a transaction, by the id of an [`UndoEntry`].
    pub fn undo(&mut self, txn: TxnId, id: Bytes) -> Result<(), Misuse> {
        todo!()
    }
    /// Writes a record and its blob, whose bytes are asked for with [`Output::ReadBlob`]. -> which of the transaction's blobs it is
    pub fn store_blob(
        &mut self,
        txn: TxnId,
        oid: Oid,
        serial: Tid,
        data: Bytes,
    ) -> Result<usize, Misuse> {
        todo!()
    }
    /// Writes a record and its blob, a file that was put into a directory shared with the server.
    pub fn store_blob_shared(
        &mut self,
        txn: TxnId,
        oid: Oid,
        serial: Tid,
        data: Bytes,
        filename: String,
    ) -> Result<(), Misuse> {
        todo!()
    }
    /// How many bytes wait to be taken by the socket: who stores much should wait while it is much.
    #[must_use]
    pub fn backlog(&self) -> usize {
        todo!()
    }
    /// First phase. [`Answer::Voted`]
    pub fn vote(&mut self, now: Now, txn: TxnId) -> CallId {
        todo!()
    }
    /// Second phase. [`Answer::Finished`]
    pub fn finish(&mut self, now: Now, txn: TxnId) -> CallId {
        todo!()
    }
    /// Gives the transaction up, whatever its state; the next one's turn comes. [`Answer::Done`]; of an
    /// abort that is too late, because the finish was sent, nothing comes but that.
    pub fn abort(&mut self, now: Now, txn: TxnId) -> CallId {
        todo!()
    }
    /// Asks for the two records that a conflict is between; it comes again with [`Conflict::states`].
    pub fn conflict_states(&mut self, txn: TxnId) {
        todo!()
    }
    /// What to store in place of the new record; `None` lets the conflict stand.
    pub fn conflict_resolved(&mut self, now: Now, txn: TxnId, merged: Option<Bytes>) {
        todo!()
    }

    /// The newest commit that has been announced.
    #[must_use]
    pub fn last_tid(&self) -> Tid {
        todo!()
    }
    /// Whether calls go through.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        todo!()
    }
    /// Whether writing is refused, by the settings or by the server.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        todo!()
    }
    /// What the server said of its storage, as of the last news; `None` before the first connection.
    #[must_use]
    pub fn info(&self) -> Option<&Arc<ServerInfo>> {
        todo!()
    }
    /// The cache, for its statistics.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        todo!()
    }
    /// There are other servers now, so many: takes effect when the connection is lost, or at once if there
    /// is none or it is one that refuses writing although writing is wanted.
    pub fn new_servers(&mut self, now: Now, servers: usize) {
        todo!()
    }
}
