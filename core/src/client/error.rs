//! Why a call has no other answer.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use super::refused::words;
use crate::ids::{Oid, Tid};
use crate::value::Value;
use crate::wire::{Malformed, Unwritable};

/// Why a call has no other answer.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server said no. The connection lives on.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There was no connection for as long as a call may wait.
    #[error("no server was reached within {seconds} seconds: {last}")]
    Unreachable {
        /// How long was waited.
        seconds: f64,
        /// What went wrong last.
        last: String,
    },
    /// The connection was lost before the answer came.
    #[error("the connection was lost: {0}")]
    Lost(LostBecause),
    /// The connection was lost after `tpc_finish` was sent, or the server failed in the middle of it:
    /// whether the transaction is committed is not known. Look at the data.
    #[error("whether the transaction is committed is not known: {0}")]
    MaybeCommitted(LostBecause),
    /// The answer is a message, but not what such a call is answered with.
    #[error("the answer to {method} cannot be understood: {problem}")]
    Odd {
        /// What was called.
        method: &'static str,
        /// What is odd.
        problem: String,
    },
    /// Conflicts came up again after each of so many resolutions. Python's client gives up and goes on
    /// as if it had succeeded.
    #[error("the transaction met conflicts {votes} times: {last}")]
    ConflictsForever {
        /// How many votes.
        votes: usize,
        /// The last of them.
        last: Refused,
    },
    /// The encoding of the connection has no room for a value: msgpack has fewer than pickle.
    #[error("a value cannot be sent: {0}")]
    Unwritable(Unwritable),
    /// A blob could not be read.
    #[error("a blob could not be read: {0}")]
    Blob(String),
    /// What was called has to be called differently; nothing was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

/// What was called has to be called differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The client was set up to read only, or its server refuses writing.
    #[error("this client is read-only")]
    ReadOnly,
    /// The transaction is over, or was never begun.
    #[error("the transaction is not open")]
    NotOpen,
    /// Something was added to a transaction that was voted, or a vote or finish came twice.
    #[error("the transaction is voted or being voted")]
    Voted,
    /// A finish without a successful vote.
    #[error("the transaction is not voted")]
    NotVoted,
}

/// Why a connection was lost.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum LostBecause {
    /// The other side, or the network.
    #[error("{0}")]
    Gone(String),
    /// The server said something that cannot be read. Python's client would wait for ever.
    #[error("the server sent an unreadable message: {0}")]
    Malformed(#[from] Malformed),
    /// The server called something that clients do not have.
    #[error("the server called {0:?}")]
    UnknownNotice(String),
    /// The server answered what was not asked.
    #[error("the server answered a call that was not made: {0:?}")]
    UnknownReply(Value),
    /// What the server announced is no version of the protocol that is spoken here.
    #[error("the server announced {0:?}, not Z5 or M5")]
    BadGreeting(String),
    /// It was not ready in time. Python's client waits for ever.
    #[error("the server was not ready after {seconds} seconds")]
    NotReady {
        /// The limit.
        seconds: f64,
    },
    /// It refused to register the client.
    #[error("the server refuses: {0}")]
    Refused(Refused),
    /// It serves less than the cache knows of.
    #[error(
        "the server's newest commit is {server}, the cache knows of {cache}: \
         is this the same database? If so, remove the cache"
    )]
    Behind {
        /// The server's newest commit.
        server: Tid,
        /// The cache's.
        cache: Tid,
    },
    /// An answer that decides over the connection makes no sense.
    #[error("the answer to {method} cannot be understood: {problem}")]
    Odd {
        /// What was called.
        method: &'static str,
        /// What is odd.
        problem: String,
    },
    /// The commit failed, and how far is not known: the cache is verified anew.
    #[error("a commit failed")]
    CommitFailed,
    /// Another server was faster.
    #[error("another server was faster")]
    TooLate,
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
    /// A server that takes writes was found in place of one that does not.
    #[error("a server that takes writes was found")]
    Upgraded,
    /// New addresses were given.
    #[error("new addresses were given")]
    NewAddresses,
    /// What was asked is about something that was begun on a connection that is gone.
    #[error("it was begun on a connection that is gone")]
    BegunElsewhere,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call may succeed, perhaps after a while.
    Call,
    /// The transaction may succeed when it is done again from its beginning, with fresh reads.
    Transaction,
    /// Look first whether the transaction was committed.
    Look,
    /// Nothing will change by trying again.
    No,
}

