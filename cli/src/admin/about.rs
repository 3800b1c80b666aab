//! The facts about a server that do not change while it runs.

use std::time::{Instant, SystemTime};

use crate::config::Runtime;

/// What does not change while a server runs.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(super) started: SystemTime,
    pub(super) began: Instant,
    /// Where it listens for clients.
    pub(super) addresses: Vec<String>,
    /// `tokio` or `smol`, as the page shows it.
    pub(super) runtime: &'static str,
    pub(super) read_only: bool,
}

impl About {
    /// A server that starts now.
    pub(crate) fn new(addresses: Vec<String>, runtime: Runtime, read_only: bool) -> Self {
        let runtime = runtime.name();
        let (started, began) = (SystemTime::now(), Instant::now());
        Self { started, began, addresses, runtime, read_only }
    }
}
