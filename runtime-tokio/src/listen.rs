//! The life of the server: accepting, and the end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rzeo_host::Host;
use rzeo_net::Listener;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ServerConfig;

use crate::workers::{Accepted, Dealer, Workers};

/// How long to wait when the system has no more descriptors for a new connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `stop` is done; then stops listening and ends all connections, each after what is due
/// to it. After the time that the host gives for that, or when `hurry` is done, they are left as they
/// are. With `tls`, all connections are encrypted. The host is not closed. Blocks the calling thread.
///
/// # Errors
/// If the system refuses threads, or a listener.
pub fn run(
    host: &Arc<Host>,
    listeners: Vec<Listener>,
    tls: Option<Arc<ServerConfig>>,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let workers = Workers::start(tls)?;
    runtime.block_on(async {
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept(watch(listener)?, host.clone(), workers.dealer()));
        }
        stop.await;
        accepting.shutdown().await;
        host.stop_connections();
        tokio::select! {
            () = workers.ended() => {}
            () = tokio::time::sleep(host.stop_time_max()) => host.gave_up(),
            () = hurry => host.gave_up(),
        }
        Ok(())
    })
}

/// A listener that tokio knows of.
#[expect(deprecated, reason = "what is to replace it is unsafe; a listener keeps its descriptor")]
fn watch(listener: Listener) -> io::Result<AsyncFd<Listener>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

async fn accept(listener: AsyncFd<Listener>, host: Arc<Host>, mut dealer: Dealer) {
    loop {
        match listener.async_io(Interest::READABLE, Listener::accept).await {
            Ok((stream, peer)) => {
                if let Some(admitted) = host.admit(peer) {
                    dealer.deal(Accepted { admitted, stream });
                }
            }
            // Out of descriptors or memory: those who are connected are served on.
            Err(error) => {
                host.accept_failed(&error);
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
