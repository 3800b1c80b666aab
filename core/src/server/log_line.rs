//! Lines for the log, which an adapter writes.

use alloc::string::String;
use alloc::sync::Arc;

/// A line for the log, with the severity that Python's server gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Severity, which adapters map to that of their log.
    pub level: LogLevel,
    /// What happened, in one line, with the client that it is about.
    pub text: String,
    /// The client that the line is about; none for lines of the hub.
    pub client: Option<LogClient>,
}

/// The client that a line of the log is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogClient {
    /// `host:port`, or another name that the adapter gives the peer.
    pub address: Arc<str>,
    /// The label that it has chosen.
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
