//! Calls that wait for a connection.

use alloc::vec::Vec;

use super::context::{Caller, Context};
use super::request::Request;
use crate::ids::{Oid, Tid};
use crate::time::Instant;

/// A call that can wait for a connection.
#[derive(Debug)]
pub(super) enum Wanted {
    Load(Oid, Tid),
    NewOid,
    Request(Request),
}

/// Calls that wait for a connection.
#[derive(Debug, Default)]
pub(super) struct WaitingCalls(Vec<(Caller, Wanted)>);

impl WaitingCalls {
    pub(super) fn push(&mut self, caller: Caller, wanted: Wanted) {
        self.0.push((caller, wanted));
    }

    pub(super) fn take(&mut self) -> Vec<(Caller, Wanted)> {
        core::mem::take(&mut self.0)
    }

    /// When the first of them has waited for as long as a call may.
    pub(super) fn timeout(&self, cx: &Context) -> Option<Instant> {
        let since = self.0.iter().map(|(caller, _)| caller.since).min()?;
        Some(since.after(cx.settings.wait_timeout))
    }
}
