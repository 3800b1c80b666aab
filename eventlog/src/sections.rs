//! `<eventlog>` sections of ZConfig files, as Python's `ZConfig.components.logger` declares them.
//!
//! A schema that accepts the section lists [`TYPES`], [`LOG_HANDLER`] and [`LOG`] and has a slot for
//! [`EVENTLOG`]; [`eventlog`] takes the settings out of it.

use rzeo_zconfig::python::repr;
use rzeo_zconfig::{
    Accepts, ConfigError, Count, CustomKind, FromValue, Group, InvalidValue, Key, Kind, Section,
    SectionType, Slot, SocketAddress, System, Value,
};
use thiserror::Error;

use crate::encoding::Encoding;
use crate::file::{FileSettings, Rotation};
use crate::format::{DateFormat, RecordFormat, Style};
use crate::http::{HttpUrl, Method};
use crate::level::Level;
use crate::mail::MailSettings;
use crate::rollover::{Schedule, When};
use crate::settings::{Destination, EventLog, HandlerSettings};
use crate::syslog::Facility;

/// Why a value in a handler's section is invalid, in Python's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum HandlerError {
    /// A standard stream with `delay`.
    #[error("cannot delay opening {0}")]
    CannotDelay(String),
    /// A standard stream with `encoding`.
    #[error("cannot specify encoding for {0}")]
    CannotEncode(String),
    /// A standard stream with rotation.
    #[error("cannot rotate {0}")]
    CannotRotate(String),
    /// A facility that syslog does not have.
    #[error("Syslog facility must be one of {}", Facility::names())]
    Facility,
    /// A user name without a password, or the reverse.
    #[error("Either both smtp-username and smtp-password or none must be given")]
    HalfALogin,
    /// A level above 50 or below 0.
    #[error("log level not in range: {0}")]
    LevelOutOfRange(i64),
    /// A method that is not supported.
    #[error("method must be \"GET\" or \"POST\", instead received: {}", repr(.0))]
    Method(String),
    /// Rotation that keeps no files.
    #[error("old-files must be set for log rotation")]
    OldFilesMissing,
    /// Old files without rotation.
    #[error("max-bytes or when must be set for log rotation")]
    RotationMissing,
    /// Rotation by size and by time.
    #[error("can't set *both* max_bytes and when")]
    RotationTwice,
    /// A style that formats do not have.
    #[error("log_format_style must be one of {}; found {}", Style::NAMES, repr(.0))]
    Style(String),
    /// An encoding that is not supported.
    #[error("unknown encoding: {0}; logs can be written in utf-8, latin-1 and ascii")]
    UnknownEncoding(String),
    /// A unit of time that is not supported.
    #[error("Invalid rollover interval specified: {0}; it is S, M, H, D, midnight, or W0 to W6")]
    When(String),
}

const DATE_FORMAT_KIND: Kind = Kind::Custom(&CustomKind {
    convert: |text, _| DateFormat::parse(text).map(Value::custom).map_err(InvalidValue::custom),
    expected: Some("a date format like %Y-%m-%dT%H:%M:%S"),
});
const FACILITY_KIND: Kind = Kind::Custom(&CustomKind {
    convert: |text, _| {
        let facility = Facility::named(text).ok_or(HandlerError::Facility);
        facility.map(Value::custom).map_err(InvalidValue::custom)
    },
    expected: None,
});
const HTTP_METHOD_KIND: Kind = Kind::Custom(&CustomKind {
    convert: |text, _| match text.to_uppercase().as_str() {
        "GET" => Ok(Value::custom(Method::Get)),
        "POST" => Ok(Value::custom(Method::Post)),
        other => Err(InvalidValue::custom(HandlerError::Method(other.to_owned()))),
    },
    expected: None,
});
const HTTP_URL_KIND: Kind = Kind::Custom(&CustomKind {
    convert: |text, _| HttpUrl::parse(text).map(Value::custom).map_err(InvalidValue::custom),
    expected: Some("a URL like http://localhost:8080/log"),
});
const LEVEL_KIND: Kind = Kind::Custom(&CustomKind {
    convert: |text, system| {
        let lower = text.to_lowercase();
        if let Some(level) = Level::named(&lower) {
            return Ok(Value::custom(level));
        }
        let number = Kind::Integer.convert(&lower, system)?;
        let number = i64::from_value(&number).expect("an integer is of that type");
        let level = Level::numbered(number).ok_or(HandlerError::LevelOutOfRange(number));
        level.map(Value::custom).map_err(InvalidValue::custom)
    },
    expected: Some("critical, error, warn, info, blather, debug, trace, all, notset, or 0 to 50"),
});
const STYLE_KIND: Kind = Kind::Custom(&CustomKind {
    convert: |text, _| {
        let style = Style::named(text).ok_or_else(|| HandlerError::Style(text.to_owned()));
        style.map(Value::custom).map_err(InvalidValue::custom)
    },
    expected: None,
});

