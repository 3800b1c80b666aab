//! `rzeo serve`: from options and configuration to a server that listens, and its end.
//!
//! Everything that can be checked without an effect is checked first, so a server that cannot serve leaves
//! nothing behind. Otherwise the order is that of Python's server, because scripts rely on it:
//!
//! ```text
//! options, configuration ─► log ─► bind addresses ─► check paths ─► pid file ─► open storages
//!                 ─► signals ─► listen ─► start the worker ─► address file ─► serve … signal
//!                 ─► end the worker ─► end connections ─► close storages ─► remove socket and pid file
//! ```
//!
//! A bound address is reserved, but clients are refused until the storages are open. Sockets that systemd has
//! passed are used instead of the address.
//!
//! Exit status: 0 after `SIGTERM` and `SIGINT`, 1 after `SIGHUP` and if a storage or a log cannot be
//! opened, 2 for options, configuration and an address that cannot be bound.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rzeo_core::server::{Limits, LockScope};
use rzeo_core::storage::StorageError;
use rzeo_eventlog::{Conventions, EventLog, Log, LogError};
use rzeo_host::{ConnectionLimits, Host, Settings, StorageSpec};
use rzeo_net::{Address, BoundSockets, ListenError, Listener};
use rzeo_tokio::ServerConfig as TlsServer;
use rzeo_zconfig::python::repr;
use rzeo_zconfig::{ConfigError, RealSystem};
use thiserror::Error;
use tracing::{error, info, warn};

use crate::admin::{About, Admin, AdminSockets};
use crate::args::ServeOptions;
use crate::config::{OwnSettings, ServerConfig, StorageConfig};
use crate::connect_hint;
use crate::exit;
use crate::jobs::{self, JobsError, ServerJobs, ServerJobsOptions};
use crate::merged_config::MergedConfig;
use crate::process::{self, PidFile};
use crate::signals::{self, Ending, Endings, log};
use crate::sockets::{self, SocketFile};
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
        ("rzeo_tasks", "rzeo.tasks"),
        ("rzeo_tokio", "ZEO.asyncio.server"),
    ],
    // Messages about a client contain both.
    silent_fields: &["client", "label"],
};

