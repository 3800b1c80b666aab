//! The outgoing half of a connection: what is sent, in which order, and how the connection ends.
//!
//! Everything that a session has for its adapter goes into two queues: actions, and bytes. Actions come
//! out first, so that the replies to everything that arrived together are gathered into one chunk. Each
//! queue keeps its order, and the order of the bytes is the protocol's promise. Storage calls that have
//! to wait their turn ([`CallQueue`]) come out between the two. A close comes last.
//!
//! A backlog beyond its maximum consists of notifications that the peer does not read: everything else
//! is bounded by what the peer requests.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::call_queue::CallQueue;
use crate::ids::{Oid, Tid};
use crate::pickle::Sink as _;
use crate::server::caller::{CallId, Caller};
use crate::server::close_reason::CloseReason;
use crate::server::ids::StorageId;
use crate::server::invalidation::Invalidation;
use crate::server::limits::Limits;
use crate::server::log_line::{LogClient, LogLevel, LogLine};
use crate::server::messages::{HubRequest, Output};
use crate::server::peer::{PeerInfo, Traffic};
use crate::server::storage_calls::{Job, StorageCall};
use crate::storage::Revision;
use crate::time::UnixTime;
use crate::value::Value;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;
use crate::wire::{Codec, Flag, Outgoing, Unwritable, load};

#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) codec: Codec,
    outgoing: Outgoing,
    actions: VecDeque<Output>,
    calls: CallQueue,
    /// Bytes given to the adapter and not yet taken by the socket.
    unsent: usize,
    backlog_bytes_max: usize,
    backlog_bytes_high: usize,
    end: End,
    /// `host:port` of the peer, and the label that it has chosen.
    peer: Arc<str>,
    label: Option<Arc<str>>,
    since: UnixTime,
    traffic: Arc<Traffic>,
}

/// Whether the connection ends.
#[derive(Debug, PartialEq)]
enum End {
    Open,
    /// Close after what is queued.
    Closing(CloseReason),
    /// The adapter has the close.
    Closed,
}

impl Outbox {
    pub(super) fn new(codec: Codec, limits: &Limits, peer: String, since: UnixTime) -> Self {
        Self {
            codec,
            outgoing: Outgoing::new(),
            actions: VecDeque::new(),
            calls: CallQueue::default(),
            unsent: 0,
            backlog_bytes_max: limits.backlog_bytes_max,
            backlog_bytes_high: limits.backlog_bytes_high,
            end: End::Open,
            peer: peer.into(),
            label: None,
            since,
            traffic: Arc::default(),
        }
    }

    /// A payload that is no message: a greeting or a status.
    pub(super) fn raw(&mut self, payload: &[u8]) {
        self.outgoing.push_frame(payload);
    }

    /// Answers a call. A one-way caller gets no reply, and a refusal to it ends the connection, since
    /// there is no other way to refuse.
    pub(super) fn answer(&mut self, caller: Caller, result: Result<Reply, Refusal>) {
        if let (CallId::Load(oid, before), Ok(Reply::Loaded(revision))) = (&caller.id, &result) {
            return self.send_revision(*oid, *before, revision);
        }
        let (flag, value) = match result {
            Ok(_) if caller.oneway => return,
            Err(refusal) if caller.oneway => {
                return self.close(CloseReason::OneWayRefused { refusal });
            }
            Ok(reply) => (Flag::Reply, reply.into_value()),
            Err(refusal) => (Flag::Error, refusal.to_value()),
        };
        self.send(&caller.id.into_value(), flag, ".reply", &value);
    }

    /// Answers a load with what was found.
    fn send_revision(&mut self, oid: Oid, before: Tid, revision: &Revision) {
        if self.is_open() {
            let written =
                load::write_reply(self.codec, &mut self.outgoing, (oid, before), revision);
            let id = || CallId::Load(oid, before).into_value();
            written.unwrap_or_else(|unwritable| self.send_unwritable(&id(), ".reply", unwritable));
        }
    }

    /// Sends a part of what the peer has requested. The caller bounds how much of it waits.
    pub(super) fn send_part(&mut self, name: &str, args: Vec<Value>) {
        self.send(&Value::Int(0), Flag::Oneway, name, &Value::Tuple(args));
    }

    /// Sends something that the peer did not request.
    pub(super) fn notify(&mut self, name: &str, args: Vec<Value>) {
        self.send_part(name, args);
        self.limit_backlog();
    }

    /// Sends an invalidation, in the bytes that all connections with this encoding share.
    pub(super) fn invalidate(&mut self, invalidation: &Invalidation) {
        if !self.is_open() {
            return;
        }
        match invalidation.frame(self.codec) {
            Ok(frame) => self.outgoing.put_shared(frame),
            Err(unwritable) => {
                self.send_unwritable(&Value::Int(0), "invalidateTransaction", unwritable.clone());
            }
        }
        self.limit_backlog();
    }

    fn limit_backlog(&mut self) {
        let queued = self.queued();
        if queued > self.backlog_bytes_max {
            self.close(CloseReason::Backlog { queued, limit: self.backlog_bytes_max });
        }
    }