macro_rules! from_custom_value {
    ($($type:ty),* $(,)?) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                value.to_custom()
            }
        })*
    };
}

from_custom_value!(DateFormat, Facility, HttpUrl, Level, Method, Style);

const WINDOWS: &str = "the event log of Windows is not supported; use <logfile> or <syslog>";
const PYTHON_FORMATTER: &str = "Python code cannot be used by this server: leave the key out, and set \
                                format, dateformat and style";

/// The default format of most handlers.
const LONG_FORMAT: &str = "%(asctime)s %(levelname)s %(name)s %(message)s";

/// The sections of handlers.
pub static LOG_HANDLER: Group = Group {
    name: "zconfig.logger.handler",
    members: &["logfile", "syslog", "win32-eventlog", "http-logger", "email-notifier"],
};

/// The section `<eventlog>`.
pub static EVENTLOG: SectionType = SectionType::new(
    "eventlog",
    &[Key::with_default("level", LEVEL_KIND, "info")],
    &[Slot { accepts: Accepts::Group(&LOG_HANDLER), count: Count::Any }],
);

/// The sections of logs.
pub static LOG: Group = Group { name: "zconfig.logger.log", members: &["eventlog", "logger"] };

/// One logger of Python's. It is accepted in `<runner>` and has no effect.
static LOGGER: SectionType = SectionType::new(
    "logger",
    &[
        Key::with_default("level", LEVEL_KIND, "info"),
        Key::with_default("propagate", Kind::Boolean, "true"),
        Key::optional("name", Kind::Text),
    ],
    &[Slot { accepts: Accepts::Group(&LOG_HANDLER), count: Count::Any }],
);

/// The types of `<eventlog>` and of its handlers' sections, for a program's schema.
pub static TYPES: [&SectionType; 7] =
    [&EVENTLOG, &LOGGER, &LOGFILE, &SYSLOG, &WIN32_EVENTLOG, &HTTP_LOGGER, &EMAIL_NOTIFIER];

const FORMATTER: Key = Key::optional("formatter", Kind::Refused(PYTHON_FORMATTER));
const DATE_FORMAT: Key = Key::with_default("dateformat", DATE_FORMAT_KIND, DateFormat::DEFAULT);
const LEVEL: Key = Key::with_default("level", LEVEL_KIND, "notset");
const STYLE: Key = Key::with_default("style", STYLE_KIND, "classic");
const ARBITRARY_FIELDS: Key = Key::with_default("arbitrary-fields", Kind::Boolean, "false");

static LOGFILE: SectionType = SectionType::new(
    "logfile",
    &[
        FORMATTER,
        DATE_FORMAT,
        LEVEL,
        STYLE,
        ARBITRARY_FIELDS,
        Key::required("path", Kind::Text),
        Key::with_default("old-files", Kind::Integer, "0"),
        Key::with_default("max-size", Kind::ByteSize, "0"),
        Key::with_default("when", Kind::Text, ""),
        Key::with_default("interval", Kind::Integer, "0"),
        Key::with_default("format", Kind::Text, RecordFormat::DEFAULT),
        Key::optional("encoding", Kind::Text),
        Key::with_default("delay", Kind::Boolean, "false"),
    ],
    &[],
)
.checked(check);

static SYSLOG: SectionType = SectionType::new(
    "syslog",
    &[
        FORMATTER,
        DATE_FORMAT,
        LEVEL,
        STYLE,
        ARBITRARY_FIELDS,
        Key::with_default("facility", FACILITY_KIND, "user"),
        Key::with_default("address", Kind::SocketBindingAddress, "localhost:514"),
        Key::with_default("format", Kind::Text, "%(name)s %(message)s"),
    ],
    &[],
)
.checked(check);

