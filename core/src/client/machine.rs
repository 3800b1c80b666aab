//! The outer machine: it owns the parts and routes between them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answer::{Answer, Call};
use super::cache::Cache;
use super::channel::{Channel, Pending};
use super::connection::Phase;
use super::connections::{Connections, Registration, Uplink};
use super::context::{Caller, Context};
use super::downloads::Downloads;
use super::error::{CallError, LostBecause};
use super::ids::ConnId;
use super::input::Input;
use super::loads::{self, Loads};
use super::new_oids::NewOids;
use super::output::{Event, Output};
use super::query::{Info, Query as _, Reply, Request};
use super::reading::Reading;
use super::refused::Refused;
use super::server_info::ServerInfo;
use super::servers::Setback;
use super::settings::ClientSettings;
use super::transaction_queue::TransactionQueue;
use super::verify::Progress;
use super::waiting::{WaitingCalls, Wanted};
use crate::ids::{Oid, Tid};
use crate::time::{Instant, Now};
use crate::value::Value;
use crate::wire::Envelope;
use crate::wire::load::Loaded;

/// A load or a new oid whose connection is lost is asked for again on the next, since a second answer is
/// as good as the first; but only a few times, because the request itself may crash the server.
const LOSSES_MAX: u8 = 2;

/// One storage, as one application uses it.
#[derive(Debug)]
pub struct Client {
    pub(super) cx: Context,
    pub(super) connections: Connections,
    pub(super) waiting: WaitingCalls,
    pub(super) loads: Loads,
    pub(super) new_oids: NewOids,
    pub(super) downloads: Downloads,
    pub(super) transactions: TransactionQueue,
    info: Option<Arc<ServerInfo>>,
    pub(super) is_closed: bool,
}

/// The four methods of a machine.
impl Client {
    /// A client that begins to connect at once. What the cache holds can be read at once, too, as of
    /// its own tid; when there is a connection it is verified.
    #[must_use]
    pub fn new(now: Now, settings: ClientSettings, cache: Cache) -> Self {
        let cx = Context::new(now.instant, settings, cache);
        let mut client = Self {
            connections: Connections::new(&cx),
            cx,
            waiting: WaitingCalls::default(),
            loads: Loads::default(),
            new_oids: NewOids::default(),
            downloads: Downloads::default(),
            transactions: TransactionQueue::default(),
            info: None,
            is_closed: false,
        };
        client.connections.try_servers(&mut client.cx);
        client
    }

    /// Tells the client what happened. Never fails: a server's fault ends its connection.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        self.cx.now = now.instant;
        match input {
            Input::Connected(id) => {
                self.connections.connected(now.instant, id);
            }
            Input::Failed(id, why) | Input::Gone(id, why) => {
                self.lost(id, &LostBecause::Gone(why), Setback::Unreachable);
            }
            Input::Bytes(id, bytes) => {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.channel.received(bytes);
                    self.read_frames(id);
                }
            }
            Input::Sent(id, bytes) => {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.channel.sent(bytes);
                    self.send_blobs();
                }
            }
            Input::BlobBytes(txn, bytes) => {
                if let Some(channel) = self.connections.ready() {
                    self.transactions.blob_bytes(&mut self.cx, channel, txn, bytes);
                }
            }
            Input::Close => self.close(),
        }
    }

    /// The next thing to do. Drain until `None` after every other call, commands too.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.cx.take_output() {
            return Some(output);
        }
        if let Some((id, chunk)) = self.connections.take_chunk() {
            return Some(Output::Transmit(id, chunk));
        }
        self.cx.cache.take_journal().map(Output::Journal)
    }

    /// When to call [`Self::handle_timeout`], if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transactions = self.connections.unconnected_since();
        let transactions = transactions.and_then(|it| self.transactions.timeout(&self.cx, it));
        let others = [self.connections.timeout(), self.waiting.timeout(&self.cx), transactions];
        others.into_iter().flatten().min()
    }

    /// Tells the client that time has passed. Calling early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        self.cx.now = now.instant;
        let seconds = self.cx.settings.connect_timeout.as_secs_f64();
        for (id, phase) in self.connections.late(now.instant) {
            let (because, setback) = match phase {
                Phase::Connecting => (LostBecause::NotReady { seconds }, Setback::Unreachable),
                Phase::Greeting => (LostBecause::Silent { seconds }, Setback::Useless),
                _ => (LostBecause::NotReady { seconds }, Setback::Useless),
            };
            self.lost(id, &because, setback);
        }
        self.connections.keep_alive(now.instant);
        self.connections.try_servers(&mut self.cx);
        if self.waiting.timeout(&self.cx).is_some_and(|until| until <= now.instant) {
            self.send_waiting();
        }
        self.take_turns();
    }

    /// The newest commit that has been announced.
    #[must_use]
    pub fn last_tid(&self) -> Tid {
        self.cx.cache.last_tid()
    }

    /// The last description of the storage that a server sent; `None` before the first connection.
    #[must_use]
    pub const fn info(&self) -> Option<&Arc<ServerInfo>> {
        self.info.as_ref()
    }

    /// The cache, for its statistics.
    #[must_use]
    pub const fn cache(&self) -> &Cache {
        &self.cx.cache
    }
}