    /// Sends a notification with one dict.
    pub(super) fn notify_dict(&mut self, name: &str, items: Vec<(Value, Value)>) {
        self.notify(name, vec![Value::Dict(items)]);
    }

    fn send(&mut self, id: &Value, flag: Flag, name: &str, args: &Value) {
        if self.is_open() {
            let written = self.codec.write(&mut self.outgoing, id, flag, name, args);
            written.unwrap_or_else(|unwritable| self.send_unwritable(id, name, unwritable));
        }
    }

    /// A value that the peer's encoding cannot carry becomes the error reply that Python's server sends
    /// then.
    fn send_unwritable(&mut self, id: &Value, name: &str, unwritable: Unwritable) {
        self.log(LogLevel::Error, &format!("the result of a call cannot be sent: {unwritable}"));
        let refusal = Refusal::text("builtins.ValueError", "Couldn't pickle response").to_value();
        let written = self.codec.write(&mut self.outgoing, id, Flag::Error, name, &refusal);
        if written.is_err() {
            self.close(CloseReason::Unanswerable(unwritable));
        }
    }

    /// Makes a storage call when it is its turn.
    pub(super) fn perform(&mut self, storage: StorageId, job: Job) {
        if let Some(job) = self.calls.push(storage, job) {
            self.actions.push_back(Output::Perform(storage, StorageCall(job)));
        }
    }

    /// A storage call was answered.
    pub(super) const fn performed(&mut self) {
        self.calls.answered();
    }

    /// Storage calls that wait or are under way.
    pub(super) fn storage_calls(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn ask(&mut self, storage: StorageId, request: HubRequest) {
        self.actions.push_back(Output::Ask(storage, request));
    }

    /// Logs in the form of Python's server: `(LABEL host:port) text`. Some of the text may come from the
    /// peer, so it is cut to one line of bounded length.
    pub(super) fn log(&mut self, level: LogLevel, text: &str) {
        let text = one_line(text, 1_000);
        let text = match &self.label {
            Some(label) => format!("({label} {}) {text}", self.peer),
            None => format!("({}) {text}", self.peer),
        };
        let client = LogClient { address: self.peer.clone(), label: self.label.clone() };
        let client = Some(client);
        self.actions.push_back(Output::Log(LogLine { level, text, client }));
    }

    pub(super) fn set_label(&mut self, label: String) {
        self.label = Some(label.into());
    }

    /// Describes the peer to the hub.
    pub(super) fn introduce(&mut self, storage: StorageId, read_only: bool) {
        let client = PeerInfo {
            peer: self.peer.clone(),
            label: self.label.clone(),
            read_only,
            since: self.since,
            traffic: self.traffic.clone(),
        };
        self.ask(storage, HubRequest::Introduce(client));
    }

    /// Counts bytes that arrived.
    pub(super) fn received(&self, bytes: usize) {
        self.traffic.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Ends the connection after what is queued. Only the first reason counts.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.is_open() {
            self.log(reason.level(), &reason.to_string());
            self.end = End::Closing(reason);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.end == End::Open
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.unsent = self.unsent.saturating_sub(bytes);
        self.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether the peer has so much to read that its requests wait.
    pub(super) fn is_congested(&self) -> bool {
        self.queued() > self.backlog_bytes_high
    }

    /// Bytes that the peer has not taken.
    fn queued(&self) -> usize {
        self.unsent + self.outgoing.len()
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.is_open()
            && let Some((storage, job)) = self.calls.next(self.queued(), self.backlog_bytes_high)
        {
            return Some(Output::Perform(storage, StorageCall(job)));
        }
        if let Some(chunk) = self.outgoing.take_chunk() {
            self.unsent += chunk.len();
            self.traffic.queued.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            return Some(Output::Transmit(chunk));
        }
        match core::mem::replace(&mut self.end, End::Closed) {
            End::Open => {
                self.end = End::Open;
                None
            }
            End::Closing(reason) => Some(Output::Close(reason)),
            End::Closed => None,
        }
    }
}

/// A text without control characters and of bounded length, for a line of the log.
pub(super) fn one_line(text: &str, length_max: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(length_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some of what is logged comes from the peer, such as the name of an unknown storage.
    #[test]
    fn a_log_line_is_one_line() {
        let mut out = Outbox::new(Codec::Pickle, &Limits::default(), "peer".into(), UnixTime(0.0));
        let name = "x\n2026-01-01 CRITICAL fake\r\x1b[2J".repeat(1_000);
        let refusal = Refusal::text("builtins.ValueError", format!("unknown storage: {name}"));
        out.answer(Caller::unanswered(), Err(refusal));
        let Some(Output::Log(logged)) = out.poll() else { panic!("a close is logged") };
        assert_eq!(logged.client.map(|client| client.address).as_deref(), Some("peer"));
        assert!(!logged.text.contains(char::is_control));
        assert!(logged.text.len() < 1_100, "{} bytes", logged.text.len());
    }
}
