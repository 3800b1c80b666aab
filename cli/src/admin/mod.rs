//! The admin listener: the status page, metrics and health probes of a running server, over HTTP.
//!
//! ```text
//!   /live         the process answers
//!   /ready        the server serves, and every storage accepts commits; or 503 and the reasons
//!   /metrics      metrics for Prometheus
//!   /             the status page
//!   /status.json  the content of the page, for programs
//! ```
//!
//! It is off unless an address is given. It is read-only, has no authentication, and shows no record and no
//! secret. It runs on a thread of its own, with a small runtime of its own, so
//! it is the same whatever runtime serves the databases, and answers when those threads are busy.
//! Figures cost nothing until a request comes: sessions count with relaxed atomic operations, and the lock of
//! the hub is held only to copy its figures.
//!
//! `http` is the only part that knows sockets; `report` collects the figures, `metrics` and `page` write them.

mod about;
mod history;
mod http;
mod metrics;
mod page;
mod process_figures;
mod report;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

pub(crate) use about::About;
use rzeo_host::Host;
use rzeo_net::{Address, BoundSockets, ListenError};
use tokio::sync::oneshot;
use tracing::info;

use crate::sockets::{self, SocketFile};

/// The address of the admin listener, bound before anything is served.
pub(crate) struct AdminSockets {
    sockets: BoundSockets,
    file: SocketFile,
}

impl AdminSockets {
    /// Listens on the address; connections wait until [`Admin`] accepts them.
    pub(crate) fn bind(address: &Address) -> Result<Self, ListenError> {
        let (sockets, file) = sockets::bind(address)?;
        Ok(Self { sockets, file })
    }
}

/// The listener, until it is dropped.
pub(crate) struct Admin {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Removed with the listener.
    _socket_file: SocketFile,
}

impl Admin {
    /// Answers from now on.
    ///
    /// # Errors
    /// If the system refuses a thread, or the sockets.
    pub(crate) fn start(reserved: AdminSockets, host: Arc<Host>, about: About) -> io::Result<Self> {
        let sockets = reserved.sockets.listen().map_err(io::Error::other)?;
        match sockets.first().map(rzeo_net::Listener::address).transpose()? {
            Some(Address::Unix(path)) => {
                info!(target: "rzeo.admin", "status page on {}", path.display());
            }
            Some(address) => info!(target: "rzeo.admin", "status page on http://{address}/"),
            None => {}
        }
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(http::serve(sockets, host, about, stopped)))?;
        Ok(Self { stop: Some(stop), thread: Some(thread), _socket_file: reserved.file })
    }
}

/// Ends the listener before its storages are closed.
impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was logged when it happened.
            let _ = thread.join();
        }
    }
}