/// Handling what servers send.
impl Client {
    /// Handles all frames that are complete.
    fn read_frames(&mut self, id: ConnId) {
        while let Some(connection) = self.connections.get_mut(id) {
            let handled = match connection.channel.next_frame() {
                Ok(Some(frame)) => self.frame(id, &frame),
                Ok(None) => return,
                Err(because) => Err(because),
            };
            if let Err(because) = handled {
                self.lost(id, &because, Setback::Useless);
            }
        }
    }

    fn frame(&mut self, id: ConnId, frame: &Bytes) -> Result<(), LostBecause> {
        let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
        if connection.phase == Phase::Greeting {
            return self.connections.greeted(&self.cx, id, frame);
        }
        let channel = &mut connection.channel;
        if let Some(Loaded { oid, before, revision }) = channel.read_loaded(frame) {
            return self.loads.answered(&mut self.cx, oid, before, Ok(Some(revision)));
        }
        let Envelope { msgid, flag, name, args } = channel.read(frame)?;
        if name != ".reply" {
            return self.notification(id, name, args);
        }
        let answer = if flag { Err(Refused::read(args)) } else { Ok(args) };
        match msgid {
            Value::Tuple(pair) | Value::List(pair) => match load_id(&pair) {
                Some((oid, before)) => {
                    self.loads.answered(&mut self.cx, oid, before, loads::read(answer))
                }
                None => Err(LostBecause::UnknownReply(Value::Tuple(pair))),
            },
            Value::Int(number) => match channel.take_pending(number) {
                Some(pending) => self.reply(id, pending, answer),
                None => Err(LostBecause::UnknownReply(Value::Int(number))),
            },
            other => Err(LostBecause::UnknownReply(other)),
        }
    }

    /// A call is answered. An error ends the connection.
    fn reply(
        &mut self,
        id: ConnId,
        pending: Pending,
        answer: Result<Value, Refused>,
    ) -> Result<(), LostBecause> {
        let Self { cx, connections, loads, new_oids, downloads, transactions, .. } = self;
        match pending {
            Pending::Register => return self.registered(id, maybe_tid("register", answer)?),
            Pending::NewestTid => {
                let newest = maybe_tid("lastTransaction", answer)?.map_err(LostBecause::Refused)?;
                return self.verify(Some(newest.unwrap_or(Tid::ZERO)));
            }
            Pending::Changes => {
                let Some((_, connection)) = connections.chosen_mut() else { return Ok(()) };
                let progress = connection.verification.changes(cx, answer)?;
                self.verify_further(progress);
            }
            Pending::Describe => return self.described(answer),
            Pending::Query { call, method, opens_iterator } => {
                let reply = answer.map(|value| Reply { connection: id, opens_iterator, value });
                self.replied(call, method, reply);
            }
            Pending::Download(oid, serial) => {
                downloads.answered(cx, oid, serial, answer.map(drop));
            }
            Pending::NewOids => {
                if let Some(channel) = connections.ready() {
                    new_oids.answered(cx, channel, answer);
                }
            }
            Pending::Vote(txn) => {
                if let Some(channel) = connections.ready() {
                    transactions.voted(cx, channel, loads, txn, answer);
                }
            }
            Pending::ConflictState(txn) => {
                if let Some(channel) = connections.ready() {
                    transactions.conflict_state(cx, channel, loads, txn, answer);
                }
            }
            Pending::Finish(txn) => {
                transactions.finished(cx, loads, txn, answer)?;
                self.take_turns();
            }
            Pending::Abort(call, txn) => {
                if let Some(channel) = connections.ready() {
                    channel.forget_vote(txn);
                }
                cx.answer(call, answer.map(drop).map_err(CallError::from));
            }
        }
        Ok(())
    }

