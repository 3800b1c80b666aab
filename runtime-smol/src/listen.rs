//! The life of the server: accepting, and the end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::{Async, Timer};
use futures_lite::FutureExt as _;
use futures_lite::future::yield_now;
use futures_rustls::rustls::ServerConfig;
use rzeo_host::Host;
use rzeo_net::Listener;

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
    let runtime = LocalExecutor::new();
    let workers = Workers::start(tls)?;
    async_io::block_on(runtime.run(async {
        let mut accepting = Vec::new();
        for listener in listeners {
            accepting.push(runtime.spawn(accept(watch(listener)?, host.clone(), workers.dealer())));
        }
        stop.await;
        for task in accepting {
            task.cancel().await;
        }
        host.stop_connections();
        let time_is_up = async {
            Timer::after(host.stop_time_max()).await;
        };
        let gave_up = async {
            time_is_up.or(hurry).await;
            host.gave_up();
        };
        workers.ended().or(gave_up).await;
        Ok(())
    }))
}

/// A listener that smol knows of.
fn watch(listener: Listener) -> io::Result<Async<Listener>> {
    Async::new_nonblocking(listener)
}

async fn accept(listener: Async<Listener>, host: Arc<Host>, mut dealer: Dealer) {
    loop {
        match listener.read_with(Listener::accept).await {
            Ok((stream, peer)) => {
                if let Some(admitted) = host.admit(peer) {
                    dealer.deal(Accepted { admitted, stream });
                }
            }
            // Out of descriptors or memory: those who are connected are served on.
            Err(error) => {
                host.accept_failed(&error);
                Timer::after(ACCEPT_RETRY).await;
            }
        }
        // A socket that is always ready must not keep the thread.
        yield_now().await;
    }
}
