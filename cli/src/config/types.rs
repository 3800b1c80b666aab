//! Value types: what a key's text may be, and what it becomes.
//!
//! The names are ZConfig's. What Python accepts is accepted, with two exceptions: numbers must fit into
//! 64 bits, and settings that name Python code are refused, see [`Kind::Refused`].

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::address::SocketAddress;
use super::conversions as to;
use super::python::repr;
use super::system::System;
use crate::logging::{DateFormat, Facility, FormatError, HttpUrl, Level, Style};

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `boolean`
    Boolean,
    /// `byte-size`
    ByteSize,
    /// A whole number within bounds.
    Count {
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// A `strftime` format.
    DateFormat,
    /// `existing-dirpath`: a file's path whose directory exists.
    DirPath,
    /// `existing-path`
    ExistingPath,
    /// What part of a system a record for its log comes from.
    Facility,
    /// `float`
    Float,
    /// `GET` or `POST`.
    HttpMethod,
    /// The URL of a web server.
    HttpUrl,
    /// `inet-address`
    InetAddress,
    /// `integer`
    Integer,
    /// Integers with commas between them.
    IntegerList,
    /// A logging level.
    Level,
    /// How the layout of log records is written.
    LogStyle,
    /// A file mode.
    Octal,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
    /// A path whose directory's parent exists.
    ParentDirPath,
    /// A directory, or a path in one that exists.
    ParentDirectory,
    /// Known to Python's server and refused by this one, for the reason given.
    Refused(&'static str),
    /// Seconds, and parts of one.
    Seconds,
    /// A `byte-size` within bounds.
    Size {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// `socket-binding-address`
    SocketBindingAddress,
    /// `socket-connection-address`
    SocketConnectionAddress,
    /// `string`
    Text,
    /// `string-list`
    TextList,
    /// `time-interval`
    TimeInterval,
}

/// A value that fits its [`Kind`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Of the addresses.
    Address(SocketAddress),
    /// Of `Boolean`.
    Boolean(bool),
    /// Of the kinds that are checked for the sake of errors only.
    Checked,
    /// Of `Count`.
    Count(usize),
    /// Of `DateFormat`.
    DateFormat(DateFormat),
    /// Of `Facility`.
    Facility(Facility),
    /// Of `Float`.
    Float(f64),
    /// Of `HttpUrl`.
    HttpUrl(HttpUrl),
    /// Of `Integer`.
    Integer(i64),
    /// Of `Level`.
    Level(Level),
    /// Of `LogStyle`.
    LogStyle(Style),
    /// Of the paths.
    Path(PathBuf),
    /// Of `ByteSize` and `Size`.
    Size(u64),
    /// Of `Text` and `OneOf`.
    Text(String),
    /// Of `Seconds`.
    Time(Duration),
}

/// Why a text is not of its key's type, in Python's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum InvalidValue {
    /// A port of 65536 or more, a limit that is too high.
    #[error("{value} is above upper bound ({bound})")]
    AboveBound {
        /// What was given.
        value: i64,
        /// The largest one allowed.
        bound: i64,
    },
    /// A negative port or size, a limit that is too low.
    #[error("{value} is below lower bound ({bound})")]
    BelowBound {
        /// What was given.
        value: i64,
        /// The smallest one allowed.
        bound: i64,
    },
    /// A blob storage around a storage with blobs.
    #[error("<{0}> in <blobstorage> already has blobs of its own")]
    BlobsTwice(&'static str),
    /// A standard stream that is to be opened later: it is open.
    #[error("cannot delay opening {0}")]
    CannotDelay(String),
    /// A standard stream in some encoding.
    #[error("cannot specify encoding for {0}")]
    CannotEncode(String),
    /// A standard stream with old files.
    #[error("cannot rotate {0}")]
    CannotRotate(String),
    /// No facility.
    #[error("Syslog facility must be one of {}", Facility::names())]
    Facility,
    /// A log format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A name without a password, or a password without a name.
    #[error("Either both smtp-username and smtp-password or none must be given")]
    HalfALogin,
    /// No method.
    #[error("method must be \"GET\" or \"POST\", instead received: {}", repr(.0))]
    HttpMethod(String),
    /// No URL of a web server.
    #[error("{0}")]
    HttpUrl(&'static str),
    /// An integer of more than 64 bits.
    #[error("{0} does not fit into 64 bits")]
    IntegerTooLarge(String),
    /// A level above 50 or below 0.
    #[error("log level not in range: {0}")]
    LevelOutOfRange(i64),
    /// A negative time.
    #[error("{0} is below lower bound (0)")]
    Negative(String),
    /// A path in a directory that is not there.
    #[error("The directory named as part of the path {0} does not exist.")]
    NoDirectory(String),
    /// Neither a directory nor in one.
    #[error("{0} is not an existing directory")]
    NoExistingDirectory(String),
    /// Nothing there.
    #[error("{0} is not an existing path")]
    NoSuchPath(String),
    /// A server to connect to, whose port nobody can know.
    #[error("{0}: a server's address needs a port")]
    NoPort(String),
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
    /// None of the words that a key knows.
    #[error("must be one of {}; found {}", words.join(", "), repr(text))]
    NotOneOf {
        /// What was given.
        text: String,
        /// What is known.
        words: &'static [&'static str],
    },
    /// Rotation that would keep nothing.
    #[error("old-files must be set for log rotation")]
    OldFilesMissing,
    /// A function that only Python could call, for the password of a key.
    #[error(
        "Python code cannot be used by this server: set password-command to a command that prints \
         the password, or the environment variable {0} to the password itself"
    )]
    PasswordFunction(&'static str),
    /// A storage over one that others change.
    #[error(
        "<zeoclient> in <{0}>: what is on another server, where others change it, can only be served as \
         it is"
    )]
    ProxyWithin(&'static str),
    /// Something that only Python's server can do.
    #[error("{0}")]
    Refused(&'static str),
    /// Old files, but no reason for them.
    #[error("max-bytes or when must be set for log rotation")]
    RotationMissing,
    /// Rotation by size and by time.
    #[error("can't set *both* max_bytes and when")]
    RotationTwice,
    /// A demo storage with two bases.
    #[error("Too many base storages defined!")]
    TwoBases,
    /// No style.
    #[error("log_format_style must be one of {}; found {}", Style::NAMES, repr(.0))]
    Style(String),
    /// An encoding that this server does not write.
    #[error("unknown encoding: {0}; logs can be written in utf-8, latin-1 and ascii")]
    UnknownEncoding(String),
    /// No time at which to begin a log anew.
    #[error("Invalid rollover interval specified: {0}; it is S, M, H, D, midnight, or W0 to W6")]
    When(String),
}

impl Kind {
    /// Converts a key's text.
    pub(crate) fn convert(self, text: &str, system: &dyn System) -> Result<Value, InvalidValue> {
        Ok(match self {
            Self::Boolean => Value::Boolean(to::boolean(text)?),
            Self::ByteSize => Value::Size(to::byte_size(text)?),
            Self::Count { min, max } => Value::Count(to::count(text, min, max)?),
            Self::DateFormat => Value::DateFormat(DateFormat::parse(text)?),
            Self::DirPath => Value::Path(to::dir_path(text, system)?),
            Self::ExistingPath => to::existing_path(text, system)?,
            Self::Facility => Value::Facility(to::facility(text)?),
            Self::Float => Value::Float(to::float(text)?),
            Self::HttpMethod => Value::Text(to::http_method(text)?),
            Self::HttpUrl => Value::HttpUrl(HttpUrl::parse(text).map_err(InvalidValue::HttpUrl)?),
            Self::InetAddress => Value::Address(SocketAddress::parse_inet(text)?),
            Self::Integer => Value::Integer(to::integer(text, 10)?),
            Self::IntegerList => to::integer_list(text)?,
            Self::Level => Value::Level(to::level(text)?),
            Self::LogStyle => Value::LogStyle(to::log_style(text)?),
            Self::Octal => {
                to::integer(text, 8)?;
                Value::Checked
            }
            Self::OneOf(words) => Value::Text(to::one_of(text, words)?),
            Self::ParentDirPath => to::parent_dir_path(text, system)?,
            Self::ParentDirectory => to::parent_directory(text, system)?,
            Self::Refused(reason) => return Err(InvalidValue::Refused(reason)),
            Self::Seconds => Value::Time(to::seconds(text)?),
            Self::Size { min, max } => Value::Size(to::size(text, min, max)?),
            Self::SocketBindingAddress => Value::Address(SocketAddress::parse(text)?),
            Self::SocketConnectionAddress => Value::Address(SocketAddress::parse_peer(text)?),
            Self::Text => Value::Text(text.to_owned()),
            Self::TextList => Value::Checked,
            Self::TimeInterval => Value::Integer(to::time_interval(text)?),
        })
    }

    /// What would have been right, for the user to read.
    pub(crate) fn expected(self) -> Option<&'static str> {
        Some(match self {
            Self::Boolean => "yes, true, on, no, false or off",
            Self::ByteSize | Self::Size { .. } => "a whole number of bytes, or of kb, mb or gb",
            Self::DateFormat => "a date format like %Y-%m-%dT%H:%M:%S",
            Self::DirPath | Self::ParentDirPath => "a path in a directory that exists",
            Self::ExistingPath => "a path that exists",
            Self::Float => "a number",
            Self::Count { .. } | Self::Integer => "a whole number",
            Self::InetAddress => "HOST:PORT, HOST or PORT",
            Self::IntegerList => "whole numbers separated by commas",
            Self::Level => {
                "critical, error, warn, info, blather, debug, trace, all, notset, or 0 to 50"
            }
            Self::Octal => "a file mode of octal digits",
            Self::ParentDirectory => "a directory that exists",
            Self::Seconds => "a number of seconds",
            Self::TimeInterval => "a whole number of seconds, or of m, h or d",
            Self::SocketBindingAddress | Self::SocketConnectionAddress => {
                "HOST:PORT, PORT, [IPV6]:PORT, or a path with a slash"
            }
            Self::HttpUrl => "a URL like http://localhost:8080/log",
            Self::Facility
            | Self::HttpMethod
            | Self::LogStyle
            | Self::OneOf(_)
            | Self::Refused(_)
            | Self::Text
            | Self::TextList => return None,
        })
    }
}
