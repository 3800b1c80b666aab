//! What a client tells an adapter to do, and what happened.

use alloc::string::String;
use alloc::sync::Arc;

use bytes::Bytes;

use super::answer::{Answer, Call};
use super::error::CallError;
use super::ids::{CallId, ConnId, ServerId, TxnId};
use super::server_info::ServerInfo;
use super::transaction::Conflict;
use crate::ids::{Oid, Tid};
use crate::server::LogLevel;

/// What to do for a client.
#[derive(Debug)]
pub enum Output {
    /// Connect to this server.
    Connect(ConnId, ServerId),
    /// Send these bytes on a connection.
    Transmit(ConnId, Bytes),
    /// Close the connection after what was transmitted.
    Disconnect(ConnId),
    /// Deliver this to the caller, the observers or the resolver that it concerns.
    Event(Event),
    /// Read the next piece of a blob upload and answer with
    /// [`Input::BlobBytes`](super::Input::BlobBytes).
    ReadBlob {
        /// The transaction that stores the blob.
        txn: TxnId,
        /// Number of the blob in its transaction, from zero.
        blob: usize,
        /// Offset of the piece.
        at: u64,
        /// Number of bytes; fewer only at the end.
        len: usize,
    },
    /// Write a part of a blob download.
    WriteBlob(Oid, Tid, BlobPart),
    /// Append to the journal of the cache, if one is kept (see
    /// [`Cache::keep_journal`](super::cache::Cache::keep_journal)).
    Journal(Bytes),
    /// Write a line to the log.
    Log(LogLevel, String),
}

/// A part of a blob download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPart {
    /// Begin an empty file.
    Start,
    /// Append to the file.
    Chunk(Bytes),
    /// The blob is complete.
    End,
    /// The download failed; discard what was written.
    Lost,
}

/// What happened, for callers, observers and resolvers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A server is chosen and the cache is verified: calls go through.
    Connected {
        /// The chosen server, one of those of the settings.
        server: ServerId,
        /// Whether it refuses writing.
        read_only: bool,
        /// Description of the server's storage.
        info: Arc<ServerInfo>,
    },
    /// The connection is lost; servers are being tried.
    Disconnected,
    /// A call was answered. A refusal is an answer.
    Answered {
        /// The id that the call's method returned.
        call: CallId,
        /// The answer, of the variant that the call has, or why there is none.
        result: Result<Answer, CallError>,
    },
    /// Others changed these objects.
    Invalidated {
        /// Tid of the other client's commit.
        tid: Tid,
        /// The changed objects. May be empty.
        oids: Arc<[Oid]>,
    },
    /// Anything may have changed up to this commit: the cache was dropped, or is not trusted.
    InvalidatedAll {
        /// The newest commit known.
        tid: Tid,
    },
    /// A commit of this client is done; it stands in order with [`Self::Invalidated`].
    Committed {
        /// Tid of the commit.
        tid: Tid,
        /// The objects that it changed.
        oids: Arc<[Oid]>,
    },
    /// The size of the storage has changed.
    Info {
        /// Number of objects.
        length: u64,
        /// Bytes of the database.
        size: u64,
    },
    /// A write conflict that the server leaves to the client: answer with
    /// [`Client::conflict_states`](super::Client::conflict_states) or
    /// [`Client::conflict_resolved`](super::Client::conflict_resolved).
    Conflict(Conflict),
}

/// A result that is there at once, or comes later.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<T> {
    /// The result, from the cache.
    Now(T),
    /// It comes with [`Event::Answered`].
    Later(Call<T>),
}
