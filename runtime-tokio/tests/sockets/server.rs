//! A server that runs in a thread of the test, and a disk that can be held up.

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use rzeo_core::server::{Limits, LockScope};
use rzeo_core::storage::Storage;
use rzeo_fixtures::disk::WatchedDisk;
use rzeo_host::{ConnectionCounts, ConnectionLimits, Host, Settings, StorageSpec};
use rzeo_net::{Address, listen};
use rzeo_storage::FileStorage;
use rzeo_storage::disk::memory::MemoryDisk;
use rzeo_storage::file::FileOptions;

use crate::adapter;
use crate::sockets::client::{Dial, server_config};
use crate::sockets::log;

pub(crate) fn settings() -> Settings {
    Settings {
        read_only: false,
        msgpack: false,
        client_conflict_resolution: false,
        invalidation_queue_size: 100,
        invalidation_age: None,
        transaction_timeout: None,
        lock_scope: LockScope::Objects,
        limits: Limits::default(),
        connections: ConnectionLimits::default(),
        stop_time_max: Duration::from_secs(100_000),
        start: String::new(),
    }
}

/// A future that is done when somebody says so.
#[derive(Clone, Default)]
struct Latch(Arc<Mutex<(bool, Option<Waker>)>>);

impl Latch {
    fn set(&self) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            state.1.take()
        };
        waker.inspect(Waker::wake_by_ref);
    }
}

impl Future for Latch {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        state.1 = Some(cx.waker().clone());
        if state.0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

pub(crate) struct Running {
    host: Arc<Host>,
    address: Address,
    stop: Latch,
    hurry: Latch,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    pub(crate) fn start(
        settings: &Settings,
        storage: Arc<dyn Storage>,
        address: &Address,
        tls: Dial<'_>,
    ) -> Self {
        log::collect();
        let spec = StorageSpec { name: "1".into(), storage };
        let host = Host::new(settings, vec![spec]).unwrap();
        let listeners = listen(address).unwrap();
        let address = listeners[0].address().unwrap();
        let (stop, hurry) = (Latch::default(), Latch::default());
        let tls = tls.map(server_config);
        let run = {
            let (host, stop, hurry) = (host.clone(), stop.clone(), hurry.clone());
            move || adapter::serve_blocking(host, listeners, tls, stop, hurry)
        };
        let thread = std::thread::spawn(run);
        Self { host, address, stop, hurry, thread }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// A connection that says nothing by itself.
    pub(crate) fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address.to_string()).unwrap()
    }

    /// Waits for something that nobody tells of.
    pub(crate) fn wait_until(&self, is_so: impl Fn(ConnectionCounts) -> bool) {
        while !is_so(self.host.connection_counts()) {
            std::thread::yield_now();
        }
    }

    pub(crate) fn tell_to_stop(&self) {
        self.stop.set();
    }

    pub(crate) fn hurry(&self) {
        self.hurry.set();
    }

    /// What is left when the server has ended.
    pub(crate) fn left(self) -> Arc<Host> {
        self.thread.join().unwrap().unwrap();
        self.host
    }

    /// Waits for the end; nobody may be connected then.
    pub(crate) fn ended(self) {
        let host = self.left();
        assert_eq!(host.connection_counts().open, 0);
        host.close().unwrap();
    }

    pub(crate) fn stop(self) {
        self.tell_to_stop();
        self.ended();
    }
}

/// A disk that can be held up: while the gate is closed, whoever wants to change something waits.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_closed: bool,
    somebody_waits: bool,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        let gate = self.clone();
        let disk = WatchedDisk::new(MemoryDisk::new(), move |_| {
            gate.pass();
            None
        });
        let storage = FileStorage::open(Arc::new(disk), "/Data.fs", FileOptions::default());
        Arc::new(storage.unwrap())
    }

    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.somebody_waits = state.is_closed;
        changed.notify_all();
        drop(changed.wait_while(state, |state| state.is_closed).unwrap());
    }

    pub(crate) fn close(&self) {
        self.0.0.lock().unwrap().is_closed = true;
    }

    pub(crate) fn wait_until_somebody_waits(&self) {
        let (state, changed) = &*self.0;
        drop(changed.wait_while(state.lock().unwrap(), |state| !state.somebody_waits).unwrap());
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_closed = false;
        self.0.1.notify_all();
    }
}