static WIN32_EVENTLOG: SectionType = SectionType::new(
    "win32-eventlog",
    &[
        FORMATTER,
        DATE_FORMAT,
        LEVEL,
        STYLE,
        ARBITRARY_FIELDS,
        Key::with_default("appname", Kind::Text, "Zope"),
        Key::with_default("format", Kind::Text, "%(levelname)s %(name)s %(message)s"),
    ],
    &[],
)
.refused(WINDOWS);

static HTTP_LOGGER: SectionType = SectionType::new(
    "http-logger",
    &[
        FORMATTER,
        DATE_FORMAT,
        LEVEL,
        STYLE,
        ARBITRARY_FIELDS,
        Key::with_default("url", HTTP_URL_KIND, "http://localhost/"),
        Key::with_default("method", HTTP_METHOD_KIND, "GET"),
        Key::with_default("format", Kind::Text, LONG_FORMAT),
    ],
    &[],
)
.checked(check);

static EMAIL_NOTIFIER: SectionType = SectionType::new(
    "email-notifier",
    &[
        FORMATTER,
        DATE_FORMAT,
        LEVEL,
        STYLE,
        ARBITRARY_FIELDS,
        Key::required("from", Kind::Text),
        Key::repeated("to", Kind::Text),
        Key::with_default("subject", Kind::Text, "Message from Zope"),
        Key::with_default("smtp-server", Kind::InetAddress, "localhost"),
        Key::with_default("smtp-username", Kind::Text, ""),
        Key::with_default("smtp-password", Kind::Text, ""),
        Key::with_default("format", Kind::Text, LONG_FORMAT),
    ],
    &[],
)
.checked(check);

/// The settings in an `<eventlog>` section.
///
/// # Errors
/// If settings of a handler contradict each other. Sections from the reader have been checked already.
pub fn eventlog(section: &Section) -> Result<EventLog, ConfigError> {
    let handlers: Result<_, _> = section.sections.iter().map(handler).collect();
    Ok(EventLog { level: section.required("level"), handlers: handlers? })
}

/// A section of a handler is valid if it has settings.
fn check(section: &Section, _: &dyn System) -> Result<(), ConfigError> {
    handler(section).map(|_| ())
}

fn handler(section: &Section) -> Result<HandlerSettings, ConfigError> {
    let text: String = section.required("format");
    let style: Style = section.required("style");
    let format = RecordFormat::parse(&text, style, section.required("arbitrary-fields"))
        .map_err(|error| section.wrong("format", InvalidValue::custom(error)))?;
    let destination = match section.section_type.name {
        "logfile" => logfile(section)?,
        "syslog" => Destination::Syslog {
            address: section.required("address"),
            facility: section.required("facility"),
        },
        "http-logger" => {
            Destination::Http { url: section.required("url"), method: section.required("method") }
        }
        "email-notifier" => Destination::Mail(mail(section)?),
        other => unreachable!("the reader refuses <{other}>"),
    };
    Ok(HandlerSettings {
        destination,
        level: section.required("level"),
        format,
        date_format: section.required("dateformat"),
    })
}

fn wrong(section: &Section, key: &str, error: HandlerError) -> ConfigError {
    section.wrong(key, InvalidValue::custom(error))
}

/// A file or a stream.
fn logfile(section: &Section) -> Result<Destination, ConfigError> {
    let path: String = section.required("path");
    let max: u64 = section.required("max-size");
    let when: String = section.required("when");
    let (old_files, interval) = (count(section, "old-files")?, count(section, "interval")?);
    let delay: bool = section.required("delay");
    let encoding: String = section.value("encoding").unwrap_or_default();
    if path == "STDERR" || path == "STDOUT" {
        if max > 0 || old_files > 0 || !when.is_empty() {
            return Err(wrong(section, "path", HandlerError::CannotRotate(path)));
        }
        if delay {
            return Err(wrong(section, "delay", HandlerError::CannotDelay(path)));
        }
        if !encoding.is_empty() {
            return Err(wrong(section, "encoding", HandlerError::CannotEncode(path)));
        }
        return Ok(if path == "STDERR" { Destination::Stderr } else { Destination::Stdout });
    }
    let rotation = rotation(section, max, &when, old_files, interval)?;
    let encoding = match encoding.as_str() {
        "" => Encoding::Utf8,
        name => Encoding::named(name).ok_or_else(|| {
            wrong(section, "encoding", HandlerError::UnknownEncoding(name.to_owned()))
        })?,
    };
    Ok(Destination::File(FileSettings { path: path.into(), delay, encoding, rotation }))
}

