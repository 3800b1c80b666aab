//! Logging, with records that look like those of Python's server.
//!
//! The crates below log with `tracing`; what makes an event a record is agreed here:
//!
//! | event | record |
//! |---|---|
//! | `target` | the logger's name, as in Python: `ZEO.StorageServer`; a module has its crate's logger |
//! | level | `ERROR WARNING INFO DEBUG TRACE` |
//! | field `critical = true` at `ERROR` | level `CRITICAL` |
//! | field `blather = true` at `DEBUG` | level `BLATHER`, ZODB's own |
//! | message | the message, control characters escaped: a peer's text cannot forge a record |
//! | fields `client`, `label` | who a record is about: for JSON and for layouts that ask, as the text has it too |
//! | other fields | appended as ` name=value` |
//!
//! Operators' tools know the format, so it is runzeo's unless the configuration's `<eventlog>` says
//! otherwise. To files and streams a record is written when the event happens, by the thread in which it
//! does; there is no queue that a crash could lose. What goes over a network has a queue and a thread
//! of its own, see [`courier`]. Spans are not used.

mod courier;
mod encoding;
mod file;
mod format;
mod http;
mod json;
mod layer;
mod level;
mod mail;
mod record;
mod rollover;
mod sink;
mod syslog;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt as _;

pub(crate) use encoding::Encoding;
pub(crate) use file::{FileSettings, Rotation};
pub(crate) use format::{DateFormat, FormatError, RecordFormat, Style};
pub(crate) use http::{HttpUrl, Method};
use layer::{Handler, Layout, PythonLayer};
pub(crate) use level::Level;
pub(crate) use mail::MailSettings;
pub(crate) use rollover::{Schedule, When};
pub(crate) use sink::Destination;
use sink::Sink;
pub(crate) use syslog::Facility;

use crate::config::LogShape;

/// How long the last records may take to reach those beyond a network.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(5);

/// `<eventlog>`: what is logged where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventLog {
    /// Records below this level are dropped.
    pub(crate) level: Level,
    /// Where the others go; nowhere if there are none.
    pub(crate) handlers: Vec<HandlerSettings>,
}

/// One place where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandlerSettings {
    /// The place.
    pub(crate) destination: Destination,
    /// Records below this level are dropped.
    pub(crate) level: Level,
    /// How a record looks.
    pub(crate) format: RecordFormat,
    /// How its time looks.
    pub(crate) date_format: DateFormat,
}

/// A log that cannot be written.
#[derive(Debug, Error)]
#[error("cannot open the log {destination}: {source}")]
pub(crate) struct LogError {
    destination: String,
    source: io::Error,
}

/// The open log of this process.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    handlers: Arc<[Handler]>,
}

impl EventLog {
    /// What is logged without any configuration: to standard error, from `INFO` on.
    pub(crate) fn to_stderr() -> Self {
        let handler = HandlerSettings {
            destination: Destination::Stderr,
            level: Level::NOTSET,
            format: RecordFormat::default(),
            date_format: DateFormat::default(),
        };
        Self { level: Level::INFO, handlers: vec![handler] }
    }
}

impl Log {
    /// Opens all logs of the configuration and lets the whole process log to them.
    pub(crate) fn install(config: EventLog, shape: LogShape) -> Result<Self, LogError> {
        let (log, layer) = Self::open(config, shape)?;
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber)
            .expect("logging is installed once, at start");
        Ok(log)
    }

    /// Opens all files anew; returns what could not be opened.
    pub(crate) fn reopen(&self) -> Vec<LogError> {
        let failed = self.handlers.iter().filter_map(|handler| {
            let source = handler.sink.reopen().err()?;
            Some(LogError { destination: handler.destination.to_string(), source })
        });
        failed.collect()
    }

    /// Waits for records that are on their way, for some seconds at most. To be called when the last
    /// one was written.
    pub(crate) fn close(&self) {
        for handler in self.handlers.iter() {
            handler.sink.close(LAST_WORDS_TIME_MAX);
        }
    }

    fn open(config: EventLog, shape: LogShape) -> Result<(Self, PythonLayer), LogError> {
        let mut handlers = Vec::new();
        for HandlerSettings { destination, level, format, date_format } in config.handlers {
            let name = destination.to_string();
            let sink = Sink::open(destination.clone())
                .map_err(|source| LogError { destination: name, source })?;
            let layout = match shape {
                LogShape::Json if sink.is_local() => Layout::Json,
                LogShape::Json | LogShape::Text => Layout::Text { format, date_format },
            };
            handlers.push(Handler { destination, sink, level, layout });
        }
        let handlers: Arc<[Handler]> = handlers.into();
        let layer = PythonLayer::new(config.level, Arc::clone(&handlers));
        Ok((Self { handlers }, layer))
    }
}
