//! `<eventlog>` and what stands in it.

use crate::config::error::ConfigError;
use crate::config::reader::Section;
use crate::config::schema::{Accepts, Count, Group, Key, SectionType, Slot};
use crate::config::system::System;
use crate::config::types::{InvalidValue, Kind};
use crate::logging::{Destination, EventLog, LogFile};

use super::PYTHON_ONLY;

const NO_ROTATION: &str =
    "this server does not rotate logs itself; rename the file and send SIGUSR2, as logrotate does";

pub(super) static LOG_HANDLER: Group =
    Group { name: "zconfig.logger.handler", members: &["logfile"] };

pub(super) static EVENTLOG: SectionType = SectionType::new(
    "eventlog",
    &[Key::with("level", Kind::Level, "info")],
    &[Slot { accepts: Accepts::Group(&LOG_HANDLER), count: Count::Any }],
);

pub(super) static TYPES: [&SectionType; 2] = [&EVENTLOG, &LOGFILE];

static LOGFILE: SectionType = SectionType::new(
    "logfile",
    &[
        Key::optional("formatter", Kind::Refused(PYTHON_ONLY)),
        Key::with("dateformat", Kind::DateFormat, "%Y-%m-%dT%H:%M:%S"),
        Key::with("level", Kind::Level, "notset"),
        Key::with("style", Kind::LogStyle, "classic"),
        Key::with("arbitrary-fields", Kind::Boolean, "false"),
        Key::required("path", Kind::Text),
        Key::optional("old-files", Kind::Refused(NO_ROTATION)),
        Key::optional("max-size", Kind::Refused(NO_ROTATION)),
        Key::optional("when", Kind::Refused(NO_ROTATION)),
        Key::optional("interval", Kind::Refused(NO_ROTATION)),
        Key::with(
            "format",
            Kind::LogFormat,
            r"------\n%(asctime)s %(levelname)s %(name)s %(message)s",
        ),
        Key::optional("encoding", Kind::Encoding),
        Key::with("delay", Kind::Boolean, "false"),
    ],
    &[],
)
.checked(check_logfile);

/// What to log, if the file says anything about it.
pub(super) fn eventlog(top: &Section) -> Option<EventLog> {
    let is_eventlog = |section: &&Section| section.section_type.name == EVENTLOG.name;
    let section = top.sections.iter().find(is_eventlog)?;
    Some(EventLog {
        level: section.required("level"),
        handlers: section.sections.iter().map(logfile).collect(),
    })
}

fn logfile(section: &Section) -> LogFile {
    let path: String = section.required("path");
    let destination = match path.as_str() {
        "STDERR" => Destination::Stderr,
        "STDOUT" => Destination::Stdout,
        _ => Destination::File { path: path.into(), delay: section.required("delay") },
    };
    LogFile {
        destination,
        level: section.required("level"),
        format: section.required("format"),
        date_format: section.required("dateformat"),
    }
}

/// A standard stream is open already.
fn check_logfile(section: &Section, _: &dyn System) -> Result<(), ConfigError> {
    let path: String = section.required("path");
    if ["STDERR", "STDOUT"].contains(&path.as_str()) && section.required("delay") {
        return Err(section.wrong("delay", InvalidValue::CannotDelay(path)));
    }
    Ok(())
}
