//! One single-threaded executor per core, and the distribution of connections among them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_rustls::rustls::ServerConfig;
use rzeo_host::Admitted;
use rzeo_net::AcceptedStream;
use smol::channel::{Receiver, Sender, bounded, unbounded};
use smol::future::FutureExt as _;
use smol::{Async, LocalExecutor};

use crate::connection::serve_admitted;

/// A connection on its way to a worker.
pub(crate) struct Accepted {
    pub(crate) admitted: Admitted,
    pub(crate) stream: AcceptedStream,
}

/// The threads that serve.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    senders: Vec<Sender<Accepted>>,
    /// Closed when all workers have ended.
    ended: Receiver<Infallible>,
}

/// Gives each worker a connection in turn.
pub(crate) struct Distributor {
    senders: Vec<Sender<Accepted>>,
    next: usize,
}

impl Distributor {
    pub(crate) fn send(&mut self, accepted: Accepted) {
        self.next = (self.next + 1) % self.senders.len();
        // A worker that has ended has panicked; its share of new connections is closed at once.
        let _ = self.senders[self.next].try_send(accepted);
    }
}

impl Workers {
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (alive, ended) = bounded(1);
        let mut workers = Self { threads: Vec::new(), senders: Vec::new(), ended };
        for core in 0..cores {
            let (sender, receiver) = unbounded();
            let (tls, alive) = (tls.clone(), alive.clone());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{core}"))
                .spawn(move || work(tls, &receiver, alive))?;
            workers.threads.push(thread);
            workers.senders.push(sender);
        }
        Ok(workers)
    }

    pub(crate) fn distributor(&self) -> Distributor {
        Distributor { senders: self.senders.clone(), next: 0 }
    }

    /// Waits until all connections have ended. All distributors must have been dropped.
    pub(crate) async fn ended(self) {
        drop(self.senders);
        let Err(_) = self.ended.recv().await;
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread has panicked");
            }
        }
    }
}

fn work(tls: Option<Arc<ServerConfig>>, accepted: &Receiver<Accepted>, alive: Sender<Infallible>) {
    let runtime = LocalExecutor::new();
    smol::block_on(runtime.run(async {
        let (connection, ended) = bounded(1);
        while let Ok(next) = accepted.recv().await {
            start(&runtime, &connection, tls.clone(), next);
        }
        drop(connection);
        let Err(_) = ended.recv().await;
    }));
    drop(alive);
}

fn start(
    runtime: &LocalExecutor<'_>,
    alive: &Sender<Infallible>,
    tls: Option<Arc<ServerConfig>>,
    accepted: Accepted,
) {
    let Accepted { admitted, stream } = accepted;
    let started = match stream {
        AcceptedStream::Tcp(stream) => Async::new_nonblocking(stream)
            .map(|stream| spawn(runtime, alive, serve_admitted(admitted, stream, tls))),
        AcceptedStream::Unix(stream) => Async::new_nonblocking(stream)
            .map(|stream| spawn(runtime, alive, serve_admitted(admitted, stream, tls))),
    };
    if let Err(error) = started {
        tracing::error!("closed a connection that cannot be registered with the runtime: {error}");
    }
}

fn spawn(
    runtime: &LocalExecutor<'_>,
    alive: &Sender<Infallible>,
    connection: impl Future<Output = ()> + 'static,
) {
    let alive = alive.clone();
    let connection = async move {
        report(AssertUnwindSafe(connection).catch_unwind().await);
        drop(alive);
    };
    runtime.spawn(connection).detach();
}

/// A panic in a connection's task is a bug here; it ends that connection and no other.
fn report(ended: std::thread::Result<()>) {
    if ended.is_err() {
        tracing::error!("a connection ended with a panic");
    }
}
