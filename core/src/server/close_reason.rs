//! Why the server closes a connection.

use alloc::string::String;
use core::time::Duration;

use thiserror::Error;

use super::log_line::LogLevel;
use crate::wire::refusal::Refusal;
use crate::wire::{Malformed, Unwritable};

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
