//! The connections of a client, and which of them is used.
//!
//! The first server that registers the client is chosen and the other connections are closed, except
//! when the client needs a server that accepts writes and this one does not: then the others are tried further,
//! and the first that takes writes replaces it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::channel::{Channel, Pending};
use super::connection::{Connection, Phase};
use super::context::Context;
use super::error::{CallError, LostBecause};
use super::ids::ConnId;
use super::output::{Event, Output};
use super::refused::Refused;
use super::server_info::ServerInfo;
use super::servers::{Servers, Setback};
use super::settings::Access;
use crate::ids::Tid;
use crate::server::LogLevel;
use crate::time::Instant;
use crate::value::Value;

/// A connection that lasted as long was a good one: its server is tried again at once.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// What may be wrong while a connected server has sent nothing: one with TLS waits for the client to begin.
const SILENT: &str = "the server sent nothing; if it requires TLS, turn TLS on for this client";

/// The connections of a client.
#[derive(Debug)]
pub(super) struct Connections {
    by_id: BTreeMap<ConnId, Connection>,
    /// The connection that the cache belongs to.
    chosen: Option<ConnId>,
    servers: Servers,
    /// Why there is no connection, as far as is known.
    last_problem: String,
    unconnected_since: Instant,
    ready_since: Instant,
    last_id: u64,
    is_closed: bool,
}

/// A connection that was chosen because its server has registered the client.
#[derive(Debug)]
pub(super) struct Registration {
    /// The server's newest commit, if it has told it.
    pub(super) newest: Option<Tid>,
    /// The channel of the connection that was used before.
    pub(super) replaced: Option<Channel>,
}

/// The chosen connection, as calls see it.
#[derive(Debug)]
pub(super) enum Uplink<'a> {
    Ready {
        id: ConnId,
        channel: &'a mut Channel,
        read_only: bool,
    },
    /// There is no connection, or its cache is not verified yet.
    Down {
        since: Instant,
        last_problem: &'a str,
        attempts_used_up: Option<u32>,
    },
}

impl Uplink<'_> {
    /// Whether calls go through on this connection.
    pub(super) fn is_ready_on(&self, conn: ConnId) -> bool {
        matches!(self, Self::Ready { id, .. } if *id == conn)
    }

    /// Why a call that waits since then fails now, if it does. Only for an uplink that is down.
    pub(super) fn failure(&self, cx: &Context, waits_since: Instant) -> Option<CallError> {
        let Self::Down { last_problem, attempts_used_up, .. } = self else { return None };
        let last = (*last_problem).to_string();
        if let Some(attempts) = *attempts_used_up {
            return Some(CallError::GaveUp { attempts, last });
        }
        let timeout = cx.settings.wait_timeout;
        let is_over = waits_since.after(timeout) <= cx.now;
        is_over.then(|| CallError::Unreachable { seconds: timeout.as_secs_f64(), last })
    }
}

/// Reading the state.
impl Connections {
    pub(super) fn new(cx: &Context) -> Self {
        let settings = &cx.settings;
        Self {
            by_id: BTreeMap::new(),
            chosen: None,
            servers: Servers::new(cx.now, settings.servers, settings.reconnect, settings.seed),
            last_problem: String::from("none has answered yet"),
            unconnected_since: cx.now,
            ready_since: cx.now,
            last_id: 0,
            is_closed: false,
        }
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn is_chosen(&self, id: ConnId) -> bool {
        self.chosen == Some(id)
    }

    fn chosen(&self) -> Option<&Connection> {
        self.by_id.get(&self.chosen?)
    }

    /// The chosen connection, with its id.
    pub(super) fn chosen_mut(&mut self) -> Option<(ConnId, &mut Connection)> {
        let id = self.chosen?;
        Some((id, self.by_id.get_mut(&id)?))
    }

    /// The channel of the chosen connection, if calls go through.
    pub(super) fn ready(&mut self) -> Option<&mut Channel> {
        let (_, connection) = self.chosen_mut()?;
        (connection.phase == Phase::Ready).then_some(&mut connection.channel)
    }

    pub(super) fn uplink(&mut self, cx: &Context) -> Uplink<'_> {
        let read_only = self.is_read_only(cx);
        let chosen = self.chosen.and_then(|id| Some((id, self.by_id.get_mut(&id)?)));
        match chosen.filter(|(_, connection)| connection.phase == Phase::Ready) {
            Some((id, connection)) => {
                Uplink::Ready { id, channel: &mut connection.channel, read_only }
            }
            None => Uplink::Down {
                since: self.unconnected_since,
                last_problem: &self.last_problem,
                attempts_used_up: self.servers.used_up(),
            },
        }
    }

    /// Since when there is no connection through which calls go, if there is none.
    pub(super) fn unconnected_since(&self) -> Option<Instant> {
        (!self.is_ready()).then_some(self.unconnected_since)
    }

    /// Whether all servers have used up their attempts.
    pub(super) fn have_given_up(&self) -> bool {
        self.servers.used_up().is_some()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.chosen().is_some_and(|it| it.phase == Phase::Ready)
    }

