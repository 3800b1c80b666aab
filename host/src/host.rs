//! The storages of a server, and the way of a connection to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rzeo_core::server::{
    ConnId, Counters, HubRequest, HubSettings, ServerSettings, Session, StorageCall, StorageEntry,
    StorageId, StorageReply, perform,
};
use rzeo_core::storage::{Patience, StorageError};
use rzeo_core::wire::Codec;
use rzeo_core::{Instant, Now};

use crate::admission::{Admission, AdmissionGuard, ConnectionCounts};
use crate::batch_waker::BatchWaker;
use crate::clock::{Clock, ctime};
use crate::connection_slots::{ConnectionSlot, ConnectionSlots};
use crate::inbox::{Inbox, InboxMessage};
use crate::log::{LOG_TARGET, log};
use crate::overview::{Overview, Sample};
use crate::served_storage::ServedStorage;
use crate::settings::{Settings, StorageSpec};

/// Peer of the connections that a client in the same process makes, as the log shows it.
pub const LOCAL_PEER: &str = "in-process";

/// The storages of a server.
pub struct Host {
    settings: Arc<ServerSettings>,
    storages: Vec<ServedStorage>,
    slots: Arc<ConnectionSlots>,
    admission: Arc<Admission>,
    /// Its thread ends when this is dropped.
    _waker: BatchWaker,
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
    /// If a storage cannot read its latest commits.
    pub fn new(settings: &Settings, storages: Vec<StorageSpec>) -> Result<Arc<Self>, StorageError> {
        let clock = Clock::start();
        let slots = Arc::new(ConnectionSlots::default());
        let waker = BatchWaker::start();
        let admission = Arc::new(Admission::new(settings.connections.clone()));
        let stop_time_max = settings.stop_time_max;
        let mut served = Vec::new();
        let start: Arc<str> = ctime().into();
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
                start: start.clone(),
                counters,
            };
            let list = waker.list();
            served.push(ServedStorage::start(hub, storage, slots.clone(), list, clock)?);
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
            storages: served,
            slots,
            admission,
            _waker: waker,
            clock,
            connections,
            stop_time_max,
            stopping,
        }))
    }

    /// Settings that all sessions share.
    #[must_use]
    pub fn settings(&self) -> Arc<ServerSettings> {
        self.settings.clone()
    }

    /// The numbers of connections.
    #[must_use]
    pub fn connection_counts(&self) -> ConnectionCounts {
        self.admission.counts()
    }

    /// Maximum time that connections may take to end when the server stops.
    #[must_use]
    pub fn stop_time_max(&self) -> Duration {
        self.stop_time_max
    }

    /// Admits a connection that was just accepted, unless a limit is reached, which is logged.
    /// `peer` names it in the log.
    #[must_use]
    pub fn admit(self: &Arc<Self>, peer: String) -> Option<Admitted> {
        let accepted = self.clock.now();
        let (is_let_in, line) = self.admission.enter(accepted.instant);
        line.iter().for_each(log);
        is_let_in.then(|| {
            let admission = Arc::new(AdmissionGuard::new(self.admission.clone()));
            Admitted { host: self.clone(), peer, accepted, admission }
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
        for slot in self.slots.read().values() {
            slot.inbox.push(InboxMessage::Stop);
        }
    }

    /// Whether connections have been asked to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// The state of the storages, in the order of the configuration. Costs a little for each connection.
    #[must_use]
    pub fn overview(&self) -> Vec<Overview> {
        self.storages.iter().map(ServedStorage::overview).collect()
    }

    /// Logs how many connections did not end in time and are left as they are.
    pub fn log_open_connections(&self) {
        let open = self.admission.counts().open;
        tracing::warn!(target: LOG_TARGET, "{open} connections have not ended in time");
    }

    /// How much has happened so far in the storages, in the order of the configuration.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let entries = self.settings.storages.iter().zip(&self.storages);
        entries.map(|(entry, storage)| Sample::new(&entry.counters, storage.histograms())).collect()
    }

    /// Number of connections admitted since the start.
    #[must_use]
    pub fn connections_admitted(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Finishes what is on its way to the disk and closes the storages. To be called when all
    /// connections have ended.
    ///
    /// # Errors
    /// The first storage that failed to close; the others are closed all the same.
    pub fn close(&self) -> Result<(), StorageError> {
        let mut result = Ok(());
        for storage in &self.storages {
            tracing::info!(target: LOG_TARGET, "closing storage '{}'", storage.name());
            result = result.and(storage.close());
        }
        result
    }
}

/// A connection that was admitted and is not served yet.
pub struct Admitted {
    host: Arc<Host>,
    peer: String,
    accepted: Now,
    admission: Arc<AdmissionGuard>,
}

impl Admitted {
    /// Gives the connection its number and makes it known, until the result is dropped.
    #[must_use]
    pub fn connect(self) -> Connected {
        let Self { host, peer, accepted, admission } = self;
        let conn = ConnId(host.connections.fetch_add(1, Ordering::Relaxed));
        let inbox = Arc::new(Inbox::default());
        let slot = ConnectionSlot { inbox: inbox.clone(), admission: admission.clone() };
        host.slots.write().insert(conn, slot);
        // Read after the slot is in the map: either this or `stop_connections` reaches it.
        if host.stopping.load(Ordering::SeqCst) {
            inbox.push(InboxMessage::Stop);
        }
        Connected { conn, host, peer, accepted, inbox, _admission: admission }
    }
}

/// A connection's way to the storages, and its inbox.
pub struct Connected {
    conn: ConnId,
    host: Arc<Host>,
    peer: String,
    accepted: Now,
    inbox: Arc<Inbox>,
    _admission: Arc<AdmissionGuard>,
}

impl Connected {
    /// The connection's machine. Its time runs since the connection was accepted.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(self.accepted, self.host.settings.clone(), self.peer.clone())
    }

    /// The time by both clocks: monotonic for timers, wall for tids.
    #[must_use]
    pub fn now(&self) -> Now {
        self.host.clock.now()
    }

    /// How long it is until then. At most a day, because some timers know no more than a few years;
    /// a caller that wakes too early asks again.
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
    pub fn try_recv(&self) -> Option<InboxMessage> {
        self.inbox.try_recv()
    }

    /// Takes the first thing out of the inbox, or has the task woken when there is one.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<InboxMessage> {
        self.inbox.poll_recv(cx)
    }

    /// Carries a request to a storage's hub.
    pub fn ask(&self, storage: StorageId, request: HubRequest) {
        self.host.storages[storage.0].request(self.conn, request);
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
        perform(self.host.storages[storage.0].storage(), call, Patience::Now)
    }

    /// What is left to do for a call that has to wait, to be run on a thread that may block. The answer
    /// goes to the inbox.
    pub fn perform_waiting(
        &self,
        storage: StorageId,
        call: StorageCall,
    ) -> impl FnOnce() + Send + use<> {
        let (host, inbox) = (self.host.clone(), self.inbox.clone());
        move || {
            let _guard = StopsWithPanic(&inbox);
            let reply = perform(host.storages[storage.0].storage(), call, Patience::Wait)
                .expect("a storage never answers WouldBlock to a caller that waits");
            inbox.push(InboxMessage::Answer(reply));
        }
    }
}

/// However a connection ended, also by a bug, nothing is held for it any more.
impl Drop for Connected {
    fn drop(&mut self) {
        self.host.slots.write().remove(&self.conn);
        for storage in &self.host.storages {
            storage.request(self.conn, HubRequest::Leave);
        }
    }
}

/// Ends a connection whose storage call can never be answered, because a bug ended it.
struct StopsWithPanic<'a>(&'a Inbox);

impl Drop for StopsWithPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.push(InboxMessage::Stop);
        }
    }
}
