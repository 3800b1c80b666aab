//! The configuration of a server: which sections there are, and the settings in them.
//!
//! The schema is that of Python's `runzeo`, and `<rzeo>`. What Python's server has beyond this one is listed
//! too, so that a user hears "not here" and not "never heard of". A module for each group of
//! sections has the tables and the typed settings that come out of them.

mod logs;
mod own;
mod runner;
mod storages;
mod zeo;
mod zeoclient;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use own::{LogShape, OwnSettings, Runtime};
pub(crate) use storages::{FileConfig, StorageConfig, StorageKind};
pub(crate) use zeo::{INVALIDATION_QUEUE_SIZE, KeyPassword, TlsConfig};
pub(crate) use zeoclient::{ClientTlsConfig, ZeoClientConfig};

use super::error::ConfigError;
use super::reader::{self, FromValue, Section};
use super::schema::{Accepts, Count, Group, Schema, SectionType, Slot};
use super::system::System;
use super::types::Value;
use crate::config::SocketAddress;
use crate::logging::{DateFormat, EventLog, Facility, HttpUrl, Level, Style};

/// What a server's configuration says. `None` where it says nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServerConfig {
    /// Where to listen.
    pub(crate) address: SocketAddress,
    /// Whether to refuse writes.
    pub(crate) read_only: bool,
    /// How many transactions to remember for clients that reconnect.
    pub(crate) invalidation_queue_size: usize,
    /// How many seconds a client may have been away to be told more than that.
    pub(crate) invalidation_age: Option<f64>,
    /// How many seconds a client may hold the commit lock.
    pub(crate) transaction_timeout: Option<f64>,
    /// Whether conflicts are the client's to resolve.
    pub(crate) client_conflict_resolution: bool,
    /// Whether to announce msgpack.
    pub(crate) msgpack: Option<bool>,
    /// Where to write the process id.
    pub(crate) pid_filename: Option<PathBuf>,
    /// How to speak TLS, if at all.
    pub(crate) ssl: Option<TlsConfig>,
    /// What to serve; never empty, and no name twice.
    pub(crate) storages: Vec<StorageConfig>,
    /// What to log.
    pub(crate) eventlog: Option<EventLog>,
    /// What Python's server cannot be told.
    pub(crate) own: OwnSettings,
}

const PYTHON_PACKER: &str = "Python code cannot be used by this server: leave the key out, and its own \
                             packer packs";
const PYTHON_FORMATTER: &str = "Python code cannot be used by this server: leave the key out, and set \
                                format, dateformat and style";

/// Types that Python's schema has but no place in a server's file.
static ZODB: SectionType = SectionType::new("zodb", &[], &[]);
static ENVIRONMENT: SectionType = SectionType::new("environment", &[], &[]);

static DATABASE: Group = Group { name: "zodb.database", members: &[] };

static SERVER: SectionType = SectionType::new(
    "",
    &[],
    &[
        Slot { accepts: Accepts::Type(&zeo::ZEO), count: Count::One },
        Slot { accepts: Accepts::Type(&runner::RUNNER), count: Count::AtMostOne },
        Slot { accepts: Accepts::Group(&storages::STORAGE), count: Count::AtLeastOne },
        Slot { accepts: Accepts::Type(&logs::EVENTLOG), count: Count::AtMostOne },
        Slot { accepts: Accepts::Type(&own::RZEO), count: Count::AtMostOne },
    ],
);

static SCHEMA: Schema = Schema {
    top: &SERVER,
    types: &[
        &[&zeo::ZEO, &zeo::SSL, &runner::RUNNER, &own::RZEO, &ZODB, &ENVIRONMENT],
        &storages::TYPES,
        &logs::TYPES,
    ],
    groups: &[&storages::STORAGE, &logs::LOG_HANDLER, &DATABASE, &logs::LOG],
    packages: &["ZODB", "ZConfig.components.logger", "zdaemon"],
};

impl ServerConfig {
    /// Reads a configuration file; the options `-X` win over what it says.
    pub(crate) fn read(
        system: &dyn System,
        path: &Path,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        Self::read_with_sections(system, path, overrides).map(|(config, _)| config)
    }

    /// The same, with the sections that the settings come from.
    pub(crate) fn read_with_sections(
        system: &dyn System,
        path: &Path,
        overrides: &[String],
    ) -> Result<(Self, Section), ConfigError> {
        let top = reader::read(system, &SCHEMA, path, overrides)?;
        Ok((Self::of(&top, system)?, top))
    }

    fn of(top: &Section, system: &dyn System) -> Result<Self, ConfigError> {
        let zeo = top
            .sections
            .iter()
            .find(|section| section.section_type.name == zeo::ZEO.name)
            .expect("the reader refuses a configuration without <zeo>");
        let queue_size: i64 = zeo.required("invalidation-queue-size");
        Ok(Self {
            address: zeo.required("address"),
            read_only: zeo.required("read-only"),
            // Less than nothing is nothing, as it is in Python.
            invalidation_queue_size: usize::try_from(queue_size).unwrap_or(0),
            invalidation_age: zeo.value("invalidation-age"),
            transaction_timeout: zeo.value("transaction-timeout").map(seconds),
            client_conflict_resolution: zeo.required("client-conflict-resolution"),
            msgpack: zeo.value("msgpack"),
            pid_filename: zeo.value("pid-filename"),
            ssl: zeo::tls(zeo, system),
            storages: storages::storages(top, system)?,
            eventlog: logs::eventlog(top)?,
            own: OwnSettings::read(top, system),
        })
    }
}

/// Whole seconds; more than fit are for ever in any case.
fn seconds(whole: i64) -> f64 {
    i32::try_from(whole).map_or(if whole < 0 { 0.0 } else { f64::INFINITY }, f64::from)
}

macro_rules! from_value {
    ($($variant:ident => $type:ty),* $(,)?) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }
        })*
    };
}

from_value! {
    Address => SocketAddress,
    Boolean => bool,
    Count => usize,
    DateFormat => DateFormat,
    Float => f64,
    Integer => i64,
    Facility => Facility,
    HttpUrl => HttpUrl,
    Level => Level,
    LogStyle => Style,
    Path => PathBuf,
    Size => u64,
    Text => String,
    Time => Duration,
}

/// Whether a section of that type can stand in a server's file.
#[cfg(test)]
pub(super) fn is_section_type(name: &str) -> bool {
    SCHEMA.section_type(name).is_ok_and(|known| known.refused.is_none())
}

/// Whether any section has that key.
#[cfg(test)]
pub(super) fn is_key(name: &str) -> bool {
    let inner = SCHEMA.types().flat_map(|section_type| section_type.own_types());
    SCHEMA.types().chain(inner).any(|section_type| section_type.key(name).is_some())
}
