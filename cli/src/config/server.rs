//! The configuration of a server: which sections there are, and the settings in them.
//!
//! The schema is that of Python's `runzeo`. What it has beyond this server is listed too, so that a user
//! hears "not here" and not "never heard of".

use std::path::{Path, PathBuf};

use super::error::{ConfigError, Place};
use super::reader::{self, FromValue, Section};
use super::schema::{Accepts, Count, Group, Key, Need, Schema, SchemaError, SectionType, Slot};
use super::system::System;
use super::types::{Kind, SocketAddress, Value};
use crate::logging::{DateFormat, Destination, EventLog, Level, LogFile, RecordFormat};

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
    /// What to serve; never empty, and no name twice.
    pub(crate) storages: Vec<StorageConfig>,
    /// What to log.
    pub(crate) eventlog: Option<EventLog>,
}

/// A storage, and the name that clients know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorageConfig {
    /// The name.
    pub(crate) name: String,
    /// The storage.
    pub(crate) kind: StorageKind,
}

/// How to open a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StorageKind {
    /// `<blobstorage>`: blobs beside another storage.
    Blob {
        /// Where the blobs are.
        directory: PathBuf,
        /// Where the records are.
        base: Box<Self>,
    },
    /// `<filestorage>`
    File(FileConfig),
    /// `<mappingstorage>`
    Mapping {
        /// What it calls itself.
        name: String,
    },
}

/// `<filestorage>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileConfig {
    /// The file.
    pub(crate) path: PathBuf,
    /// Where blobs are, if there are any.
    pub(crate) blob_dir: Option<PathBuf>,
    /// Whether to begin with an empty file.
    pub(crate) create: bool,
    /// Whether to leave the file alone.
    pub(crate) read_only: bool,
    /// How many bytes the file may have.
    pub(crate) quota: Option<u64>,
    /// Whether packing removes what is not reachable.
    pub(crate) pack_gc: bool,
    /// Whether packing keeps the old file.
    pub(crate) pack_keep_old: bool,
}

impl FileConfig {
    /// A file with all settings as they are when a configuration says nothing.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            path,
            blob_dir: None,
            create: false,
            read_only: false,
            quota: None,
            pack_gc: true,
            pack_keep_old: true,
        }
    }
}

impl StorageKind {
    /// What Python's server calls it in its log.
    pub(crate) fn class_name(&self) -> &'static str {
        match self {
            Self::Blob { .. } => "BlobStorage",
            Self::File(_) => "FileStorage",
            Self::Mapping { .. } => "MappingStorage",
        }
    }
}

/// The transactions that a server remembers unless told otherwise.
pub(crate) const INVALIDATION_QUEUE_SIZE: usize = 100;

const PYTHON_ONLY: &str = "Python code cannot be used by this server";
const NO_ROTATION: &str =
    "this server does not rotate logs itself; rename the file and send SIGUSR2, as logrotate does";

const fn optional(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, need: Need::Optional }
}

const fn required(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, need: Need::Required }
}

static ZEO: SectionType = SectionType {
    name: "zeo",
    keys: &[
        required("address", Kind::SocketBindingAddress),
        optional("read-only", Kind::Boolean),
        optional("invalidation-queue-size", Kind::Integer),
        optional("invalidation-age", Kind::Float),
        optional("transaction-timeout", Kind::Integer),
        optional("pid-filename", Kind::DirPath),
        optional("client-conflict-resolution", Kind::Boolean),
        optional("msgpack", Kind::Boolean),
    ],
    slots: &[],
};

static FILESTORAGE: SectionType = SectionType {
    name: "filestorage",
    keys: &[
        required("path", Kind::DirPath),
        optional("blob-dir", Kind::DirPath),
        optional("create", Kind::Boolean),
        optional("read-only", Kind::Boolean),
        optional("quota", Kind::ByteSize),
        optional("packer", Kind::Refused(PYTHON_ONLY)),
        optional("pack-gc", Kind::Boolean),
        optional("pack-keep-old", Kind::Boolean),
    ],
    slots: &[],
};

static MAPPINGSTORAGE: SectionType =
    SectionType { name: "mappingstorage", keys: &[optional("name", Kind::Text)], slots: &[] };

static BLOBSTORAGE: SectionType = SectionType {
    name: "blobstorage",
    keys: &[required("blob-dir", Kind::Text)],
    slots: &[Slot { accepts: Accepts::Group(&STORAGE), count: Count::One }],
};

static EVENTLOG: SectionType = SectionType {
    name: "eventlog",
    keys: &[optional("level", Kind::Level)],
    slots: &[Slot { accepts: Accepts::Group(&LOG_HANDLER), count: Count::Any }],
};

