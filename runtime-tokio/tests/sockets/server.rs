//! A server in a thread of the test, and a disk whose calls can be blocked.

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use rzeo_core::storage::Storage;
use rzeo_fixtures::disk::InterceptedDisk;
use rzeo_host::{ConnectionCounts, Host, Settings, StorageSpec};
use rzeo_net::{Address, listen};
use rzeo_storage::FileStorage;
use rzeo_storage::disk::memory::MemoryDisk;
use rzeo_storage::file::FileOptions;

use crate::adapter;
use crate::sockets::client::{Dial, server_config};
use crate::sockets::log;

/// The defaults, with all the time in the world to stop.
pub(crate) fn settings() -> Settings {
    Settings { stop_time_max: Duration::from_secs(100_000), ..Settings::default() }
}

/// A future that is ready once it is set.
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

    /// A connection on which nothing was sent.
    pub(crate) fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address.to_string()).unwrap()
    }

    /// Polls the connection counts until they are as expected.
    pub(crate) fn wait_until(&self, is_so: impl Fn(ConnectionCounts) -> bool) {
        while !is_so(self.host.connection_counts()) {
            std::thread::yield_now();
        }
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.set();
    }

    pub(crate) fn hurry(&self) {
        self.hurry.set();
    }

    /// Waits for the end of the server; connections may be left.
    pub(crate) fn join(self) -> Arc<Host> {
        self.thread.join().unwrap().unwrap();
        self.host
    }

    /// Waits for the end of the server; no connection may be left.
    pub(crate) fn join_and_close(self) {
        let host = self.join();
        assert_eq!(host.connection_counts().open, 0);
        host.close().unwrap();
    }

    pub(crate) fn stop(self) {
        self.begin_stop();
        self.join_and_close();
    }
}

/// A disk whose writing calls block while the gate is closed.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    is_closed: bool,
    is_reached: bool,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        let gate = self.clone();
        let disk = InterceptedDisk::new(MemoryDisk::new(), move |_| {
            gate.pass();
            None
        });
        let storage = FileStorage::open(Arc::new(disk), "/Data.fs", FileOptions::default());
        Arc::new(storage.unwrap())
    }

    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.is_reached = state.is_closed;
        changed.notify_all();
        drop(changed.wait_while(state, |state| state.is_closed).unwrap());
    }

    pub(crate) fn close(&self) {
        self.0.0.lock().unwrap().is_closed = true;
    }

    pub(crate) fn wait_until_reached(&self) {
        let (state, changed) = &*self.0;
        drop(changed.wait_while(state.lock().unwrap(), |state| !state.is_reached).unwrap());
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_closed = false;
        self.0.1.notify_all();
    }
}
