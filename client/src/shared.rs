//! The machine behind its lock, and everything that comes out of it.
//!
//! A handle calls the machine under the lock, on its own thread. All outputs are drained before the lock is
//! released: bytes into the outboxes of connections, answers to their waiters, orders to the driver, work
//! for the disk to its thread. Observers are called under the lock, so no handle shows a commit before the
//! observer has been called. Only wakers are called afterwards, see `wakers.rs`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use rzeo_core::client::{
    Answer, CallError, CallId, Client as Machine, Conflict, ConnId, Event, Input, Output, TxnId,
};
use rzeo_core::server::LogLevel;
use rzeo_core::storage::Revision;
use rzeo_core::{Instant, Now, Oid, Tid, UnixTime};
use rzeo_net::Address;

use crate::disk_job::DiskJob;
use crate::observer::{ClientEvent, Observers};
use crate::waiters::Waiters;
use crate::wakers::Wakers;

/// The logger under which Python's client writes.
const LOG_TARGET: &str = "ZEO.ClientStorage";

/// Maximum bytes of stores queued on a connection before further stores wait.
pub(crate) const BACKLOG_BYTES_MAX: usize = 1 << 20;

/// Maximum bytes queued for files before nothing more is read from sockets.
const UNWRITTEN_BYTES_MAX: usize = 4 << 20;

/// What handles, the driver and the links of a client share.
pub(crate) struct Shared {
    state: Mutex<State>,
    clock: Clock,
}

pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) addresses: Vec<Address>,
    pub(crate) links: BTreeMap<ConnId, Outbox>,
    pub(crate) orders: VecDeque<(ConnId, Address)>,
    pub(crate) conflicts: VecDeque<Conflict>,
    pub(crate) waiters: Waiters,
    /// Open transactions with blobs.
    pub(crate) uploading: HashSet<TxnId>,
    /// Those of them that are being committed.
    pub(crate) finishing: HashMap<CallId, TxnId>,
    /// Blobs on their way here.
    pub(crate) downloading: HashMap<CallId, (Oid, Tid)>,
    pub(crate) observers: Observers,
    pub(crate) driver: DriverState,
    /// Sender to the thread for files; `None` if it is not needed, or has ended.
    pub(crate) disk: Option<Sender<DiskJob>>,
    /// Whether that thread may still have work to do.
    pub(crate) disk_is_busy: bool,
    /// Number of bytes queued for it.
    pub(crate) unwritten: usize,
    pub(crate) is_closed: bool,
    /// Tasks that wait to store more.
    pub(crate) waits_to_store: Wakers,
    /// Tasks that wait for the client to end.
    pub(crate) waits_for_end: Wakers,
    /// Wakers to call when the lock is released.
    pub(crate) wakers: Wakers,
}

/// Bytes to be sent on a connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) chunks: VecDeque<Bytes>,
    /// Nothing follows, and input is ignored.
    pub(crate) is_closing: bool,
    pub(crate) waker: Option<Waker>,
}