/// Why a server did not start, or ended badly.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    #[error("cannot serve the status page: {0}")]
    Admin(#[source] io::Error),
    #[error("cannot serve the status page: {0}")]
    AdminAddress(#[source] ListenError),
    /// The file for `--address-file`.
    #[error("cannot write the address to {}: {source}", path.display())]
    AddressFile { path: PathBuf, source: io::Error },
    /// A storage that failed to close.
    #[error("closing a storage: {0}")]
    Close(#[source] StorageError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Jobs(#[from] JobsError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Inherit(#[from] InheritError),
    #[error(transparent)]
    Log(#[from] LogError),
    /// A storage that cannot be opened.
    #[error("storage {}: {source}", repr(name))]
    Open { name: String, source: StorageError },
    /// Threads or sockets that the system refused.
    #[error("cannot serve: {0}")]
    Run(#[source] io::Error),
    #[error("in <ssl>: {0}")]
    Ssl(#[from] SslError),
    /// A storage that cannot be read.
    #[error("reading the latest commits: {0}")]
    Start(#[source] StorageError),
}

/// Serves until a signal comes.
pub(crate) fn run(options: &ServeOptions) -> ExitCode {
    let merged = MergedConfig::read(options, &RealSystem);
    let ended = merged.map_err(ServeError::from).and_then(serve);
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
    const fn is_usage_error(&self) -> bool {
        match self {
            Self::AdminAddress(_) | Self::Config(_) | Self::Listen(_) => true,
            Self::Jobs(error) => error.is_usage_error(),
            Self::Admin(_)
            | Self::AddressFile { .. }
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

/// Serves, in the order of the module's introduction.
fn serve(merged: MergedConfig) -> Result<Ending, ServeError> {
    let config = &merged.config;
    merged.jobs.as_ref().map(|options| jobs::check(options, config)).transpose()?;
    // Before a command for a password is run: sockets are not for it.
    let inherited = systemd::inherited()?;
    // Python's server reads the certificates with its configuration, before there is a log.
    let tls = config.ssl.clone().map(tls::configure).transpose()?;
    let eventlog = config.eventlog.clone().unwrap_or_else(EventLog::to_stderr);
    let log_files = Log::install(eventlog, config.own.log_format, CONVENTIONS)?;
    log_panics(config.eventlog.is_some());
    let ended = serve_logged(&merged, inherited, &log_files, tls);
    log_files.close();
    ended
}

/// The addresses of a server, reserved before anything else is done.
struct Reserved {
    clients: Clients,
    admin: Option<AdminSockets>,
}

/// Where clients will connect.
enum Clients {
    /// Sockets that systemd has passed; they listen already.
    Inherited(Vec<Listener>),
    /// Sockets of the configured address, and the file of a Unix socket.
    Bound(BoundSockets, SocketFile),
}

impl Reserved {
    fn new(merged: &MergedConfig, inherited: Vec<Listener>) -> Result<Self, ServeError> {
        let clients = if inherited.is_empty() {
            let (sockets, file) = sockets::bind(&merged.address)?;
            Clients::Bound(sockets, file)
        } else {
            Clients::Inherited(inherited)
        };
        let admin = merged.admin_address.as_ref().map(AdminSockets::bind).transpose();
        Ok(Self { clients, admin: admin.map_err(ServeError::AdminAddress)? })
    }
}

impl Clients {
    /// Lets clients connect. The file of a Unix socket is removed when it is dropped.
    fn listen(
        self,
        configured: &Address,
    ) -> Result<(Vec<Listener>, Option<SocketFile>), ServeError> {
        let (listeners, file) = match self {
            Self::Bound(sockets, file) => (sockets.listen()?, Some(file)),
            Self::Inherited(listeners) => {
                log(&format!(
                    "systemd has passed sockets, so the configured address {configured} is not used"
                ));
                (listeners, None)
            }
        };
        let shown: Vec<String> = addresses(&listeners).iter().map(in_python).collect();
        // One record for all sockets: a program that waits for it may take the first as the last.
        info!(target: "ZEO.asyncio.server", "listening on {}", shown.join(", "));
        Ok((listeners, file))
    }
}

fn serve_logged(
    merged: &MergedConfig,
    inherited: Vec<Listener>,
    log_files: &Log,
    tls: Option<Arc<TlsServer>>,
) -> Result<Ending, ServeError> {
    let config = &merged.config;
    let reopenable = config.eventlog.is_some();
    process::raise_file_limit();
    let reserved = Reserved::new(merged, inherited)?;
    let pid_filename = config.pid_filename.clone();
    // A server that writes nothing leaves no pid file either, as in Python.
    let _pid_file = PidFile::write(pid_filename.filter(|_| !config.read_only && !merged.test));
    let storages = open_storages(&config.storages, merged.test)?;
    let endings = signals::watch(reopenable.then(|| log_files.clone())).map_err(ServeError::Run)?;
    let created = describe(config, &storages);
    let host = Host::new(&settings(config), storages).map_err(ServeError::Start)?;
    info!(target: "ZEO.StorageServer", "{created}");
    let ended = serve_host(merged, reserved, &host, endings, tls);
    let closed = host.close().map_err(ServeError::Close);
    ended.and_then(|how| closed.map(|()| how))
}

/// Listens and serves until a signal.
fn serve_host(
    merged: &MergedConfig,
    reserved: Reserved,
    host: &Arc<Host>,
    endings: Endings,
    tls: Option<Arc<TlsServer>>,
) -> Result<Ending, ServeError> {
    let config = &merged.config;
    let (listeners, _socket_file) = reserved.clients.listen(&merged.address)?;
    let addresses = addresses(&listeners);
    if merged.test {
        print("testing exit immediately");
        return Ok(Ending::Stop);
    }
    let about = About::new(shown(&addresses), config.own.runtime, config.read_only);
    let start_admin = |sockets| Admin::start(sockets, host.clone(), about);
    let admin = reserved.admin.map(start_admin).transpose().map_err(ServeError::Admin)?;
    let jobs = merged.jobs.as_ref().map(|options| start_jobs(options, config, host)).transpose()?;
    if let Some(path) = &merged.address_file {
        announce(&addresses, path)?;
    }
    if merged.prints_hint {
        print(&connect_hint::lines(&addresses, &config.storages));
    }
    systemd::ready(&format!("serving {}", shown(&addresses).join(", ")));
    systemd::send_keep_alives(host).map_err(ServeError::Run)?;
    let ended = run_until(endings, merged, host, listeners, tls, jobs);
    drop(admin);
    ended
}

/// Starts the worker in this process.
fn start_jobs(
    options: &ServerJobsOptions,
    config: &ServerConfig,
    host: &Arc<Host>,
) -> Result<ServerJobs, ServeError> {
    let storage = jobs::check(options, config)?;
    if config.transaction_timeout.is_none() {
        warn!(
            target: "ZEO.runzeo",
            "a client that stops in the middle of a commit can block jobs for ever; limit that time with --timeout"
        );
    }
    Ok(ServerJobs::start(options, &storage, host.clone())?)
}

/// A panic is a bug of rzeo; the log has to show it, and also on standard error if
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
    merged: &MergedConfig,
    host: &Arc<Host>,
    listeners: Vec<Listener>,
    tls: Option<Arc<TlsServer>>,
    jobs: Option<ServerJobs>,
) -> Result<Ending, ServeError> {
    let Endings { first, second } = endings;
    // Without a sender no signal can come; better to be started again than to serve for ever.
    let mut how = Ending::Restart;
    let hurry = second.clone().received();
    let stop = async {
        how = first.await.unwrap_or(how);
        systemd::stopping("ending connections, then closing storages");
        if let Some(jobs) = jobs {
            jobs.end(second.received()).await;
        }
    };
    merged.config.own.runtime.run(host, listeners, tls, stop, hurry).map_err(ServeError::Run)?;
    Ok(how)
}

/// Opens all storages, after a look at each that shows without an effect whether it can be opened. A test opens
/// them so that nothing is created.
fn open_storages(storages: &[StorageConfig], test: bool) -> Result<Vec<StorageSpec>, ServeError> {
    let named = |config: &StorageConfig| {
        let name = config.name.clone();
        |source| ServeError::Open { name, source }
    };
    storages.iter().try_for_each(|config| storages::check(config).map_err(named(config)))?;
    let open = |config: &StorageConfig| {
        let (name, class) = (&config.name, config.kind.class_name());
        log(&format!("opening storage {} using {class}", repr(name)));
        let opened = if test { storages::open_unchanged(config) } else { storages::open(config) };
        opened.map_err(named(config))
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

/// Where the server can be reached.
fn addresses(listeners: &[Listener]) -> Vec<Address> {
    listeners.iter().filter_map(|listener| listener.address().ok()).collect()
}

fn shown(addresses: &[Address]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
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

fn announce(addresses: &[Address], path: &Path) -> Result<(), ServeError> {
    let address = addresses.first().map(ToString::to_string).unwrap_or_default();
    process::write_address(path, &address)
        .map_err(|source| ServeError::AddressFile { path: path.to_owned(), source })
}

/// To standard output, at once. A closed one is no reason to end.
fn print(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
