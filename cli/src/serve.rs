//! `rzeo serve`: from options and configuration to a server that listens, and back to nothing.
//!
//! The order is that of Python's server, because scripts rely on it:
//!
//! ```text
//! options, configuration ─► log ─► address free? ─► stale socket ─► pid file ─► storages
//!                 ─► signals ─► listen ─► address file ─► serve … signal
//!                 ─► end connections ─► close storages ─► remove socket and pid file
//! ```
//!
//! Exit status: 0 after `SIGTERM` and `SIGINT`, 1 after `SIGHUP` and when a storage or a log cannot be
//! opened, 2 for options, configuration and an address in use.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use rzeo_core::server::{Limits, LockScope};
use rzeo_core::storage::StorageError;
use rzeo_host::{Host, Settings, StorageSpec};
use rzeo_tokio::{Address, ListenError, Server};
use thiserror::Error;
use tracing::info;

use crate::args::ServeOptions;
use crate::config::{
    self, ConfigError, FileConfig, INVALIDATION_QUEUE_SIZE, RealSystem, ServerConfig,
    SocketAddress, StorageConfig, StorageKind, System, repr,
};
use crate::logging::{EventLog, Log, LogError};
use crate::process::{self, PidFile, SocketFile};
use crate::signals::{self, Ending, log};
use crate::storages::{self, OpenError};

/// The address when nothing says otherwise: reachable from this machine only.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8100";
/// The database when nothing says otherwise.
const DEFAULT_PATH: &str = "Data.fs";

