//! The commands beside `serve`: they inspect, copy and repair databases, check configurations, query servers, and
//! record and replay their traffic.
//!
//! The exit status is 0 if all is well, 1 if not, and 2 for wrong arguments, as clap has it; a few commands
//! have their own, see `docs/tools.md`. A reader that closes the pipe of standard output ends a tool quietly.

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
mod server_query;
pub(crate) mod status;
pub(crate) mod tasks;
mod tls_options;
pub(crate) mod top;

use std::io;

use jiff::Timestamp;
use rzeo_client::CallError;
use rzeo_core::Tid;
use rzeo_core::storage::StorageError;
use thiserror::Error;

/// Why a tool could not do its work.
#[derive(Debug, Error)]
pub(crate) enum ToolError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Standard output cannot be written, for example because a pipe was closed.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// A blob of the source.
    #[error("cannot read a blob: {0}")]
    Blob(io::Error),
    /// A server, or the connection to it.
    #[error("{place}: {error}")]
    Server { place: String, error: CallError },
    #[error("interrupted after a whole transaction; the same command resumes the copy")]
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
