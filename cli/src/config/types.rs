//! Value types: what a key's text may be, and what it becomes.
//!
//! The names are ZConfig's. What Python accepts is accepted, with two exceptions: numbers must fit into
//! 64 bits, and settings that name Python code are refused, see [`Kind::Refused`].

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::python::{self, NotAnInteger, is_space, repr, strip};
use super::system::System;
use crate::logging::{DateFormat, FormatError, Level, RecordFormat};

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `boolean`
    Boolean,
    /// `byte-size`
    ByteSize,
    /// A `strftime` format.
    DateFormat,
    /// `existing-dirpath`: a file's path whose directory exists.
    DirPath,
    /// The encoding of a log: UTF-8.
    Encoding,
    /// `existing-path`
    ExistingPath,
    /// `float`
    Float,
    /// `integer`
    Integer,
    /// Integers with commas between them.
    IntegerList,
    /// A logging level.
    Level,
    /// The layout of log records.
    LogFormat,
    /// How `LogFormat` is written.
    LogStyle,
    /// A file mode.
    Octal,
    /// A path whose directory's parent exists.
    ParentDirPath,
    /// A directory, or a path in one that exists.
    ParentDirectory,
    /// Known to Python's server and refused by this one, for the reason given.
    Refused(&'static str),
    /// `socket-binding-address`
    SocketBindingAddress,
    /// `string`
    Text,
    /// `string-list`
    TextList,
}