static LOGFILE: SectionType = SectionType {
    name: "logfile",
    keys: &[
        required("path", Kind::Text),
        optional("level", Kind::Level),
        optional("format", Kind::LogFormat),
        optional("dateformat", Kind::DateFormat),
        optional("style", Kind::LogStyle),
        optional("formatter", Kind::Refused(PYTHON_ONLY)),
        optional("arbitrary-fields", Kind::Boolean),
        optional("encoding", Kind::Encoding),
        optional("delay", Kind::Boolean),
        optional("max-size", Kind::Refused(NO_ROTATION)),
        optional("old-files", Kind::Refused(NO_ROTATION)),
        optional("when", Kind::Refused(NO_ROTATION)),
        optional("interval", Kind::Refused(NO_ROTATION)),
    ],
    slots: &[],
};

/// For `zeoctl`; checked here too, because a file serves both.
static RUNNER: SectionType = SectionType {
    name: "runner",
    keys: &[
        required("program", Kind::TextList),
        optional("python", Kind::ExistingPath),
        optional("zdrun", Kind::ExistingPath),
        optional("socket-name", Kind::ParentDirPath),
        optional("daemon", Kind::Boolean),
        optional("directory", Kind::ParentDirectory),
        optional("backoff-limit", Kind::Integer),
        optional("forever", Kind::Boolean),
        optional("exit-codes", Kind::IntegerList),
        optional("start-test-program", Kind::TextList),
        optional("start-timeout", Kind::Integer),
        optional("stop-timeout", Kind::Integer),
        optional("user", Kind::Text),
        optional("umask", Kind::Octal),
        optional("hang-around", Kind::Boolean),
        optional("default-to-interactive", Kind::Boolean),
        optional("logfile", Kind::DirPath),
        optional("transcript", Kind::DirPath),
        optional("prompt", Kind::Text),
    ],
    slots: &[Slot { accepts: Accepts::Type(&EVENTLOG), count: Count::AtMostOne }],
};

/// Types that Python's schema has but no place in a server's file.
static ZODB: SectionType = SectionType { name: "zodb", keys: &[], slots: &[] };
static LOGGER: SectionType = SectionType { name: "logger", keys: &[], slots: &[] };
static ENVIRONMENT: SectionType = SectionType { name: "environment", keys: &[], slots: &[] };

static STORAGE: Group =
    Group { name: "zodb.storage", members: &["filestorage", "mappingstorage", "blobstorage"] };

static LOG_HANDLER: Group = Group { name: "zconfig.logger.handler", members: &["logfile"] };

static SERVER: SectionType = SectionType {
    name: "",
    keys: &[],
    slots: &[
        Slot { accepts: Accepts::Type(&ZEO), count: Count::One },
        Slot { accepts: Accepts::Type(&RUNNER), count: Count::AtMostOne },
        Slot { accepts: Accepts::Group(&STORAGE), count: Count::AtLeastOne },
        Slot { accepts: Accepts::Type(&EVENTLOG), count: Count::AtMostOne },
    ],
};

static SCHEMA: Schema = Schema {
    top: &SERVER,
    types: &[
        &ZEO,
        &FILESTORAGE,
        &MAPPINGSTORAGE,
        &BLOBSTORAGE,
        &EVENTLOG,
        &LOGFILE,
        &RUNNER,
        &ZODB,
        &LOGGER,
        &ENVIRONMENT,
    ],
    groups: &[&STORAGE, &LOG_HANDLER],
    missing: &[
        ("ssl", "TLS comes in a later version"),
        ("demostorage", "demo storages come in a later version"),
        ("zeoclient", "storages of other servers come in a later version"),
        ("fullstorage", "BerkeleyDB storages are not supported, nor are they by Python's server"),
        (
            "minimalstorage",
            "BerkeleyDB storages are not supported, nor are they by Python's server",
        ),
        ("syslog", "logging to syslog comes in a later version"),
        ("http-logger", "logging over HTTP is not supported"),
        ("email-notifier", "logging by mail is not supported"),
        ("win32-eventlog", "logging to Windows is not supported"),
    ],
    packages: &["ZODB", "ZConfig.components.logger", "zdaemon"],
};

impl ServerConfig {
    /// Reads a configuration file.
    pub(crate) fn read(system: &dyn System, path: &Path) -> Result<Self, ConfigError> {
        let top = reader::read(system, &SCHEMA, path)?;
        let zeo = top
            .sections
            .iter()
            .find(|section| section.section_type.name == ZEO.name)
            .expect("the reader refuses a configuration without <zeo>");
        let queue_size: Option<i64> = zeo.value("invalidation-queue-size");
        Ok(Self {
            address: zeo.required("address"),
            read_only: zeo.value("read-only").unwrap_or(false),
            // Less than nothing is nothing, as it is in Python.
            invalidation_queue_size: queue_size
                .map_or(INVALIDATION_QUEUE_SIZE, |size| usize::try_from(size).unwrap_or(0)),
            invalidation_age: zeo.value("invalidation-age"),
            transaction_timeout: zeo.value("transaction-timeout").map(seconds),
            client_conflict_resolution: zeo.value("client-conflict-resolution").unwrap_or(false),
            msgpack: zeo.value("msgpack"),
            pid_filename: zeo.value("pid-filename"),
            storages: storages(&top)?,
            eventlog: eventlog(&top)?,
        })
    }
}

