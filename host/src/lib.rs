//! What every runtime adapter shares: the storages of a server, each with its hub behind a lock, its
//! disk writer, and its timers; the sockets; and who is let in.
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
//! A connection comes in through [`Host::admit`], gets its session and its inbox from
//! [`Admitted::connect`], and holds nothing any more when its [`Connected`] is dropped.
//!
//! Nothing here knows a wire method or a runtime. What an adapter adds is to wait: for sockets, for
//! time, and for the disk.

mod admission;
mod connection;
mod crier;
mod inbox;
mod overview;
mod unit;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use admission::Admission;
pub use admission::{ConnectionCounts, ConnectionLimits};
use crier::Crier;
use inbox::Inbox;
pub use inbox::Wake;
use rzeo_core::server::{
    ConnId, Counters, HubRequest, HubSettings, Limits, LockScope, LogLevel, LogLine,
    ServerSettings, Session, StorageCall, StorageEntry, StorageId, StorageReply, perform,
};
use rzeo_core::storage::{Patience, Storage, StorageError};
use rzeo_core::time::{Instant, Now, UnixTime};
use rzeo_core::wire::Codec;
use unit::Unit;

pub use crate::overview::{Overview, Sample};

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
    /// How many peers there may be.
    pub connections: ConnectionLimits,
    /// How long connections may take to end when the server stops.
    pub stop_time_max: Duration,
    /// The start of the server, as C's `ctime` writes it.
    pub start: String,
}

/// The defaults of `rzeo serve`.
impl Default for Settings {
    fn default() -> Self {
        Self {
            read_only: false,
            msgpack: false,
            client_conflict_resolution: false,
            invalidation_queue_size: 100,
            invalidation_age: None,
            transaction_timeout: None,
            lock_scope: LockScope::Objects,
            limits: Limits::default(),
            connections: ConnectionLimits::default(),
            stop_time_max: Duration::from_secs(10),
            start: String::new(),
        }
    }
}

/// A connection as those see it who have something for it.
struct Seat {
    inbox: Arc<Inbox>,
    place: Arc<Place>,
}

type Seats = RwLock<BTreeMap<ConnId, Seat>>;

/// The storages of a server.
pub struct Host {
    settings: Arc<ServerSettings>,
    units: Vec<Unit>,
    seats: Arc<Seats>,
    admission: Arc<Admission>,
    /// Goes when the host does.
    _crier: Crier,
    clock: Clock,
    connections: AtomicU64,
    stop_time_max: Duration,
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
        let seats = Arc::new(Seats::default());
        let crier = Crier::start();
        let admission = Arc::new(Admission::new(settings.connections.clone()));
        let stop_time_max = settings.stop_time_max;
        let mut units = Vec::new();
        let mut entries = Vec::new();
        for StorageSpec { name, storage } in storages {
            let counters = Arc::new(Counters::default());
            let description = storage.description();
            let lock_scope = settings.lock_scope.in_storage(&description);
            entries.push(StorageEntry {
                name: name.clone(),
                description,
                counters: counters.clone(),
            });
            let hub = HubSettings {
                name,
                invalidation_queue_size: settings.invalidation_queue_size,
                invalidation_age: settings.invalidation_age,
                transaction_timeout: settings.transaction_timeout,
                lock_scope,
                start: settings.start.as_str().into(),
                counters,
            };
            units.push(Unit::start(hub, storage, seats.clone(), crier.calls(), clock)?);
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
        Ok(Arc::new(Self {
            settings,
            units,
            seats,
            admission,
            _crier: crier,
            clock,
            connections,
            stop_time_max,
            stopping,
        }))
    }

