//! Why the server closes a connection.

use alloc::string::String;
use core::time::Duration;

use thiserror::Error;

use super::log_line::LogLevel;
use crate::wire::refusal::Refusal;
use crate::wire::{Malformed, Unwritable};

/// Why a connection is closed. All but the first two and [`Self::StorageReconnected`] are the peer's fault.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer disconnected, or the server stops.
    #[error("disconnected")]
    Gone,
    /// A monitoring peer got its answer.
    #[error("status sent")]
    StatusSent,
    /// The peer sent bytes that are no message.
    #[error("disconnected: unreadable message: {0}")]
    Malformed(#[from] Malformed),
    /// A registered peer sent a message that is too long.
    #[error(
        "disconnected: a message of {length} bytes exceeds the maximum of {limit} (max-message-size)"
    )]
    MessageTooLong {
        /// Bytes of the message.
        length: u32,
        /// Maximum of [`Limits::frame_bytes_max`](super::Limits::frame_bytes_max).
        limit: u32,
    },
    /// The first message was no handshake.
    #[error("disconnected: handshake {0:?} is not Z5, M5 or ruok")]
    BadHandshake(String),
    /// A method that is unknown or not allowed now.
    #[error("disconnected: method {0:?} is not allowed")]
    UnknownMethod(String),
    /// A one-way call failed; there is no other way to refuse it.
    #[error("disconnected: one-way call refused: {refusal}")]
    OneWayRefused {
        /// The error that a two-way caller would have received.
        refusal: Refusal,
    },
    /// A call whose very id cannot be sent back.
    #[error("disconnected: no answer possible: {0}")]
    Unanswerable(Unwritable),
    /// A transaction held its locks for too long.
    #[error("Transaction timeout after {} seconds", .after.as_secs())]
    TransactionTimeout {
        /// The timeout that passed.
        after: Duration,
    },
    /// The server behind the storage was out of reach. The peer reconnects and verifies its cache.
    #[error("disconnected: the server behind this one was out of reach and is back")]
    StorageReconnected,
    /// The peer did not register in time.
    #[error("disconnected: not registered after {} seconds (handshake-timeout)", .after.as_secs_f64())]
    RegisterTimeout {
        /// The timeout that passed.
        after: Duration,
    },
    /// The peer does not read.
    #[error(
        "disconnected: {queued} bytes are waiting to be read by the peer, \
         the limit is {limit} (max-backlog)"
    )]
    Backlog {
        /// Bytes queued for the peer.
        queued: usize,
        /// Maximum of [`Limits::backlog_bytes_max`](super::Limits::backlog_bytes_max).
        limit: usize,
    },
}

impl CloseReason {
    /// The severity of its log line.
    #[must_use]
    pub const fn level(&self) -> LogLevel {
        match self {
            Self::Gone | Self::StorageReconnected => LogLevel::Info,
            Self::StatusSent => LogLevel::Debug,
            Self::BadHandshake(_) | Self::RegisterTimeout { .. } | Self::Backlog { .. } => {
                LogLevel::Warning
            }
            Self::Malformed(_)
            | Self::MessageTooLong { .. }
            | Self::UnknownMethod(_)
            | Self::OneWayRefused { .. }
            | Self::Unanswerable(_) => LogLevel::Error,
            Self::TransactionTimeout { .. } => LogLevel::Critical,
        }
    }
}
