//! From `tracing` events to records.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Context;

use super::format::{DateFormat, RecordFormat};
use super::json;
use super::level::Level;
use super::record::Record;
use super::sink::{Destination, Sink};

/// An open log file, and what it shows of a record.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) destination: Destination,
    pub(super) sink: Sink,
    pub(super) level: Level,
    pub(super) layout: Layout,
}

/// How a handler writes a record.
#[derive(Debug)]
pub(super) enum Layout {
    Json,
    Text { format: RecordFormat, date_format: DateFormat },
}

/// Makes records of events and gives them to the handlers.
#[derive(Debug)]
pub(super) struct PythonLayer {
    level: Level,
    handlers: Arc<[Handler]>,
    start: Timestamp,
}

impl PythonLayer {
    pub(super) fn new(level: Level, handlers: Arc<[Handler]>) -> Self {
        Self { level, handlers, start: Timestamp::now() }
    }

    /// Whether an event of that origin can become a record anywhere.
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let highest = highest_level(*metadata.level());
        let wanted = |handler: &Handler| highest >= self.level.max(handler.level);
        metadata.is_event() && self.handlers.iter().any(wanted)
    }
}

/// The logger for an event's target. Events that have no counterpart in Python have their module as
/// target; they go to the logger of the part of Python's server that does the same work.
fn logger_name(target: &str) -> &str {
    match target.split("::").next().unwrap_or(target) {
        "rzeo_host" => "ZEO.StorageServer",
        "rzeo_storage" => "ZODB.FileStorage",
        "rzeo_smol" | "rzeo_tokio" => "ZEO.asyncio.server",
        _ => target,
    }
}

/// The level of an ordinary event.
fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::ERROR,
        tracing::Level::WARN => Level::WARNING,
        tracing::Level::INFO => Level::INFO,
        tracing::Level::DEBUG => Level::DEBUG,
        tracing::Level::TRACE => Level::TRACE,
    }
}

/// The highest level that an event's fields can give it.
fn highest_level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::CRITICAL,
        tracing::Level::DEBUG => Level::BLATHER,
        other => level_of(other),
    }
}

impl<S: Subscriber> Layer<S> for PythonLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = self.handlers.iter().map(|handler| self.level.max(handler.level));
        Some(match levels.min() {
            None => LevelFilter::OFF,
            Some(level) if level > Level::WARNING => LevelFilter::ERROR,
            Some(level) if level > Level::INFO => LevelFilter::WARN,
            Some(level) if level > Level::BLATHER => LevelFilter::INFO,
            Some(level) if level > Level::TRACE => LevelFilter::DEBUG,
            Some(_) => LevelFilter::TRACE,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::new(level_of(*metadata.level()));
        event.record(&mut fields);
        let message = fields.message.clone() + &fields.others;
        let record = Record {
            time: Timestamp::now(),
            level: fields.level,
            name: logger_name(metadata.target()),
            message: &message,
            plain: &fields.message,
            fields: &fields.all,
            file: metadata.file().unwrap_or("(unknown file)"),
            line: metadata.line().unwrap_or(0),
            start: self.start,
        };
        for handler in self.handlers.iter() {
            if record.level >= self.level.max(handler.level) {
                handler.handle(&record);
            }
        }
    }
}

impl Handler {
    fn handle(&self, record: &Record<'_>) {
        let text = match &self.layout {
            Layout::Json => json::line(record, &TimeZone::system()),
            Layout::Text { format, date_format } => format.render(record, date_format),
        };
        if let Err(error) = self.sink.write(record, text) {
            // The last resort; there is nobody left to tell when this fails too.
            let (to, message) = (&self.destination, record.message);
            let to_stderr = format!("cannot log to {to}: {error}\n{message}\n");
            let _ = std::io::stderr().write_all(to_stderr.as_bytes());
        }
    }
}

/// Collects an event's fields.
struct Fields {
    level: Level,
    message: String,
    /// Those that are appended to the message.
    others: String,
    all: Vec<(&'static str, Value)>,
}

impl Fields {
    fn new(level: Level) -> Self {
        Self { level, message: String::new(), others: String::new(), all: Vec::new() }
    }

    fn add(&mut self, field: &Field, text: fmt::Arguments<'_>, value: Option<Value>) {
        let mut shown = String::new();
        write!(Escaping(&mut shown), "{text}")
            .expect("writing to a string cannot fail, and values can be shown");
        match field.name() {
            "message" => {
                self.message = shown;
                return;
            }
            // The message says so already.
            "client" | "label" => {}
            name => self.others += &format!(" {name}={shown}"),
        }
        self.all.push((field.name(), value.unwrap_or(Value::String(shown))));
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "critical" if value => self.level = Level::CRITICAL,
            "blather" if value => self.level = Level::BLATHER,
            "critical" | "blather" => {}
            _ => self.add(field, format_args!("{value}"), Some(value.into())),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, format_args!("{value}"), Some(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, format_args!("{value}"), Some(value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, format_args!("{value:?}"), Some(value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"), None);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"), None);
    }
}

/// Escapes control characters: one record is one message, whatever a peer put into it.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c.is_control() || c == '\u{2028}' || c == '\u{2029}' {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}
