//! One connection, from its first byte to its last.
//!
//! ```text
//!   AwaitHello ──► Unregistered ──► Registering ──► Registered(Desk)
//!        └──ruok──► Reporting                            │
//!              every phase ──────────────────────────► Gone
//! ```
//!
//! The session cuts the stream into messages and knows which are allowed in which phase; what a
//! registered client asks is done by its [`Desk`], what is said goes through the [`Line`].
//!
//! Messages that arrive while the hub is asked to register are left in the stream, so a client may
//! send its handshake and first calls in one go.

mod desk;
mod download;
mod iterators;
mod line;
mod operations;
mod stream;
mod transaction;
mod upload;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use desk::Desk;
use line::{Caller, Line, MsgId};

use crate::ids::Tid;
use crate::server::close_reason::CloseReason;
use crate::server::ids::{StorageId, Ticket};
use crate::server::log_line::LogLevel;
use crate::server::messages::{HubRequest, Input, Notice, Output};
use crate::server::settings::ServerSettings;
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
    line: Line,
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
    Registered(Box<Desk>),
    Gone,
}

impl Session {
    /// A connection that was accepted at `now`. `peer` names it in the log.
    #[must_use]
    pub fn new(now: Now, settings: Arc<ServerSettings>, peer: String) -> Self {
        let mut line = Line::new(settings.announce, &settings.limits, peer, now.wall);
        line.raw(settings.announce.greeting());
        let deadline = now.instant.after(settings.limits.register_time_max);
        Self {
            deframer: Deframer::new(settings.limits.frame_bytes_max.min(STRANGER_BYTES_MAX)),
            read_limits: ReadLimits::default(),
            line,
            phase: Phase::AwaitHello { deadline },
            stopping: false,
            settings,
        }
    }

    /// Tells the session what happened. Never fails: a peer's fault ends that peer's connection
    /// through [`Output::Close`], in order, after what was already due to it.
    ///
    /// All machines are told the time; so far nothing that a session is told starts a timer.
    pub fn handle_input(&mut self, _now: Now, input: Input<'_>) {
        if !self.line.is_open() {
            return;
        }
        match input {
            Input::Bytes(bytes) => {
                self.line.received(bytes.len());
                self.deframer.push(bytes);
            }
            Input::Sent(bytes) => self.line.sent(bytes),
            Input::Notice(notice) => self.notice(notice),
            Input::Answer(job, reply) => {
                if let Phase::Registered(desk) = &mut self.phase {
                    desk.answered(&mut self.line, job, reply);
                }
            }
            Input::Gone => self.line.close(CloseReason::Gone),
            Input::Stop => self.stopping = true,
        }
        if self.stopping && !self.is_finishing() {
            self.line.close(CloseReason::Gone);
        }
        self.read_messages();
        self.leave_if_closing();
    }