    /// Whether writing is refused, by the settings or by the server.
    pub(super) fn is_read_only(&self, cx: &Context) -> bool {
        cx.settings.access == Access::ReadOnly || self.chosen().is_some_and(|it| it.read_only)
    }

    /// Whether there is a connection, and one to a server that takes writes would be better.
    fn wants_better(&self, cx: &Context) -> bool {
        cx.settings.access == Access::ReadOnlyFallback
            && self.chosen().is_some_and(|it| it.read_only)
    }

    /// Number of bytes that the socket of the chosen connection has not taken.
    pub(super) fn backlog(&self) -> usize {
        self.chosen().map_or(0, |it| it.channel.backlog())
    }

    /// The next bytes for any socket.
    pub(super) fn take_chunk(&mut self) -> Option<(ConnId, Bytes)> {
        self.by_id.iter_mut().find_map(|(id, it)| Some((*id, it.channel.take_chunk()?)))
    }

    /// When [`Self::late`], [`Self::keep_alive`] or [`Self::try_servers`] has something to do.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let attempt = self.servers.next_attempt().filter(|_| !self.is_closed);
        self.by_id.values().filter_map(Connection::timeout).chain(attempt).min()
    }
}

/// Making them, and choosing one.
impl Connections {
    /// Connects to all servers whose time has come.
    pub(super) fn try_servers(&mut self, cx: &mut Context) {
        while !self.is_closed {
            let id = ConnId(self.last_id + 1);
            let Some(server) = self.servers.begin_attempt(cx.now, id) else { return };
            self.last_id = id.0;
            self.by_id.insert(id, Connection::new(server, cx));
            cx.output(Output::Connect(id, server));
        }
    }

    /// The network connection is there; the server sends the first message.
    pub(super) fn connected(&mut self, now: Instant, id: ConnId) {
        if let Some(connection) = self.by_id.get_mut(&id) {
            connection.connected(now);
            self.last_problem = String::from(SILENT);
        }
    }

    /// The server has announced itself: the client answers and asks to be registered.
    pub(super) fn greeted(
        &mut self,
        cx: &Context,
        id: ConnId,
        announced: &[u8],
    ) -> Result<(), LostBecause> {
        let Some(connection) = self.by_id.get_mut(&id) else { return Ok(()) };
        connection.channel.greet(announced)?;
        self.last_problem = String::from("the server has not registered the client yet");
        register(cx, connection, cx.settings.access == Access::ReadOnly);
        Ok(())
    }

    /// The server has answered the registration. `None` if the connection is not chosen: its server is
    /// asked again, or another one was faster.
    pub(super) fn registered(
        &mut self,
        cx: &mut Context,
        id: ConnId,
        answer: Result<Option<Tid>, Refused>,
    ) -> Result<Option<Registration>, LostBecause> {
        let wants_better = self.wants_better(cx);
        let Some(connection) = self.by_id.get_mut(&id) else { return Ok(None) };
        let newest = match answer {
            Ok(newest) => newest,
            Err(Refused::ReadOnly)
                if cx.settings.access == Access::ReadOnlyFallback && self.chosen.is_none() =>
            {
                register(cx, connection, true);
                return Ok(None);
            }
            Err(refused) => return Err(LostBecause::Refused(refused)),
        };
        connection.phase = Phase::Verifying;
        let takes_writes = !connection.read_only;
        let mut replaced = None;
        match self.chosen {
            None => {}
            Some(chosen) if wants_better && takes_writes => {
                replaced = self.forget(cx, chosen);
            }
            Some(_) => {
                self.forget(cx, id);
                return Ok(None);
            }
        }
        self.chosen = Some(id);
        Ok(Some(Registration { newest, replaced }))
    }

    /// The cache of the chosen connection is verified, and its server has described its storage: calls
    /// go through.
    pub(super) fn described(&mut self, cx: &mut Context, info: Arc<ServerInfo>) {
        let Some((_, connection)) = self.chosen_mut() else { return };
        if let Some(label) = cx.settings.label.clone() {
            let sent = connection.channel.send_oneway("set_client_label", vec![Value::Str(label)]);
            sent.expect("both encodings carry text");
        }
        connection.phase = Phase::Ready;
        connection.ready_by = None;
        let (server, read_only) = (connection.server, connection.read_only);
        self.servers.ready(cx.now, server);
        self.ready_since = cx.now;
        cx.event(Event::Connected { server, read_only, info });
        if !self.wants_better(cx) {
            self.close_others(cx);
        }
    }

    /// There are other servers now. Takes effect when the connection is lost; at once if there is none,
    /// or one that refuses writing although the client writes.
    pub(super) fn set_servers(&mut self, cx: &mut Context, servers: usize) {
        let trying = self.by_id.keys().copied().filter(|id| !self.is_chosen(*id));
        for id in trying.collect::<Vec<_>>() {
            self.forget(cx, id);
        }
        self.servers.replace(cx.now, servers);
        if self.chosen.is_some() && !self.wants_better(cx) {
            self.close_others(cx);
        }
        self.try_servers(cx);
    }

