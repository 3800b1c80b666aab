//! One connection, from its first byte to its last.
//!
//! ```text
//!   AwaitHello ──► Unregistered ──► Registering ──► Registered
//!        └──ruok──► Reporting                            │
//!              every phase ──────────────────────────► Gone
//! ```
//!
//! The session cuts the stream into messages and knows which are allowed in which phase. The calls of a
//! registered client go to [`Registered`], which routes each to the part that owns it: loads, queries,
//! calls to the hub, two-phase commit, iterators, downloads. A part owns its state and gets a
//! [`Context`](context::Context) with every call. All output goes through the [`Outbox`].
//!
//! Messages that arrive while the hub is asked to register are left in the stream, so a client may
//! send its handshake and first calls in one go.

#[cfg(test)]
mod bench;
mod call_queue;
mod context;
mod downloads;
mod extension;
mod held_calls;
mod hub_calls;
mod iterators;
mod loads;
mod operations;
mod outbox;
mod queries;
mod registered;
mod scratch_writer;
mod transaction;
mod two_phase_commit;
mod uploads;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use outbox::Outbox;
use registered::Registered;

use super::caller::{CallId, Caller};
use super::close_reason::CloseReason;
use super::ids::StorageId;
use super::log_line::LogLevel;
use super::messages::{HubRequest, Input, Notice, Output, StatusReader};
use super::settings::ServerSettings;
use crate::ids::Tid;
use crate::time::{Instant, Now};
use crate::value::{ReadLimits, Value};
use crate::wire::call::{Call, NotACall};
use crate::wire::hello::RUOK;
use crate::wire::refusal::Refusal;
use crate::wire::reply::{Reply, Status};
use crate::wire::{Codec, Deframer, Envelope, Malformed, Unwritable, load, status};

/// Longest message of a peer that has not registered: a greeting, or the name of a storage.
const STRANGER_BYTES_MAX: u32 = 64 * 1024;

/// Longest id of a call, as it is written. It is kept until the call is answered.
const ID_BYTES_MAX: usize = 1024;

/// One connection's machine.
#[derive(Debug)]
pub struct Session {
    settings: Arc<ServerSettings>,
    deframer: Deframer,
    read_limits: ReadLimits,
    out: Outbox,
    phase: Phase,
    /// Set when the server stops and a commit has still to be answered.
    stopping: bool,
}

#[derive(Debug)]
enum Phase {
    AwaitHello {
        deadline: Instant,
    },
    /// A monitoring peer waits for the figures of all storages.
    Reporting {
        statuses: Vec<Option<Status>>,
    },
    Unregistered {
        deadline: Instant,
    },
    Registering {
        caller: Caller,
        storage: StorageId,
        read_only: bool,
    },
    Registered(Box<Registered>),
    Gone,
}

impl Session {
    /// A connection that was accepted at `now`. `peer` names it in the log.
    #[must_use]
    pub fn new(now: Now, settings: Arc<ServerSettings>, peer: String) -> Self {
        let mut out = Outbox::new(settings.announce, &settings.limits, peer, now.wall);
        out.raw(settings.announce.greeting());
        let deadline = now.instant.after(settings.limits.register_time_max);
        Self {
            deframer: Deframer::new(settings.limits.frame_bytes_max.min(STRANGER_BYTES_MAX)),
            read_limits: ReadLimits::default(),
            out,
            phase: Phase::AwaitHello { deadline },
            stopping: false,
            settings,
        }
    }

    /// Tells the session what happened. Never fails: a peer's fault ends that peer's connection
    /// through [`Output::Close`], in order, after what was already due to it.
    ///
    /// `_now` is for uniformity: all machines receive the time, but no input of a session starts a
    /// timer.
    pub fn handle_input(&mut self, _now: Now, input: Input<'_>) {
        if !self.out.is_open() {
            return;
        }
        match input {
            Input::Bytes(bytes) => {
                self.out.received(bytes.len());
                self.deframer.push(bytes);
            }
            Input::Sent(bytes) => self.out.sent(bytes),
            Input::Notice(notice) => self.notice(notice),
            Input::Answer(reply) => {
                if let Phase::Registered(registered) = &mut self.phase {
                    registered.answered(&mut self.out, reply);
                }
            }
            Input::Gone => self.out.close(CloseReason::Gone),
            Input::Stop => self.stopping = true,
        }
        if self.stopping && !self.is_finishing() {
            self.out.close(CloseReason::Gone);
        }
        self.read_messages();
        self.leave_if_closing();
    }

