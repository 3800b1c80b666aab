//! The configuration of a server: the schema, and the settings of a whole file.
//!
//! The schema is that of Python's `runzeo`, with `<rzeo>` added. Sections and keys that only Python's
//! server supports are declared too and refused with a reason.

use std::path::{Path, PathBuf};

use rzeo_eventlog::{EventLog, sections};
use rzeo_net::Address;
use rzeo_zconfig::{
    Accepts, ConfigError, Count, Group, Schema, Section, SectionType, Slot, System,
};

use super::address::address;
use super::runner;
use super::rzeo::{self, OwnSettings};
use super::storages::{self, StorageConfig};
use super::zeo::{self, TlsConfig};

/// The configuration of a server. Optional settings are `None` if they are not given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServerConfig {
    /// The address to listen on.
    pub(crate) address: Address,
    /// Whether the server is read-only.
    pub(crate) read_only: bool,
    /// Number of transactions whose invalidations are kept for clients that reconnect.
    pub(crate) invalidation_queue_size: usize,
    /// Maximum seconds since a client disconnected for which invalidations are read from the storage.
    pub(crate) invalidation_age: Option<f64>,
    /// Maximum seconds between vote and finish.
    pub(crate) transaction_timeout: Option<f64>,
    /// Whether clients resolve conflicts.
    pub(crate) client_conflict_resolution: bool,
    /// Whether to offer msgpack to clients.
    pub(crate) msgpack: Option<bool>,
    /// The file for the process id.
    pub(crate) pid_filename: Option<PathBuf>,
    /// The settings of TLS; `None` for plain TCP.
    pub(crate) ssl: Option<TlsConfig>,
    /// The storages to serve: at least one, under distinct names.
    pub(crate) storages: Vec<StorageConfig>,
    /// The log of a section `<eventlog>`, if there is one.
    pub(crate) eventlog: Option<EventLog>,
    /// The settings that Python's server does not have.
    pub(crate) own: OwnSettings,
}

/// Types that Python's schema declares and a server's file cannot contain.
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
        Slot { accepts: Accepts::Type(&sections::EVENTLOG), count: Count::AtMostOne },
        Slot { accepts: Accepts::Type(&rzeo::RZEO), count: Count::AtMostOne },
    ],
);

static SCHEMA: Schema = Schema {
    top: &SERVER,
    types: &[
        &[&zeo::ZEO, &zeo::SSL, &runner::RUNNER, &rzeo::RZEO, &ZODB, &ENVIRONMENT],
        &storages::TYPES,
        &sections::TYPES,
    ],
    groups: &[&storages::STORAGE, &sections::LOG_HANDLER, &DATABASE, &sections::LOG],
    packages: &["ZODB", "ZConfig.components.logger", "zdaemon"],
    refused_packages: &[
        // Python's message, for its reason: ZEO declares sections that the schema declares too.
        ("ZEO", "type name cannot be redefined: 'ssl'"),
        ("relstorage", storages::RELSTORAGE),
        ("zc.beforestorage", storages::BEFORESTORAGE),
        ("zc.zlibstorage", storages::ZLIBSTORAGE),
    ],
    foreign_types: &[
        ("beforestorage", storages::BEFORESTORAGE),
        ("relstorage", storages::RELSTORAGE),
        ("serverzlibstorage", storages::ZLIBSTORAGE),
        ("zlibstorage", storages::ZLIBSTORAGE),
    ],
};

impl ServerConfig {
    /// Reads a configuration file. Overrides replace its settings.
    pub(crate) fn read(
        system: &dyn System,
        path: &Path,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        Self::read_with_sections(system, path, overrides).map(|(config, _)| config)
    }

    /// Reads a configuration file, and returns its sections too.
    pub(crate) fn read_with_sections(
        system: &dyn System,
        path: &Path,
        overrides: &[String],
    ) -> Result<(Self, Section), ConfigError> {
        let top = SCHEMA.read(system, path, overrides)?;
        Ok((Self::of(&top, system)?, top))
    }

    /// The configuration without a file: these storages, at that address.
    pub(crate) fn unwritten(
        address: &str,
        storages: Vec<StorageConfig>,
        system: &dyn System,
    ) -> Result<Self, ConfigError> {
        let zeo = Section::unwritten(&zeo::ZEO, &[("address", address)], system)?;
        Ok(Self::from_parts(&zeo, storages, None, OwnSettings::unwritten(system), system))
    }

    fn of(top: &Section, system: &dyn System) -> Result<Self, ConfigError> {
        let zeo = top.section(zeo::ZEO.name).expect("the reader refuses a file without <zeo>");
        let storages = storages::storages(top, system)?;
        let eventlog = top.section(sections::EVENTLOG.name).map(sections::eventlog).transpose()?;
        Ok(Self::from_parts(zeo, storages, eventlog, OwnSettings::read(top, system), system))
    }

    fn from_parts(
        zeo: &Section,
        storages: Vec<StorageConfig>,
        eventlog: Option<EventLog>,
        own: OwnSettings,
        system: &dyn System,
    ) -> Self {
        Self {
            address: address(zeo.required("address")),
            read_only: zeo.required("read-only"),
            invalidation_queue_size: zeo.required("invalidation-queue-size"),
            invalidation_age: zeo.value("invalidation-age"),
            transaction_timeout: zeo.value("transaction-timeout").map(seconds),
            client_conflict_resolution: zeo.required("client-conflict-resolution"),
            msgpack: zeo.value("msgpack"),
            pid_filename: zeo.value("pid-filename"),
            ssl: zeo::tls(zeo, system),
            storages,
            eventlog,
            own,
        }
    }
}

fn seconds(whole: usize) -> f64 {
    u32::try_from(whole).map_or(f64::INFINITY, f64::from)
}

/// The type of that name, if files can contain it.
#[cfg(test)]
pub(super) fn section_type(name: &str) -> Option<&'static SectionType> {
    SCHEMA.types().find(|known| known.name == name && known.refused.is_none())
}