fn rotation(
    section: &Section,
    max: u64,
    when: &str,
    old_files: u32,
    interval: u32,
) -> Result<Rotation, ConfigError> {
    if max == 0 && when.is_empty() && old_files == 0 && interval == 0 {
        return Ok(Rotation::None);
    }
    if old_files == 0 {
        return Err(wrong(section, "old-files", HandlerError::OldFilesMissing));
    }
    if when.is_empty() {
        if max == 0 {
            return Err(wrong(section, "old-files", HandlerError::RotationMissing));
        }
        return Ok(Rotation::Size { max, old_files });
    }
    if max > 0 {
        return Err(wrong(section, "when", HandlerError::RotationTwice));
    }
    let unit = When::named(when)
        .ok_or_else(|| wrong(section, "when", HandlerError::When(when.to_uppercase())))?;
    let schedule = Schedule { when: unit, interval: interval.max(1) };
    Ok(Rotation::Time { schedule, old_files })
}

fn count(section: &Section, key: &str) -> Result<u32, ConfigError> {
    let value: i64 = section.required(key);
    u32::try_from(value).map_err(|_| {
        let bound = if value < 0 { 0 } else { i64::from(u32::MAX) };
        section.wrong(
            key,
            match value < 0 {
                true => InvalidValue::BelowBound { value, bound },
                false => InvalidValue::AboveBound { value, bound },
            },
        )
    })
}

