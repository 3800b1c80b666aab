//! The open log of a process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::layer::{Conventions, EventLogLayer, Handler, Layout};
use crate::settings::{EventLog, HandlerSettings, LogFormat};
use crate::sink::Sink;

/// How long [`Log::close`] waits for the last records to be delivered.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// A log that cannot be opened.
#[derive(Debug, Error)]
#[error("cannot open the log {destination}: {source}")]
pub struct LogError {
    destination: String,
    source: io::Error,
}

/// The open log of a process. Clones refer to the same log.
#[derive(Clone, Debug)]
pub struct Log {
    handlers: Arc<[Handler]>,
}

impl Log {
    /// Opens all destinations. Events are written by the layer, which the caller adds to a subscriber.
    ///
    /// # Errors
    /// If a destination cannot be opened.
    pub fn open(
        settings: EventLog,
        format: LogFormat,
        conventions: Conventions,
    ) -> Result<(Self, EventLogLayer), LogError> {
        let mut handlers = Vec::new();
        for HandlerSettings { destination, level, format: text_format, date_format } in
            settings.handlers
        {
            let sink = Sink::open(destination.clone())
                .map_err(|source| LogError { destination: destination.to_string(), source })?;
            let layout = match format {
                LogFormat::Json if sink.is_local() => Layout::Json,
                LogFormat::Json | LogFormat::Text => {
                    Layout::Text { format: text_format, date_format }
                }
            };
            handlers.push(Handler { destination, sink, level, layout });
        }
        let handlers: Arc<[Handler]> = handlers.into();
        let layer = EventLogLayer::new(settings.level, Arc::clone(&handlers), conventions);
        Ok((Self { handlers }, layer))
    }

    /// Opens all destinations, and makes them the log of the whole process.
    ///
    /// # Errors
    /// As [`Log::open`].
    ///
    /// # Panics
    /// If the process has a global `tracing` subscriber already.
    pub fn install(
        settings: EventLog,
        format: LogFormat,
        conventions: Conventions,
    ) -> Result<Self, LogError> {
        let (log, layer) = Self::open(settings, format, conventions)?;
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber)
            .expect("logging is installed once, at start");
        Ok(log)
    }

    /// Reopens plain files, and rotates those with rotation; for a signal handler, after `logrotate` renamed
    /// a file. Returns the files that could not be reopened; records are still written to the old ones.
    #[must_use]
    pub fn reopen(&self) -> Vec<LogError> {
        let failed = self.handlers.iter().filter_map(|handler| {
            let source = handler.sink.reopen().err()?;
            Some(LogError { destination: handler.destination.to_string(), source })
        });
        failed.collect()
    }

    /// Waits until queued records are delivered, for at most five seconds each handler. Later records for
    /// syslog, web servers and mail are lost.
    pub fn close(&self) {
        for handler in self.handlers.iter() {
            handler.sink.close(CLOSE_TIME_MAX);
        }
    }
}
