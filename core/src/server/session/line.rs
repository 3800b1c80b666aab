//! The outgoing half of a connection: how things are said, in which order, and how it ends.
//!
//! Everything that a session wants done goes through here into two queues: actions for the adapter,
//! and bytes. Actions come out first, so that the replies to everything that arrived together are
//! gathered into one chunk; among themselves each queue keeps its order, and the order of the bytes is
//! the protocol's promise. A close comes last.
//!
//! Storage calls are let out only while the peer has little to read and few are under way. So what
//! waits for a peer is a few records more than [`Limits::backlog_bytes_high`], however much it asks
//! for at once; a backlog beyond that is news that it does not read.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::ids::{Oid, Tid};
use crate::server::close_reason::CloseReason;
use crate::server::ids::{JobId, StorageId};
use crate::server::jobs::StorageCall;
use crate::server::limits::Limits;
use crate::server::log_line::{LogClient, LogLevel, LogLine};
use crate::server::messages::{HubRequest, Output};
use crate::server::peer::{PeerInfo, Traffic};
use crate::storage::Revision;
use crate::time::UnixTime;
use crate::value::Value;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;
use crate::wire::{Codec, Flag, Outgoing, Unwritable, load};

/// Storage calls under way at once; the others wait here, where they cost little, and leave room for
/// other connections on the threads that may wait for the disk.
const UNDER_WAY_MAX: usize = 16;

/// Who asked, and whether he listens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Caller {
    pub(super) msgid: MsgId,
    pub(super) oneway: bool,
    /// Length of the message, which is what the call takes while it waits.
    pub(super) message_bytes: usize,
}

/// What the peer calls its call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MsgId {
    /// The arguments of a load, as nearly all loads are called.
    Load(Oid, Tid),
    /// Anything else.
    Value(Value),
}

/// The outgoing half.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) codec: Codec,
    outgoing: Outgoing,
    actions: VecDeque<Output>,
    /// Storage calls that wait to be let out.
    calls: VecDeque<(StorageId, JobId, StorageCall)>,
    /// The next read of the blob that the peer gets.
    blob_read: Option<(StorageId, JobId, StorageCall)>,
    /// How many were let out and have not been answered.
    under_way: usize,
    /// Bytes given to the adapter and not yet taken by the socket.
    unsent: usize,
    backlog_bytes_max: usize,
    backlog_bytes_high: usize,
    end: End,
    /// `host:port` of the peer, and what it calls itself.
    peer: Arc<str>,
    label: Option<Arc<str>>,
    /// When it came.
    since: UnixTime,
    traffic: Arc<Traffic>,
}

/// How far the end has come.
#[derive(Debug, PartialEq)]
enum End {
    Open,
    /// Close after what is queued.
    Closing(CloseReason),
    /// The close was given to the adapter.
    Closed,
}

impl MsgId {
    fn into_value(self) -> Value {
        match self {
            Self::Load(oid, before) => Value::Tuple(vec![Value::oid(oid), Value::tid(before)]),
            Self::Value(value) => value,
        }
    }
}

