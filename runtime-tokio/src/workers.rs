//! One single-threaded runtime per core, and connections dealt out among them.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rzeo_host::Host;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::connection::serve;

/// Threads of a worker that may wait for the disk at once.
const WAITING_THREADS_MAX: usize = 32;

/// A connection that no runtime owns yet.
pub(crate) enum Accepted {
    Tcp(std::net::TcpStream, String),
    Unix(std::os::unix::net::UnixStream),
}

/// The threads that serve.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    senders: Vec<UnboundedSender<Accepted>>,
}

/// Deals connections out in turn.
pub(crate) struct Dealer {
    senders: Vec<UnboundedSender<Accepted>>,
    next: usize,
}

impl Dealer {
    pub(crate) fn deal(&mut self, accepted: Accepted) {
        self.next = (self.next + 1) % self.senders.len();
        // A worker that is gone has panicked; its share of new connections is closed at once.
        let _ = self.senders[self.next].send(accepted);
    }
}

impl Workers {
    pub(crate) fn start(host: Arc<Host>) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut workers = Self { threads: Vec::new(), senders: Vec::new() };
        for core in 0..cores {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(WAITING_THREADS_MAX)
                .build()?;
            let (sender, receiver) = unbounded_channel();
            let host = host.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{core}"))
                .spawn(move || work(&runtime, host, receiver))?;
            workers.threads.push(thread);
            workers.senders.push(sender);
        }
        Ok(workers)
    }

    pub(crate) fn dealer(&self) -> Dealer {
        Dealer { senders: self.senders.clone(), next: 0 }
    }

    /// Waits until all connections have ended, at most for `patience`. All dealers must be gone.
    pub(crate) fn stop(self, patience: Duration) {
        drop(self.senders);
        let deadline = std::time::Instant::now() + patience;
        for thread in self.threads {
            while !thread.is_finished() && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() && thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}

fn work(runtime: &Runtime, host: Arc<Host>, mut accepted: UnboundedReceiver<Accepted>) {
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                next = accepted.recv() => match next {
                    Some(next) => start(&mut connections, &host, next),
                    None => break,
                },
                Some(ended) = connections.join_next() => report(ended),
            }
        }
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    });
}

fn start(connections: &mut JoinSet<()>, host: &Arc<Host>, accepted: Accepted) {
    match accepted {
        Accepted::Tcp(stream, peer) => match TcpStream::from_std(stream) {
            Ok(stream) => spawn(connections, serve(host.clone(), stream, peer)),
            Err(error) => tracing::debug!("connection from {peer} lost: {error}"),
        },
        Accepted::Unix(stream) => match UnixStream::from_std(stream) {
            Ok(stream) => spawn(connections, serve(host.clone(), stream, "unix".to_owned())),
            Err(error) => tracing::debug!("connection lost: {error}"),
        },
    }
}

fn spawn(connections: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
    connections.spawn(task);
}

/// A panic in a connection's task is a bug of ours; it ends that connection and no other.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a connection ended by a bug: {error}");
    }
}