/// Whole seconds; more than fit are for ever in any case.
fn seconds(whole: i64) -> f64 {
    i32::try_from(whole).map_or(if whole < 0 { 0.0 } else { f64::INFINITY }, f64::from)
}

fn storages(top: &Section) -> Result<Vec<StorageConfig>, ConfigError> {
    let sections = || {
        top.sections.iter().filter(|section| STORAGE.members.contains(&section.section_type.name))
    };
    let unnamed = sections().filter(|section| section.name.is_none()).count();
    if unnamed > 1 {
        return Err(ConfigError::Schema { error: SchemaError::UnnamedTwice, place: None });
    }
    if unnamed == 1 && sections().any(|section| section.name.as_deref() == Some("1")) {
        return Err(ConfigError::Schema { error: SchemaError::UnnamedAndOne, place: None });
    }
    let storage = |section: &Section| {
        let name = section.name.clone().unwrap_or_else(|| "1".to_owned());
        Ok(StorageConfig { name, kind: storage_kind(section)? })
    };
    sections().map(storage).collect()
}

fn storage_kind(section: &Section) -> Result<StorageKind, ConfigError> {
    Ok(match section.section_type.name {
        "filestorage" => StorageKind::File(FileConfig {
            blob_dir: section.value("blob-dir"),
            create: section.value("create").unwrap_or(false),
            read_only: section.value("read-only").unwrap_or(false),
            quota: section.value("quota"),
            pack_gc: section.value("pack-gc").unwrap_or(true),
            pack_keep_old: section.value("pack-keep-old").unwrap_or(true),
            ..FileConfig::at(section.required("path"))
        }),
        "mappingstorage" => StorageKind::Mapping {
            name: section.value("name").unwrap_or_else(|| "Mapping Storage".to_owned()),
        },
        "blobstorage" => blob_storage(section)?,
        other => unreachable!("<{other}> is not in the group of storages"),
    })
}

fn blob_storage(section: &Section) -> Result<StorageKind, ConfigError> {
    let inner =
        section.sections.first().expect("the reader refuses <blobstorage> without a storage");
    let base = storage_kind(inner)?;
    let has_blobs = match &base {
        StorageKind::Blob { .. } => true,
        StorageKind::File(file) => file.blob_dir.is_some(),
        StorageKind::Mapping { .. } => false,
    };
    if has_blobs {
        let error = SchemaError::BlobsTwice(inner.section_type.name);
        return Err(at(error, &inner.place));
    }
    let directory: String = section.required("blob-dir");
    Ok(StorageKind::Blob { directory: directory.into(), base: Box::new(base) })
}

fn eventlog(top: &Section) -> Result<Option<EventLog>, ConfigError> {
    let is_eventlog = |section: &&Section| section.section_type.name == EVENTLOG.name;
    let Some(section) = top.sections.iter().find(is_eventlog) else { return Ok(None) };
    let handlers: Result<Vec<LogFile>, ConfigError> =
        section.sections.iter().map(logfile).collect();
    Ok(Some(EventLog { level: section.value("level").unwrap_or(Level::INFO), handlers: handlers? }))
}

fn logfile(section: &Section) -> Result<LogFile, ConfigError> {
    let path: String = section.required("path");
    let delay = section.value("delay").unwrap_or(false);
    let destination = match path.as_str() {
        "STDERR" | "STDOUT" if delay => {
            return Err(at(SchemaError::CannotDelay(path), &section.place));
        }
        "STDERR" => Destination::Stderr,
        "STDOUT" => Destination::Stdout,
        _ => Destination::File { path: path.into(), delay },
    };
    Ok(LogFile {
        destination,
        level: section.value("level").unwrap_or(Level::NOTSET),
        format: section.value("format").unwrap_or_default(),
        date_format: section.value("dateformat").unwrap_or_default(),
    })
}

fn at(error: SchemaError, place: &Place) -> ConfigError {
    ConfigError::Schema { error, place: Some(place.clone()) }
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
    DateFormat => DateFormat,
    Float => f64,
    Integer => i64,
    Level => Level,
    LogFormat => RecordFormat,
    Path => PathBuf,
    Size => u64,
    Text => String,
}

/// Whether a section of that type can stand in a server's file.
#[cfg(test)]
pub(super) fn is_section_type(name: &str) -> bool {
    SCHEMA.section_type(name).is_ok()
}

/// Whether any section has that key.
#[cfg(test)]
pub(super) fn is_key(name: &str) -> bool {
    SCHEMA.types.iter().any(|section_type| section_type.key(name).is_some())
}
