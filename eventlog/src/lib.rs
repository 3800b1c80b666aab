//! Python's logging handlers as a [`tracing`] layer: programs that replace a Python program write the log
//! that its operators know.
//!
//! [`EventLog`] says which records are written where: standard streams, files with rotation, syslog, web
//! servers, mail. [`Log::open`] opens all of it and returns a layer for `tracing-subscriber`;
//! [`sections`] reads the same settings from an `<eventlog>` section of a ZConfig file.
//!
//! ```
//! use rzeo_eventlog::{
//!     Conventions, DateFormat, Destination, EventLog, FileSettings, HandlerSettings, Level, Log,
//!     LogFormat, RecordFormat, Rotation, Style,
//! };
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("my.log");
//! let rotation = Rotation::Size { max: 1 << 20, old_files: 5 };
//! let format = "%(levelname)-8s %(name)s %(message)s";
//! let handler = HandlerSettings {
//!     format: RecordFormat::parse(format, Style::Classic, false)?,
//!     ..HandlerSettings::new(Destination::File(FileSettings { rotation, ..FileSettings::new(&path) }))
//! };
//! let settings = EventLog { level: Level::INFO, handlers: vec![handler] };
//! let (log, layer) = Log::open(settings, LogFormat::Text, Conventions::default())?;
//!
//! let subscriber = tracing_subscriber::registry().with(layer);
//! tracing::subscriber::with_default(subscriber, || {
//!     tracing::warn!(target: "my.program", free = 12, "the disk is almost full");
//! });
//! log.close();
//! assert_eq!(std::fs::read_to_string(path)?, "WARNING  my.program the disk is almost full free=12\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From events to records
//!
//! | event | record |
//! |---|---|
//! | `target` | the logger's name; [`Conventions::loggers`] gives crates the name of a logger |
//! | level | `ERROR WARNING INFO DEBUG TRACE` |
//! | field `critical = true` at `ERROR` | level `CRITICAL` |
//! | field `blather = true` at `DEBUG` | level `BLATHER`, which Zope has between `DEBUG` and `INFO` |
//! | message | the message, with control characters escaped: a record is one line, whatever is in it |
//! | other fields | appended as ` name=value`, but those of [`Conventions::silent_fields`]; formats can name all |
//!
//! Spans are not used.
//!
//! # Delivery
//!
//! Records for files and streams are written when the event happens, by the thread in which it happens;
//! no queue could lose them in a crash. Records for syslog, web servers and mail go through a queue with
//! a thread for each handler, so that a program never waits for a network. If the queue is full or
//! delivery fails, records are lost. The number of lost records is reported on standard error and in the
//! log, at 1, 2, 4, 8 and so on.

mod delivery;
mod encoding;
mod file;
mod format;
mod http;
mod json;
mod layer;
mod level;
mod log;
mod mail;
mod record;
mod rollover;
pub mod sections;
mod settings;
mod sink;
mod syslog;
#[cfg(test)]
mod tests;

pub use encoding::Encoding;
pub use file::{FileSettings, Rotation};
pub use format::{DateFormat, FormatError, RecordFormat, Style};
pub use http::{HttpUrl, HttpUrlError, Method};
pub use layer::{Conventions, EventLogLayer};
pub use level::Level;
pub use log::{Log, LogError};
pub use mail::MailSettings;
pub use rollover::{Schedule, When};
pub use settings::{Destination, EventLog, HandlerSettings, LogFormat};
pub use syslog::Facility;
