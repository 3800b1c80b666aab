//! What is logged where.

use std::fmt;

use rzeo_zconfig::SocketAddress;

use crate::file::FileSettings;
use crate::format::{DateFormat, RecordFormat};
use crate::http::{HttpUrl, Method};
use crate::level::Level;
use crate::mail::MailSettings;
use crate::syslog::Facility;

/// What is logged where: an `<eventlog>` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLog {
    /// Minimum level of records. Records below it are dropped.
    pub level: Level,
    /// Where records are written.
    pub handlers: Vec<HandlerSettings>,
}

/// A destination of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerSettings {
    /// Where records go.
    pub destination: Destination,
    /// Minimum level of records for this destination.
    pub level: Level,
    /// How a record is written.
    pub format: RecordFormat,
    /// How its time is written.
    pub date_format: DateFormat,
}

/// Where a handler writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file, to which records are appended.
    File(FileSettings),
    /// A web server, by one request for each record.
    Http {
        /// URL to which the fields are sent.
        url: HttpUrl,
        /// The method of requests.
        method: Method,
    },
    /// Mail, one for each record.
    Mail(MailSettings),
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A syslog server, by one datagram for each record.
    Syslog {
        /// Its address: of UDP, or the path of a Unix socket.
        address: SocketAddress,
        /// The facility of messages.
        facility: Facility,
    },
}

/// How records are written to files and streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// As each handler's format says.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl EventLog {
    /// The log without any settings: to standard error, from `INFO` on.
    #[must_use]
    pub fn to_stderr() -> Self {
        Self { level: Level::INFO, handlers: vec![HandlerSettings::new(Destination::Stderr)] }
    }
}

impl HandlerSettings {
    /// A handler for records of all levels, with the default formats.
    #[must_use]
    pub fn new(destination: Destination) -> Self {
        Self {
            destination,
            level: Level::NOTSET,
            format: RecordFormat::default(),
            date_format: DateFormat::default(),
        }
    }
}

impl LogFormat {
    /// The words that [`Self::named`] accepts.
    pub const NAMES: &[&str] = &["text", "json"];

    /// The format of that name, in lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// As messages about the destination name it.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(settings) => write!(f, "{}", settings.path.display()),
            Self::Http { url, .. } => f.write_str(url.as_str()),
            Self::Mail(settings) => write!(f, "{} by mail", settings.to.join(", ")),
            Self::Stderr => f.write_str("STDERR"),
            Self::Stdout => f.write_str("STDOUT"),
            Self::Syslog { address, .. } => write!(f, "syslog at {address}"),
        }
    }
}