impl Line {
    pub(super) fn new(codec: Codec, limits: &Limits, peer: String, since: UnixTime) -> Self {
        Self {
            codec,
            outgoing: Outgoing::new(),
            actions: VecDeque::new(),
            calls: VecDeque::new(),
            blob_read: None,
            under_way: 0,
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

    /// Answers a call. A one-way caller hears nothing, and a refusal to it ends the connection, since
    /// there is no other way to say no.
    pub(super) fn answer(&mut self, caller: Caller, result: Result<Reply, Refusal>) {
        if let (MsgId::Load(oid, before), Ok(Reply::Loaded(revision))) = (&caller.msgid, &result) {
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
        self.send(&caller.msgid.into_value(), flag, ".reply", &value);
    }

    /// Answers a load with what was found.
    fn send_revision(&mut self, oid: Oid, before: Tid, revision: &Revision) {
        if self.is_open() {
            let written =
                load::write_reply(self.codec, &mut self.outgoing, (oid, before), revision);
            let msgid = || MsgId::Load(oid, before).into_value();
            written
                .unwrap_or_else(|unwritable| self.send_unwritable(&msgid(), ".reply", unwritable));
        }
    }

    /// Sends a part of what the peer has asked for. What waits of it is bounded by whoever calls.
    pub(super) fn say(&mut self, name: &str, args: Vec<Value>) {
        self.send(&Value::Int(0), Flag::Oneway, name, &Value::Tuple(args));
    }

    /// Tells the peer something that it did not ask for.
    pub(super) fn notify(&mut self, name: &str, args: Vec<Value>) {
        self.say(name, args);
        let queued = self.unsent + self.outgoing.len();
        if queued > self.backlog_bytes_max {
            self.close(CloseReason::Backlog { queued, limit: self.backlog_bytes_max });
        }
    }

    /// Shorthand for a notice with one dict, as `info` is.
    pub(super) fn notify_dict(&mut self, name: &str, items: Vec<(Value, Value)>) {
        self.notify(name, vec![Value::Dict(items)]);
    }

    /// Sends a message.
    fn send(&mut self, msgid: &Value, flag: Flag, name: &str, args: &Value) {
        if self.is_open() {
            let written = self.codec.write(&mut self.outgoing, msgid, flag, name, args);
            written.unwrap_or_else(|unwritable| self.send_unwritable(msgid, name, unwritable));
        }
    }

    /// A value that the peer's encoding cannot carry becomes the error reply that Python's server sends
    /// then.
    fn send_unwritable(&mut self, msgid: &Value, name: &str, unwritable: Unwritable) {
        self.log(LogLevel::Error, &format!("the result of a call cannot be sent: {unwritable}"));
        let refusal = Refusal::text("builtins.ValueError", "Couldn't pickle response").to_value();
        let written = self.codec.write(&mut self.outgoing, msgid, Flag::Error, name, &refusal);
        if written.is_err() {
            self.close(CloseReason::Unanswerable(unwritable));
        }
    }

    /// Makes a storage call when it is its turn. Others wait for a vote, and what is written to a
    /// file waits in memory until it is: these calls do not wait for anything.
    pub(super) fn perform(&mut self, storage: StorageId, job: JobId, call: StorageCall) {
        match call {
            StorageCall::Vote(_)
            | StorageCall::Upload
            | StorageCall::SharedUpload { .. }
            | StorageCall::Scratch
            | StorageCall::Write { .. }
            | StorageCall::Discard(_) => {
                self.under_way += 1;
                self.actions.push_back(Output::Perform(storage, job, call));
            }
            StorageCall::ReadBlob { .. } => self.blob_read = Some((storage, job, call)),
            StorageCall::Load { .. }
            | StorageCall::LoadSerial { .. }
            | StorageCall::CurrentSerial { .. }
            | StorageCall::History { .. }
            | StorageCall::NextRecord { .. }
            | StorageCall::NewOids { .. }
            | StorageCall::Info
            | StorageCall::UndoLog { .. }
            | StorageCall::Changes { .. }
            | StorageCall::Iterate { .. }
            | StorageCall::Step(_)
            | StorageCall::OpenBlob { .. } => self.calls.push_back((storage, job, call)),
        }
    }

    /// A storage call is answered.
    pub(super) fn performed(&mut self) {
        self.under_way -= 1;
    }

    pub(super) fn ask(&mut self, storage: StorageId, request: HubRequest) {
        self.actions.push_back(Output::Ask(storage, request));
    }

    /// Logs in the form of Python's server: `(LABEL host:port) text`. Some of the text may be the
    /// peer's, so it is made one line of a decent length.
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

    /// Tells the hub who this is.
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

    /// The peer said so much.
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

    /// Whether the peer has so much to read that its requests can wait.
    pub(super) fn is_congested(&self) -> bool {
        self.unsent + self.outgoing.len() > self.backlog_bytes_high
    }

    /// The next call whose turn it is. A blob is read on while half of what may wait is free: so it
    /// goes on however much else is asked, and never keeps other requests from being heard.
    fn next_call(&mut self) -> Option<(StorageId, JobId, StorageCall)> {
        if !self.is_open() || self.is_congested() || self.under_way >= UNDER_WAY_MAX {
            return None;
        }
        let queued = self.unsent + self.outgoing.len();
        let blob_read = self.blob_read.take_if(|_| queued <= self.backlog_bytes_high / 2);
        blob_read.or_else(|| self.calls.pop_front())
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if let Some((storage, job, call)) = self.next_call() {
            self.under_way += 1;
            return Some(Output::Perform(storage, job, call));
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

/// A text as it may stand in a line of the log.
pub(super) fn one_line(text: &str, length_max: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(length_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some of what is logged comes from the peer, such as the name of a storage that is not there.
    #[test]
    fn a_log_line_is_one_line() {
        let mut line = Line::new(Codec::Pickle, &Limits::default(), "peer".into(), UnixTime(0.0));
        let name = "x\n2026-01-01 CRITICAL fake\r\x1b[2J".repeat(1_000);
        let refusal = Refusal::text("builtins.ValueError", format!("unknown storage: {name}"));
        line.answer(
            Caller { msgid: MsgId::Value(Value::None), oneway: true, message_bytes: 0 },
            Err(refusal),
        );
        let Some(Output::Log(logged)) = line.poll() else { panic!("a close is logged") };
        assert_eq!(logged.client.map(|client| client.address).as_deref(), Some("peer"));
        assert!(!logged.text.contains(char::is_control));
        assert!(logged.text.len() < 1_100, "{} bytes", logged.text.len());
    }
}