/// What handles know of the driver.
#[derive(Debug, Default)]
pub(crate) struct DriverState {
    pub(crate) waker: Option<Waker>,
    /// When it calls `handle_timeout` next.
    pub(crate) deadline: Option<Instant>,
    pub(crate) is_gone: bool,
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        machine: Machine,
        addresses: Vec<Address>,
        observers: Observers,
        disk: Option<Sender<DiskJob>>,
    ) -> Arc<Self> {
        let state = State {
            machine,
            addresses,
            links: BTreeMap::new(),
            orders: VecDeque::new(),
            conflicts: VecDeque::new(),
            waiters: Waiters::default(),
            uploading: HashSet::new(),
            finishing: HashMap::new(),
            downloading: HashMap::new(),
            observers,
            driver: DriverState::default(),
            disk_is_busy: disk.is_some(),
            disk,
            unwritten: 0,
            is_closed: false,
            waits_to_store: Wakers::new(),
            waits_for_end: Wakers::new(),
            wakers: Wakers::new(),
        };
        let shared = Arc::new(Self { state: Mutex::new(state), clock });
        // The machine requests connections from the beginning.
        shared.with(|_, _| ());
        shared
    }

    /// Does something with the machine, and then drains its outputs.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State, Now) -> R) -> R {
        self.with_idle_machine(|state| {
            let result = act(state, self.clock.now());
            state.drain();
            result
        })
    }

    /// Does something that causes no outputs of the machine.
    pub(crate) fn with_idle_machine<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = act(&mut state);
        let wakers = core::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// A record from the cache, which causes no outputs.
    pub(crate) fn cached_before(&self, oid: Oid, before: Tid) -> Option<Revision> {
        self.state.lock().machine.cached_before(oid, before)
    }

    /// Reads some state.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.lock())
    }

    pub(crate) fn close(&self) {
        self.with(State::close);
    }

    /// Ready when a close is complete.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<()> {
        self.with(|state, _| {
            if state.driver.is_gone && !state.disk_is_busy {
                return Poll::Ready(());
            }
            state.waits_for_end.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

impl State {
    pub(crate) fn close(&mut self, now: Now) {
        if !self.is_closed {
            self.is_closed = true;
            self.machine.handle_input(now, Input::Close);
            self.wake_driver();
        }
    }

    pub(crate) fn wake_driver(&mut self) {
        self.wakers.extend(self.driver.waker.take());
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Connect(conn, server) => {
                    let address = self.addresses.get(server.0);
                    let address = address.expect("the machine knows how many servers there are");
                    self.orders.push_back((conn, address.clone()));
                    self.links.insert(conn, Outbox::default());
                    self.wake_driver();
                }
                Output::Transmit(conn, bytes) => self.transmit(conn, bytes),
                Output::Disconnect(conn) => self.disconnect(conn),
                Output::Event(event) => self.show(event),
                Output::ReadBlob { txn, blob, at, len } => {
                    self.do_on_disk(DiskJob::Read { txn, blob, at, len });
                }
                Output::WriteBlob(oid, serial, part) => {
                    self.do_on_disk(DiskJob::Write(oid, serial, part));
                }
                Output::Journal(bytes) => self.do_on_disk(DiskJob::Journal(bytes)),
                Output::Log(level, text) => log(level, &text),
            }
        }
        if !self.waits_to_store.is_empty() && self.machine.backlog() < BACKLOG_BYTES_MAX {
            self.wakers.append(&mut self.waits_to_store);
        }
        if let Some(deadline) = self.machine.poll_timeout()
            && self.driver.deadline.is_none_or(|known| deadline < known)
        {
            self.wake_driver();
        }
    }

    fn transmit(&mut self, conn: ConnId, bytes: Bytes) {
        if let Some(outbox) = self.links.get_mut(&conn) {
            outbox.chunks.push_back(bytes);
            self.wakers.extend(outbox.waker.take());
        }
    }

    fn disconnect(&mut self, conn: ConnId) {
        let orders = self.orders.len();
        self.orders.retain(|(ordered, _)| *ordered != conn);
        if self.orders.len() < orders {
            self.forget_link(conn);
        } else if let Some(outbox) = self.links.get_mut(&conn) {
            outbox.is_closing = true;
            self.wakers.extend(outbox.waker.take());
        }
    }

    /// The driver ends when all connections have ended.
    pub(crate) fn forget_link(&mut self, conn: ConnId) {
        self.wakers.extend(self.links.remove(&conn).and_then(|outbox| outbox.waker));
        if self.is_closed {
            self.wake_driver();
        }
    }

    fn show(&mut self, event: Event) {
        let event = match event {
            Event::Answered { call, result } => return self.answer(call, result),
            Event::Conflict(conflict) => {
                self.conflicts.push_back(conflict);
                return self.wake_driver();
            }
            Event::Connected { read_only, info, .. } => ClientEvent::Connected { info, read_only },
            Event::Disconnected => ClientEvent::Disconnected,
            Event::Invalidated { tid, oids } => ClientEvent::Invalidated { tid, oids },
            Event::InvalidatedAll { tid } => ClientEvent::InvalidatedAll { tid },
            Event::Committed { tid, oids } => ClientEvent::Committed { tid, oids },
            Event::Info { length, size } => ClientEvent::Info { length, size },
            // Events added to core later are not forwarded to observers.
            _ => return,
        };
        self.observers.notify(&event, &mut self.wakers);
    }

    fn answer(&mut self, call: CallId, result: Result<Answer, CallError>) {
        if let Some((oid, serial)) = self.downloading.remove(&call) {
            self.do_on_disk(DiskJob::Downloaded(oid, serial));
        } else if let Some(txn) = self.finishing.remove(&call)
            && self.disk.is_some()
        {
            // The answer is given when the blobs are in their final places.
            return self.do_on_disk(DiskJob::Settle(txn, call, result));
        }
        self.deliver(call, result);
    }

    /// Gives an answer to its caller, if it still waits.
    pub(crate) fn deliver(&mut self, call: CallId, result: Result<Answer, CallError>) {
        self.waiters.deliver(call, result, &mut self.machine, &mut self.wakers);
    }

    /// A job that cannot be sent is dropped: the client ends with the thread for files.
    pub(crate) fn do_on_disk(&mut self, job: DiskJob) {
        if let Some(disk) = &self.disk {
            self.unwritten += job.bytes();
            let _ = disk.send(job);
        }
    }

    /// A transaction is aborted, unless it is being finished.
    pub(crate) fn discard_blobs(&mut self, txn: TxnId) {
        if self.uploading.remove(&txn) {
            self.do_on_disk(DiskJob::Discard(txn));
        }
    }

    /// Whether there is room for what comes from a socket.
    pub(crate) const fn has_room(&self) -> bool {
        self.unwritten < UNWRITTEN_BYTES_MAX
    }

    /// Counts bytes that the file thread has written.
    pub(crate) fn written(&mut self, bytes: usize) {
        let had_room = self.has_room();
        self.unwritten = self.unwritten.saturating_sub(bytes);
        if self.has_room() && !had_room {
            let wakers = self.links.values_mut().filter_map(|outbox| outbox.waker.take());
            self.wakers.extend(wakers);
        }
    }
}

fn log(level: LogLevel, text: &str) {
    match level {
        LogLevel::Debug => tracing::debug!(target: LOG_TARGET, "{text}"),
        LogLevel::Info => tracing::info!(target: LOG_TARGET, "{text}"),
        LogLevel::Warning => tracing::warn!(target: LOG_TARGET, "{text}"),
        LogLevel::Error => tracing::error!(target: LOG_TARGET, "{text}"),
        LogLevel::Critical => tracing::error!(target: LOG_TARGET, critical = true, "{text}"),
    }
}

/// The monotonic clock. The wall clock is not used: servers make tids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        Now { instant: Instant(self.start.elapsed()), wall: UnixTime::default() }
    }
}
