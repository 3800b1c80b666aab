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
//! Sockets that systemd has passed are used instead of the address; then it is not looked at whether
//! the address is free, because systemd listens there.
//!
//! Exit status: 0 after `SIGTERM` and `SIGINT`, 1 after `SIGHUP` and when a storage or a log cannot be
//! opened, 2 for options, configuration and an address in use.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use rzeo_core::server::{Limits, LockScope};
use rzeo_core::storage::StorageError;
use rzeo_eventlog::{Conventions, EventLog, Log, LogError};
use rzeo_host::{ConnectionLimits, Host, Settings, StorageSpec};
use rzeo_net::{Address, ListenError, Listener, listen};
use rzeo_tokio::ServerConfig as TlsServer;
use rzeo_zconfig::{ConfigError, RealSystem, SocketAddress, python::repr};
use thiserror::Error;
use tracing::{error, info};

use crate::admin::{About, Admin, AdminError};
use crate::args::ServeOptions;
use crate::config::{OwnSettings, Runtime, ServerConfig, StorageConfig};
use crate::exit;
use crate::greeting;
use crate::plan::Plan;
use crate::process::{self, PidFile, SocketFile};
use crate::signals::{self, Ending, Endings, log};
use crate::storages;
use crate::systemd::{self, InheritError};
use crate::tls::{self, SslError};

/// Log records look like those of Python's server.
const CONVENTIONS: Conventions = Conventions {
    // Events without a counterpart in Python have their module as target. They belong to the logger of the
    // part of Python's server that does the same work.
    loggers: &[
        ("rzeo_eventlog", "ZEO.runzeo"),
        ("rzeo_host", "ZEO.StorageServer"),
        ("rzeo_smol", "ZEO.asyncio.server"),
        ("rzeo_storage", "ZODB.FileStorage"),
        ("rzeo_tokio", "ZEO.asyncio.server"),
    ],
    // Messages about a client contain both.
    silent_fields: &["client", "label"],
};

/// Why a server did not start, or ended badly.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    /// The address for monitoring.
    #[error(transparent)]
    Admin(#[from] AdminError),
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
    /// Sockets from systemd.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A storage that cannot be opened.
    #[error("storage {}: {source}", repr(name))]
    Open {
        /// Its name.
        name: String,
        /// The reason.
        source: StorageError,
    },
    /// Threads or sockets that the system refused.
    #[error("cannot serve: {0}")]
    Run(#[source] io::Error),
    /// Certificates and keys.
    #[error("in <ssl>: {0}")]
    Ssl(#[from] SslError),
    /// A storage that cannot be read.
    #[error("reading the latest commits: {0}")]
    Start(#[source] StorageError),
}

/// Serves until a signal comes.
pub(crate) fn run(options: &ServeOptions) -> ExitCode {
    let ended = Plan::make(options, &RealSystem).map_err(ServeError::from).and_then(serve);
    match ended {
        Ok(Ending::Stop) => ExitCode::SUCCESS,
        Ok(Ending::Restart) => ExitCode::FAILURE,
        Err(error) => {
            error.report();
            error.exit_code()
        }
    }
}

impl ServeError {
    fn is_usage_error(&self) -> bool {
        match self {
            Self::AddressInUse(_) | Self::Config(_) => true,
            Self::Admin(admin) => admin.source.kind() == io::ErrorKind::AddrInUse,
            Self::Listen(listen) => {
                matches!(listen, ListenError::InUse { .. } | ListenError::PathExists { .. })
            }
            Self::AddressFile { .. }
            | Self::Close(_)
            | Self::Inherit(_)
            | Self::Log(_)
            | Self::Open { .. }
            | Self::Run(_)
            | Self::Ssl(_)
            | Self::Start(_) => false,
        }
    }

    fn exit_code(&self) -> ExitCode {
        if self.is_usage_error() { ExitCode::from(exit::USAGE) } else { ExitCode::FAILURE }
    }

    /// Tells the user what is wrong.
    fn report(&self) {
        match self {
            Self::Config(error) => exit::config_error(error),
            other => exit::error(&other.to_string()),
        }
    }
}

/// Does all that the plan says, in the order of the module's introduction.
fn serve(plan: Plan) -> Result<Ending, ServeError> {
    let config = &plan.config;
    // Before a command for a password is run: sockets are not for it.
    let inherited = systemd::inherited()?;
    // Python's server reads the certificates with its configuration, before there is a log.
    let tls = config.ssl.clone().map(tls::configure).transpose()?;
    let eventlog = config.eventlog.clone().unwrap_or_else(EventLog::to_stderr);
    let log_files = Log::install(eventlog, config.own.log_format, CONVENTIONS)?;
    log_panics(config.eventlog.is_some());
    let ended = serve_logged(plan, inherited, &log_files, tls);
    log_files.close();
    ended
}

fn serve_logged(
    plan: Plan,
    inherited: Vec<Listener>,
    log_files: &Log,
    tls: Option<Arc<TlsServer>>,
) -> Result<Ending, ServeError> {
    let Plan { config, address_file, greet, test } = plan;
    let reopenable = config.eventlog.is_some();
    process::raise_file_limit();
    if inherited.is_empty() && process::is_in_use(&config.address) {
        return Err(ServeError::AddressInUse(config.address));
    }
    let _socket_file = inherited.is_empty().then(|| SocketFile::claim(&config.address));
    // A server that writes nothing leaves no pid file either, as in Python.
    let _pid_file = PidFile::write(config.pid_filename.clone().filter(|_| !config.read_only));
    let storages = open_storages(&config.storages)?;
    let endings = signals::watch(reopenable.then(|| log_files.clone())).map_err(ServeError::Run)?;
    let created = describe(&config, &storages);
    let host = Host::new(&settings(&config), storages).map_err(ServeError::Start)?;
    info!(target: "ZEO.StorageServer", "{created}");
    let ended = bind(&config.address, inherited).and_then(|listeners| {
        let addresses = addresses(&listeners);
        if test {
            print("testing exit immediately");
            return Ok(Ending::Stop);
        }
        if greet {
            print(&greeting::lines(&addresses, &config.storages));
        }
        if let Some(path) = address_file {
            announce(&addresses, path)?;
        }
        let admin = admin(&config, &host, &addresses)?;
        systemd::ready(&format!("serving {}", list(&addresses)));
        systemd::keep_telling(&host).map_err(ServeError::Run)?;
        let ended = run_until(endings, config.own.runtime, &host, listeners, tls);
        drop(admin);
        ended
    });
    let closed = host.close().map_err(ServeError::Close);
    ended.and_then(|how| closed.map(|()| how))
}

/// A panic is a bug of ours; whoever reads the log has to hear of it, and also on standard error if
/// the log is elsewhere.
fn log_panics(log_is_elsewhere: bool) {
    let to_stderr = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        error!(target: "ZEO.runzeo", critical = true, "({}) {panic}", std::process::id());
        if log_is_elsewhere {
            to_stderr(panic);
        }
    }));
}

