//! The server from its first connection to its end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::rustls::ServerConfig;
use rzeo_host::Host;
use rzeo_net::Listener;
use rzeo_net::smol::SmolListener;
use smol::future::{FutureExt as _, yield_now};
use smol::{Executor, Timer};

use crate::workers::{Accepted, Distributor, Workers};

/// How long to wait before accepting again when the system is out of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `stop` is ready; then closes the listeners, and ends each connection after its pending
/// replies.
///
/// Connections that have not ended within [`Host::stop_time_max`], or when `hurry` is ready, are left
/// behind. With `tls`, all connections are encrypted. The caller closes the host afterwards.
///
/// Connections are served by threads of their own, one per core, each with its own executor. The current
/// executor, which may be any, only accepts them. Dropping the future closes the listeners and leaves
/// the connections to their threads.
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
    let workers = Workers::start(tls)?;
    let accepting = Executor::new();
    for listener in listeners {
        let listener = SmolListener::new(listener)?;
        accepting.spawn(accept(listener, host.clone(), workers.distributor())).detach();
    }
    accepting.run(stop).await;
    // Dropping its tasks closes the listeners.
    drop(accepting);
    host.stop_connections();
    let timed_out = async {
        Timer::after(host.stop_time_max()).await;
    };
    let gave_up = async {
        timed_out.or(hurry).await;
        host.log_open_connections();
    };
    workers.ended().or(gave_up).await;
    Ok(())
}

/// [`serve`] for callers without an executor: blocks the calling thread.
///
/// # Errors
/// As [`serve`].
pub fn serve_blocking(
    host: Arc<Host>,
    listeners: Vec<Listener>,
    tls: Option<Arc<ServerConfig>>,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> io::Result<()> {
    smol::block_on(serve(host, listeners, tls, stop, hurry))
}

async fn accept(listener: SmolListener, host: Arc<Host>, mut distributor: Distributor) {
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
                Timer::after(ACCEPT_RETRY).await;
            }
        }
        // A socket that is always ready must not keep the thread.
        yield_now().await;
    }
}
