//! Stopping a copy early, between two records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::tools::ToolError;

/// A flag that stops the copy before the next record.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(pub(super) Arc<AtomicBool>);

impl Stop {
    /// A flag that SIGINT and SIGTERM set. A second signal ends the process immediately.
    pub(super) fn by_signals() -> Result<Self, ToolError> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, stop.0.clone())?;
            flag::register(signal, stop.0.clone())?;
        }
        Ok(stop)
    }

    pub(super) fn check(&self) -> Result<(), ToolError> {
        if self.0.load(Ordering::Relaxed) { Err(ToolError::Interrupted) } else { Ok(()) }
    }
}
