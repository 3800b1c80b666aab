//! `<zeoclient>`: a storage that is the client of another server.
//!
//! The keys are those of Python's section, which accepts some that have had no meaning for long.
//! `wait-timeout` and `<ssl>` are what Python has in `<clientstorage>`, which cannot be in a server's file.

use std::path::PathBuf;
use std::time::Duration;

use super::zeo::{self, KeyPassword};
use crate::config::SocketAddress;
use crate::config::error::ConfigError;
use crate::config::reader::Section;
use crate::config::schema::{Accepts, Count, Key, SectionType, Slot};
use crate::config::system::System;
use crate::config::types::{InvalidValue, Kind};

/// How long Python's client waits for a server.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// `<zeoclient>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZeoClientConfig {
    /// Where the servers are; all serve the same data. Never empty, and all with ports.
    pub(crate) servers: Vec<SocketAddress>,
    /// Where blobs are kept, if any are served.
    pub(crate) blob_dir: Option<PathBuf>,
    /// Whether that is the directory of the server itself.
    pub(crate) shared_blob_dir: bool,
    /// How many bytes of blobs are kept; all if it says nothing.
    pub(crate) blob_cache_size: Option<u64>,
    /// Percents of that after which is looked whether it is too much.
    pub(crate) blob_cache_size_check: Option<i64>,
    /// What the server calls the storage.
    pub(crate) storage: String,
    /// How many bytes of records are kept.
    pub(crate) cache_size: u64,
    /// What the storage calls itself; the address if it says nothing.
    pub(crate) name: String,
    /// The file in which records are kept over a restart, if they are.
    pub(crate) cache_path: Option<PathBuf>,
    /// How long to wait for a server.
    pub(crate) wait_timeout: Duration,
    /// Whether to refuse writes.
    pub(crate) read_only: bool,
    /// Whether a server that refuses writes will do while there is no other.
    pub(crate) read_only_fallback: bool,
    /// What to be called in the server's log.
    pub(crate) client_label: Option<String>,
    /// How to speak TLS, if at all.
    pub(crate) ssl: Option<ClientTlsConfig>,
}

/// `<ssl>` in `<zeoclient>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientTlsConfig {
    /// The client's certificate, and those that lead to a root.
    pub(crate) certificate: PathBuf,
    /// Its key; in the certificate's file if there is none.
    pub(crate) key: Option<PathBuf>,
    /// How to get the key's password; there is none if nothing says how.
    pub(crate) password: Option<KeyPassword>,
    /// A file or a directory with the certificates that the server may have; the system's if there is
    /// none.
    pub(crate) authenticate: Option<PathBuf>,
    /// Whether the server's name must be in its certificate.
    pub(crate) check_hostname: bool,
    /// That name; the address's if there is none.
    pub(crate) server_hostname: Option<String>,
}

pub(super) static ZEOCLIENT: SectionType = SectionType::new(
    "zeoclient",
    &[
        Key::repeated("server", Kind::SocketConnectionAddress),
        Key::optional("blob-dir", Kind::Text),
        Key::with("shared-blob-dir", Kind::Boolean, "no"),
        Key::optional("blob-cache-size", Kind::ByteSize),
        Key::optional("blob-cache-size-check", Kind::Integer),
        Key::with("storage", Kind::Text, "1"),
        Key::with("cache-size", Kind::ByteSize, "20MB"),
        Key::with("name", Kind::Text, ""),
        Key::optional("client", Kind::Text),
        Key::optional("var", Kind::Text),
        Key::with("min-disconnect-poll", Kind::Integer, "5"),
        Key::with("max-disconnect-poll", Kind::Integer, "300"),
        Key::with("wait", Kind::Boolean, "on"),
        Key::with("read-only", Kind::Boolean, "off"),
        Key::with("read-only-fallback", Kind::Boolean, "off"),
        Key::optional("username", Kind::Text),
        Key::optional("password", Kind::Text),
        Key::optional("realm", Kind::Text),
        Key::with("drop-cache-rather-verify", Kind::Boolean, "off"),
        Key::optional("client-label", Kind::Text),
        Key::optional("wait-timeout", Kind::Seconds),
    ],
    &[Slot { accepts: Accepts::Type(&CLIENT_SSL), count: Count::AtMostOne }],
)
.checked(check);

static CLIENT_SSL: SectionType = SectionType::new(
    "ssl",
    &[
        Key::required("certificate", Kind::DirPath),
        Key::optional("key", Kind::DirPath),
        Key::optional("password-function", Kind::Text),
        Key::optional("authenticate", Kind::DirPath),
        Key::with("check-hostname", Kind::Boolean, "true"),
        Key::optional("server-hostname", Kind::Text),
        Key::optional("password-command", Kind::Text),
    ],
    &[],
)
.checked(zeo::check_password);

/// The settings in a section.
pub(super) fn of(section: &Section, system: &dyn System) -> ZeoClientConfig {
    let storage: String = section.required("storage");
    let ssl = section.sections.iter().find(|inner| inner.section_type.name == CLIENT_SSL.name);
    ZeoClientConfig {
        servers: section.values("server"),
        blob_dir: section.value::<String>("blob-dir").map(PathBuf::from),
        shared_blob_dir: section.required("shared-blob-dir"),
        blob_cache_size: section.value("blob-cache-size"),
        blob_cache_size_check: section.value("blob-cache-size-check"),
        cache_size: section.required("cache-size"),
        name: section.required("name"),
        cache_path: cache_path(section, &storage),
        storage,
        wait_timeout: section.value("wait-timeout").unwrap_or(WAIT_TIMEOUT),
        read_only: section.required("read-only"),
        read_only_fallback: section.required("read-only-fallback"),
        client_label: section.value("client-label"),
        ssl: ssl.map(|ssl| tls(ssl, system)),
    }
}

/// Where Python's client has its cache: `client`, the storage's name and `.zec`, in `var` or where the
/// server was started.
fn cache_path(section: &Section, storage: &str) -> Option<PathBuf> {
    let client: String = section.value("client")?;
    let var = section.value::<String>("var").unwrap_or_default();
    Some(PathBuf::from(var).join(format!("{client}-{storage}.zec")))
}

fn tls(section: &Section, system: &dyn System) -> ClientTlsConfig {
    ClientTlsConfig {
        certificate: section.required("certificate"),
        key: section.value("key"),
        password: zeo::password(section, system),
        authenticate: section.value("authenticate"),
        check_hostname: section.required("check-hostname"),
        server_hostname: section.value("server-hostname"),
    }
}

/// Python would try to reach a server without a port for ever.
fn check(section: &Section, _: &dyn System) -> Result<(), ConfigError> {
    let host_without_port = |address: SocketAddress| match address {
        SocketAddress::Tcp { host, port } => port.is_none_or(|port| port == 0).then_some(host),
        SocketAddress::Unix(_) => None,
    };
    let servers: Vec<SocketAddress> = section.values("server");
    match servers.into_iter().find_map(host_without_port) {
        Some(host) => Err(section.wrong("server", InvalidValue::NoPort(host.unwrap_or_default()))),
        None => Ok(()),
    }
}
