//! Log records, with the fields of Python's.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{Timestamp, Unit};
use serde_json::Value;

use crate::level::Level;

/// A log record with what Python's formats can show of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) time: Timestamp,
    pub(crate) level: Level,
    pub(crate) name: &'a str,
    /// One line of text, with the event's fields at its end.
    pub(crate) message: &'a str,
    /// The text without the fields.
    pub(crate) plain: &'a str,
    pub(crate) fields: &'a [(&'static str, Value)],
    pub(crate) file: &'a str,
    pub(crate) line: u32,
    /// When logging started, for `relativeCreated`.
    pub(crate) start: Timestamp,
}

/// The fields of a record that a format can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The arguments of the message; always `()`.
    Args,
    /// The time in the date format.
    AscTime,
    /// Seconds since 1970.
    Created,
    /// The exception; always `None`.
    ExcInfo,
    /// The exception as text; always `None`.
    ExcText,
    /// A field of the event; empty if the event does not have it.
    Extra(String),
    /// The source file without its directory.
    FileName,
    /// The function; always unknown.
    FuncName,
    LevelName,
    LevelNo,
    LineNo,
    Message,
    /// The source file without directory and extension.
    Module,
    /// The milliseconds of the time.
    Msecs,
    /// The message before formatting; always the same as the message.
    Msg,
    Name,
    /// The source file with its path.
    PathName,
    Process,
    /// Always `MainProcess`.
    ProcessName,
    /// Milliseconds since logging started.
    RelativeCreated,
    /// The stack; always `None`.
    StackInfo,
    /// The task; always `None`.
    TaskName,
    /// The number of the thread.
    Thread,
    ThreadName,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FieldValue<'a> {
    Text(Cow<'a, str>),
    Integer(u64),
    Float(f64),
}

/// Python's names of the fields that every record has.
const NAMES: [(&str, Field); 23] = [
    ("args", Field::Args),
    ("asctime", Field::AscTime),
    ("created", Field::Created),
    ("exc_info", Field::ExcInfo),
    ("exc_text", Field::ExcText),
    ("filename", Field::FileName),
    ("funcName", Field::FuncName),
    ("levelname", Field::LevelName),
    ("levelno", Field::LevelNo),
    ("lineno", Field::LineNo),
    ("message", Field::Message),
    ("module", Field::Module),
    ("msecs", Field::Msecs),
    ("msg", Field::Msg),
    ("name", Field::Name),
    ("pathname", Field::PathName),
    ("process", Field::Process),
    ("processName", Field::ProcessName),
    ("relativeCreated", Field::RelativeCreated),
    ("stack_info", Field::StackInfo),
    ("taskName", Field::TaskName),
    ("thread", Field::Thread),
    ("threadName", Field::ThreadName),
];

impl Field {
    /// The field that every record has under that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| field.clone())
    }

    /// The name in formats; for a field of the event, the event's name for it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Extra(name) => name,
            field => {
                let entry = NAMES.iter().find(|(_, known)| known == field);
                entry.map_or("", |(name, _)| name)
            }
        }
    }

    /// Whether its values are always texts.
    pub(crate) fn is_text(&self) -> bool {
        match self {
            Self::Created
            | Self::Extra(_)
            | Self::LevelNo
            | Self::LineNo
            | Self::Msecs
            | Self::Process
            | Self::RelativeCreated
            | Self::Thread => false,
            Self::Args
            | Self::AscTime
            | Self::ExcInfo
            | Self::ExcText
            | Self::FileName
            | Self::FuncName
            | Self::LevelName
            | Self::Message
            | Self::Module
            | Self::Msg
            | Self::Name
            | Self::PathName
            | Self::ProcessName
            | Self::StackInfo
            | Self::TaskName
            | Self::ThreadName => true,
        }
    }
}

impl Record<'_> {
    /// The value of a field. `AscTime` is in UTC here; formats replace it.
    pub(crate) fn field(&self, field: &Field) -> FieldValue<'_> {
        let path = Path::new(self.file);
        match field {
            Field::Args => text("()"),
            Field::AscTime => text(self.time.to_string()),
            Field::Created => FieldValue::Float(self.time.as_duration().as_secs_f64()),
            Field::ExcInfo | Field::ExcText | Field::StackInfo | Field::TaskName => text("None"),
            Field::Extra(name) => self.extra(name),
            Field::FileName => text(path.file_name().unwrap_or_default().to_string_lossy()),
            Field::FuncName => text("(unknown function)"),
            Field::LevelName => text(self.level.to_string()),
            Field::LevelNo => FieldValue::Integer(self.level.number().into()),
            Field::LineNo => FieldValue::Integer(self.line.into()),
            Field::Message | Field::Msg => text(self.message),
            Field::Module => text(path.file_stem().unwrap_or_default().to_string_lossy()),
            Field::Msecs => FieldValue::Float(f64::from(self.time.subsec_millisecond())),
            Field::Name => text(self.name),
            Field::PathName => text(self.file),
            Field::Process => FieldValue::Integer(std::process::id().into()),
            Field::ProcessName => text("MainProcess"),
            Field::RelativeCreated => {
                let elapsed = self.time - self.start;
                FieldValue::Float(elapsed.total(Unit::Millisecond).unwrap_or_default())
            }
            Field::Thread => FieldValue::Integer(thread_number()),
            Field::ThreadName => {
                text(std::thread::current().name().unwrap_or("(unnamed)").to_owned())
            }
        }
    }
}

impl<'a> Record<'a> {
    fn extra(&self, name: &str) -> FieldValue<'a> {
        match self.fields.iter().find(|(known, _)| *known == name) {
            Some((_, Value::String(value))) => text(value.as_str()),
            Some((_, value)) => text(value.to_string()),
            None => text(""),
        }
    }
}

fn text<'a>(text: impl Into<Cow<'a, str>>) -> FieldValue<'a> {
    FieldValue::Text(text.into())
}

/// Threads are numbered here, because safe and portable code cannot ask for the system's numbers.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NUMBER: Cell<u64> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)));
    NUMBER.get()
}

impl fmt::Display for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
        }
    }
}
