//! The calls that the storage answers without further work of the session.

use super::context::Context;
use crate::ids::Tid;
use crate::server::caller::Caller;
use crate::server::storage_calls::{Query, QueryJob};
use crate::storage::StorageError;
use crate::wire::call::QueryCall;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;

/// The queries of a connection. Each carries its caller; only their memory is counted here.
#[derive(Debug, Default)]
pub(super) struct Queries {
    message_bytes: usize,
}

impl Queries {
    /// Bytes of the messages that asked for the queries under way.
    pub(super) const fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    pub(super) fn call(&mut self, cx: &mut Context<'_>, caller: Caller, call: QueryCall) {
        let description = &cx.registration.entry().description;
        match Query::from_call(call, description, cx.registration.read_only) {
            Ok(query) => self.start(cx, caller, query),
            Err(refusal) => cx.answer(caller, Err(refusal)),
        }
    }

    /// What changed after a tid that the invalidation queue does not reach back to.
    pub(super) fn changes(&mut self, cx: &mut Context<'_>, caller: Caller, after: Tid, up_to: Tid) {
        self.start(cx, caller, Query::Changes { after, up_to });
    }

    fn start(&mut self, cx: &mut Context<'_>, caller: Caller, query: Query) {
        self.message_bytes += caller.message_bytes;
        cx.perform(QueryJob { caller, query });
    }

    pub(super) fn answered(
        &mut self,
        cx: &mut Context<'_>,
        caller: Caller,
        result: Result<Reply, StorageError>,
    ) {
        self.message_bytes -= caller.message_bytes;
        cx.answer(caller, result.map_err(Refusal::from));
    }
}