/// Why a server did not start, or ended badly.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    /// Somebody listens there already.
    #[error("address {0} already in use")]
    AddressInUse(SocketAddress),
    /// The file for `--address-file`.
    #[error("cannot write the address to {}: {source}", path.display())]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A storage that failed to close.
    #[error("closing a storage: {0}")]
    Close(#[source] StorageError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A storage that cannot be opened.
    #[error("storage {}: {source}", repr(name))]
    Open {
        /// Its name.
        name: String,
        /// The reason.
        source: OpenError,
    },
    /// Threads or sockets that the system refused.
    #[error("cannot serve: {0}")]
    Run(#[source] io::Error),
    /// A storage that cannot be read.
    #[error("reading the latest commits: {0}")]
    Start(#[source] StorageError),
}

/// What to do, once options and configuration are put together.
#[derive(Debug, PartialEq)]
struct Plan {
    config: ServerConfig,
    address_file: Option<PathBuf>,
    /// Whether to tell how to connect: those who write a configuration know.
    greet: bool,
    test: bool,
}

/// Serves until a signal comes.
pub(crate) fn run(options: &ServeOptions) -> ExitCode {
    let ended =
        Plan::make(options, &RealSystem).map_err(ServeError::from).and_then(|plan| plan.serve());
    match ended {
        Ok(Ending::Stop) => ExitCode::SUCCESS,
        Ok(Ending::Restart) => ExitCode::FAILURE,
        Err(error) => {
            // If nobody reads standard error, the status has to do.
            let _ = io::stderr().write_all(error.report().as_bytes());
            error.exit_code()
        }
    }
}

impl ServeError {
    fn is_usage_error(&self) -> bool {
        match self {
            Self::AddressInUse(_) | Self::Config(_) => true,
            Self::Listen(listen) => listen.error.kind() == io::ErrorKind::AddrInUse,
            Self::AddressFile { .. }
            | Self::Close(_)
            | Self::Log(_)
            | Self::Open { .. }
            | Self::Run(_)
            | Self::Start(_) => false,
        }
    }

    fn exit_code(&self) -> ExitCode {
        if self.is_usage_error() { ExitCode::from(2) } else { ExitCode::FAILURE }
    }

    /// What the user reads.
    fn report(&self) -> String {
        let mut report = format!("Error: {self}\n");
        if let Self::Config(error) = self
            && let Some(expected) = error.expected()
        {
            report += &format!("Expected: {expected}\n");
        }
        if self.is_usage_error() {
            report += "For help, use rzeo serve -h\n";
        }
        report
    }
}

impl Plan {
    fn make(options: &ServeOptions, system: &dyn System) -> Result<Self, ConfigError> {
        let mut config = match &options.configure {
            Some(file) => ServerConfig::read(system, config::path_of(file)?)?,
            None => default_config(),
        };
        if let Some(address) = &options.address {
            config.address = address.clone();
        }
        let files: Vec<&PathBuf> = options.data.iter().chain(&options.filename).collect();
        if !files.is_empty() {
            config.storages =
                (1..).zip(files).map(|(number, path)| file_storage(number, path)).collect();
        }
        config.transaction_timeout = options.timeout.or(config.transaction_timeout);
        config.pid_filename = options.pid_file.clone().or(config.pid_filename);
        if config.pid_filename.is_none() {
            let home = system.variable("INSTANCE_HOME").filter(|home| !home.is_empty());
            config.pid_filename = home.map(|home| Path::new(&home).join("var/ZEO.pid"));
        }
        let from_environment =
            || system.variable("ZEO_MSGPACK").is_some_and(|text| !text.is_empty());
        let msgpack = options.msgpack || config.msgpack.unwrap_or_else(from_environment);
        config.msgpack = Some(msgpack);
        Ok(Self {
            config,
            address_file: options.address_file.clone(),
            greet: options.configure.is_none() && !options.test,
            test: options.test,
        })
    }

    fn serve(self) -> Result<Ending, ServeError> {
        let Self { config, address_file, greet, test } = self;
        let reopenable = config.eventlog.is_some();
        let log_files = Log::install(config.eventlog.clone().unwrap_or_else(EventLog::to_stderr))?;
        if process::is_in_use(&config.address) {
            return Err(ServeError::AddressInUse(config.address));
        }
        let _socket_file = SocketFile::claim(&config.address);
        // A server that writes nothing leaves no pid file either, as in Python.
        let _pid_file = PidFile::write(config.pid_filename.clone().filter(|_| !config.read_only));
        let storages = open_storages(&config.storages)?;
        let ending = signals::watch(reopenable.then_some(log_files)).map_err(ServeError::Run)?;
        let created = describe(&config, &storages);
        let host = Host::new(&settings(&config), storages).map_err(ServeError::Start)?;
        info!(target: "ZEO.StorageServer", "{created}");
        let ended = bind(&host, &config.address).and_then(|server| {
            if test {
                print("testing exit immediately");
                return Ok(Ending::Stop);
            }
            if greet {
                print(&greeting(&server, &config.storages));
            }
            if let Some(path) = address_file {
                announce(&server, path)?;
            }
            let mut how = Ending::Stop;
            let stop = async {
                // Without the sender no signal can come; better to end than to serve for ever.
                how = ending.await.unwrap_or(Ending::Restart);
            };
            server.run(stop).map_err(ServeError::Run)?;
            Ok(how)
        });
        let closed = host.close().map_err(ServeError::Close);
        ended.and_then(|how| closed.map(|()| how))
    }
}

fn default_config() -> ServerConfig {
    ServerConfig {
        address: SocketAddress::parse(DEFAULT_ADDRESS).expect("the default is an address"),
        read_only: false,
        invalidation_queue_size: INVALIDATION_QUEUE_SIZE,
        invalidation_age: None,
        transaction_timeout: None,
        client_conflict_resolution: false,
        msgpack: None,
        pid_filename: None,
        storages: vec![file_storage(1, Path::new(DEFAULT_PATH))],
        eventlog: None,
    }
}

fn file_storage(number: usize, path: &Path) -> StorageConfig {
    let kind = StorageKind::File(FileConfig::at(path.to_owned()));
    StorageConfig { name: number.to_string(), kind }
}

fn open_storages(storages: &[StorageConfig]) -> Result<Vec<StorageSpec>, ServeError> {
    let open = |config: &StorageConfig| {
        let (name, class) = (&config.name, config.kind.class_name());
        log(&format!("opening storage {} using {class}", repr(name)));
        storages::open(config).map_err(|source| ServeError::Open { name: name.clone(), source })
    };
    storages.iter().map(open).collect()
}

fn settings(config: &ServerConfig) -> Settings {
    Settings {
        read_only: config.read_only,
        msgpack: config.msgpack.unwrap_or(false),
        client_conflict_resolution: config.client_conflict_resolution,
        invalidation_queue_size: config.invalidation_queue_size,
        invalidation_age: config.invalidation_age,
        transaction_timeout: config.transaction_timeout.and_then(timeout),
        lock_scope: LockScope::Objects,
        limits: Limits::default(),
        start: Zoned::now().strftime("%a %b %e %H:%M:%S %Y").to_string(),
    }
}

/// Less than no time is no time; for ever, and what is no number, is no limit.
fn timeout(seconds: f64) -> Option<Duration> {
    if seconds < 0.0 { Some(Duration::ZERO) } else { Duration::try_from_secs_f64(seconds).ok() }
}

/// The first line of a server in Python's log.
fn describe(config: &ServerConfig, storages: &[StorageSpec]) -> String {
    let mode = |read_only| if read_only { "RO" } else { "RW" };
    let storages: Vec<String> = storages
        .iter()
        .map(|spec| {
            let description = spec.storage.description();
            format!("{}:{}:{}", spec.name, mode(description.read_only), description.name)
        })
        .collect();
    let all = storages.join(", ");
    format!("StorageServer created {} with storages: {all}", mode(config.read_only))
}

fn bind(host: &Arc<Host>, address: &SocketAddress) -> Result<Server, ServeError> {
    let address = match address {
        SocketAddress::Tcp { host, port } => {
            Address::Tcp { host: host.clone(), port: port.unwrap_or(0) }
        }
        SocketAddress::Unix(path) => Address::Unix(path.clone()),
    };
    let server = Server::bind(Arc::clone(host), &address)?;
    let addresses: Vec<String> = server.addresses().iter().map(in_python).collect();
    // One record whatever the number of sockets: whoever waits for it may take it as the last.
    info!(target: "ZEO.asyncio.server", "listening on {}", addresses.join(", "));
    Ok(server)
}

/// An address as Python writes it: `('127.0.0.1', 8100)`, or a path.
fn in_python(address: &Address) -> String {
    match address {
        Address::Tcp { host, port } => {
            format!("({}, {port})", repr(host.as_deref().unwrap_or("")))
        }
        Address::Unix(path) => path.display().to_string(),
    }
}

fn announce(server: &Server, path: PathBuf) -> Result<(), ServeError> {
    let address = server.addresses().first().map(ToString::to_string).unwrap_or_default();
    process::write_address(&path, &address)
        .map_err(|source| ServeError::AddressFile { path, source })
}

/// How to connect, a line for each storage.
fn greeting(server: &Server, storages: &[StorageConfig]) -> String {
    let address = server.addresses().into_iter().next().map(reachable);
    let Some(address) = address else { return String::new() };
    let lines: Vec<String> =
        storages.iter().map(|storage| greeting_line(&address, storage)).collect();
    lines.join("\n")
}

fn greeting_line(address: &Address, storage: &StorageConfig) -> String {
    let name = &storage.name;
    let what = match &storage.kind {
        StorageKind::File(file) => file.path.display().to_string(),
        other => other.class_name().to_owned(),
    };
    let (client, uri) = match address {
        Address::Tcp { host, port } => {
            let host = host.as_deref().unwrap_or("127.0.0.1");
            (format!("(\"{host}\", {port})"), format!("zeo://{address}"))
        }
        Address::Unix(path) => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            (format!("{:?}", path.display().to_string()), format!("zeo://{}", absolute.display()))
        }
    };
    let (argument, query, setting) = if name == "1" {
        (String::new(), String::new(), String::new())
    } else {
        (format!(", storage={name:?}"), format!("?storage={name}"), format!(" storage {name}"))
    };
    format!(
        "serving {what} as storage {name:?} on {address}; connect with \
         ZEO.client({client}{argument}), {uri}{query}, or <zeoclient> server {address}{setting}"
    )
}

/// All interfaces are no address to connect to.
fn reachable(address: Address) -> Address {
    match address {
        Address::Tcp { host: Some(host), port } if host == "0.0.0.0" => {
            Address::Tcp { host: Some("127.0.0.1".to_owned()), port }
        }
        other => other,
    }
}

/// To standard output, at once. A closed one is no reason to end.
fn print(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