    /// The next thing to do. Drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.line.poll()
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
            self.line.close(CloseReason::RegisterTimeout { after });
            self.leave_if_closing();
        }
    }

    /// Whether to read from the socket. A peer that does not read its answers, or has very many
    /// calls in progress, is not listened to meanwhile.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.line.is_open() && !self.stopping && !self.line.is_congested() && !self.is_busy()
    }

    /// Whether a commit of this connection is on its way to the disk.
    fn is_finishing(&self) -> bool {
        matches!(&self.phase, Phase::Registered(desk) if desk.transactions.is_finishing())
    }

    fn is_busy(&self) -> bool {
        match &self.phase {
            Phase::Registering { .. } | Phase::Reporting { .. } => true,
            Phase::Registered(desk) => desk.is_busy(),
            Phase::AwaitHello { .. } | Phase::Unregistered { .. } | Phase::Gone => false,
        }
    }

    /// Handles all messages that are complete, as far as they may be handled now.
    fn read_messages(&mut self) {
        while self.wants_input() {
            match self.deframer.next_frame() {
                Ok(Some(frame)) => self.frame(frame),
                Ok(None) => return,
                Err(malformed) => self.line.close(malformed.into()),
            }
        }
    }

    fn frame(&mut self, frame: Bytes) {
        if let Phase::AwaitHello { deadline } = self.phase {
            return self.hello(deadline, &frame);
        }
        if let Phase::Registered(desk) = &mut self.phase
            && let Some((oid, tid)) = load::read_call(self.line.codec, &frame)
        {
            let msgid = MsgId::Load(oid, tid);
            let caller = Caller { msgid, oneway: false, message_bytes: frame.len() };
            return desk.call(&mut self.line, caller, Call::LoadBefore { oid, tid });
        }
        match self.line.codec.read(&frame, &self.read_limits) {
            Ok(envelope) => self.message(envelope, frame.len()),
            Err(malformed) => self.line.close(malformed.into()),
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
            return self.line.close(CloseReason::BadHandshake(shown));
        };
        self.line.codec = codec;
        self.phase = Phase::Unregistered { deadline };
    }

    fn message(&mut self, envelope: Envelope, message_bytes: usize) {
        let Envelope { msgid, flag: oneway, name, args } = envelope;
        // Keep-alives, whatever else they say (spec: zeo-protocol 3).
        if msgid == Value::Int(-1) {
            return;
        }
        let msgid = match self.kept_id(msgid, message_bytes) {
            Ok(msgid) => msgid,
            Err(reason) => return self.line.close(reason),
        };
        let caller = Caller { msgid: MsgId::Value(msgid), oneway, message_bytes };
        let call = Call::read(&name, args).map(|call| call.detached(message_bytes));
        match (call, &mut self.phase) {
            (Ok(Call::Register { storage, read_only }), Phase::Unregistered { .. }) => {
                self.register(caller, &storage, read_only);
            }
            (Ok(call), Phase::Registered(desk)) if !matches!(call, Call::Register { .. }) => {
                desk.call(&mut self.line, caller, call);
            }
            (Err(NotACall::Arguments(text)), phase)
                if matches!(phase, Phase::Registered(_)) == (name != "register") =>
            {
                self.line.answer(caller, Err(Refusal::text("builtins.TypeError", text)));
            }
            _ => self.line.close(CloseReason::UnknownMethod(name.chars().take(80).collect())),
        }
    }

    /// An id without the message around it, and of bounded size. Python's client has numbers and
    /// pairs of oid and tid; objects of a stranger are not sent to anybody.
    fn kept_id(&self, msgid: Value, message_bytes: usize) -> Result<Value, CloseReason> {
        if !msgid.is_plain() {
            return Err(CloseReason::Unanswerable(Unwritable::Opaque));
        }
        if matches!(msgid, Value::Int(_) | Value::None) || message_bytes <= ID_BYTES_MAX {
            return Ok(msgid);
        }
        let written = self.line.codec.write_value(&msgid).map_err(CloseReason::Unanswerable)?;
        let (length, limit) = (written.len(), ID_BYTES_MAX);
        if length > limit {
            return Err(Malformed::IdTooLong { length, limit }.into());
        }
        Ok(self.line.codec.read_value(&written, &self.read_limits)?)
    }

    fn register(&mut self, caller: Caller, name: &str, read_only: bool) {
        let found = self.settings.storages.iter().position(|entry| entry.name == name);
        let Some(index) = found else {
            let text = format!("unknown storage: {name}");
            return self.line.answer(caller, Err(Refusal::text("builtins.ValueError", text)));
        };
        let refuses =
            self.settings.read_only || self.settings.storages[index].description.read_only;
        if refuses && !read_only {
            return self.line.answer(caller, Err(Refusal::ReadOnly));
        }
        let storage = StorageId(index);
        self.line.ask(storage, HubRequest::Register);
        self.phase = Phase::Registering { caller, storage, read_only: refuses || read_only };
    }

    fn notice(&mut self, notice: Notice) {
        match (core::mem::replace(&mut self.phase, Phase::Gone), notice) {
            (
                Phase::Registering { caller, storage, read_only },
                Notice::Registered { last_tid },
            ) => self.registered(caller, storage, read_only, last_tid),
            (Phase::Reporting { statuses }, Notice::Status { ticket, status }) => {
                self.report(statuses, ticket, *status);
            }
            (Phase::Registered(mut desk), notice) => {
                desk.notice(&mut self.line, notice);
                self.phase = Phase::Registered(desk);
            }
            // Nothing is delivered to a connection that has not asked for it.
            (phase, _) => self.phase = phase,
        }
    }

    fn registered(&mut self, caller: Caller, storage: StorageId, read_only: bool, last_tid: Tid) {
        self.line.answer(caller, Ok(Reply::Tid(last_tid)));
        let mode = if read_only { "RO" } else { "RW" };
        let name = &self.settings.storages[storage.0].name;
        self.line.log(LogLevel::Info, &format!("registered for storage {name:?} ({mode})"));
        self.line.introduce(storage, read_only);
        self.deframer.allow(self.settings.limits.frame_bytes_max);
        let desk = Desk::new(self.settings.clone(), storage, read_only, last_tid);
        self.phase = Phase::Registered(Box::new(desk));
    }

    /// `ruok`: the figures of all storages, then the end (`spec: zeo-protocol 14.4`).
    fn start_report(&mut self) {
        let statuses: Vec<Option<Status>> = self.settings.storages.iter().map(|_| None).collect();
        for (index, ticket) in (0..statuses.len()).zip(0..) {
            self.line.ask(StorageId(index), HubRequest::Status(Ticket(ticket)));
        }
        self.phase = Phase::Reporting { statuses };
    }

    fn report(&mut self, mut statuses: Vec<Option<Status>>, ticket: Ticket, status: Status) {
        let place = usize::try_from(ticket.0).ok().and_then(|index| statuses.get_mut(index));
        if let Some(place) = place {
            *place = Some(status);
        }
        if statuses.iter().all(Option::is_some) {
            let names = self.settings.storages.iter().map(|entry| entry.name.as_str());
            let statuses: Vec<_> = names.zip(statuses.iter().flatten()).collect();
            self.line.raw(status::to_json(&statuses).as_bytes());
            self.line.close(CloseReason::StatusSent);
        }
        self.phase = Phase::Reporting { statuses };
    }

    /// Whatever ended the connection, the hub hears of it in the same step.
    fn leave_if_closing(&mut self) {
        if self.line.is_open() {
            return;
        }
        match core::mem::replace(&mut self.phase, Phase::Gone) {
            Phase::Registered(desk) => desk.leave(&mut self.line),
            Phase::Registering { storage, .. } => self.line.ask(storage, HubRequest::Leave),
            Phase::AwaitHello { .. }
            | Phase::Reporting { .. }
            | Phase::Unregistered { .. }
            | Phase::Gone => {}
        }
    }
}