    /// What sessions share.
    #[must_use]
    pub fn settings(&self) -> Arc<ServerSettings> {
        self.settings.clone()
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_counts(&self) -> ConnectionCounts {
        self.admission.counts()
    }

    /// How long connections may take to end when the server stops.
    #[must_use]
    pub fn stop_time_max(&self) -> Duration {
        self.stop_time_max
    }

    /// Lets in a connection that was just accepted, if there is room. If not, the log says so.
    /// `peer` names it in the log.
    #[must_use]
    pub fn admit(self: &Arc<Self>, peer: String) -> Option<Admitted> {
        let accepted = self.clock.now();
        let (is_let_in, line) = self.admission.enter(accepted.instant);
        line.iter().for_each(log);
        is_let_in.then(|| {
            let place =
                Place { admission: self.admission.clone(), has_registered: AtomicBool::new(false) };
            Admitted { host: self.clone(), peer, accepted, place: Arc::new(place) }
        })
    }

    /// Says in the log that the system has no more descriptors or memory for new connections.
    pub fn accept_failed(&self, error: &std::io::Error) {
        let line = self.admission.accept_failed(self.clock.now().instant, error);
        line.iter().for_each(log);
    }

    /// Asks all connections to end, also those that were accepted but have not begun. A commit that
    /// is on its way to the disk is answered first.
    pub fn stop_connections(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for seat in read(&self.seats).values() {
            seat.inbox.push(Wake::Stop);
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

    /// Says in the log that connections did not end in time, and are left as they are.
    pub fn gave_up(&self) {
        let open = self.admission.counts().open;
        tracing::warn!(target: LOG_TARGET, "{open} connections have not ended in time");
    }

    /// How much has happened so far in the storages, in the order of the configuration.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let entries = self.settings.storages.iter().zip(&self.units);
        entries.map(|(entry, unit)| Sample::new(&entry.counters, unit.measured())).collect()
    }

    /// How many connections were let in since the start.
    #[must_use]
    pub fn connections_ever(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
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

/// A place among the connections, given back when nobody holds it any more.
struct Place {
    admission: Arc<Admission>,
    has_registered: AtomicBool,
}

impl Place {
    /// The connection is a stranger no more.
    fn registered(&self) {
        if !self.has_registered.swap(true, Ordering::SeqCst) {
            self.admission.registered();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.leave(*self.has_registered.get_mut());
    }
}

/// A connection that was let in and is not served yet.
pub struct Admitted {
    host: Arc<Host>,
    peer: String,
    accepted: Now,
    place: Arc<Place>,
}

impl Admitted {
    /// Gives the connection its number and makes it known, until the result is dropped.
    #[must_use]
    pub fn connect(self) -> Connected {
        let Self { host, peer, accepted, place } = self;
        let conn = ConnId(host.connections.fetch_add(1, Ordering::Relaxed));
        let inbox = Arc::new(Inbox::default());
        let seat = Seat { inbox: inbox.clone(), place: place.clone() };
        write(&host.seats).insert(conn, seat);
        // Looked at after the seat is in the list: either this or `stop_connections` reaches it.
        if host.stopping.load(Ordering::SeqCst) {
            inbox.push(Wake::Stop);
        }
        Connected { conn, host, peer, accepted, inbox, _place: place }
    }
}

/// A connection's way to the storages, and its inbox.
pub struct Connected {
    conn: ConnId,
    host: Arc<Host>,
    peer: String,
    accepted: Now,
    inbox: Arc<Inbox>,
    _place: Arc<Place>,
}

impl Connected {
    /// The connection's machine. Its time runs since the connection was accepted.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(self.accepted, self.host.settings.clone(), self.peer.clone())
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.host.clock.now()
    }

    /// How long it is until then. At most a day, because some timers know no more than a few years;
    /// who wakes too early looks again.
    #[must_use]
    pub fn time_until(&self, then: Instant) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        then.0.saturating_sub(self.now().instant.0).min(DAY)
    }

    /// Until when a handshake below the protocol has to be done: the same time that the peer has for
    /// registering.
    #[must_use]
    pub fn handshake_by(&self) -> Instant {
        self.accepted.instant.after(self.host.settings.limits.register_time_max)
    }

    /// Says in the log that the handshake below the protocol failed, and why.
    pub fn handshake_failed(&self, reason: &str) {
        tracing::warn!(
            target: LOG_TARGET,
            "({}) disconnected: TLS handshake failed: {reason}",
            self.peer
        );
    }

    /// Says in the log that the handshake below the protocol was not done in time.
    pub fn handshake_timed_out(&self) {
        let seconds = self.host.settings.limits.register_time_max.as_secs_f64();
        tracing::warn!(
            target: LOG_TARGET,
            "({}) disconnected: TLS handshake not finished after {seconds} seconds, \
             see handshake-timeout in <rzeo>",
            self.peer
        );
    }

    /// Takes the first thing out of the inbox.
    #[must_use]
    pub fn try_recv(&self) -> Option<Wake> {
        self.inbox.try_recv()
    }

    /// Takes the first thing out of the inbox, or has the task woken when there is one.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Wake> {
        self.inbox.poll_recv(cx)
    }

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
        call: StorageCall,
    ) -> impl FnOnce() + Send + use<> {
        let (host, inbox) = (self.host.clone(), self.inbox.clone());
        move || {
            let _guard = StopsWithPanic(&inbox);
            let reply = perform(host.units[storage.0].storage(), call, Patience::Wait)
                .expect("a storage never answers WouldBlock to a caller that waits");
            inbox.push(Wake::Answer(reply));
        }
    }
}

/// However a connection ended, also by a bug, nothing is held for it any more.
impl Drop for Connected {
    fn drop(&mut self) {
        write(&self.host.seats).remove(&self.conn);
        for unit in &self.host.units {
            unit.request(self.conn, HubRequest::Leave);
        }
    }
}

/// Ends a connection whose storage call can never be answered, because a bug ended it.
struct StopsWithPanic<'a>(&'a Inbox);

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

/// Writes a line to the log. Python's CRITICAL is an error with the field `critical`; who it is about
/// comes along in the fields `client` and `label`.
pub fn log(line: &LogLine) {
    let text = &line.text;
    let client = line.client.as_ref().map(|client| &*client.address);
    let label = line.client.as_ref().and_then(|client| client.label.as_deref());
    match line.level {
        LogLevel::Debug => tracing::debug!(target: LOG_TARGET, client, label, "{text}"),
        LogLevel::Info => tracing::info!(target: LOG_TARGET, client, label, "{text}"),
        LogLevel::Warning => tracing::warn!(target: LOG_TARGET, client, label, "{text}"),
        LogLevel::Error => tracing::error!(target: LOG_TARGET, client, label, "{text}"),
        LogLevel::Critical => {
            tracing::error!(target: LOG_TARGET, critical = true, client, label, "{text}");
        }
    }
}

/// A thread that panics while it holds a lock leaves whole messages behind: the map is usable.
fn read(seats: &Seats) -> std::sync::RwLockReadGuard<'_, BTreeMap<ConnId, Seat>> {
    seats.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(seats: &Seats) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ConnId, Seat>> {
    seats.write().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process, because something that everybody depends on is in an unknown state. A server that
/// cannot commit any more must not look alive, and starting again is safe at every instant.
fn abort(what: &str) -> ! {
    tracing::error!(target: LOG_TARGET, critical = true, "{what}: a bug of the server ends it");
    std::process::abort()
}
