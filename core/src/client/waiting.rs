//! Calls that can wait for a connection.

use alloc::vec::Vec;

use super::context::{Caller, Context};
use super::error::CallError;
use super::ids::ConnId;
use super::query::{Reply, Request};
use crate::ids::{Oid, Tid};
use crate::storage::Revision;
use crate::time::Instant;

/// A call that can wait for a connection.
#[derive(Debug)]
pub(super) enum Wanted {
    Load(Caller<Option<Revision>>, Oid, Tid),
    NewOid(Caller<Oid>),
    Query(Caller<Reply>, Request),
    Download(Caller<()>, Oid, Tid),
}

impl Wanted {
    pub(super) fn fail(&self, cx: &mut Context, error: CallError) {
        match self {
            Self::Load(caller, ..) => cx.answer(caller.call, Err(error)),
            Self::NewOid(caller) => cx.answer(caller.call, Err(error)),
            Self::Query(caller, _) => cx.answer(caller.call, Err(error)),
            Self::Download(caller, ..) => cx.answer(caller.call, Err(error)),
        }
    }

    /// Since when it waits.
    pub(super) const fn since(&self) -> Instant {
        match self {
            Self::Load(caller, ..) => caller.since,
            Self::NewOid(caller) => caller.since,
            Self::Query(caller, _) => caller.since,
            Self::Download(caller, ..) => caller.since,
        }
    }

    /// The connection that it belongs to, if it means nothing on another.
    pub(super) const fn connection(&self) -> Option<ConnId> {
        match self {
            Self::Query(_, request) => request.connection,
            Self::Load(..) | Self::NewOid(_) | Self::Download(..) => None,
        }
    }
}

/// Calls that wait for a connection.
#[derive(Debug, Default)]
pub(super) struct WaitingCalls(Vec<Wanted>);

impl WaitingCalls {
    pub(super) fn push(&mut self, wanted: Wanted) {
        self.0.push(wanted);
    }

    pub(super) fn take(&mut self) -> Vec<Wanted> {
        core::mem::take(&mut self.0)
    }

    /// When the first of them has waited for as long as a call may.
    pub(super) fn timeout(&self, cx: &Context) -> Option<Instant> {
        let since = self.0.iter().map(Wanted::since).min()?;
        Some(since.after(cx.settings.wait_timeout))
    }
}
