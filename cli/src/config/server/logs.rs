//! `<eventlog>` and what stands in it.

use crate::config::SocketAddress;
use crate::config::error::ConfigError;
use crate::config::reader::Section;
use crate::config::schema::{Accepts, Count, Group, Key, SectionType, Slot};
use crate::config::system::System;
use crate::config::types::{InvalidValue, Kind};
use crate::logging::{
    Destination, Encoding, EventLog, FileSettings, HandlerSettings, MailSettings, Method,
    RecordFormat, Rotation, Schedule, Style, When,
};

use super::PYTHON_FORMATTER;

const WINDOWS: &str = "there is no event log of Windows here; use <logfile> or <syslog>";

/// What most handlers say.
const LONG_FORMAT: &str = "%(asctime)s %(levelname)s %(name)s %(message)s";

pub(super) static LOG_HANDLER: Group = Group {
    name: "zconfig.logger.handler",
    members: &["logfile", "syslog", "win32-eventlog", "http-logger", "email-notifier"],
};

pub(super) static EVENTLOG: SectionType = SectionType::new(
    "eventlog",
    &[Key::with("level", Kind::Level, "info")],
    &[Slot { accepts: Accepts::Group(&LOG_HANDLER), count: Count::Any }],
);

/// For `<runner>`, which may have a log of its own.
pub(super) static LOG: Group =
    Group { name: "zconfig.logger.log", members: &["eventlog", "logger"] };

/// One logger of Python's; without effect here.
static LOGGER: SectionType = SectionType::new(
    "logger",
    &[
        Key::with("level", Kind::Level, "info"),
        Key::with("propagate", Kind::Boolean, "true"),
        Key::optional("name", Kind::Text),
    ],
    &[Slot { accepts: Accepts::Group(&LOG_HANDLER), count: Count::Any }],
);

pub(super) static TYPES: [&SectionType; 7] =
    [&EVENTLOG, &LOGGER, &LOGFILE, &SYSLOG, &WIN32_EVENTLOG, &HTTP_LOGGER, &EMAIL_NOTIFIER];

const FORMATTER: Key = Key::optional("formatter", Kind::Refused(PYTHON_FORMATTER));
const DATE_FORMAT: Key = Key::with("dateformat", Kind::DateFormat, "%Y-%m-%dT%H:%M:%S");
const LEVEL: Key = Key::with("level", Kind::Level, "notset");
const STYLE: Key = Key::with("style", Kind::LogStyle, "classic");
const ARBITRARY_FIELDS: Key = Key::with("arbitrary-fields", Kind::Boolean, "false");

static LOGFILE: SectionType = SectionType::new(
    "logfile",
    &[
        FORMATTER,
        DATE_FORMAT,
        LEVEL,
        STYLE,
        ARBITRARY_FIELDS,
        Key::required("path", Kind::Text),
        Key::with("old-files", Kind::Integer, "0"),
        Key::with("max-size", Kind::ByteSize, "0"),
        Key::with("when", Kind::Text, ""),
        Key::with("interval", Kind::Integer, "0"),
        Key::with("format", Kind::Text, r"------\n%(asctime)s %(levelname)s %(name)s %(message)s"),
        Key::optional("encoding", Kind::Text),
        Key::with("delay", Kind::Boolean, "false"),
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
        Key::with("facility", Kind::Facility, "user"),
        Key::with("address", Kind::SocketBindingAddress, "localhost:514"),
        Key::with("format", Kind::Text, "%(name)s %(message)s"),
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
        Key::with("appname", Kind::Text, "Zope"),
        Key::with("format", Kind::Text, "%(levelname)s %(name)s %(message)s"),
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
        Key::with("url", Kind::HttpUrl, "http://localhost/"),
        Key::with("method", Kind::HttpMethod, "GET"),
        Key::with("format", Kind::Text, LONG_FORMAT),
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
        Key::with("subject", Kind::Text, "Message from Zope"),
        Key::with("smtp-server", Kind::InetAddress, "localhost"),
        Key::with("smtp-username", Kind::Text, ""),
        Key::with("smtp-password", Kind::Text, ""),
        Key::with("format", Kind::Text, LONG_FORMAT),
    ],
    &[],
)
.checked(check);

/// What to log, if the file says anything about it.
pub(super) fn eventlog(top: &Section) -> Result<Option<EventLog>, ConfigError> {
    let is_eventlog = |section: &&Section| section.section_type.name == EVENTLOG.name;
    let Some(section) = top.sections.iter().find(is_eventlog) else { return Ok(None) };
    let handlers: Result<_, _> = section.sections.iter().map(handler).collect();
    Ok(Some(EventLog { level: section.required("level"), handlers: handlers? }))
}

/// A handler is right if it can be made.
fn check(section: &Section, _: &dyn System) -> Result<(), ConfigError> {
    handler(section).map(|_| ())
}

fn handler(section: &Section) -> Result<HandlerSettings, ConfigError> {
    let text: String = section.required("format");
    let style: Style = section.required("style");
    let format = RecordFormat::parse(&text, style, section.required("arbitrary-fields"))
        .map_err(|error| section.wrong("format", error.into()))?;
    let destination = match section.section_type.name {
        "logfile" => logfile(section)?,
        "syslog" => Destination::Syslog {
            address: section.required("address"),
            facility: section.required("facility"),
        },
        "http-logger" => {
            let method: String = section.required("method");
            let method = if method == "GET" { Method::Get } else { Method::Post };
            Destination::Http { url: section.required("url"), method }
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

/// Where, and when anew; with the contradictions that Python finds too.
fn logfile(section: &Section) -> Result<Destination, ConfigError> {
    let path: String = section.required("path");
    let max: u64 = section.required("max-size");
    let when: String = section.required("when");
    let (old_files, interval) = (count(section, "old-files")?, count(section, "interval")?);
    let delay: bool = section.required("delay");
    let encoding: String = section.value("encoding").unwrap_or_default();
    if path == "STDERR" || path == "STDOUT" {
        if max > 0 || old_files > 0 || !when.is_empty() {
            return Err(section.wrong("path", InvalidValue::CannotRotate(path)));
        }
        if delay {
            return Err(section.wrong("delay", InvalidValue::CannotDelay(path)));
        }
        if !encoding.is_empty() {
            return Err(section.wrong("encoding", InvalidValue::CannotEncode(path)));
        }
        return Ok(if path == "STDERR" { Destination::Stderr } else { Destination::Stdout });
    }
    let rotation = rotation(section, max, &when, old_files, interval)?;
    let encoding = match encoding.as_str() {
        "" => Encoding::Utf8,
        name => Encoding::named(name).ok_or_else(|| {
            section.wrong("encoding", InvalidValue::UnknownEncoding(name.to_owned()))
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
        return Err(section.wrong("old-files", InvalidValue::OldFilesMissing));
    }
    if when.is_empty() {
        if max == 0 {
            return Err(section.wrong("old-files", InvalidValue::RotationMissing));
        }
        return Ok(Rotation::Size { max, old_files });
    }
    if max > 0 {
        return Err(section.wrong("when", InvalidValue::RotationTwice));
    }
    let unit = When::named(when)
        .ok_or_else(|| section.wrong("when", InvalidValue::When(when.to_uppercase())))?;
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
        return Err(section.wrong(key, InvalidValue::HalfALogin));
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
