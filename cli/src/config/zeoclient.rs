//! `<zeoclient>`: a storage that is the client of another server.
//!
//! The keys are those of Python's section, which still accepts some that have no effect. `wait-timeout`
//! and `<ssl>` are additions; Python has them in `<clientstorage>`, which a server's file cannot contain.

use std::path::PathBuf;
use std::time::Duration;

use rzeo_net::Address;
use rzeo_zconfig::{
    Accepts, ConfigError, Count, InvalidValue, Key, Kind, Section, SectionType, Slot,
    SocketAddress, System,
};
use thiserror::Error;

use super::address::address;
use super::zeo::{self, KeyPassword};

/// The default of `wait-timeout`, as in Python.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A server whose port is missing.
#[derive(Debug, Error)]
#[error("{0}: a server's address needs a port")]
struct NoPort(String);

/// `<zeoclient>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZeoClientConfig {
    /// The addresses of servers with the same data: at least one, and all with ports.
    pub(crate) servers: Vec<Address>,
    /// The directory of blobs; `None` to serve none.
    pub(crate) blob_dir: Option<PathBuf>,
    /// Whether the server stores its blobs in the same directory.
    pub(crate) shared_blob_dir: bool,
    /// Maximum bytes of cached blobs; `None` for no maximum.
    pub(crate) blob_cache_size: Option<u64>,
    /// Percentage of that maximum that can be added between two checks of the cache's size.
    pub(crate) blob_cache_size_check: Option<i64>,
    /// The server's name of the storage.
    pub(crate) storage: String,
    /// Maximum bytes of cached records.
    pub(crate) cache_size: u64,
    /// The name of the storage on this server; the addresses if it is empty.
    pub(crate) name: String,
    /// The file of the cache; `None` for a cache in memory.
    pub(crate) cache_path: Option<PathBuf>,
    /// How long calls wait for a server.
    pub(crate) wait_timeout: Duration,
    /// Whether the storage is read-only.
    pub(crate) read_only: bool,
    /// Whether to use a read-only server while no other is available.
    pub(crate) read_only_fallback: bool,
    /// The label of this client in the server's log.
    pub(crate) client_label: Option<String>,
    /// The settings of TLS; `None` for plain TCP.
    pub(crate) ssl: Option<ClientTlsConfig>,
}

/// `<ssl>` in `<zeoclient>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientTlsConfig {
    /// The file with the client's certificate and those of intermediate authorities.
    pub(crate) certificate: PathBuf,
    /// The file with the client's key; `None` if the key is in the certificate's file.
    pub(crate) key: Option<PathBuf>,
    /// The source of the key's password; `None` if the key has no password.
    pub(crate) password: Option<KeyPassword>,
    /// The file or directory with trusted certificates; `None` for those of the system.
    pub(crate) authenticate: Option<PathBuf>,
    /// Whether the server's certificate must contain its host name.
    pub(crate) check_hostname: bool,
    /// That host name; `None` for the host of the address.
    pub(crate) server_hostname: Option<String>,
}

pub(super) static ZEOCLIENT: SectionType = SectionType::new(
    "zeoclient",
    &[
        Key::repeated("server", Kind::SocketConnectionAddress),
        Key::optional("blob-dir", Kind::Text),
        Key::with_default("shared-blob-dir", Kind::Boolean, "no"),
        Key::optional("blob-cache-size", Kind::ByteSize),
        Key::optional("blob-cache-size-check", Kind::Integer),
        Key::with_default("storage", Kind::Text, "1"),
        Key::with_default("cache-size", Kind::ByteSize, "20MB"),
        Key::with_default("name", Kind::Text, ""),
        Key::optional("client", Kind::Text),
        Key::optional("var", Kind::Text),
        Key::with_default("min-disconnect-poll", Kind::Integer, "5"),
        Key::with_default("max-disconnect-poll", Kind::Integer, "300"),
        Key::with_default("wait", Kind::Boolean, "on"),
        Key::with_default("read-only", Kind::Boolean, "off"),
        Key::with_default("read-only-fallback", Kind::Boolean, "off"),
        Key::optional("username", Kind::Text),
        Key::optional("password", Kind::Text),
        Key::optional("realm", Kind::Text),
        Key::with_default("drop-cache-rather-verify", Kind::Boolean, "off"),
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
        Key::with_default("check-hostname", Kind::Boolean, "true"),
        Key::optional("server-hostname", Kind::Text),
        Key::optional("password-command", Kind::Text),
    ],
    &[],
)
.checked(zeo::check_password);

/// The settings in a `<zeoclient>` section.
pub(super) fn of(section: &Section, system: &dyn System) -> ZeoClientConfig {
    let storage: String = section.required("storage");
    let ssl = section.section(CLIENT_SSL.name);
    ZeoClientConfig {
        servers: section.values("server").into_iter().map(address).collect(),
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

/// The file of Python's cache: `client`, the storage's name and `.zec`, in `var` or in the current
/// directory.
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

/// Refuses servers without a port, which Python tries to reach for ever.
fn check(section: &Section, _: &dyn System) -> Result<(), ConfigError> {
    let host_without_port = |address: SocketAddress| match address {
        SocketAddress::Tcp { host, port } => port.is_none_or(|port| port == 0).then_some(host),
        SocketAddress::Unix(_) => None,
    };
    let servers: Vec<SocketAddress> = section.values("server");
    match servers.into_iter().find_map(host_without_port) {
        Some(host) => {
            Err(section.wrong("server", InvalidValue::custom(NoPort(host.unwrap_or_default()))))
        }
        None => Ok(()),
    }
}
