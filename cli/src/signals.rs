//! Signals, as an operator of Python's server knows them.
//!
//! `SIGTERM` and `SIGINT` stop the server; `SIGHUP` too, with a status on which a supervisor restarts it;
//! `SIGUSR2` reopens the log files. `SIGXFSZ` is caught and ignored, so that a write beyond the file size limit
//! fails instead of killing the process. All others have their default effect.

use std::io;
use std::thread;

use rzeo_eventlog::Log;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

/// Why the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A supervisor restarts it.
    Restart,
    /// It ends for good.
    Stop,
}

/// Where signals that end the server arrive.
pub(crate) struct Endings {
    /// Receives the first signal.
    pub(crate) first: oneshot::Receiver<Ending>,
    /// Receives the second signal: everything ends at once.
    pub(crate) second: SecondSignal,
}

/// The second signal that ends the server.
#[derive(Clone)]
pub(crate) struct SecondSignal(watch::Receiver<bool>);

impl SecondSignal {
    /// Waits until it was received.
    pub(crate) async fn received(mut self) {
        // The sender lives as long as the process.
        let _ = self.0.wait_for(|is_received| *is_received).await;
    }
}

/// Handles signals from now on. `SIGUSR2` reopens `reopenable` logs.
pub(crate) fn watch(reopenable: Option<Log>) -> io::Result<Endings> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXFSZ])?;
    let (to_first, first) = oneshot::channel();
    let (to_second, second) = watch::channel(false);
    let mut to_first = Some(to_first);
    let mut end = move |ending| match to_first.take() {
        Some(sender) => drop(sender.send(ending)),
        None => drop(to_second.send(true)),
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    log("restarted by SIGHUP");
                    end(Ending::Restart);
                }
                SIGINT => {
                    log("terminated by SIGINT");
                    end(Ending::Stop);
                }
                SIGTERM => {
                    log("terminated by SIGTERM");
                    end(Ending::Stop);
                }
                SIGUSR2 => reopen(reopenable.as_ref()),
                _ => {}
            }
        }
    })?;
    Ok(Endings { first, second: SecondSignal(second) })
}

/// Logs as `runzeo` does, with the process id in front.
pub(crate) fn log(message: &str) {
    info!(target: "ZEO.runzeo", "({}) {message}", std::process::id());
}

fn reopen(log_files: Option<&Log>) {
    let pid = std::process::id();
    let Some(log_files) = log_files else {
        warn!(target: "ZEO.runzeo", "({pid}) received SIGUSR2, but it was not handled!");
        return;
    };
    let failed = log_files.reopen();
    for failure in &failed {
        error!(target: "ZEO.runzeo", "({pid}) {failure}");
    }
    if failed.is_empty() {
        log("Log files reopened successfully");
    }
}
