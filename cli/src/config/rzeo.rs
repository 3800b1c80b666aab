//! `<rzeo>`: settings that Python's server does not have.
//!
//! `runzeo` refuses a file with this section. The settings that are needed most often also have an option
//! of the command line, so that a file can be shared. All limits bound what clients can make the server
//! hold.

use std::time::Duration;

use rzeo_core::server::Limits;
use rzeo_eventlog::LogFormat;
use rzeo_host::{ConnectionLimits, Settings};
use rzeo_net::Address;
use rzeo_zconfig::{Key, Kind, Section, SectionType, System};

use super::address::address;

/// The async runtime that serves connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Runtime {
    /// One thread per core, the default
    Tokio,
    /// The same on smol, which is smaller
    Smol,
}

/// `<rzeo>`, with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnSettings {
    /// The async runtime that serves connections.
    pub(crate) runtime: Runtime,
    /// The address of the status page, metrics and health probes; `None` to serve none.
    pub(crate) admin_address: Option<Address>,
    /// The format of log records.
    pub(crate) log_format: LogFormat,
    /// How long the server waits for transactions in progress when it stops.
    pub(crate) stop_timeout: Duration,
    /// Maximum number of connections.
    pub(crate) max_connections: usize,
    /// Maximum number of connections that have not registered yet.
    pub(crate) max_unfinished_handshakes: usize,
    /// How long a connection can take to register.
    pub(crate) handshake_timeout: Duration,
    /// Maximum bytes of a message.
    pub(crate) max_message_size: u32,
    /// Maximum bytes queued for a client that does not read.
    pub(crate) max_backlog: usize,
    /// Maximum number of open iterators of a connection.
    pub(crate) max_iterators: usize,
    /// Maximum number of operations of a transaction.
    pub(crate) max_transaction_stores: usize,
    /// Maximum bytes of records of a transaction.
    pub(crate) max_transaction_size: u64,
    /// Maximum bytes of records of a transaction in memory; more are written to a file.
    pub(crate) transaction_memory: u64,
    /// Maximum bytes of a blob.
    pub(crate) max_blob_size: u64,
    /// Maximum number of blobs of a transaction.
    pub(crate) max_transaction_blobs: usize,
}

fn connections() -> ConnectionLimits {
    ConnectionLimits::default()
}

fn limits() -> Limits {
    Limits::default()
}

/// A number of bytes as a file would contain it.
fn size(bytes: impl TryInto<u64>) -> String {
    let bytes = bytes.try_into().unwrap_or(u64::MAX);
    let units = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    let fits = |(unit, _): &&(u64, &str)| bytes >= *unit && bytes.is_multiple_of(*unit);
    match units.iter().find(fits) {
        Some((unit, suffix)) => format!("{}{suffix}", bytes / unit),
        None => bytes.to_string(),
    }
}

const ANY_NUMBER: Kind = Kind::Count { min: 1, max: u32::MAX };
const ANY_SIZE: Kind = Kind::Size { min: 0, max: u64::MAX };

/// `<rzeo>`; the defaults are those of the libraries.
pub(super) static RZEO: SectionType = SectionType::new(
    "rzeo",
    &[
        Key::with_default("runtime", Kind::OneOf(&["tokio", "smol"]), "tokio"),
        Key::optional("admin-address", Kind::SocketBindingAddress),
        Key::with_default("log-format", Kind::OneOf(LogFormat::NAMES), "text"),
        Key::with_computed_default("stop-timeout", Kind::Seconds, || {
            Settings::default().stop_time_max.as_secs_f64().to_string()
        }),
        Key::with_computed_default("max-connections", ANY_NUMBER, || {
            connections().connections_max.to_string()
        }),
        Key::with_computed_default("max-unfinished-handshakes", ANY_NUMBER, || {
            connections().unfinished_max.to_string()
        }),
        Key::with_computed_default("handshake-timeout", Kind::Seconds, || {
            limits().register_time_max.as_secs_f64().to_string()
        }),
        // A message contains a record or 64 KB of a blob; the length of a frame has 32 bits.
        Key::with_computed_default(
            "max-message-size",
            Kind::Size { min: 1 << 20, max: (4 << 30) - 1 },
            || size(limits().frame_bytes_max),
        ),
        Key::with_computed_default(
            "max-backlog",
            Kind::Size { min: 1 << 20, max: u64::MAX },
            || size(limits().backlog_bytes_max),
        ),
        Key::with_computed_default("max-iterators", ANY_NUMBER, || {
            limits().iterators_max.to_string()
        }),
        Key::with_computed_default("max-transaction-stores", ANY_NUMBER, || {
            limits().transaction_stores_max.to_string()
        }),
        Key::with_computed_default("max-transaction-size", ANY_SIZE, || {
            size(limits().transaction_bytes_max)
        }),
        Key::with_computed_default("transaction-memory", ANY_SIZE, || {
            size(limits().transaction_memory_bytes)
        }),
        Key::with_computed_default("max-blob-size", ANY_SIZE, || size(limits().blob_bytes_max)),
        Key::with_computed_default("max-transaction-blobs", ANY_NUMBER, || {
            limits().transaction_blobs_max.to_string()
        }),
    ],
    &[],
);

impl OwnSettings {
    /// The settings without the section, or without a file.
    pub(crate) fn unwritten(system: &dyn System) -> Self {
        Self::of(&Self::unwritten_section(system))
    }

    /// The section with all defaults.
    pub(crate) fn unwritten_section(system: &dyn System) -> Section {
        Section::unwritten(&RZEO, &[], system).expect("every key has a default or is optional")
    }

    /// The settings of a whole configuration.
    pub(super) fn read(top: &Section, system: &dyn System) -> Self {
        top.section(RZEO.name).map_or_else(|| Self::unwritten(system), Self::of)
    }

    fn of(section: &Section) -> Self {
        let word = |key| -> String { section.required(key) };
        let size = |key| -> u64 { section.required(key) };
        Self {
            runtime: Runtime::named(&word("runtime")).expect("the schema knows the same words"),
            admin_address: section.value("admin-address").map(address),
            log_format: LogFormat::named(&word("log-format"))
                .expect("the schema knows the same words"),
            stop_timeout: section.required("stop-timeout"),
            max_connections: section.required("max-connections"),
            max_unfinished_handshakes: section.required("max-unfinished-handshakes"),
            handshake_timeout: section.required("handshake-timeout"),
            max_message_size: u32::try_from(size("max-message-size")).unwrap_or(u32::MAX),
            max_backlog: usize::try_from(size("max-backlog")).unwrap_or(usize::MAX),
            max_iterators: section.required("max-iterators"),
            max_transaction_stores: section.required("max-transaction-stores"),
            max_transaction_size: size("max-transaction-size"),
            transaction_memory: size("transaction-memory"),
            max_blob_size: size("max-blob-size"),
            max_transaction_blobs: section.required("max-transaction-blobs"),
        }
    }
}

impl Runtime {
    /// The runtime of that name, in lower case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "tokio" => Some(Self::Tokio),
            "smol" => Some(Self::Smol),
            _ => None,
        }
    }

    /// The word that selects it in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        }
    }
}
