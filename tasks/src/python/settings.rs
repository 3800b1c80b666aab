//! Settings of the Python processes of a worker.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rzeo_net::{Address, LOOPBACK};

use super::message::{Open, Server, Tls, VERSION};

/// Settings of the processes that execute Python functions.
#[derive(Clone, Debug)]
pub struct PythonSettings {
    /// The interpreter: a path, or a name that is searched in `PATH`. ZEO is installed there.
    pub python: OsString,
    /// The servers, as for the worker's own connection.
    pub servers: Vec<Address>,
    /// Name of the storage.
    pub storage: String,
    /// How TLS connections are made, if they are.
    pub tls: Option<PythonTls>,
    /// Directory for blobs, for functions that use some.
    pub blob_dir: Option<PathBuf>,
    /// Whether that is the directory of the server itself.
    pub shared_blob_dir: bool,
    /// Directories with the application, beside the current one and those of `PYTHONPATH`.
    pub paths: Vec<PathBuf>,
    /// Patterns of the functions that may be called, with `*` and `?`. None means that no function may.
    pub allow: Vec<String>,
    /// Maximum number of processes.
    pub processes: usize,
    /// Number of jobs after which a process is replaced, if functions leak memory.
    pub jobs_per_process: Option<u64>,
    /// Maximum bytes of address space of a process. What a function needs beyond is a `MemoryError`.
    pub memory: Option<u64>,
    /// How long a process waits for a connection.
    pub wait_timeout: Duration,
    /// Name of the worker, for the server's log.
    pub label: String,
}

/// Files and names for TLS, as in a `<ssl>` section of Python's ZEO.
#[derive(Clone, Debug, Default)]
pub struct PythonTls {
    /// Servers to trust: a PEM file or a directory of such files [default: the system's trust store].
    pub authenticate: Option<PathBuf>,
    /// PEM file with the client's certificate.
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key [default: the certificate's file].
    pub key: Option<PathBuf>,
    /// Password of the key.
    pub password: Option<String>,
    /// Whether the server's certificate must name the host.
    pub check_hostname: bool,
    /// Host name expected in the server's certificate [default: the host of the address].
    pub server_hostname: Option<String>,
}

impl PythonSettings {
    /// Settings for the functions that match `allow`.
    #[must_use]
    pub fn new(servers: Vec<Address>, allow: Vec<String>) -> Self {
        Self {
            python: "python3".into(),
            servers,
            storage: "1".to_owned(),
            tls: None,
            blob_dir: None,
            shared_blob_dir: false,
            paths: Vec::new(),
            allow,
            processes: 1,
            jobs_per_process: None,
            memory: None,
            wait_timeout: Duration::from_secs(30),
            label: "rzeo-tasks".to_owned(),
        }
    }

    pub(super) fn message(&self) -> Open {
        let servers = self.servers.iter().map(|address| match address {
            Address::Tcp { host, port } => {
                Server::Tcp(host.as_deref().unwrap_or(LOOPBACK).to_owned(), *port)
            }
            Address::Unix(path) => Server::Unix(text(path)),
        });
        let tls = self.tls.as_ref().map(|tls| Tls {
            authenticate: tls.authenticate.as_deref().map(text),
            certificate: tls.certificate.as_deref().map(text),
            key: tls.key.as_deref().map(text),
            password: tls.password.clone(),
            check_hostname: tls.check_hostname,
            server_hostname: tls.server_hostname.clone(),
        });
        Open {
            version: VERSION,
            servers: servers.collect(),
            storage: self.storage.clone(),
            tls,
            blob_dir: self.blob_dir.as_deref().map(text),
            shared_blob_dir: self.shared_blob_dir,
            wait_timeout: self.wait_timeout.as_secs_f64(),
            paths: self.paths.iter().map(|path| text(path)).collect(),
            allow: self.allow.clone(),
            memory: self.memory,
            label: self.label.clone(),
        }
    }
}

/// A path in a message. Other bytes than UTF-8 are not supported there.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
