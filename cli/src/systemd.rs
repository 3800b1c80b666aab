//! systemd: the sockets that it passes, and the notifications that it receives: ready, stopping, alive.
//! Without systemd, none of it does anything.

use std::io;
use std::sync::Arc;
use std::thread;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use rzeo_host::Host;
use rzeo_net::Listener;
use sd_notify::NotifyState;
use thiserror::Error;
use tracing::warn;

/// A passed socket that cannot be used.
#[derive(Debug, Error)]
#[error(
    "socket {number} of those that systemd has passed cannot be used: {source}; \
     use ListenStream= with Accept=no in the socket unit"
)]
pub(crate) struct InheritError {
    /// Its number; the first is 1.
    number: usize,
    source: io::Error,
}

/// The sockets that systemd has passed to this process. Called once, before there are threads, because it removes
/// them from the environment.
pub(crate) fn inherited() -> Result<Vec<Listener>, InheritError> {
    let mut passed = ListenFd::from_env();
    let count = passed.len();
    let take = |index| {
        take(&mut passed, index).map_err(|source| InheritError { number: index + 1, source })
    };
    (0..count).map(take).collect()
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Listener> {
    // What is not of the one kind stays in its place and may be of the other.
    let listener = match passed.take_tcp_listener(index) {
        Ok(Some(socket)) => Listener::Tcp(socket),
        Ok(None) | Err(_) => match passed.take_unix_listener(index)? {
            Some(socket) => Listener::Unix(socket),
            None => return Err(io::Error::other("it is in use already")),
        },
    };
    if !socket_acceptconn(&listener)? {
        return Err(io::Error::other("it does not listen"));
    }
    match &listener {
        Listener::Tcp(socket) => socket.set_nonblocking(true)?,
        Listener::Unix(socket) => socket.set_nonblocking(true)?,
    }
    Ok(listener)
}

/// Notifies systemd that clients can connect.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Notifies systemd that the server stops.
pub(crate) fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// If systemd has a watchdog, sends keep-alives for as long as the storages respond.
pub(crate) fn send_keep_alives(host: &Arc<Host>) -> io::Result<()> {
    let Some(limit) = sd_notify::watchdog_enabled() else { return Ok(()) };
    let host = host.clone();
    let watch = move || {
        loop {
            // Waits for the hub of each storage; if one hangs, no keep-alive is sent.
            let _ = host.overview();
            notify(&[NotifyState::Watchdog]);
            thread::sleep(limit / 2);
        }
    };
    thread::Builder::new().name("watchdog".to_owned()).spawn(watch).map(drop)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(target: "ZEO.runzeo", "systemd cannot be notified of {states:?}: {error}");
    }
}