    /// The next thing to do. Drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.poll()
    }

    /// When to call [`Self::handle_timeout`], if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::AwaitHello { deadline } | Phase::Unregistered { deadline } => Some(deadline),
            Phase::Reporting { .. }
            | Phase::Registering { .. }
            | Phase::Registered(_)
            | Phase::Gone => None,
        }
    }

    /// Tells the session that time has passed. Calling early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.poll_timeout().is_some_and(|deadline| deadline <= now.instant) {
            let after = self.settings.limits.register_time_max;
            self.out.close(CloseReason::RegisterTimeout { after });
            self.leave_if_closing();
        }
    }

    /// Whether to read from the socket. Nothing is read from a peer that does not read its answers, or
    /// has too many calls under way.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.out.is_open() && !self.stopping && !self.out.is_congested() && !self.is_busy()
    }

    /// Whether a commit of this connection is on its way to the disk.
    fn is_finishing(&self) -> bool {
        matches!(&self.phase, Phase::Registered(registered) if registered.is_finishing())
    }

    fn is_busy(&self) -> bool {
        match &self.phase {
            Phase::Registering { .. } | Phase::Reporting { .. } => true,
            Phase::Registered(registered) => registered.is_busy(&self.out),
            Phase::AwaitHello { .. } | Phase::Unregistered { .. } | Phase::Gone => false,
        }
    }

    /// Handles all messages that are complete, as far as they may be handled now.
    fn read_messages(&mut self) {
        while self.wants_input() {
            match self.deframer.next_frame() {
                Ok(Some(frame)) => self.frame(frame),
                Ok(None) => return,
                Err(malformed) => self.out.close(self.unframed(malformed)),
            }
        }
    }

    /// Why the connection ends if the rest of its stream cannot be cut into frames. The limit of a peer that
    /// has not registered is no setting.
    fn unframed(&self, malformed: Malformed) -> CloseReason {
        match (&self.phase, malformed) {
            (Phase::Registered(_), Malformed::FrameTooLong { length, limit }) => {
                CloseReason::MessageTooLong { length, limit }
            }
            (_, malformed) => malformed.into(),
        }
    }

    fn frame(&mut self, frame: Bytes) {
        if let Phase::AwaitHello { deadline } = self.phase {
            return self.hello(deadline, &frame);
        }
        if let Phase::Registered(registered) = &mut self.phase
            && let Some((oid, tid)) = load::read_call(self.out.codec, &frame)
        {
            let id = CallId::Load(oid, tid);
            let caller = Caller { id, oneway: false, message_bytes: frame.len() };
            return registered.call(&mut self.out, caller, Call::LoadBefore { oid, tid });
        }
        match self.out.codec.read(&frame, &self.read_limits) {
            Ok(envelope) => self.message(envelope, frame.len()),
            Err(malformed) => self.out.close(malformed.into()),
        }
    }

    /// The client decides the encoding; announcing one is only a proposal
    /// (`spec: zeo-protocol-gotchas 1`).
    fn hello(&mut self, deadline: Instant, frame: &[u8]) {
        if frame == RUOK {
            return self.start_report();
        }
        let Some(codec) = Codec::chosen_by(frame) else {
            let shown = String::from_utf8_lossy(&frame[..frame.len().min(20)]).into_owned();
            return self.out.close(CloseReason::BadHandshake(shown));
        };
        self.out.codec = codec;
        self.phase = Phase::Unregistered { deadline };
    }

    fn message(&mut self, envelope: Envelope, message_bytes: usize) {
        let Envelope { msgid, flag: oneway, name, args } = envelope;
        // Keep-alives, whatever else they contain (spec: zeo-protocol 3).
        if msgid == Value::Int(-1) {
            return;
        }
        let msgid = match self.kept_id(msgid, message_bytes) {
            Ok(msgid) => msgid,
            Err(reason) => return self.out.close(reason),
        };
        let caller = Caller { id: CallId::Value(msgid), oneway, message_bytes };
        let call = Call::read(&name, args).map(|call| call.detached(message_bytes));
        match (call, &mut self.phase) {
            (Ok(Call::Register { storage, read_only }), Phase::Unregistered { .. }) => {
                self.register(caller, &storage, read_only);
            }
            (Ok(call), Phase::Registered(registered)) if !matches!(call, Call::Register { .. }) => {
                registered.call(&mut self.out, caller, call);
            }
            (Err(NotACall::Arguments(text)), phase)
                if matches!(phase, Phase::Registered(_)) == (name != "register") =>
            {
                self.out.answer(caller, Err(Refusal::text("builtins.TypeError", text)));
            }
            _ => self.out.close(CloseReason::UnknownMethod(name.chars().take(80).collect())),
        }
    }

    /// An id without the message around it, and of bounded size. Python's client uses numbers and pairs
    /// of oid and tid; objects that a peer sends are not sent back.
    fn kept_id(&self, msgid: Value, message_bytes: usize) -> Result<Value, CloseReason> {
        if !msgid.is_plain() {
            return Err(CloseReason::Unanswerable(Unwritable::Opaque));
        }
        if matches!(msgid, Value::Int(_) | Value::None) || message_bytes <= ID_BYTES_MAX {
            return Ok(msgid);
        }
        let written = self.out.codec.write_value(&msgid).map_err(CloseReason::Unanswerable)?;
        let (length, limit) = (written.len(), ID_BYTES_MAX);
        if length > limit {
            return Err(Malformed::IdTooLong { length, limit }.into());
        }
        Ok(self.out.codec.read_value(&written, &self.read_limits)?)
    }

    fn register(&mut self, caller: Caller, name: &str, read_only: bool) {
        let found = self.settings.storages.iter().position(|entry| entry.name == name);
        let Some(index) = found else {
            let text = format!("unknown storage: {name}");
            return self.out.answer(caller, Err(Refusal::text("builtins.ValueError", text)));
        };
        let refuses =
            self.settings.read_only || self.settings.storages[index].description.read_only;
        if refuses && !read_only {
            return self.out.answer(caller, Err(Refusal::ReadOnly));
        }
        let storage = StorageId(index);
        self.out.ask(storage, HubRequest::Register);
        self.phase = Phase::Registering { caller, storage, read_only: refuses || read_only };
    }

    fn notice(&mut self, notice: Notice) {
        match (core::mem::replace(&mut self.phase, Phase::Gone), notice) {
            (
                Phase::Registering { caller, storage, read_only },
                Notice::Registered { last_tid },
            ) => self.registered(caller, storage, read_only, last_tid),
            (
                Phase::Reporting { statuses },
                Notice::Status { reader: StatusReader::Report(id), status },
            ) => {
                self.report(statuses, id, *status);
            }
            (Phase::Registered(mut registered), notice) => {
                registered.notice(&mut self.out, notice);
                self.phase = Phase::Registered(registered);
            }
            // Nothing is delivered to a connection that has not asked for it.
            (phase, _) => self.phase = phase,
        }
    }

    fn registered(&mut self, caller: Caller, storage: StorageId, read_only: bool, last_tid: Tid) {
        self.out.answer(caller, Ok(Reply::Tid(last_tid)));
        let mode = if read_only { "RO" } else { "RW" };
        let name = &self.settings.storages[storage.0].name;
        self.out.log(LogLevel::Info, &format!("registered for storage {name:?} ({mode})"));
        self.out.introduce(storage, read_only);
        self.deframer.allow(self.settings.limits.frame_bytes_max);
        let registered = Registered::new(self.settings.clone(), storage, read_only, last_tid);
        self.phase = Phase::Registered(Box::new(registered));
    }

    /// `ruok`: the figures of all storages, then the end (`spec: zeo-protocol 14.4`).
    fn start_report(&mut self) {
        let statuses: Vec<Option<Status>> = self.settings.storages.iter().map(|_| None).collect();
        for id in (0..statuses.len()).map(StorageId) {
            self.out.ask(id, HubRequest::Status(StatusReader::Report(id)));
        }
        self.phase = Phase::Reporting { statuses };
    }

    fn report(&mut self, mut statuses: Vec<Option<Status>>, id: StorageId, status: Status) {
        if let Some(entry) = statuses.get_mut(id.0) {
            *entry = Some(status);
        }
        if statuses.iter().all(Option::is_some) {
            let names = self.settings.storages.iter().map(|entry| entry.name.as_str());
            let statuses: Vec<_> = names.zip(statuses.iter().flatten()).collect();
            self.out.raw(status::to_json(&statuses).as_bytes());
            self.out.close(CloseReason::StatusSent);
        }
        self.phase = Phase::Reporting { statuses };
    }

    /// Whatever ended the connection, the hub receives the message in the same step.
    fn leave_if_closing(&mut self) {
        if self.out.is_open() {
            return;
        }
        match core::mem::replace(&mut self.phase, Phase::Gone) {
            Phase::Registered(registered) => registered.leave(&mut self.out),
            Phase::Registering { storage, .. } => self.out.ask(storage, HubRequest::Leave),
            Phase::AwaitHello { .. }
            | Phase::Reporting { .. }
            | Phase::Unregistered { .. }
            | Phase::Gone => {}
        }
    }
}
