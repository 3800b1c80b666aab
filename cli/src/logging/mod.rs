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
//! | other fields | appended as ` name=value` |
//!
//! Operators' tools know the format, so it is runzeo's unless the configuration's `<eventlog>` says
//! otherwise. A record is written when the event happens, by the thread in which it does; there is no
//! queue that a crash could lose. Spans are not used.

mod format;
mod layer;
mod level;
mod record;
mod sink;

use std::io;
use std::sync::Arc;

use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt as _;

pub(crate) use format::{DateFormat, FormatError, RecordFormat};
use layer::{Handler, PythonLayer};
pub(crate) use level::Level;
pub(crate) use sink::Destination;
use sink::Sink;

/// `<eventlog>`: what is logged where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventLog {
    /// Records below this level are dropped.
    pub(crate) level: Level,
    /// Where the others go; nowhere if there are none.
    pub(crate) handlers: Vec<LogFile>,
}

/// `<logfile>`: one place where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// The place.
    pub(crate) destination: Destination,
    /// Records below this level are dropped.
    pub(crate) level: Level,
    /// How a record looks.
    pub(crate) format: RecordFormat,
    /// How its time looks.
    pub(crate) date_format: DateFormat,
}

/// A log file that cannot be written.
#[derive(Debug, Error)]
#[error("cannot open the log {destination}: {source}")]
pub(crate) struct LogError {
    destination: Destination,
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
        let handler = LogFile {
            destination: Destination::Stderr,
            level: Level::NOTSET,
            format: RecordFormat::default(),
            date_format: DateFormat::default(),
        };
        Self { level: Level::INFO, handlers: vec![handler] }
    }
}

impl Log {
    /// Opens all files of the configuration and lets the whole process log to them.
    pub(crate) fn install(config: EventLog) -> Result<Self, LogError> {
        let (log, layer) = Self::open(config)?;
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber)
            .expect("logging is installed once, at start");
        Ok(log)
    }

    /// Opens all files anew; returns what could not be opened.
    pub(crate) fn reopen(&self) -> Vec<LogError> {
        let failed = self.handlers.iter().filter_map(|handler| {
            let source = handler.sink.reopen().err()?;
            Some(LogError { destination: handler.destination.clone(), source })
        });
        failed.collect()
    }

    fn open(config: EventLog) -> Result<(Self, PythonLayer), LogError> {
        let mut handlers = Vec::new();
        for LogFile { destination, level, format, date_format } in config.handlers {
            let sink = Sink::open(destination.clone())
                .map_err(|source| LogError { destination: destination.clone(), source })?;
            handlers.push(Handler { destination, sink, level, format, date_format });
        }
        let handlers: Arc<[Handler]> = handlers.into();
        let layer = PythonLayer::new(config.level, Arc::clone(&handlers));
        Ok((Self { handlers }, layer))
    }
}
