//! The log lines of sessions, hubs and the host.

use rzeo_core::server::{LogLevel, LogLine};

/// The logger of Python's server for what sessions and hubs log.
pub(crate) const LOG_TARGET: &str = "ZEO.StorageServer";

/// Writes a line to the log. Python's CRITICAL is an error with the field `critical`; the fields
/// `client` and `label` name the client that the line is about.
pub fn log(line: &LogLine) {
    let text = &line.text;
    let client = line.client.as_ref().map(|client| &*client.address);
    let label = line.client.as_ref().and_then(|client| client.label.as_deref());
    match line.level {
        LogLevel::Debug => tracing::debug!(target: LOG_TARGET, client, label, "{text}"),
        LogLevel::Info => tracing::info!(target: LOG_TARGET, client, label, "{text}"),
        LogLevel::Warning => tracing::warn!(target: LOG_TARGET, client, label, "{text}"),
        LogLevel::Error => tracing::error!(target: LOG_TARGET, client, label, "{text}"),
        LogLevel::Critical => {
            tracing::error!(target: LOG_TARGET, critical = true, client, label, "{text}");
        }
    }
}

/// Ends the process, because something that all connections depend on is in an unknown state. A server
/// that cannot commit any more must not look alive, and a restart is safe at every instant.
pub(crate) fn abort(what: &str) -> ! {
    tracing::error!(target: LOG_TARGET, critical = true, "{what}: a bug of the server ends it");
    std::process::abort()
}