    /// A message that is no reply.
    fn notification(&mut self, id: ConnId, name: String, args: Value) -> Result<(), LostBecause> {
        let (cx, downloads) = (&mut self.cx, &mut self.downloads);
        match name.as_str() {
            "invalidateTransaction" => {
                let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
                connection.verification.invalidation(cx, &mut self.loads, args)
            }
            "info" => {
                self.size_changed(id, args);
                Ok(())
            }
            "receiveBlobStart" => downloads.part(cx, "receiveBlobStart", args),
            "receiveBlobChunk" => downloads.part(cx, "receiveBlobChunk", args),
            "receiveBlobStop" => downloads.part(cx, "receiveBlobStop", args),
            _ => Err(LostBecause::UnknownNotice(name.chars().take(80).collect())),
        }
    }

    /// `info`: the size of the storage has changed.
    fn size_changed(&mut self, id: ConnId, args: Value) {
        let Ok([changes]) = args.into_parts() else { return };
        if self.connections.is_chosen(id)
            && let Some(info) = &self.info
        {
            let info = Arc::new(info.updated(&changes));
            let (length, size) = (info.length, info.size);
            self.info = Some(info);
            self.cx.event(Event::Info { length, size });
        }
    }

    /// A query is answered. Facts about the storage are kept, whichever caller asked for them.
    fn replied(&mut self, call: Call<Reply>, method: &str, reply: Result<Reply, Refused>) {
        if method == Info::METHOD
            && let Ok(reply) = &reply
            && let Ok(info) = Info::read(reply.clone())
        {
            self.info = Some(info);
        }
        self.cx.answer(call, reply.map_err(CallError::from));
    }
}

/// From a connection to one through which calls go, and back.
impl Client {
    /// The server has answered the registration. `None` for a tid is that of a server that tells it only
    /// when asked.
    fn registered(
        &mut self,
        id: ConnId,
        answer: Result<Option<Tid>, Refused>,
    ) -> Result<(), LostBecause> {
        let Some(Registration { newest, replaced }) =
            self.connections.registered(&mut self.cx, id, answer)?
        else {
            return Ok(());
        };
        self.fail_pending(replaced, &LostBecause::Upgraded);
        self.verify(newest)
    }

    /// Begins to verify the cache on the chosen connection.
    fn verify(&mut self, newest: Option<Tid>) -> Result<(), LostBecause> {
        let Some((_, connection)) = self.connections.chosen_mut() else { return Ok(()) };
        let channel = &mut connection.channel;
        let progress = connection.verification.begin(&mut self.cx, channel, newest)?;
        self.verify_further(progress);
        Ok(())
    }

    fn verify_further(&mut self, progress: Progress) {
        let Progress::Verified(newest) = progress else { return };
        let Some((_, connection)) = self.connections.chosen_mut() else { return };
        connection.phase = Phase::Describing;
        connection.channel.ask(Pending::Describe, "get_info", Vec::new());
        connection.verification.end(&mut self.cx, &mut self.loads, newest);
    }

    /// The server has described its storage: that is all that was missing.
    fn described(&mut self, answer: Result<Value, Refused>) -> Result<(), LostBecause> {
        let value = answer.map_err(LostBecause::Refused)?;
        let info = ServerInfo::read(&value)
            .map_err(|problem| LostBecause::Odd { method: "get_info", problem })?;
        let info = Arc::new(info);
        self.info = Some(info.clone());
        self.connections.described(&mut self.cx, info);
        self.send_waiting();
        self.take_turns();
        Ok(())
    }

    /// A connection is closed, or has to be.
    fn lost(&mut self, id: ConnId, because: &LostBecause, setback: Setback) {
        let channel = self.connections.lost(&mut self.cx, id, because, setback);
        self.fail_pending(channel, because);
        self.connections.try_servers(&mut self.cx);
        if self.connections.have_given_up() {
            self.send_waiting();
            self.take_turns();
        }
    }