/// A value that fits its [`Kind`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Of `SocketBindingAddress`.
    Address(SocketAddress),
    /// Of `Boolean`.
    Boolean(bool),
    /// Of the kinds that are checked for the sake of errors only.
    Checked,
    /// Of `DateFormat`.
    DateFormat(DateFormat),
    /// Of `Float`.
    Float(f64),
    /// Of `Integer`.
    Integer(i64),
    /// Of `Level`.
    Level(Level),
    /// Of `LogFormat`.
    LogFormat(RecordFormat),
    /// Of the paths.
    Path(PathBuf),
    /// Of `ByteSize`.
    Size(u64),
    /// Of `Text`.
    Text(String),
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SocketAddress {
    /// A host, none for all interfaces, and a port, none for any free one.
    Tcp {
        /// In lower case.
        host: Option<String>,
        /// As given; 0 also means any free one.
        port: Option<u16>,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why a text is not of its key's type, in Python's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum InvalidValue {
    /// A port of 65536 or more.
    #[error("{value} is above upper bound ({bound})")]
    AboveBound {
        /// What was given.
        value: i64,
        /// The largest one allowed.
        bound: i64,
    },
    /// A negative port or size.
    #[error("{value} is below lower bound ({bound})")]
    BelowBound {
        /// What was given.
        value: i64,
        /// The smallest one allowed.
        bound: i64,
    },
    /// A log format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An integer of more than 64 bits.
    #[error("{0} does not fit into 64 bits")]
    IntegerTooLarge(String),
    /// A level above 50 or below 0.
    #[error("log level not in range: {0}")]
    LevelOutOfRange(i64),
    /// A path in a directory that is not there.
    #[error("The directory named as part of the path {0} does not exist.")]
    NoDirectory(String),
    /// Neither a directory nor in one.
    #[error("{0} is not an existing directory")]
    NoExistingDirectory(String),
    /// Nothing there.
    #[error("{0} is not an existing path")]
    NoSuchPath(String),
    /// Something that cannot be a key anywhere.
    #[error("value did not match regular expression: {}", repr(.0))]
    NotAKey(String),
    /// Neither yes nor no.
    #[error("not a valid boolean value: {}", repr(.0))]
    NotBoolean(String),
    /// A host with blanks, or none.
    #[error("not a valid host name: {}", repr(.0))]
    NotHost(String),
    /// No integer.
    #[error("invalid literal for int() with base {base}: {}", repr(.text))]
    NotInteger {
        /// What was given.
        text: String,
        /// 8 or 10.
        base: u32,
    },
    /// No number.
    #[error("could not convert string to float: {}", repr(.0))]
    NotNumber(String),
    /// Something that only Python's server can do.
    #[error("{0}")]
    Refused(&'static str),
    /// A style other than `classic`.
    #[error("log_format_style must be 'classic'; found {}", repr(.0))]
    Style(String),
    /// An encoding other than UTF-8.
    #[error("unknown encoding: {0}")]
    UnknownEncoding(String),
}

impl Kind {
    /// Converts a key's text.
    pub(crate) fn convert(self, text: &str, system: &dyn System) -> Result<Value, InvalidValue> {
        Ok(match self {
            Self::Boolean => Value::Boolean(boolean(text)?),
            Self::ByteSize => Value::Size(byte_size(text)?),
            Self::DateFormat => Value::DateFormat(DateFormat::parse(text)?),
            Self::DirPath => Value::Path(dir_path(text, system)?),
            Self::Encoding => encoding(text)?,
            Self::ExistingPath => existing_path(text, system)?,
            Self::Float => Value::Float(float(text)?),
            Self::Integer => Value::Integer(integer(text, 10)?),
            Self::IntegerList => integer_list(text)?,
            Self::Level => Value::Level(level(text)?),
            Self::LogFormat => Value::LogFormat(RecordFormat::parse(text)?),
            Self::LogStyle => log_style(text)?,
            Self::Octal => {
                integer(text, 8)?;
                Value::Checked
            }
            Self::ParentDirPath => parent_dir_path(text, system)?,
            Self::ParentDirectory => parent_directory(text, system)?,
            Self::Refused(reason) => return Err(InvalidValue::Refused(reason)),
            Self::SocketBindingAddress => Value::Address(SocketAddress::parse(text)?),
            Self::Text => Value::Text(text.to_owned()),
            Self::TextList => Value::Checked,
        })
    }

    /// What would have been right, for the user to read.
    pub(crate) fn expected(self) -> Option<&'static str> {
        Some(match self {
            Self::Boolean => "yes, true, on, no, false or off",
            Self::ByteSize => "a whole number of bytes, or of kb, mb or gb",
            Self::DateFormat => "a date format like %Y-%m-%dT%H:%M:%S",
            Self::DirPath | Self::ParentDirPath => "a path in a directory that exists",
            Self::Encoding => "utf-8",
            Self::ExistingPath => "a path that exists",
            Self::Float => "a number",
            Self::Integer => "a whole number",
            Self::IntegerList => "whole numbers separated by commas",
            Self::Level => {
                "critical, error, warn, info, blather, debug, trace, all, notset, or 0 to 50"
            }
            Self::LogFormat => "text with fields like %(asctime)s and %(message)s",
            Self::LogStyle => "classic",
            Self::Octal => "a file mode of octal digits",
            Self::ParentDirectory => "a directory that exists",
            Self::SocketBindingAddress => "HOST:PORT, PORT, [IPV6]:PORT, or a path with a slash",
            Self::Refused(_) | Self::Text | Self::TextList => return None,
        })
    }
}

impl SocketAddress {
    /// `socket-binding-address`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidValue> {
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        let Some((before, after)) = text.rsplit_once(':') else {
            return Self::parse_word(text);
        };
        let (host, port_text) = match bracketed(before) {
            Some(host) => (host, after),
            None if before.contains(':') => (bracketed(text).unwrap_or(text), ""),
            None => (before, after),
        };
        let port = if port_text.is_empty() { None } else { Some(port(port_text)?) };
        Ok(Self::tcp(host, port))
    }

    /// A port if it is one, else a host.
    fn parse_word(text: &str) -> Result<Self, InvalidValue> {
        if let Ok(port) = port(text) {
            return Ok(Self::tcp("", Some(port)));
        }
        if strip(text).is_empty() || text.contains(is_space) {
            return Err(InvalidValue::NotHost(text.to_owned()));
        }
        Ok(Self::tcp(text, None))
    }

    fn tcp(host: &str, port: Option<u16>) -> Self {
        Self::Tcp { host: (!host.is_empty()).then(|| host.to_lowercase()), port }
    }
}

/// In Python's notation, as in its messages: `('127.0.0.1', 8100)`, `'./sock'`.
impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => {
                let host = repr(host.as_deref().unwrap_or(""));
                write!(f, "({host}, {})", port.unwrap_or(0))
            }
            Self::Unix(path) => f.write_str(&repr(&path.to_string_lossy())),
        }
    }
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

