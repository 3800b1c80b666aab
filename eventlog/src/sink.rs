//! Open destinations: standard streams, files, and queues for transports.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::delivery::{DeliveryQueue, Message, QUEUE_MAX, Transport};
use crate::file::LogFile;
use crate::http::{self, HttpTransport};
use crate::mail::MailTransport;
use crate::record::Record;
use crate::settings::Destination;
use crate::syslog::SyslogTransport;

/// An open destination. Records of several threads come out whole, one after the other.
#[derive(Debug)]
pub(crate) enum Sink {
    File(Mutex<LogFile>),
    /// Delivered by a thread of its own.
    Queue {
        queue: DeliveryQueue,
        /// Whether the transport sends the fields of records instead of their text.
        form: bool,
    },
    Stderr,
    Stdout,
}

impl Sink {
    pub(crate) fn open(destination: Destination) -> io::Result<Self> {
        let name = destination.to_string();
        let (transport, form): (Box<dyn Transport>, bool) = match destination {
            Destination::File(settings) => {
                let file = LogFile::open(settings, TimeZone::system(), Timestamp::now())?;
                return Ok(Self::File(Mutex::new(file)));
            }
            Destination::Stderr => return Ok(Self::Stderr),
            Destination::Stdout => return Ok(Self::Stdout),
            Destination::Http { url, method } => (Box::new(HttpTransport { url, method }), true),
            Destination::Mail(settings) => (Box::new(MailTransport(settings)), false),
            Destination::Syslog { address, facility } => {
                (Box::new(SyslogTransport::open(&address, facility)?), false)
            }
        };
        Ok(Self::Queue { queue: DeliveryQueue::start(name, transport, QUEUE_MAX)?, form })
    }

    /// Whether it is a file or a stream, where records can be JSON.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::File(_) | Self::Stderr | Self::Stdout => true,
            Self::Queue { .. } => false,
        }
    }

    /// Writes a record. `text` is the record in the handler's format.
    pub(crate) fn write(&self, record: &Record<'_>, mut text: String) -> io::Result<()> {
        if let Self::Queue { queue, form } = self {
            let text = if *form { http::form(record) } else { text };
            queue.send(Message { level: record.level, text });
            return Ok(());
        }
        text.push('\n');
        match self {
            Self::Queue { .. } => Ok(()),
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

    /// Reopens or rotates a file. When that fails, records are still written to the old one.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        match self {
            Self::File(file) => {
                file.lock().unwrap_or_else(PoisonError::into_inner).reopen(Timestamp::now())
            }
            Self::Queue { .. } | Self::Stderr | Self::Stdout => Ok(()),
        }
    }

    /// Waits until queued records are delivered, for at most `time_max`.
    pub(crate) fn close(&self, time_max: Duration) {
        if let Self::Queue { queue, .. } = self {
            queue.close(time_max);
        }
    }
}
