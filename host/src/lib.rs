//! What every runtime adapter shares: the storages of a server, each with its hub behind a lock, its
//! disk writer, and its timers.
//!
//! ```text
//!   adapter's tasks (one per connection)        threads of the host
//!        │ request(conn, …)                        writer:  commit(group) ──► Committed
//!        ▼                                         pack:    pack, switch  ──► Done
//!   ┌─ Unit ──────────────┐                        timer:   transaction timeouts
//!   │  Mutex<Hub>         │── Deliver ──► Inbox of a connection, in the hub's order
//!   │  Arc<dyn Storage>   │── Commit ───► writer
//!   └─────────────────────┘
//! ```
//!
//! The critical section around a hub is short: it moves messages, no disk is touched. Notices are put
//! into the inboxes while the lock is held, so their order in every inbox is the hub's.
//!
//! Nothing here knows a wire method or a runtime. What an adapter adds is sockets, its own kind of
//! channel as [`Inbox`], and a place to wait for the disk.

mod overview;
mod unit;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rzeo_core::server::{
    ConnId, Counters, HubRequest, HubSettings, JobId, Limits, LockScope, LogLevel, LogLine, Notice,
    ServerSettings, StorageCall, StorageEntry, StorageId, StorageReply, perform,
};
use rzeo_core::storage::{Patience, Storage, StorageError};
use rzeo_core::time::{Instant, Now, UnixTime};
use rzeo_core::wire::Codec;
use unit::Unit;

pub use crate::overview::Overview;

/// A storage to serve and the name that clients register with.
pub struct StorageSpec {
    /// The name.
    pub name: String,
    /// The storage.
    pub storage: Arc<dyn Storage>,
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Refuse all writing.
    pub read_only: bool,
    /// Announce msgpack rather than pickle.
    pub msgpack: bool,
    /// Ask clients to resolve write conflicts.
    pub client_conflict_resolution: bool,
    /// Commits remembered for returning clients.
    pub invalidation_queue_size: usize,
    /// Up to which age in seconds a returning client's tid is looked up in the storage.
    pub invalidation_age: Option<f64>,
    /// How long locks may be held between vote and finish.
    pub transaction_timeout: Option<Duration>,
    /// What a vote locks.
    pub lock_scope: LockScope,
    /// What a peer may take.
    pub limits: Limits,
    /// The start of the server, as C's `ctime` writes it.
    pub start: String,
}

/// What is put into a connection's inbox.
#[derive(Debug)]
pub enum Wake {
    /// From the hub.
    Notice(Notice),
    /// From the storage.
    Answer(JobId, StorageReply),
    /// The server stops.
    Stop,
}

/// The receiving end of a connection, whatever the runtime's channel is. Must not block.
pub trait Inbox: Send + Sync {
    /// Adds to the end. Nothing happens if the connection is gone.
    fn push(&self, wake: Wake);
}

type Inboxes = RwLock<BTreeMap<ConnId, Arc<dyn Inbox>>>;

/// The storages of a server.
pub struct Host {
    settings: Arc<ServerSettings>,
    units: Vec<Unit>,
    inboxes: Arc<Inboxes>,
    clock: Clock,
    connections: AtomicU64,
    /// Set once connections have been asked to end; those that come later end at once.
    stopping: AtomicBool,
}

impl Host {
    /// Starts the threads of all storages.
    ///
    /// # Errors
    /// If a storage cannot tell its latest commits.
    pub fn new(settings: &Settings, storages: Vec<StorageSpec>) -> Result<Arc<Self>, StorageError> {
        let clock = Clock::start();
        let inboxes = Arc::new(Inboxes::default());
        let mut units = Vec::new();
        let mut entries = Vec::new();
        for StorageSpec { name, storage } in storages {
            let counters = Arc::new(Counters::default());
            entries.push(StorageEntry {
                name: name.clone(),
                description: storage.description(),
                counters: counters.clone(),
            });
            let hub = HubSettings {
                name,
                invalidation_queue_size: settings.invalidation_queue_size,
                invalidation_age: settings.invalidation_age,
                transaction_timeout: settings.transaction_timeout,
                lock_scope: settings.lock_scope,
                start: settings.start.as_str().into(),
                counters,
            };
            units.push(Unit::start(hub, storage, inboxes.clone(), clock)?);
        }
        let settings = ServerSettings {
            announce: if settings.msgpack { Codec::Msgpack } else { Codec::Pickle },
            read_only: settings.read_only,
            client_conflict_resolution: settings.client_conflict_resolution,
            limits: settings.limits.clone(),
            storages: entries,
        };
        let settings = Arc::new(settings);
        let (connections, stopping) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Arc::new(Self { settings, units, inboxes, clock, connections, stopping }))
    }

    /// What sessions share.
    #[must_use]
    pub fn settings(&self) -> Arc<ServerSettings> {
        self.settings.clone()
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Gives a new connection its number and makes its inbox known, until the result is dropped.
    #[must_use]
    pub fn connect(self: &Arc<Self>, inbox: Arc<dyn Inbox>) -> Connected {
        let conn = ConnId(self.connections.fetch_add(1, Ordering::Relaxed));
        write(&self.inboxes).insert(conn, inbox.clone());
        // Looked at after the inbox is in the list: either this or `stop_connections` reaches it.
        if self.stopping.load(Ordering::SeqCst) {
            inbox.push(Wake::Stop);
        }
        Connected { conn, host: self.clone() }
    }

    /// Asks all connections to end, also those that were accepted but have not begun.
    pub fn stop_connections(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for inbox in read(&self.inboxes).values() {
            inbox.push(Wake::Stop);
        }
    }

    /// Whether connections have been asked to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// What can be told of the storages, in the order of the configuration. Costs a little for each
    /// connection.
    #[must_use]
    pub fn overview(&self) -> Vec<Overview> {
        self.units.iter().map(Unit::overview).collect()
    }

    /// Finishes what is on its way to the disk and closes the storages. To be called when all
    /// connections have ended.
    ///
    /// # Errors
    /// The first storage that failed to close; the others are closed all the same.
    pub fn close(&self) -> Result<(), StorageError> {
        let mut result = Ok(());
        for unit in &self.units {
            tracing::info!(target: LOG_TARGET, "closing storage '{}'", unit.name());
            result = result.and(unit.close());
        }
        result
    }
}