fn port(text: &str) -> Result<u16, InvalidValue> {
    let value = integer(text, 10)?;
    if value < 0 {
        return Err(InvalidValue::BelowBound { value, bound: 0 });
    }
    let bound = i64::from(u16::MAX);
    u16::try_from(value).map_err(|_| InvalidValue::AboveBound { value, bound })
}

fn boolean(text: &str) -> Result<bool, InvalidValue> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err(InvalidValue::NotBoolean(text.to_owned())),
    }
}

fn integer(text: &str, base: u32) -> Result<i64, InvalidValue> {
    python::int(text, base).map_err(|error| match error {
        NotAnInteger::Malformed => InvalidValue::NotInteger { text: text.to_owned(), base },
        NotAnInteger::TooLarge => InvalidValue::IntegerTooLarge(text.to_owned()),
    })
}

fn float(text: &str) -> Result<f64, InvalidValue> {
    python::float(text).ok_or_else(|| InvalidValue::NotNumber(text.to_owned()))
}

fn byte_size(text: &str) -> Result<u64, InvalidValue> {
    let lower = text.to_lowercase();
    let suffixes = [("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)];
    let suffixed =
        suffixes.iter().find_map(|(suffix, unit)| Some((lower.strip_suffix(suffix)?, unit)));
    let (number, unit) = suffixed.unwrap_or((&lower, &1));
    let value = integer(number, 10)?;
    let value = u64::try_from(value).map_err(|_| InvalidValue::BelowBound { value, bound: 0 })?;
    value.checked_mul(*unit).ok_or_else(|| InvalidValue::IntegerTooLarge(text.to_owned()))
}

fn integer_list(text: &str) -> Result<Value, InvalidValue> {
    if !text.is_empty() {
        for number in text.split(',') {
            integer(number, 10)?;
        }
    }
    Ok(Value::Checked)
}

fn level(text: &str) -> Result<Level, InvalidValue> {
    let lower = text.to_lowercase();
    if let Some(level) = Level::named(&lower) {
        return Ok(level);
    }
    let number = integer(&lower, 10)?;
    Level::numbered(number).ok_or(InvalidValue::LevelOutOfRange(number))
}

fn log_style(text: &str) -> Result<Value, InvalidValue> {
    if text.eq_ignore_ascii_case("classic") {
        Ok(Value::Checked)
    } else {
        Err(InvalidValue::Style(text.to_owned()))
    }
}

fn encoding(text: &str) -> Result<Value, InvalidValue> {
    match text.to_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" => Ok(Value::Checked),
        _ => Err(InvalidValue::UnknownEncoding(text.to_owned())),
    }
}

fn dir_path(text: &str, system: &dyn System) -> Result<PathBuf, InvalidValue> {
    let path = expand_user(text, system);
    let directory = dirname(&path);
    if directory.is_empty() || system.is_directory(Path::new(directory)) {
        Ok(path.into())
    } else {
        Err(InvalidValue::NoDirectory(text.to_owned()))
    }
}

fn existing_path(text: &str, system: &dyn System) -> Result<Value, InvalidValue> {
    if system.exists(Path::new(&expand_user(text, system))) {
        Ok(Value::Checked)
    } else {
        Err(InvalidValue::NoSuchPath(text.to_owned()))
    }
}

fn parent_dir_path(text: &str, system: &dyn System) -> Result<Value, InvalidValue> {
    let path = expand_user(text, system);
    let parent = dirname(dirname(&path));
    if parent.is_empty() || system.is_directory(Path::new(parent)) {
        Ok(Value::Checked)
    } else {
        Err(InvalidValue::NoDirectory(text.to_owned()))
    }
}

fn parent_directory(text: &str, system: &dyn System) -> Result<Value, InvalidValue> {
    let path = expand_user(text, system);
    if system.is_directory(Path::new(&path)) || system.is_directory(Path::new(dirname(&path))) {
        Ok(Value::Checked)
    } else {
        Err(InvalidValue::NoExistingDirectory(text.to_owned()))
    }
}

/// `os.path.expanduser` for the user that runs the server; other users' homes are not looked up.
fn expand_user(text: &str, system: &dyn System) -> String {
    let home = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => system.variable("HOME"),
        _ => None,
    };
    match home {
        Some(home) => format!("{}{}", home.trim_end_matches('/'), &text[1..]),
        None => text.to_owned(),
    }
}