impl From<&LostBecause> for CallError {
    fn from(because: &LostBecause) -> Self {
        match because {
            LostBecause::Closed => Self::Closed,
            because => Self::Lost(because.clone()),
        }
    }
}

impl CallError {
    /// Whether trying again may help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } => Retry::Call,
            Self::Lost(LostBecause::BegunElsewhere) | Self::ConflictsForever { .. } => {
                Retry::Transaction
            }
            Self::Lost(_) => Retry::Call,
            Self::MaybeCommitted(_) => Retry::Look,
            Self::Refused(refused) => refused.retry(),
            Self::Odd { .. }
            | Self::Unwritable(_)
            | Self::Blob(_)
            | Self::Misuse(_)
            | Self::Closed => Retry::No,
        }
    }
}

/// A server's no, by the Python exception that it names (`spec: zeo-protocol 6.2`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// `POSKeyError`: no such object, revision or blob. The text is the server's, if there is one.
    NoSuchObject {
        /// The object, if it is named.
        oid: Option<Oid>,
        /// The revision, if it is about one.
        serial: Option<Tid>,
        /// For a blob, what the server says of the file.
        text: Option<String>,
    },
    /// `ConflictError`: the object was changed since it was read.
    Conflict {
        /// The object, if it is named.
        oid: Option<Oid>,
        /// `module.Class` of the record that was to be written.
        class_name: Option<String>,
        /// What is current, and what was read.
        serials: Option<(Tid, Tid)>,
    },
    /// `ReadConflictError`: an object that the transaction depends on was changed.
    ReadConflict {
        /// The object, if it is named.
        oid: Option<Oid>,
        /// What is current, and what was read.
        serials: Option<(Tid, Tid)>,
    },
    /// `ReadOnlyError`.
    ReadOnly,
    /// `StorageTransactionError`: the server knows of no such transaction, or of another.
    Transaction(String),
    /// `UndoError`.
    Undo {
        /// Why.
        reason: String,
        /// The object, if it is about one.
        oid: Option<Oid>,
    },
    /// `MultipleUndoErrors`.
    UndoFailures(Vec<(Oid, String)>),
    /// Any other exception, by its class and arguments.
    Other {
        /// `module.Class`.
        class: String,
        /// Its arguments or attributes.
        payload: Value,
    },
}

impl Refused {
    /// Whether trying again may help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Conflict { .. } | Self::ReadConflict { .. } | Self::Transaction(_) => {
                Retry::Transaction
            }
            Self::NoSuchObject { .. }
            | Self::ReadOnly
            | Self::Undo { .. }
            | Self::UndoFailures(_)
            | Self::Other { .. } => Retry::No,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchObject { oid, serial, text } => {
                f.write_str(text.as_deref().unwrap_or("no such object"))?;
                about(f, "object", *oid)?;
                about(f, "revision", *serial)
            }
            Self::Conflict { oid, class_name, serials } => {
                f.write_str("conflict")?;
                about(f, "object", *oid)?;
                about(f, "of class", class_name.as_deref())?;
                since(f, *serials)
            }
            Self::ReadConflict { oid, serials } => {
                f.write_str("read conflict")?;
                about(f, "object", *oid)?;
                since(f, *serials)
            }
            Self::ReadOnly => f.write_str("the server is read-only"),
            Self::Transaction(text) => write!(f, "the server refuses the transaction: {text}"),
            Self::Undo { reason, oid } => {
                write!(f, "undo: {reason}")?;
                about(f, "object", *oid)
            }
            Self::UndoFailures(failures) => {
                write!(f, "undo: {} objects cannot be undone", failures.len())?;
                failures
                    .first()
                    .map_or(Ok(()), |(oid, reason)| write!(f, ", first {oid}: {reason}"))
            }
            Self::Other { class, payload } => write!(f, "{class}: {}", words(payload)),
        }
    }
}

impl core::error::Error for Refused {}

fn about(f: &mut fmt::Formatter<'_>, what: &str, which: Option<impl fmt::Display>) -> fmt::Result {
    which.map_or(Ok(()), |which| write!(f, ", {what} {which}"))
}

fn since(f: &mut fmt::Formatter<'_>, serials: Option<(Tid, Tid)>) -> fmt::Result {
    serials.map_or(Ok(()), |(committed, read)| write!(f, ", read at {read} but at {committed}"))
}
