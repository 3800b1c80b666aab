//! One log record, with the fields that Python's have.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{Timestamp, Unit};

use super::level::Level;

/// A log record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// When.
    pub(crate) time: Timestamp,
    /// How important.
    pub(crate) level: Level,
    /// The logger's name: an event's `target`.
    pub(crate) name: &'a str,
    /// One line of text.
    pub(crate) message: &'a str,
    /// The source file that it comes from.
    pub(crate) file: &'a str,
    /// The line in that file.
    pub(crate) line: u32,
    /// When logging began.
    pub(crate) start: Timestamp,
}

/// The fields of a record that a layout can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The time, as the date format has it.
    AscTime,
    /// Seconds since 1970.
    Created,
    /// The source file without its directory.
    FileName,
    /// Not known here.
    FuncName,
    /// The level's name.
    LevelName,
    /// The level's number.
    LevelNo,
    /// The line in the source file.
    LineNo,
    /// The message.
    Message,
    /// The source file without directory and extension.
    Module,
    /// The milliseconds of the time.
    Msecs,
    /// The logger's name.
    Name,
    /// The source file.
    PathName,
    /// The process id.
    Process,
    /// Always `MainProcess`.
    ProcessName,
    /// Milliseconds since logging began.
    RelativeCreated,
    /// Not known here.
    TaskName,
    /// A number for the thread.
    Thread,
    /// The thread's name.
    ThreadName,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FieldValue<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(u64),
    /// A fraction.
    Float(f64),
}

impl Field {
    /// The field of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "asctime" => Self::AscTime,
            "created" => Self::Created,
            "filename" => Self::FileName,
            "funcName" => Self::FuncName,
            "levelname" => Self::LevelName,
            "levelno" => Self::LevelNo,
            "lineno" => Self::LineNo,
            "message" => Self::Message,
            "module" => Self::Module,
            "msecs" => Self::Msecs,
            "name" => Self::Name,
            "pathname" => Self::PathName,
            "process" => Self::Process,
            "processName" => Self::ProcessName,
            "relativeCreated" => Self::RelativeCreated,
            "taskName" => Self::TaskName,
            "thread" => Self::Thread,
            "threadName" => Self::ThreadName,
            _ => return None,
        })
    }

    /// Whether its values are numbers.
    pub(crate) fn is_number(self) -> bool {
        match self {
            Self::Created
            | Self::LevelNo
            | Self::LineNo
            | Self::Msecs
            | Self::Process
            | Self::RelativeCreated
            | Self::Thread => true,
            Self::AscTime
            | Self::FileName
            | Self::FuncName
            | Self::LevelName
            | Self::Message
            | Self::Module
            | Self::Name
            | Self::PathName
            | Self::ProcessName
            | Self::TaskName
            | Self::ThreadName => false,
        }
    }
}

impl Record<'_> {
    /// The value of a field. `AscTime` is in UTC here, because only the layout knows better.
    pub(crate) fn field(&self, field: Field) -> FieldValue<'_> {
        let path = Path::new(self.file);
        match field {
            Field::AscTime => text(self.time.to_string()),
            Field::Created => FieldValue::Float(self.time.as_duration().as_secs_f64()),
            Field::FileName => text(path.file_name().unwrap_or_default().to_string_lossy()),
            Field::FuncName => text("(unknown function)"),
            Field::LevelName => text(self.level.to_string()),
            Field::LevelNo => FieldValue::Integer(self.level.number().into()),
            Field::LineNo => FieldValue::Integer(self.line.into()),
            Field::Message => text(self.message),
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
            Field::TaskName => text("None"),
            Field::Thread => FieldValue::Integer(thread_number()),
            Field::ThreadName => {
                text(std::thread::current().name().unwrap_or("(unnamed)").to_owned())
            }
        }
    }
}

fn text<'a>(text: impl Into<Cow<'a, str>>) -> FieldValue<'a> {
    FieldValue::Text(text.into())
}

/// The system's numbers are out of reach of safe and portable code, so threads get their own.
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
