//! The admin listener: what people and monitoring want to know of a running server, over HTTP.
//!
//! ```text
//!   /live         the process answers
//!   /ready        it serves, and every storage takes commits; or 503 and why not
//!   /metrics      figures for Prometheus
//!   /             a page for people
//!   /status.json  what is on the page, for programs
//! ```
//!
//! It is off unless an address is given, and it only tells: nothing can be changed here, and no
//! record and no secret is shown. It runs on a thread of its own, with a small runtime of its own, so
//! it is the same whatever runtime serves the databases, and answers when those threads are busy.
//! Whoever asks pays: sessions count with relaxed atomic operations, and the hub's lock is taken for as
//! long as it takes to copy its figures.
//!
//! `http` is the only part that knows sockets; `report` puts together what there is to tell, `metrics`
//! and `page` write it down.

mod history;
mod http;
mod machine;
mod metrics;
mod page;
mod report;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use rzeo_host::Host;
use rzeo_zconfig::SocketAddress;
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::info;

use crate::config::Runtime;
use crate::process::{self, SocketFile};

/// Where the admin listener cannot listen.
#[derive(Debug, Error)]
#[error("cannot answer admin requests on {address}: {source}")]
pub(crate) struct AdminError {
    address: SocketAddress,
    /// The system's reason.
    pub(crate) source: io::Error,
}

/// What does not change while a server runs.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// When it started.
    started: SystemTime,
    began: Instant,
    /// Where it listens for clients.
    addresses: Vec<String>,
    /// The runtime's name.
    runtime: &'static str,
    read_only: bool,
}

impl About {
    /// A server that starts now.
    pub(crate) fn new(addresses: Vec<String>, runtime: Runtime, read_only: bool) -> Self {
        let runtime = runtime.name();
        let (started, began) = (SystemTime::now(), Instant::now());
        Self { started, began, addresses, runtime, read_only }
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
    /// Answers from now on. An address without a host is one of this machine only.
    ///
    /// # Errors
    /// If the address is in use or is none, or there is no thread to be had.
    pub(crate) fn start(
        address: &SocketAddress,
        host: Arc<Host>,
        about: About,
    ) -> Result<Self, AdminError> {
        let failed = |source| AdminError { address: address.clone(), source };
        if process::is_in_use(address) {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        let socket_file = SocketFile::claim(address);
        let listener = bind(address).map_err(failed)?;
        info!(target: "rzeo.admin", "status page on {listener}");
        let (stop, stopped) = oneshot::channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(http::serve(listener, host, about, stopped)))
            .map_err(failed)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), _socket_file: socket_file })
    }
}

/// Nobody asks a storage any more that is about to be closed.
impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was logged when it happened.
            let _ = thread.join();
        }
    }
}

fn bind(address: &SocketAddress) -> io::Result<http::Listener> {
    Ok(match address {
        SocketAddress::Unix(path) => {
            http::Listener::Unix(std::os::unix::net::UnixListener::bind(path)?)
        }
        SocketAddress::Tcp { host, port } => {
            let port = port.unwrap_or(0);
            http::Listener::Tcp(match host {
                Some(host) => std::net::TcpListener::bind((host.as_str(), port))?,
                None => {
                    let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
                    std::net::TcpListener::bind(here)?
                }
            })
        }
    })
}
