//! The verbs beside `serve`: looking at databases and configurations, mending them, asking servers over
//! the network, and writing down what clients say to them.
//!
//! They share how a run ends: status 0 when all is well, 1 when it is not, 2 for wrong arguments (clap's).
//! What is printed may go into a pipe that its reader closes; that ends a tool quietly.

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod dump;
pub(crate) mod generate;
pub(crate) mod nagios;
pub(crate) mod pack;
mod progress;
pub(crate) mod record;
pub(crate) mod repair;
pub(crate) mod replay;
pub(crate) mod status;
mod stream;
pub(crate) mod top;
mod wire;

use std::io;

use jiff::Timestamp;
use rzeo_client::CallError;
use rzeo_core::ids::Tid;
use rzeo_core::storage::StorageError;
use thiserror::Error;

/// Why a tool could not do its work.
#[derive(Debug, Error)]
pub(crate) enum ToolError {
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Standard output.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// The source's blob.
    #[error("cannot read a blob: {0}")]
    Blob(io::Error),
    /// A server, or the way to it.
    #[error("{place}: {error}")]
    Server {
        /// Which.
        place: String,
        /// What it says.
        error: CallError,
    },
    /// By a signal.
    #[error("interrupted; what was copied is whole, and the same command goes on from there")]
    Interrupted,
    /// What was asked for would do harm, or cannot be done.
    #[error("{0}")]
    Refused(String),
    /// Options that make no sense together.
    #[error("{0}")]
    Usage(String),
}

/// `1 record`, `2 records`
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// When a transaction was, in UTC. Tids of the wildest files are no times at all.
fn time_of(tid: Tid) -> String {
    // Microseconds are as exact as a float of seconds can be.
    let micros = tid.to_unix().0 * 1e6;
    #[expect(clippy::cast_possible_truncation, reason = "a float of seconds fits many times over")]
    let time = Timestamp::from_microsecond(micros.round() as i64);
    time.map_or_else(|_| "no time".to_owned(), |time| format!("{time:.6}"))
}