    /// Closes all connections that are not chosen, and tries no further servers.
    fn close_others(&mut self, cx: &mut Context) {
        self.servers.stop_trying();
        let chosen = self.chosen;
        self.by_id.retain(|id, _| {
            let is_chosen = Some(*id) == chosen;
            if !is_chosen {
                cx.output(Output::Disconnect(*id));
            }
            is_chosen
        });
    }
}

/// Losing connections.
impl Connections {
    /// Sends heartbeats that are due.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        self.by_id.values_mut().for_each(|connection| connection.keep_alive(now));
    }

    /// Connections that should be ready by now.
    pub(super) fn late(&self, now: Instant) -> Vec<(ConnId, Phase)> {
        let is_late = |it: &Connection| it.ready_by.is_some_and(|by| by <= now);
        let late = self.by_id.iter().filter(|(_, it)| is_late(it));
        late.map(|(id, it)| (*id, it.phase)).collect()
    }

    /// A connection is closed, or has to be. Returns the channel if the connection was the chosen one.
    /// [`Self::try_servers`] comes after what was asked on it is taken care of.
    pub(super) fn lost(
        &mut self,
        cx: &mut Context,
        id: ConnId,
        because: &LostBecause,
        setback: Setback,
    ) -> Option<Channel> {
        let connection = self.by_id.get(&id)?;
        let (server, was_chosen) = (connection.server, self.is_chosen(id));
        let was_ready = connection.phase == Phase::Ready;
        let was_good = was_ready && cx.now.since(self.ready_since) >= GOOD_AFTER;
        let level = if setback == Setback::Useless { LogLevel::Error } else { LogLevel::Info };
        cx.log(level, format!("server {}: {because}", server.0 + 1));
        self.last_problem = because.to_string();
        if was_ready {
            self.servers.count_anew(cx.now);
        }
        let is_good = was_good && setback == Setback::Unreachable;
        let setback = if is_good { Setback::GoodUntilNow } else { setback };
        self.servers.failed(cx.now, server, setback);
        let channel = self.forget(cx, id);
        if was_chosen {
            self.servers.try_others(cx.now);
        }
        if let Some(attempts) = self.servers.used_up().filter(|_| self.chosen.is_none()) {
            let text = format!("no server was reached in {attempts} attempts each: giving up");
            cx.log(LogLevel::Error, text);
        }
        channel
    }

    /// Ends a connection. Returns the channel if it was the chosen one.
    fn forget(&mut self, cx: &mut Context, id: ConnId) -> Option<Channel> {
        let mut connection = self.by_id.remove(&id)?;
        self.servers.forget(id);
        while let Some(chunk) = connection.channel.take_chunk() {
            cx.output(Output::Transmit(id, chunk));
        }
        cx.output(Output::Disconnect(id));
        if !self.is_chosen(id) {
            return None;
        }
        self.chosen = None;
        if connection.phase == Phase::Ready {
            self.unconnected_since = cx.now;
            cx.event(Event::Disconnected);
        }
        Some(connection.channel)
    }

    /// Ends all connections, for ever. Returns the channel of the chosen one.
    pub(super) fn close(&mut self, cx: &mut Context) -> Option<Channel> {
        self.is_closed = true;
        let mut chosen = None;
        for id in self.by_id.keys().copied().collect::<Vec<_>>() {
            chosen = self.forget(cx, id).or(chosen);
        }
        chosen
    }
}

fn register(cx: &Context, connection: &mut Connection, read_only: bool) {
    connection.phase = Phase::Registering;
    connection.read_only = read_only;
    // As Python's client does: a number if it never asks for anything else.
    let flag = match cx.settings.access {
        Access::ReadWrite => Value::Int(0),
        Access::ReadOnly | Access::ReadOnlyFallback => Value::Bool(read_only),
    };
    let storage = Value::Str(cx.settings.storage.clone());
    connection.channel.ask(Pending::Register, "register", vec![storage, flag]);
}

#[cfg(test)]
mod tests {
    use super::super::cache::Cache;
    use super::super::settings::ClientSettings;
    use super::*;

    #[test]
    fn a_call_that_waits_for_a_silent_server_fails_with_a_hint_at_tls() {
        let mut cx = Context::new(Instant::START, ClientSettings::default(), Cache::new(0));
        let mut connections = Connections::new(&cx);
        connections.try_servers(&mut cx);
        cx.now = Instant::START.after(cx.settings.wait_timeout);
        let failure = |connections: &mut Connections, cx: &Context| {
            let failure = connections.uplink(cx).failure(cx, Instant::START);
            failure.expect("the call has waited for long enough").to_string()
        };
        assert!(!failure(&mut connections, &cx).contains("TLS"), "nothing is connected yet");
        let id = *connections.by_id.keys().next().expect("a server is tried");
        connections.connected(Instant::START, id);
        let text = failure(&mut connections, &cx);
        assert!(text.ends_with("if it requires TLS, turn TLS on for this client"), "{text}");
        connections.greeted(&cx, id, b"Z5").expect("it is a greeting");
        let text = failure(&mut connections, &cx);
        assert!(text.ends_with("has not registered the client yet"), "{text}");
    }
}
