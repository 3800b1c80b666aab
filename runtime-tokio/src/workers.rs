//! One single-threaded runtime per core, and the distribution of connections among them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use rzeo_host::Admitted;
use rzeo_net::AcceptedStream;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{
    Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel,
};
use tokio::task::JoinSet;
use tokio_rustls::rustls::ServerConfig;

use crate::connection::serve_admitted;

/// Maximum number of threads per worker that wait for the disk.
const WAITING_THREADS_MAX: usize = 32;

/// A connection on its way to a worker.
pub(crate) struct Accepted {
    pub(crate) admitted: Admitted,
    pub(crate) stream: AcceptedStream,
}

/// The threads that serve.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    senders: Vec<UnboundedSender<Accepted>>,
    /// Closed when all workers have ended.
    ended: Receiver<Infallible>,
}

/// Gives each worker a connection in turn.
pub(crate) struct Distributor {
    senders: Vec<UnboundedSender<Accepted>>,
    next: usize,
}

impl Distributor {
    pub(crate) fn send(&mut self, accepted: Accepted) {
        self.next = (self.next + 1) % self.senders.len();
        // A worker that has ended has panicked; its share of new connections is closed at once.
        let _ = self.senders[self.next].send(accepted);
    }
}

impl Workers {
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (alive, ended) = channel(1);
        let mut workers = Self { threads: Vec::new(), senders: Vec::new(), ended };
        for core in 0..cores {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(WAITING_THREADS_MAX)
                .build()?;
            let (sender, receiver) = unbounded_channel();
            let (tls, alive) = (tls.clone(), alive.clone());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{core}"))
                .spawn(move || work(runtime, tls, receiver, alive))?;
            workers.threads.push(thread);
            workers.senders.push(sender);
        }
        Ok(workers)
    }

    pub(crate) fn distributor(&self) -> Distributor {
        Distributor { senders: self.senders.clone(), next: 0 }
    }

    /// Waits until all connections have ended. All distributors must have been dropped.
    pub(crate) async fn ended(mut self) {
        drop(self.senders);
        let None = self.ended.recv().await;
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread has panicked");
            }
        }
    }
}

fn work(
    runtime: Runtime,
    tls: Option<Arc<ServerConfig>>,
    mut accepted: UnboundedReceiver<Accepted>,
    alive: Sender<Infallible>,
) {
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                next = accepted.recv() => match next {
                    Some(next) => start(&mut connections, tls.clone(), next),
                    None => break,
                },
                Some(ended) = connections.join_next() => report(ended),
            }
        }
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    });
    // All connections have ended, so nothing waits for the threads that wait for the disk.
    runtime.shutdown_background();
    drop(alive);
}

fn start(connections: &mut JoinSet<()>, tls: Option<Arc<ServerConfig>>, accepted: Accepted) {
    let Accepted { admitted, stream } = accepted;
    let started = match stream {
        AcceptedStream::Tcp(stream) => TcpStream::from_std(stream)
            .map(|stream| spawn(connections, serve_admitted(admitted, stream, tls))),
        AcceptedStream::Unix(stream) => UnixStream::from_std(stream)
            .map(|stream| spawn(connections, serve_admitted(admitted, stream, tls))),
    };
    if let Err(error) = started {
        tracing::error!("closed a connection that cannot be registered with the runtime: {error}");
    }
}

fn spawn(connections: &mut JoinSet<()>, connection: impl Future<Output = ()> + Send + 'static) {
    connections.spawn(connection);
}

/// A panic in a connection's task is a bug here; it ends that connection and no other.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a connection ended with a panic: {error}");
    }
}
