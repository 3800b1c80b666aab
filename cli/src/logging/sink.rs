//! Where records end up: a standard stream, a file, or somewhere beyond a network.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::courier::{Carrier, Courier, Parcel, QUEUE_MAX};
use super::file::{FileSettings, LogFile};
use super::http;
use super::http::{Http, HttpUrl, Method};
use super::mail::MailSettings;
use super::record::Record;
use super::syslog::{Facility, Syslog};
use crate::config::SocketAddress;

/// Where a handler writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A file, appended to.
    File(FileSettings),
    /// A web server.
    Http {
        /// Where it is.
        url: HttpUrl,
        /// How it is told.
        method: Method,
    },
    /// People.
    Mail(MailSettings),
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// The system's log.
    Syslog {
        /// Where it is.
        address: SocketAddress,
        /// As what we send.
        facility: Facility,
    },
}

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

/// An open destination. Records of several threads come out whole, one after the other.
#[derive(Debug)]
pub(super) enum Sink {
    File(Mutex<LogFile>),
    /// Carried by a thread of its own; `form` if the fields are wanted instead of the text.
    Courier {
        courier: Courier,
        form: bool,
    },
    Stderr,
    Stdout,
}

impl Sink {
    /// Opens a destination.
    pub(super) fn open(destination: Destination) -> io::Result<Self> {
        let name = destination.to_string();
        let (carrier, form): (Box<dyn Carrier>, bool) = match destination {
            Destination::File(settings) => {
                let file = LogFile::open(settings, TimeZone::system(), Timestamp::now())?;
                return Ok(Self::File(Mutex::new(file)));
            }
            Destination::Stderr => return Ok(Self::Stderr),
            Destination::Stdout => return Ok(Self::Stdout),
            Destination::Http { url, method } => (Box::new(Http { url, method }), true),
            Destination::Mail(settings) => (Box::new(settings), false),
            Destination::Syslog { address, facility } => {
                (Box::new(Syslog::open(&address, facility)?), false)
            }
        };
        Ok(Self::Courier { courier: Courier::start(name, carrier, QUEUE_MAX)?, form })
    }

    /// Whether records are written to where people read them, so that they may be JSON.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::File(_) | Self::Stderr | Self::Stdout => true,
            Self::Courier { .. } => false,
        }
    }

    /// Writes a record, of which `text` is what the handler's layout makes.
    pub(super) fn write(&self, record: &Record<'_>, mut text: String) -> io::Result<()> {
        if let Self::Courier { courier, form } = self {
            let text = if *form { http::form(record) } else { text };
            courier.send(Parcel { level: record.level, text });
            return Ok(());
        }
        text.push('\n');
        match self {
            Self::Courier { .. } => Ok(()),
            Self::File(file) => {
                file.lock().unwrap_or_else(PoisonError::into_inner).write(&text, record.time)
            }
            Self::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            Self::Stdout => {
                let mut stream = io::stdout().lock();
                stream.write_all(text.as_bytes())?;
                stream.flush()
            }
        }
    }

    /// Opens a file anew, after it was renamed for instance, or begins it anew. When that fails,
    /// writing goes on into the old one.
    pub(super) fn reopen(&self) -> io::Result<()> {
        match self {
            Self::File(file) => {
                file.lock().unwrap_or_else(PoisonError::into_inner).reopen(Timestamp::now())
            }
            Self::Courier { .. } | Self::Stderr | Self::Stdout => Ok(()),
        }
    }

    /// Waits until what was written is where it belongs, but not for longer than that.
    pub(super) fn close(&self, patience: Duration) {
        if let Self::Courier { courier, .. } = self {
            courier.close(patience);
        }
    }
}
