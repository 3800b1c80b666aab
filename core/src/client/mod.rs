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
//!   for which [`Output::Disconnect`] came is not spoken of again, also if it was not made yet. For one that
//!   is gone it comes, too, and means nothing any more.
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
mod blobs;
pub mod cache;
mod calls;
mod connection;
mod error;
mod jitter;
mod loads;
mod refused;
mod request;
mod servers;
mod transaction;
mod verify;
mod vote;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use self::answer::Reading;
pub use self::answer::{Answer, ServerInfo, UndoEntry, WalkedTransaction};
use self::cache::Cache;
use self::calls::{NewOids, Waiting};
use self::connection::{Connection, Pending, Phase};
pub use self::error::{CallError, LostBecause, Misuse, Refused, Retry};
use self::jitter::Jitter;
pub use self::request::{IteratorId, Request};
use self::servers::{Server, Setback};
use self::transaction::Turns;
pub use self::transaction::{Begin, Conflict, TxnId};
use crate::ids::{Oid, Tid};
use crate::server::LogLevel;
use crate::time::{Instant, Now};
use crate::value::Value;
use crate::wire::Envelope;
use crate::wire::load::Loaded;

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
pub struct Client {
    settings: ClientSettings,
    outputs: VecDeque<Output>,
    connections: BTreeMap<ConnId, Connection>,
    servers: Vec<Server>,
    /// The connection that the cache belongs to.
    chosen: Option<ConnId>,
    cache: Cache,
    info: Option<Arc<ServerInfo>>,
    /// What waits for a connection.
    waiting: Vec<Waiting>,
    new_oids: NewOids,
    turns: Turns,
    jitter: Jitter,
    /// Why there is no connection, as far as is known.
    last_problem: String,
    unconnected_since: Instant,
    ready_since: Instant,
    is_closed: bool,
    last_call: u64,
    last_connection: u64,
}

impl Client {
    /// A client that begins to connect at once. What the cache holds can be read at once, too, as of
    /// its own tid; when there is a connection it is verified.
    #[must_use]
    pub fn new(now: Now, settings: ClientSettings, cache: Cache) -> Self {
        let mut client = Self {
            outputs: VecDeque::new(),
            connections: BTreeMap::new(),
            servers: (0..settings.servers).map(|_| Server::new(now.instant)).collect(),
            chosen: None,
            cache,
            info: None,
            waiting: Vec::new(),
            new_oids: NewOids::default(),
            turns: Turns::default(),
            jitter: Jitter::new(settings.seed),
            last_problem: String::from("none has answered yet"),
            unconnected_since: now.instant,
            ready_since: now.instant,
            is_closed: false,
            last_call: 0,
            last_connection: 0,
            settings,
        };
        client.try_servers(now.instant);
        client
    }

