//! Why a call has no other answer.

use alloc::string::String;

use thiserror::Error;

use super::refused::{Refused, Retry};
use crate::ids::Tid;
use crate::value::Value;
use crate::wire::{Malformed, Unwritable};

/// Why a call has no other answer.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server refused the call. The connection lives on.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There was no connection for as long as a call may wait
    /// ([`wait_timeout`](super::ClientSettings::wait_timeout)).
    #[error("no server was reached within {seconds} seconds: {last}")]
    Unreachable {
        /// How long the call waited.
        seconds: f64,
        /// What went wrong last.
        last: String,
    },
    /// All servers have used up their attempts (see [`Reconnect`](super::Reconnect)). Later
    /// calls fail in the same way, until there are new addresses.
    #[error("no server was reached in {attempts} attempts each: {last}")]
    GaveUp {
        /// Number of attempts to reach each server.
        attempts: u32,
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
        /// Name of the method that was called.
        method: &'static str,
        /// What the answer has or lacks.
        problem: String,
    },
    /// The maximum number of votes met conflicts again. Python's client gives up and goes on as if it had
    /// succeeded.
    #[error("the transaction met conflicts {votes} times: {last}")]
    ConflictsForever {
        /// Number of votes, each of which met a conflict.
        votes: usize,
        /// The conflict of the last vote.
        last: Refused,
    },
    /// The encoding of the connection cannot carry a value: msgpack carries fewer than pickle.
    #[error("a value cannot be sent: {0}")]
    Unwritable(Unwritable),
    /// A blob could not be read.
    #[error("a blob could not be read: {0}")]
    Blob(String),
    /// The call was made at the wrong time; nothing was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

/// A call that was made at the wrong time.
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
    /// The server sent something that cannot be read. Python's client would wait for ever.
    #[error("the server sent an unreadable message: {0}")]
    Malformed(#[from] Malformed),
    /// The server called a method that clients do not have.
    #[error("the server called {0:?}")]
    UnknownNotice(String),
    /// The server answered what was not asked.
    #[error("the server answered a call that was not made: {0:?}")]
    UnknownReply(Value),
    /// What the server announced is no version of the protocol that is spoken here.
    #[error("the server announced {0:?}, not Z5 or M5")]
    BadGreeting(String),
    /// The network connection was made, and the server sent nothing in time. A server with TLS waits for
    /// the client to begin, and a client without TLS for the server.
    #[error(
        "the server sent nothing within {seconds} seconds; if it requires TLS, turn TLS on for this client"
    )]
    Silent {
        /// How long the client waited.
        seconds: f64,
    },
    /// The server was not ready in time. Python's client waits for ever.
    #[error("the server was not ready after {seconds} seconds")]
    NotReady {
        /// How long the client waited.
        seconds: f64,
    },
    /// The server refused to register the client.
    #[error("the server refuses: {0}")]
    Refused(Refused),
    /// The server has fewer commits than the cache knows.
    #[error(
        "the server's newest commit is {server}, the cache knows of {cache}: \
         is this the same database? If so, remove the cache"
    )]
    Behind {
        /// The server's newest commit.
        server: Tid,
        /// The newest commit that the cache knows.
        cache: Tid,
    },
    /// An answer that the connection depends on cannot be understood.
    #[error("the answer to {method} cannot be understood: {problem}")]
    Odd {
        /// Name of the method that was called.
        method: &'static str,
        /// What the answer has or lacks.
        problem: String,
    },
    /// The commit failed, and it is not known how far it came: the cache is verified again.
    #[error("a commit failed")]
    CommitFailed,
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
    /// A server that takes writes replaced one that does not.
    #[error("a server that takes writes was found")]
    Upgraded,
    /// The call belongs to an iterator of a connection that is gone.
    #[error("it was begun on a connection that is gone")]
    BegunElsewhere,
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
            Self::GaveUp { .. }
            | Self::Odd { .. }
            | Self::Unwritable(_)
            | Self::Blob(_)
            | Self::Misuse(_)
            | Self::Closed => Retry::No,
        }
    }
}