fn mail(section: &Section) -> Result<MailSettings, ConfigError> {
    let user: String = section.required("smtp-username");
    let password: String = section.required("smtp-password");
    if user.is_empty() != password.is_empty() {
        let key = if user.is_empty() { "smtp-password" } else { "smtp-username" };
        return Err(wrong(section, key, HandlerError::HalfALogin));
    }
    let (host, port) = match section.required("smtp-server") {
        SocketAddress::Tcp { host, port } => (host.unwrap_or_else(|| "localhost".into()), port),
        SocketAddress::Unix(path) => (path.display().to_string(), None),
    };
    Ok(MailSettings {
        host,
        port: port.filter(|port| *port != 0),
        from: section.required("from"),
        to: section.values("to"),
        subject: section.required("subject"),
        login: (!user.is_empty()).then_some((user, password)),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rzeo_zconfig::{MemorySystem, Schema};

    use super::*;

    static SCHEMA: Schema = Schema {
        groups: &[&LOG_HANDLER, &LOG],
        ..Schema::new(
            &SectionType::new(
                "",
                &[],
                &[Slot { accepts: Accepts::Type(&EVENTLOG), count: Count::One }],
            ),
            &[&TYPES],
        )
    };

    fn read(lines: &str) -> Result<EventLog, ConfigError> {
        let text = format!("<eventlog>\n{lines}\n</eventlog>\n");
        let system = MemorySystem::with(&[("/dir/c", &text)]);
        let top = SCHEMA.read(&system, Path::new("c"), &[])?;
        eventlog(top.section("eventlog").unwrap())
    }

    fn message(lines: &str) -> String {
        read(lines).unwrap_err().to_string().replace("file:///dir/c", "c")
    }

    #[test]
    fn an_empty_section_logs_nowhere() {
        let settings = read("").unwrap();
        assert_eq!(settings, EventLog { level: Level::INFO, handlers: Vec::new() });
    }

    #[test]
    fn the_defaults_of_handlers() {
        let mut settings =
            read("<logfile>\npath l\n</logfile>\n<syslog/>\n<http-logger/>").unwrap();
        let file = HandlerSettings::new(Destination::File(FileSettings::new("l")));
        assert_eq!(settings.handlers.remove(0), file);
        let address = SocketAddress::parse("localhost:514").unwrap();
        let facility = Facility::named("user").unwrap();
        let syslog = settings.handlers.remove(0);
        assert_eq!(syslog.destination, Destination::Syslog { address, facility });
        let url = HttpUrl::parse("http://localhost/").unwrap();
        let http = Destination::Http { url, method: Method::Get };
        assert_eq!(settings.handlers.remove(0).destination, http);
    }

    #[test]
    fn levels() {
        for (text, number) in
            [("Fatal", 50), ("warn", 30), ("BLATHER", 15), ("all", 1), ("2_0", 20)]
        {
            assert_eq!(read(&format!("level {text}")).unwrap().level.number(), number, "{text}");
        }
        assert_eq!(message("level -1"), "log level not in range: -1 (line 2, in c)");
        let error = read("level loud").unwrap_err();
        let accepted =
            "critical, error, warn, info, blather, debug, trace, all, notset, or 0 to 50";
        assert_eq!(error.expected().as_deref(), Some(accepted));
    }

    #[test]
    fn invalid_values_are_refused() {
        let cases = [
            (
                "<syslog>\nfacility ftp\n</syslog>",
                "Syslog facility must be one of auth, authpriv, cron, daemon, kern, local0, local1, \
                 local2, local3, local4, local5, local6, local7, lpr, mail, news, security, syslog, \
                 user, uucp (line 3, in c)",
            ),
            (
                "<http-logger>\nmethod put\n</http-logger>",
                "method must be \"GET\" or \"POST\", instead received: 'PUT' (line 3, in c)",
            ),
            (
                "<http-logger>\nurl ftp://x/\n</http-logger>",
                "url must be an http url (line 3, in c)",
            ),
            (
                "<logfile>\npath l\nstyle x\n</logfile>",
                "log_format_style must be one of 'classic', 'format', 'safe-template', 'template'; \
                 found 'x' (line 4, in c)",
            ),
            ("level 51", "log level not in range: 51 (line 2, in c)"),
            (
                "<logfile>\npath l\nencoding utf-7\n</logfile>",
                "unknown encoding: utf-7; logs can be written in utf-8, latin-1 and ascii \
                 (line 4, in c)",
            ),
            (
                "<logfile>\npath l\nformat %(foo)s\n</logfile>",
                "no log record has a field 'foo' (line 4, in c)",
            ),
            (
                "<logfile>\npath l\nformatter a.b\n</logfile>",
                "Python code cannot be used by this server: leave the key out, and set format, \
                 dateformat and style (line 4, in c)",
            ),
            (
                "<email-notifier>\nfrom a\n</email-notifier>",
                "not enough values for 'to'; 0 found, 1 required\n(line 4 in c)",
            ),
            (
                "<email-notifier>\nfrom a\nto b\nsmtp-username u\n</email-notifier>",
                "Either both smtp-username and smtp-password or none must be given (line 5, in c)",
            ),
            (
                "<win32-eventlog/>",
                "<win32-eventlog>: the event log of Windows is not supported; use <logfile> or <syslog>\n\
                 (line 2 in c)",
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(message(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn contradictions_in_log_files_are_refused() {
        let cases = [
            (
                "<logfile>\npath STDOUT\ndelay yes\n</logfile>",
                "cannot delay opening STDOUT (line 4, in c)",
            ),
            (
                "<logfile>\npath l\nmax-size 1mb\n</logfile>",
                "old-files must be set for log rotation (line 5, in c)",
            ),
            (
                "<logfile>\npath l\nold-files 2\n</logfile>",
                "max-bytes or when must be set for log rotation (line 4, in c)",
            ),
            (
                "<logfile>\npath l\nold-files 2\nmax-size 1\nwhen S\n</logfile>",
                "can't set *both* max_bytes and when (line 6, in c)",
            ),
            (
                "<logfile>\npath l\nold-files 2\nwhen W7\n</logfile>",
                "Invalid rollover interval specified: W7; it is S, M, H, D, midnight, or W0 to W6 \
                 (line 5, in c)",
            ),
            (
                "<logfile>\npath l\nold-files -2\nwhen S\n</logfile>",
                "-2 is below lower bound (0) (line 4, in c)",
            ),
            (
                "<logfile>\npath STDERR\nold-files 1\n</logfile>",
                "cannot rotate STDERR (line 3, in c)",
            ),
            (
                "<logfile>\npath STDERR\nencoding utf-8\n</logfile>",
                "cannot specify encoding for STDERR (line 4, in c)",
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(message(lines), expected, "{lines:?}");
        }
    }
}