/// `os.path.dirname`.
fn dirname(path: &str) -> &str {
    let head = &path[..path.rfind('/').map_or(0, |at| at + 1)];
    let trimmed = head.trim_end_matches('/');
    if trimmed.is_empty() { head } else { trimmed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::system::fake::FakeSystem;

    fn convert(kind: Kind, text: &str) -> Result<Value, String> {
        let system = FakeSystem::with(&[("/dir/file", "")]);
        kind.convert(text, &system).map_err(|error| error.to_string())
    }

    fn message(kind: Kind, text: &str) -> String {
        convert(kind, text).unwrap_err()
    }

    #[test]
    fn booleans() {
        for text in ["yes", "TRUE", "On"] {
            assert_eq!(convert(Kind::Boolean, text), Ok(Value::Boolean(true)));
        }
        for text in ["no", "False", "OFF"] {
            assert_eq!(convert(Kind::Boolean, text), Ok(Value::Boolean(false)));
        }
        assert_eq!(message(Kind::Boolean, "1"), "not a valid boolean value: '1'");
        assert_eq!(message(Kind::Boolean, ""), "not a valid boolean value: ''");
    }

    #[test]
    fn numbers() {
        assert_eq!(convert(Kind::Integer, "1_000"), Ok(Value::Integer(1000)));
        assert_eq!(convert(Kind::Float, "1.5"), Ok(Value::Float(1.5)));
        assert_eq!(convert(Kind::Octal, "022"), Ok(Value::Checked));
        assert_eq!(convert(Kind::IntegerList, "0, 2"), Ok(Value::Checked));
        assert_eq!(convert(Kind::IntegerList, ""), Ok(Value::Checked));
        assert_eq!(message(Kind::Integer, "1.5"), "invalid literal for int() with base 10: '1.5'");
        assert_eq!(message(Kind::Octal, "9"), "invalid literal for int() with base 8: '9'");
        assert_eq!(
            message(Kind::IntegerList, "1,x"),
            "invalid literal for int() with base 10: 'x'"
        );
        assert_eq!(message(Kind::Float, "x"), "could not convert string to float: 'x'");
        let huge = "99999999999999999999";
        assert_eq!(message(Kind::Integer, huge), format!("{huge} does not fit into 64 bits"));
    }

    #[test]
    fn byte_sizes() {
        let cases = [("10", 10), ("10kb", 10_240), ("10 MB", 10 << 20), ("1_0Gb", 10 << 30)];
        for (text, size) in cases {
            assert_eq!(convert(Kind::ByteSize, text), Ok(Value::Size(size)), "{text:?}");
        }
        let cases = [
            ("10b", "invalid literal for int() with base 10: '10b'"),
            ("1.5kb", "invalid literal for int() with base 10: '1.5'"),
            ("10tb", "invalid literal for int() with base 10: '10tb'"),
            ("-1", "-1 is below lower bound (0)"),
            ("9000000000000000000gb", "9000000000000000000gb does not fit into 64 bits"),
        ];
        for (text, expected) in cases {
            assert_eq!(message(Kind::ByteSize, text), expected, "{text:?}");
        }
    }

    #[test]
    fn paths() {
        let cases = [
            ("Data.fs", "Data.fs"),
            ("/dir/Data.fs", "/dir/Data.fs"),
            ("/Data.fs", "/Data.fs"),
            ("/dir//Data.fs", "/dir//Data.fs"),
            ("~/Data.fs", "/dir/Data.fs"),
            ("~other", "~other"),
        ];
        for (text, path) in cases {
            assert_eq!(convert(Kind::DirPath, text), Ok(Value::Path(path.into())), "{text:?}");
        }
        let missing = "The directory named as part of the path /nowhere/x does not exist.";
        assert_eq!(message(Kind::DirPath, "/nowhere/x"), missing);
        assert_eq!(message(Kind::ParentDirPath, "/nowhere/x/y").replace("/y", ""), missing);
        assert_eq!(convert(Kind::ParentDirPath, "/dir/later/zdsock"), Ok(Value::Checked));
        assert_eq!(convert(Kind::ParentDirectory, "/dir/later"), Ok(Value::Checked));
        assert_eq!(
            message(Kind::ParentDirectory, "/no/where"),
            "/no/where is not an existing directory"
        );
        assert_eq!(convert(Kind::ExistingPath, "/dir/file"), Ok(Value::Checked));
        assert_eq!(message(Kind::ExistingPath, "/x"), "/x is not an existing path");
    }

    #[test]
    fn socket_addresses() {
        let tcp = |host: &str, port| SocketAddress::tcp(host, port);
        let cases = [
            ("8100", tcp("", Some(8100))),
            (":0", tcp("", Some(0))),
            ("127.0.0.1: 0", tcp("127.0.0.1", Some(0))),
            ("HOST:1", tcp("host", Some(1))),
            ("host", tcp("host", None)),
            ("host:", tcp("host", None)),
            ("70000", tcp("70000", None)),
            ("[::1]:80", tcp("::1", Some(80))),
            ("::1", tcp("::1", None)),
            ("[::1]", tcp("::1", None)),
            ("./sock", SocketAddress::Unix("./sock".into())),
        ];
        for (text, address) in cases {
            assert_eq!(SocketAddress::parse(text), Ok(address), "{text:?}");
        }
        let cases = [
            ("a b", "not a valid host name: 'a b'"),
            ("", "not a valid host name: ''"),
            ("a:b", "invalid literal for int() with base 10: 'b'"),
            (":70000", "70000 is above upper bound (65535)"),
            (":-1", "-1 is below lower bound (0)"),
        ];
        for (text, expected) in cases {
            assert_eq!(message(Kind::SocketBindingAddress, text), expected, "{text:?}");
        }
    }

    #[test]
    fn addresses_are_shown_as_python_shows_them() {
        let shown = |text: &str| SocketAddress::parse(text).unwrap().to_string();
        assert_eq!(shown("127.0.0.1:8100"), "('127.0.0.1', 8100)");
        assert_eq!(shown("8100"), "('', 8100)");
        assert_eq!(shown("./sock"), "'./sock'");
    }

    #[test]
    fn levels() {
        let number = |text| match convert(Kind::Level, text) {
            Ok(Value::Level(level)) => level.number(),
            other => panic!("{other:?}"),
        };
        for (text, expected) in
            [("Fatal", 50), ("warn", 30), ("BLATHER", 15), ("all", 1), ("20", 20)]
        {
            assert_eq!(number(text), expected);
        }
        assert_eq!(message(Kind::Level, "51"), "log level not in range: 51");
        assert_eq!(message(Kind::Level, "-1"), "log level not in range: -1");
        assert_eq!(message(Kind::Level, "Foo"), "invalid literal for int() with base 10: 'foo'");
    }

    #[test]
    fn log_settings() {
        assert_eq!(convert(Kind::LogStyle, "Classic"), Ok(Value::Checked));
        assert_eq!(
            message(Kind::LogStyle, "format"),
            "log_format_style must be 'classic'; found 'format'"
        );
        assert_eq!(convert(Kind::Encoding, "UTF-8"), Ok(Value::Checked));
        assert_eq!(message(Kind::Encoding, "latin-1"), "unknown encoding: latin-1");
        assert_eq!(message(Kind::LogFormat, "%(foo)s"), "no log record has a field 'foo'");
        assert_eq!(message(Kind::Refused("because"), "x"), "because");
    }
}
