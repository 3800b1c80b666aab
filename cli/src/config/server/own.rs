//! `<rzeo>`: what this server can be told beyond Python's.
//!
//! A file with this section is none for `runzeo`. What is most often wanted has an option of its own, so
//! that the file can stay as it is. All limits are on what somebody else can make the server hold.

use std::time::Duration;

use crate::config::SocketAddress;
use crate::config::reader::Section;
use crate::config::schema::{Key, SectionType};
use crate::config::system::System;
use crate::config::types::Kind;

/// Which library moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Runtime {
    /// One thread per core, the default
    Tokio,
    /// The same on smol, which is smaller
    Smol,
}

/// How records look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogShape {
    /// As Python's server writes them, or as their `format` says.
    Text,
    /// One JSON object a line.
    Json,
}

/// `<rzeo>`, with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnSettings {
    /// Which library moves the bytes.
    pub(crate) runtime: Runtime,
    /// Where to answer questions of people and of monitoring, over HTTP; nowhere if there is none.
    pub(crate) admin_address: Option<SocketAddress>,
    /// How records look.
    pub(crate) log_format: LogShape,
    /// How long to wait for what is under way when the server is told to stop.
    pub(crate) stop_timeout: Duration,
    /// Connections at a time.
    pub(crate) max_connections: usize,
    /// Connections at a time that have not registered yet.
    pub(crate) max_unfinished_handshakes: usize,
    /// How long a connection may take to register.
    pub(crate) handshake_timeout: Duration,
    /// Bytes of a message.
    pub(crate) max_message_size: u32,
    /// Bytes that wait for a peer that does not read.
    pub(crate) max_backlog: usize,
    /// Iterators of a connection.
    pub(crate) max_iterators: usize,
    /// Operations of a transaction.
    pub(crate) max_transaction_stores: usize,
    /// Bytes of records of a transaction.
    pub(crate) max_transaction_size: u64,
    /// Bytes of records of a transaction that are kept in memory; the others go to a file.
    pub(crate) transaction_memory: u64,
    /// Bytes of a blob.
    pub(crate) max_blob_size: u64,
    /// Blobs of a transaction.
    pub(crate) max_transaction_blobs: usize,
}

const ANY_NUMBER: Kind = Kind::Count { min: 1, max: u32::MAX };
const ANY_SIZE: Kind = Kind::Size { min: 0, max: u64::MAX };

pub(super) static RZEO: SectionType = SectionType::new(
    "rzeo",
    &[
        Key::with("runtime", Kind::OneOf(&["tokio", "smol"]), "tokio"),
        Key::optional("admin-address", Kind::SocketBindingAddress),
        Key::with("log-format", Kind::OneOf(LogShape::NAMES), "text"),
        Key::with("stop-timeout", Kind::Seconds, "10"),
        Key::with("max-connections", ANY_NUMBER, "10000"),
        Key::with("max-unfinished-handshakes", ANY_NUMBER, "1000"),
        Key::with("handshake-timeout", Kind::Seconds, "60"),
        // What a client sends in one piece is a record or 64 KB of a blob; a frame's length has 32 bits.
        Key::with("max-message-size", Kind::Size { min: 1 << 20, max: (4 << 30) - 1 }, "1gb"),
        Key::with("max-backlog", Kind::Size { min: 1 << 20, max: u64::MAX }, "256mb"),
        Key::with("max-iterators", ANY_NUMBER, "10000"),
        Key::with("max-transaction-stores", ANY_NUMBER, "10000000"),
        Key::with("max-transaction-size", ANY_SIZE, "64gb"),
        Key::with("transaction-memory", ANY_SIZE, "8mb"),
        Key::with("max-blob-size", ANY_SIZE, "1024gb"),
        Key::with("max-transaction-blobs", ANY_NUMBER, "100000"),
    ],
    &[],
);

impl OwnSettings {
    /// What is in force when a file does not have the section, or there is no file.
    pub(crate) fn unwritten(system: &dyn System) -> Self {
        Self::of(&Self::unwritten_section(system))
    }

    /// The same as a section.
    pub(crate) fn unwritten_section(system: &dyn System) -> Section {
        Section::unwritten(&RZEO, system)
    }

    /// The settings of a whole configuration.
    pub(super) fn read(top: &Section, system: &dyn System) -> Self {
        let is_own = |section: &&Section| section.section_type.name == RZEO.name;
        top.sections.iter().find(is_own).map_or_else(|| Self::unwritten(system), Self::of)
    }

    fn of(section: &Section) -> Self {
        let word = |key| -> String { section.required(key) };
        let size = |key| -> u64 { section.required(key) };
        Self {
            runtime: Runtime::named(&word("runtime")).expect("the schema knows the same words"),
            admin_address: section.value("admin-address"),
            log_format: LogShape::named(&word("log-format"))
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

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        }
    }
}

impl LogShape {
    /// All names.
    pub(crate) const NAMES: &[&str] = &["text", "json"];

    /// The shape of that name, in lower case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}