    /// What was asked on the chosen connection, which is lost. Only loads and new oids are asked for
    /// again: whether that is right for other calls is known only to the caller.
    fn fail_pending(&mut self, channel: Option<Channel>, because: &LostBecause) {
        let Some(channel) = channel else { return };
        self.transactions.connection_lost(&mut self.cx, because);
        self.downloads.lost(&mut self.cx, because);
        for pending in channel.into_pending() {
            match pending {
                Pending::Query { call, .. } => self.cx.answer(call, Err(because.into())),
                // The transaction is gone with the connection.
                Pending::Abort(call, _) => self.cx.answer(call, Ok(())),
                Pending::NewOids => {
                    for caller in self.new_oids.take_callers() {
                        self.want_again(caller, because, Wanted::NewOid);
                    }
                }
                // Transactions and downloads answer for themselves.
                Pending::Vote(_)
                | Pending::ConflictState(_)
                | Pending::Finish(_)
                | Pending::Download(..)
                | Pending::Register
                | Pending::NewestTid
                | Pending::Changes
                | Pending::Describe => {}
            }
        }
        for (caller, oid, before) in self.loads.take_callers() {
            self.want_again(caller, because, |caller| Wanted::Load(caller, oid, before));
        }
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.transactions.close(&mut self.cx);
        let channel = self.connections.close(&mut self.cx);
        self.fail_pending(channel, &LostBecause::Closed);
        self.send_waiting();
    }
}

/// Calls that can wait for a connection.
impl Client {
    /// Makes a call, now or when there is a connection.
    pub(super) fn want(&mut self, wanted: Wanted) {
        let Self { cx, connections, waiting, loads, new_oids, downloads, .. } = self;
        if self.is_closed {
            return wanted.fail(cx, CallError::Closed);
        }
        let uplink = connections.uplink(cx);
        if wanted.connection().is_some_and(|of| !uplink.is_ready_on(of)) {
            return wanted.fail(cx, CallError::Lost(LostBecause::BegunElsewhere));
        }
        let channel = match uplink {
            Uplink::Ready { channel, .. } => channel,
            Uplink::Down { .. } => {
                return match uplink.failure(cx, wanted.since()) {
                    Some(error) => wanted.fail(cx, error),
                    None => waiting.push(wanted),
                };
            }
        };
        match wanted {
            Wanted::Load(caller, oid, before) => loads.ask(channel, oid, before, Some(caller)),
            Wanted::NewOid(caller) => new_oids.ask(cx, channel, caller),
            Wanted::Download(caller, oid, serial) => {
                downloads.ask(channel, oid, serial, caller.call);
            }
            Wanted::Query(Caller { call, .. }, request) => {
                let Request { method, args, opens_iterator, .. } = request;
                let pending = Pending::Query { call, method, opens_iterator };
                if let Err(error) = channel.try_ask(pending, method, args) {
                    cx.answer(call, Err(CallError::Unwritable(error)));
                }
            }
        }
    }

    /// Makes a call again whose connection is lost.
    fn want_again<A: Into<Answer>>(
        &mut self,
        caller: Caller<A>,
        because: &LostBecause,
        wanted: impl FnOnce(Caller<A>) -> Wanted,
    ) {
        let caller = Caller { since: self.cx.now, losses: caller.losses + 1, ..caller };
        if caller.losses > LOSSES_MAX {
            return self.cx.answer(caller.call, Err(because.into()));
        }
        self.want(wanted(caller));
    }

    /// All calls that wait for a connection are made if there is one, and fail if they have waited for
    /// as long as a call may.
    fn send_waiting(&mut self) {
        for wanted in self.waiting.take() {
            self.want(wanted);
        }
    }

    pub(super) fn take_turns(&mut self) {
        let uplink = self.connections.uplink(&self.cx);
        self.transactions.take_turns(&mut self.cx, uplink);
    }

    pub(super) fn send_blobs(&mut self) {
        if let Some(channel) = self.connections.ready() {
            self.transactions.send_blobs(&mut self.cx, channel);
        }
    }
}

/// Loads have the pair of oid and tid for an id.
fn load_id(pair: &[Value]) -> Option<(Oid, Tid)> {
    match pair {
        [Value::Bytes(oid), Value::Bytes(before)] => {
            Some((Oid::from_slice(oid)?, Tid::from_slice(before)?))
        }
        _ => None,
    }
}

/// A tid, or nothing, or a refusal; anything else ends the connection.
fn maybe_tid(
    method: &'static str,
    answer: Result<Value, Refused>,
) -> Result<Result<Option<Tid>, Refused>, LostBecause> {
    match answer.map(|value| value.into_maybe(Reading::into_tid)) {
        Ok(Ok(tid)) => Ok(Ok(tid)),
        Ok(Err(problem)) => Err(LostBecause::Odd { method, problem }),
        Err(refused) => Ok(Err(refused)),
    }
}