fn run_until(
    endings: Endings,
    runtime: Runtime,
    host: &Arc<Host>,
    listeners: Vec<Listener>,
    tls: Option<Arc<TlsServer>>,
) -> Result<Ending, ServeError> {
    let Endings { first, second } = endings;
    // Without a sender no signal can come; better to be started again than to serve for ever.
    let mut how = Ending::Restart;
    let stop = async {
        how = first.await.unwrap_or(how);
        systemd::stopping("ending connections, then closing storages");
    };
    let hurry = async {
        let _ = second.await;
    };
    runtime.run(host, listeners, tls, stop, hurry).map_err(ServeError::Run)?;
    Ok(how)
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
        limits: limits(&config.own),
        connections: ConnectionLimits {
            connections_max: config.own.max_connections,
            unfinished_max: config.own.max_unfinished_handshakes,
        },
        stop_time_max: config.own.stop_timeout,
        start: Zoned::now().strftime("%a %b %e %H:%M:%S %Y").to_string(),
    }
}

fn limits(own: &OwnSettings) -> Limits {
    Limits {
        frame_bytes_max: own.max_message_size,
        backlog_bytes_max: own.max_backlog,
        iterators_max: own.max_iterators,
        register_time_max: own.handshake_timeout,
        transaction_stores_max: own.max_transaction_stores,
        transaction_bytes_max: own.max_transaction_size,
        transaction_memory_bytes: usize::try_from(own.transaction_memory).unwrap_or(usize::MAX),
        blob_bytes_max: own.max_blob_size,
        transaction_blobs_max: own.max_transaction_blobs,
        ..Limits::default()
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

/// Listens, unless systemd does so already.
fn bind(address: &SocketAddress, inherited: Vec<Listener>) -> Result<Vec<Listener>, ServeError> {
    let address = match address {
        SocketAddress::Tcp { host, port } => {
            Address::Tcp { host: host.clone(), port: port.unwrap_or(0) }
        }
        SocketAddress::Unix(path) => Address::Unix(path.clone()),
    };
    let listeners = if inherited.is_empty() {
        listen(&address)?
    } else {
        log(&format!(
            "systemd has passed sockets, so the configured address {address} is not used"
        ));
        inherited
    };
    let shown: Vec<String> = addresses(&listeners).iter().map(in_python).collect();
    // One record whatever the number of sockets: whoever waits for it may take it as the last.
    info!(target: "ZEO.asyncio.server", "listening on {}", shown.join(", "));
    Ok(listeners)
}

/// Where the server can be reached.
fn addresses(listeners: &[Listener]) -> Vec<Address> {
    listeners.iter().filter_map(|listener| listener.address().ok()).collect()
}

fn list(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
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

fn admin(
    config: &ServerConfig,
    host: &Arc<Host>,
    addresses: &[Address],
) -> Result<Option<Admin>, ServeError> {
    let Some(address) = &config.own.admin_address else { return Ok(None) };
    let addresses = addresses.iter().map(ToString::to_string).collect();
    let about = About::new(addresses, config.own.runtime, config.read_only);
    Ok(Some(Admin::start(address, host.clone(), about)?))
}

fn announce(addresses: &[Address], path: PathBuf) -> Result<(), ServeError> {
    let address = addresses.first().map(ToString::to_string).unwrap_or_default();
    process::write_address(&path, &address)
        .map_err(|source| ServeError::AddressFile { path, source })
}

/// To standard output, at once. A closed one is no reason to end.
fn print(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