/// A connection's way to the storages.
pub struct Connected {
    conn: ConnId,
    host: Arc<Host>,
}

impl Connected {
    /// Carries a request to a storage's hub.
    pub fn ask(&self, storage: StorageId, request: HubRequest) {
        self.host.units[storage.0].request(self.conn, request);
    }

    /// Runs a storage call if it needs not wait for the disk; gives it back if it does.
    ///
    /// # Errors
    /// The call, to be given to [`Self::perform_waiting`].
    pub fn perform(
        &self,
        storage: StorageId,
        call: StorageCall,
    ) -> Result<StorageReply, StorageCall> {
        perform(self.host.units[storage.0].storage(), call, Patience::Now)
    }

    /// What is left to do for a call that has to wait, to be run where that hurts nobody. The answer
    /// goes to the inbox.
    pub fn perform_waiting(
        &self,
        storage: StorageId,
        job: JobId,
        call: StorageCall,
        inbox: Arc<dyn Inbox>,
    ) -> impl FnOnce() + Send + use<> {
        let host = self.host.clone();
        move || {
            let _guard = StopsWithPanic(&*inbox);
            let reply = perform(host.units[storage.0].storage(), call, Patience::Wait)
                .expect("a storage never answers WouldBlock to a caller that waits");
            inbox.push(Wake::Answer(job, reply));
        }
    }
}

/// However a connection ended, also by a bug, nothing is held for it any more.
impl Drop for Connected {
    fn drop(&mut self) {
        write(&self.host.inboxes).remove(&self.conn);
        for unit in &self.host.units {
            unit.request(self.conn, HubRequest::Leave);
        }
    }
}

/// Ends a connection whose storage call can never be answered, because a bug ended it.
struct StopsWithPanic<'a>(&'a dyn Inbox);

impl Drop for StopsWithPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.push(Wake::Stop);
        }
    }
}

/// Reads both clocks.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: std::time::Instant,
}

impl Clock {
    fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { instant: Instant(self.start.elapsed()), wall: UnixTime(wall.as_secs_f64()) }
    }
}

/// The logger under which Python's server writes what sessions and hubs say.
const LOG_TARGET: &str = "ZEO.StorageServer";

/// Writes a line to the log. Python's CRITICAL is an error with the field `critical`.
pub fn log(line: &LogLine) {
    let text = &line.text;
    match line.level {
        LogLevel::Debug => tracing::debug!(target: LOG_TARGET, "{text}"),
        LogLevel::Info => tracing::info!(target: LOG_TARGET, "{text}"),
        LogLevel::Warning => tracing::warn!(target: LOG_TARGET, "{text}"),
        LogLevel::Error => tracing::error!(target: LOG_TARGET, "{text}"),
        LogLevel::Critical => tracing::error!(target: LOG_TARGET, critical = true, "{text}"),
    }
}

/// A thread that panics while it holds a lock leaves whole messages behind: the map is usable.
fn read(inboxes: &Inboxes) -> std::sync::RwLockReadGuard<'_, BTreeMap<ConnId, Arc<dyn Inbox>>> {
    inboxes.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(inboxes: &Inboxes) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ConnId, Arc<dyn Inbox>>> {
    inboxes.write().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process, because something that everybody depends on is in an unknown state. A server that
/// cannot commit any more must not look alive, and starting again is safe at every instant.
fn abort(what: &str) -> ! {
    tracing::error!(target: LOG_TARGET, critical = true, "{what}: a bug of the server ends it");
    std::process::abort()
}
