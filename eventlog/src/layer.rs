//! The layer: from `tracing` events to records.

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

use crate::format::{DateFormat, RecordFormat};
use crate::json;
use crate::level::Level;
use crate::record::Record;
use crate::settings::Destination;
use crate::sink::Sink;

/// An open destination, and how records are written to it.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) destination: Destination,
    pub(crate) sink: Sink,
    pub(crate) level: Level,
    pub(crate) layout: Layout,
}

/// How a handler writes a record.
#[derive(Debug)]
pub(crate) enum Layout {
    Json,
    Text { format: RecordFormat, date_format: DateFormat },
}

/// How a program's events become records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conventions {
    /// The loggers of crates whose events have their module as target: pairs of the crate's name and the
    /// logger's. An event with another target belongs to the logger of that name.
    pub loggers: &'static [(&'static str, &'static str)],
    /// The fields that are not appended to the message, because the message contains their values.
    pub silent_fields: &'static [&'static str],
}

/// Writes events to the destinations of a log.
#[derive(Debug)]
pub struct EventLogLayer {
    level: Level,
    handlers: Arc<[Handler]>,
    conventions: Conventions,
    start: Timestamp,
}

impl Conventions {
    /// The logger for an event's target.
    fn logger(self, target: &str) -> &str {
        let krate = target.split("::").next().unwrap_or(target);
        self.loggers.iter().find(|(name, _)| *name == krate).map_or(target, |(_, logger)| logger)
    }
}

impl EventLogLayer {
    pub(crate) fn new(level: Level, handlers: Arc<[Handler]>, conventions: Conventions) -> Self {
        Self { level, handlers, conventions, start: Timestamp::now() }
    }

    /// Whether any handler writes events with this metadata.
    fn is_written(&self, metadata: &Metadata<'_>) -> bool {
        let highest = highest_level(*metadata.level());
        let wanted = |handler: &Handler| highest >= self.level.max(handler.level);
        metadata.is_event() && self.handlers.iter().any(wanted)
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

impl<S: Subscriber> Layer<S> for EventLogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.is_written(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_written(metadata)
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
        let mut fields = Fields::new(level_of(*metadata.level()), self.conventions.silent_fields);
        event.record(&mut fields);
        let message = fields.message.clone() + &fields.others;
        let record = Record {
            time: Timestamp::now(),
            level: fields.level,
            name: self.conventions.logger(metadata.target()),
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
            // The last resort: if this fails too, the record is lost.
            let (to, message) = (&self.destination, record.message);
            let to_stderr = format!("cannot log to {to}: {error}\n{message}\n");
            let _ = std::io::stderr().write_all(to_stderr.as_bytes());
        }
    }
}

/// Collects an event's fields.
struct Fields {
    level: Level,
    silent: &'static [&'static str],
    message: String,
    /// The fields that are appended to the message.
    others: String,
    all: Vec<(&'static str, Value)>,
}

impl Fields {
    fn new(level: Level, silent: &'static [&'static str]) -> Self {
        let (message, others) = (String::new(), String::new());
        Self { level, silent, message, others, all: Vec::new() }
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
            name if self.silent.contains(&name) => {}
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

/// Escapes control characters, so that text from a peer cannot forge a record.
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
