//! What systemd passes on and wants to hear: sockets that it holds for us, how far we are, and whether
//! we are alive. Without systemd, none of it does anything.

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

/// A socket that was passed on and is of no use.
#[derive(Debug, Error)]
#[error(
    "socket {number} of those that systemd has passed cannot be used: {source}; \
     it takes a ListenStream= with Accept=no"
)]
pub(crate) struct InheritError {
    /// Which one; the first is 1.
    number: usize,
    /// What is wrong with it.
    source: io::Error,
}

/// The sockets that systemd has made for this process, if it has. To be called once, before there are
/// threads, because the environment forgets them.
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
            None => return Err(io::Error::other("it was used already")),
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

/// Clients can connect.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Nobody new is served.
pub(crate) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// If systemd wants to know from time to time, tells it for as long as the storages answer.
pub(crate) fn keep_telling(host: &Arc<Host>) -> io::Result<()> {
    let Some(limit) = sd_notify::watchdog_enabled() else { return Ok(()) };
    let host = host.clone();
    let watch = move || {
        loop {
            // Waits for the hub of each storage; if one does not come back, neither does this.
            let _ = host.overview();
            tell(&[NotifyState::Watchdog]);
            thread::sleep(limit / 2);
        }
    };
    thread::Builder::new().name("watchdog".to_owned()).spawn(watch).map(drop)
}

fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        warn!(target: "ZEO.runzeo", "systemd cannot be told {news:?}: {error}");
    }
}
