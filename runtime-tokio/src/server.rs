//! The server from its first connection to its end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rzeo_host::Host;
use rzeo_net::Listener;
use rzeo_net::tokio::TokioListener;
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_rustls::rustls::ServerConfig;

use crate::workers::{Accepted, Distributor, Workers};

/// How long to wait before accepting again when the system is out of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `stop` is ready; then closes the listeners, and ends each connection after its pending
/// replies.
///
/// Connections that have not ended within [`Host::stop_time_max`], or when `hurry` is ready, are left
/// behind. With `tls`, all connections are encrypted. The caller closes the host afterwards.
///
/// Connections are served by threads of their own, one per core, each with its own runtime. The current
/// runtime only accepts them; it needs its I/O and its timers. Dropping the future closes the listeners
/// and leaves the connections to their threads.
///
/// # Errors
/// If the system refuses threads, or a listener.
pub async fn serve(
    host: Arc<Host>,
    listeners: Vec<Listener>,
    tls: Option<Arc<ServerConfig>>,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> io::Result<()> {
    // A runtime that is not needed after all can only be dropped on a thread that may block.
    let starting = spawn_blocking(move || Workers::start(tls));
    let workers = starting.await.map_err(io::Error::other)??;
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let listener = TokioListener::new(listener)?;
        accepting.spawn(accept(listener, host.clone(), workers.distributor()));
    }
    stop.await;
    accepting.shutdown().await;
    host.stop_connections();
    tokio::select! {
        () = workers.ended() => {}
        () = tokio::time::sleep(host.stop_time_max()) => host.log_open_connections(),
        () = hurry => host.log_open_connections(),
    }
    Ok(())
}

/// [`serve`] for callers without a runtime: blocks the calling thread.
///
/// # Errors
/// As [`serve`]; and if it is called from async code, which would block the runtime.
pub fn serve_blocking(
    host: Arc<Host>,
    listeners: Vec<Listener>,
    tls: Option<Arc<ServerConfig>>,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> io::Result<()> {
    if Handle::try_current().is_ok() {
        return Err(io::Error::other(
            "serve_blocking was called inside a tokio runtime; use serve(…).await there",
        ));
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(host, listeners, tls, stop, hurry))
}

async fn accept(listener: TokioListener, host: Arc<Host>, mut distributor: Distributor) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Some(admitted) = host.admit(peer) {
                    distributor.send(Accepted { admitted, stream });
                }
            }
            // Out of descriptors or memory. Existing connections are still served.
            Err(error) => {
                host.accept_failed(&error);
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
