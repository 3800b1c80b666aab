//! Signals, as an operator of Python's server knows them.
//!
//! `SIGTERM` and `SIGINT` stop the server, `SIGHUP` too, with a status that tells a supervisor to start it
//! again; `SIGUSR2` opens the log files anew. `SIGXFSZ` is taken and dropped, so that a write beyond
//! the limit fails instead of killing the process. All others do what they do by default.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::logging::Log;

/// Why the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is to be started again.
    Restart,
    /// It is not needed any more.
    Stop,
}

/// Watches for signals from now on. The first that ends the server arrives at the receiver. With
/// `reopenable` logs, `SIGUSR2` opens them anew.
pub(crate) fn watch(reopenable: Option<Log>) -> io::Result<oneshot::Receiver<Ending>> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXFSZ])?;
    let (sender, receiver) = oneshot::channel();
    let mut sender = Some(sender);
    let mut end = move |ending| {
        // Those after the first change nothing: the server is on its way out.
        if let Some(sender) = sender.take() {
            let _ = sender.send(ending);
        }
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
    Ok(receiver)
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