    /// Tells the client what happened. Never fails: a server's fault ends its connection.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        let now = now.instant;
        match input {
            Input::Connected(id) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.connected(now);
                }
            }
            Input::Failed(id, why) | Input::Gone(id, why) => {
                self.lost(now, id, &LostBecause::Gone(why), Setback::Unreachable);
            }
            Input::Bytes(id, bytes) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.received(bytes);
                    self.read_frames(now, id);
                }
            }
            Input::Sent(id, bytes) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.sent(bytes);
                    self.send_blobs();
                }
            }
            Input::BlobBytes(txn, bytes) => self.blob_bytes(txn, bytes),
            Input::Close => self.close(now),
        }
    }

    /// The next thing to do. Drain until `None` after every other call, commands too.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        for (id, connection) in &mut self.connections {
            if let Some(chunk) = connection.take_chunk() {
                return Some(Output::Transmit(*id, chunk));
            }
        }
        self.cache.take_journal().map(Output::Journal)
    }

    /// When to call [`Self::handle_timeout`], if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connections = self.connections.values().filter_map(Connection::timeout);
        let others = [self.next_attempt(), self.waiting_until(), self.turns_until()];
        connections.chain(others.into_iter().flatten()).min()
    }

    /// Tells the client that time has passed. Calling early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = now.instant;
        let is_late = |it: &&Connection| it.ready_by.is_some_and(|by| by <= now);
        let late = self.connections.values().filter(is_late).map(|it| (it.id, it.phase));
        let seconds = self.settings.connect_timeout.as_secs_f64();
        for (id, phase) in late.collect::<Vec<_>>() {
            let is_there = phase > Phase::Connecting;
            let setback = if is_there { Setback::Useless } else { Setback::Unreachable };
            self.lost(now, id, &LostBecause::NotReady { seconds }, setback);
        }
        for connection in self.connections.values_mut() {
            connection.keep_alive(now);
        }
        self.try_servers(now);
        if self.waiting_until().is_some_and(|until| until <= now) {
            self.look_after_waiting(now);
        }
        self.take_turns(now);
    }

    /// The newest commit that has been announced.
    #[must_use]
    pub fn last_tid(&self) -> Tid {
        self.cache.last_tid()
    }

    /// What the server said of its storage, as of the last news; `None` before the first connection.
    #[must_use]
    pub const fn info(&self) -> Option<&Arc<ServerInfo>> {
        self.info.as_ref()
    }

    /// The cache, for its statistics.
    #[must_use]
    pub const fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The chosen connection.
    fn chosen_connection(&mut self) -> Option<&mut Connection> {
        self.connections.get_mut(&self.chosen?)
    }

    /// The chosen connection, if calls go through.
    fn ready_connection(&mut self) -> Option<&mut Connection> {
        self.chosen_connection().filter(|it| it.phase == Phase::Ready)
    }

    /// Handles all frames that are complete.
    fn read_frames(&mut self, now: Instant, id: ConnId) {
        while let Some(connection) = self.connections.get_mut(&id) {
            let handled = match connection.next_frame() {
                Ok(Some(frame)) => self.frame(now, id, &frame),
                Ok(None) => return,
                Err(because) => Err(because),
            };
            if let Err(because) = handled {
                self.lost(now, id, &because, Setback::Useless);
            }
        }
    }

    fn frame(&mut self, now: Instant, id: ConnId, frame: &Bytes) -> Result<(), LostBecause> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if connection.phase == Phase::Greeting {
            return self.greeted(id, frame);
        }
        if let Some(Loaded { oid, before, revision }) = connection.read_loaded(frame) {
            return self.loaded(oid, before, Ok(Some(revision)));
        }
        let Envelope { msgid, flag, name, args } = connection.read(frame)?;
        if name != ".reply" {
            return self.notice(id, name, args);
        }
        let answer = if flag { Err(Refused::read(args)) } else { Ok(args) };
        match msgid {
            Value::Tuple(pair) | Value::List(pair) => match load_id(&pair) {
                Some((oid, before)) => self.loaded(oid, before, loads::read(answer)),
                None => Err(LostBecause::UnknownReply(Value::Tuple(pair))),
            },
            Value::Int(number) => match connection.pending.remove(&number) {
                Some(pending) => self.reply(now, id, pending, answer),
                None => Err(LostBecause::UnknownReply(Value::Int(number))),
            },
            other => Err(LostBecause::UnknownReply(other)),
        }
    }

    /// A call is answered. An error ends the connection.
    fn reply(
        &mut self,
        now: Instant,
        id: ConnId,
        pending: Pending,
        answer: Result<Value, Refused>,
    ) -> Result<(), LostBecause> {
        match pending {
            Pending::Register => {
                let newest = maybe_tid("register", answer);
                return newest.and_then(|newest| self.registered(now, id, newest));
            }
            Pending::NewestTid => {
                let newest = maybe_tid("lastTransaction", answer)?.map_err(LostBecause::Refused)?;
                return self.verify(id, Some(newest.unwrap_or(Tid::ZERO)));
            }
            Pending::Changes => return self.changes_came(answer),
            Pending::Describe => return self.described(now, answer),
            Pending::Finish(txn) => return self.finished(now, txn, answer),
            Pending::Call(call, request) => self.request_answered(call, &request, answer),
            Pending::Download(oid, serial) => self.downloaded(oid, serial, answer.map(|_| ())),
            Pending::NewOids => {
                let odd = |problem| CallError::Odd { method: "new_oids", problem };
                let oids = answer.map_err(CallError::from);
                let oids = oids.and_then(|it| it.into_list(Reading::into_oid).map_err(odd));
                self.new_oids_came(now, oids);
            }
            Pending::Vote(txn) => self.voted(txn, answer),
            Pending::State(txn) => self.state_came(txn, answer),
            Pending::Abort(call, txn) => self.aborted(call, txn, answer.map(|_| ())),
        }
        Ok(())
    }

    /// The server says something that was not asked for.
    fn notice(&mut self, id: ConnId, name: String, args: Value) -> Result<(), LostBecause> {
        match name.as_str() {
            "invalidateTransaction" => self.news(id, args),
            "info" => {
                self.figures(id, args);
                Ok(())
            }
            "receiveBlobStart" => self.blob_part(id, "receiveBlobStart", args),
            "receiveBlobChunk" => self.blob_part(id, "receiveBlobChunk", args),
            "receiveBlobStop" => self.blob_part(id, "receiveBlobStop", args),
            _ => Err(LostBecause::UnknownNotice(name.chars().take(80).collect())),
        }
    }

    /// `info`: the figures of the storage have changed.
    fn figures(&mut self, id: ConnId, args: Value) {
        let Ok([news]) = args.into_parts() else { return };
        if self.chosen == Some(id)
            && let Some(info) = &self.info
        {
            let info = Arc::new(info.updated(&news));
            let (length, size) = (info.length, info.size);
            self.info = Some(info);
            self.outputs.push_back(Output::Event(Event::Info { length, size }));
        }
    }
}

/// Loads have the pair of oid and tid for an id.
fn load_id(pair: &[Value]) -> Option<(Oid, Tid)> {
    match pair {
        [Value::Bytes(oid), Value::Bytes(before)] => {
            Some((Oid::from_slice(oid)?, Tid::from_slice(before)?))
        }
        _ => None,
    }
}

/// A tid, or nothing, or a refusal; anything else ends the connection.
fn maybe_tid(
    method: &'static str,
    answer: Result<Value, Refused>,
) -> Result<Result<Option<Tid>, Refused>, LostBecause> {
    match answer.map(|value| value.into_maybe(Reading::into_tid)) {
        Ok(Ok(tid)) => Ok(Ok(tid)),
        Ok(Err(problem)) => Err(LostBecause::Odd { method, problem }),
        Err(refused) => Ok(Err(refused)),
    }
}
