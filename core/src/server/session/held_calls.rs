//! Calls of a transaction that wait until a step of it is done.

use alloc::collections::VecDeque;

use crate::server::caller::Caller;
use crate::wire::call::TxnCall;

/// Maximum number of calls that wait before no more are read.
const CALLS_MAX: usize = 1_000;

/// Maximum number of bytes of their messages, likewise.
const BYTES_MAX: usize = 1 << 20;

/// The queue. Calls leave it in the order in which they arrived.
#[derive(Debug, Default)]
pub(super) struct HeldCalls {
    queue: VecDeque<(Caller, TxnCall)>,
    /// Bytes of the messages in the queue.
    bytes: usize,
}

impl HeldCalls {
    pub(super) fn push(&mut self, caller: Caller, call: TxnCall) {
        self.bytes += caller.message_bytes;
        self.queue.push_back((caller, call));
    }

    pub(super) fn pop(&mut self) -> Option<(Caller, TxnCall)> {
        let (caller, call) = self.queue.pop_front()?;
        self.bytes -= caller.message_bytes;
        Some((caller, call))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether no more calls should be read.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= CALLS_MAX || self.bytes >= BYTES_MAX
    }
}
