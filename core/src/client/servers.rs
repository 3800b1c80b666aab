//! Which server to speak to, and when to try which.
//!
//! All servers are tried at once, each on its own: one that is not there, or never answers, keeps
//! nobody waiting. The first that registers the client is chosen and the others are let go, except
//! when a server that takes writes is wanted and this one does not: then the others are tried on, and
//! the first that takes writes replaces it.
//!
//! A server that cannot be reached is tried again after a while that grows to a second or two; one
//! that was reached and is of no use, after nine or ten (as Python's client does).

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::calls::Wanted;
use super::connection::{Connection, Pending, Phase};
use super::{Access, Client, ConnId, Event, LostBecause, Output, Refused, ServerId};
use crate::ids::Tid;
use crate::server::LogLevel;
use crate::time::{Instant, Now};
use crate::value::Value;

/// The first pause after a server could not be reached; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after a server turned out to be of no use, and how much longer it may be.
const LONG_PAUSE: Duration = Duration::from_secs(9);
const LONG_PAUSE_JITTER: Duration = Duration::from_secs(1);

/// A connection that lasted as long was a good one: its server is tried again at once.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// What is up with a server.
#[derive(Debug)]
pub(super) struct Server {
    attempt: Attempt,
    /// How often in a row it could not be reached.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// Nothing is wanted of it, or it is the chosen one.
    None,
    /// To be tried at this moment.
    At(Instant),
    Now(ConnId),
}

impl Server {
    pub(super) const fn new(now: Instant) -> Self {
        Self { attempt: Attempt::At(now), failures: 0 }
    }
}

/// How bad it is that a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// It could not be made, or broke.
    Unreachable,
    /// The server is of no use.
    Useless,
}

impl Client {
    /// There are other servers now, so many. Takes effect when the connection is lost; at once if
    /// there is none, or one that refuses writing although writing is wanted.
    pub fn new_servers(&mut self, now: Now, servers: usize) {
        self.settings.servers = servers;
        let trying = self.connections.values().filter(|it| Some(it.id) != self.chosen);
        for id in trying.map(|it| it.id).collect::<Vec<_>>() {
            self.forget(now.instant, id, &LostBecause::NewAddresses);
        }
        self.servers = (0..servers).map(|_| Server::new(now.instant)).collect();
        if self.chosen.is_some() && !self.wants_better() {
            self.rest();
        }
        self.try_servers(now.instant);
    }

    /// When the next server is to be tried.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        if self.is_closed {
            return None;
        }
        let attempts = self.servers.iter().filter_map(|server| match server.attempt {
            Attempt::At(at) => Some(at),
            Attempt::None | Attempt::Now(_) => None,
        });
        attempts.min()
    }

    /// Connects to all servers whose time has come.
    pub(super) fn try_servers(&mut self, now: Instant) {
        if self.is_closed {
            return;
        }
        for index in 0..self.servers.len() {
            if !matches!(self.servers[index].attempt, Attempt::At(at) if at <= now) {
                continue;
            }
            self.last_connection += 1;
            let id = ConnId(self.last_connection);
            let by = now.after(self.settings.connect_timeout);
            let server = ServerId(index);
            let connection = Connection::new(id, server, self.settings.frame_bytes_max, by);
            self.connections.insert(id, connection);
            self.servers[index].attempt = Attempt::Now(id);
            self.outputs.push_back(Output::Connect(id, server));
        }
    }

    /// The server has announced itself: the client answers and asks to be registered.
    pub(super) fn greeted(&mut self, id: ConnId, announced: &[u8]) -> Result<(), LostBecause> {
        let access = self.settings.access;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.greet(announced)?;
        self.register(id, access == Access::ReadOnly);
        Ok(())
    }

    fn register(&mut self, id: ConnId, read_only: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.phase = Phase::Registering;
        connection.read_only = read_only;
        // As Python's client says it: a number if it never asks for anything else.
        let flag = match self.settings.access {
            Access::ReadWrite => Value::Int(0),
            Access::ReadOnly | Access::ReadOnlyFallback => Value::Bool(read_only),
        };
        let storage = Value::Str(self.settings.storage.clone());
        connection.ask(Pending::Register, "register", vec![storage, flag]);
    }

    /// The server has decided. `None` for a tid is that of a server that tells it only when asked.
    pub(super) fn registered(
        &mut self,
        now: Instant,
        id: ConnId,
        answer: Result<Option<Tid>, Refused>,
    ) -> Result<(), LostBecause> {
        let newest = match answer {
            Ok(newest) => newest,
            Err(Refused::ReadOnly)
                if self.settings.access == Access::ReadOnlyFallback && self.chosen.is_none() =>
            {
                self.register(id, true);
                return Ok(());
            }
            Err(refused) => return Err(LostBecause::Refused(refused)),
        };
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.phase = Phase::Verifying;
        let takes_writes = !connection.read_only;
        match self.chosen {
            None => {}
            Some(chosen) if self.wants_better() && takes_writes => {
                self.forget(now, chosen, &LostBecause::Upgraded);
            }
            Some(_) => {
                self.forget(now, id, &LostBecause::TooLate);
                return Ok(());
            }
        }
        self.chosen = Some(id);
        self.verify(id, newest)
    }

    /// The chosen server's cache is verified, and it has said what it serves: calls go through.
    pub(super) fn ready(&mut self, now: Instant) {
        let label = self.settings.label.clone();
        let Some(id) = self.chosen else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(label) = label {
            let told = connection.tell("set_client_label", vec![Value::Str(label)]);
            told.expect("both encodings carry text");
        }
        connection.phase = Phase::Ready;
        connection.ready_by = None;
        let (server, read_only) = (connection.server, connection.read_only);
        if let Some(server) = self.servers.get_mut(server.0) {
            server.attempt = Attempt::None;
        }
        self.ready_since = now;
        if let Some(info) = self.info.clone() {
            self.outputs.push_back(Output::Event(Event::Connected { server, read_only, info }));
        }
        if !self.wants_better() {
            self.rest();
        }
        self.look_after_waiting(now);
        self.take_turns(now);
    }

    /// Whether there is a connection, and one to a server that takes writes would be better.
    fn wants_better(&self) -> bool {
        let chosen = self.chosen.and_then(|id| self.connections.get(&id));
        self.settings.access == Access::ReadOnlyFallback
            && chosen.is_some_and(|connection| connection.read_only)
    }

    /// Nothing is wanted of the servers that are not chosen.
    fn rest(&mut self) {
        for server in &mut self.servers {
            server.attempt = Attempt::None;
        }
        let others = self.connections.keys().copied().filter(|id| Some(*id) != self.chosen);
        for id in others.collect::<Vec<_>>() {
            self.connections.remove(&id);
            self.outputs.push_back(Output::Disconnect(id));
        }
    }

    /// A connection is of no use any more, and was closed or has to be.
    pub(super) fn lost(
        &mut self,
        now: Instant,
        id: ConnId,
        because: &LostBecause,
        setback: Setback,
    ) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (server, was_chosen) = (connection.server, self.chosen == Some(id));
        let was_good =
            connection.phase == Phase::Ready && now.since(self.ready_since) >= GOOD_AFTER;
        self.last_problem = because.to_string();
        let level = if setback == Setback::Useless { LogLevel::Error } else { LogLevel::Info };
        let text = alloc::format!("server {}: {because}", server.0 + 1);
        self.outputs.push_back(Output::Log(level, text));
        let pause = self.pause(server, was_good, setback);
        if let Some(server) = self.servers.get_mut(server.0) {
            server.attempt = Attempt::At(now.after(pause));
        }
        self.forget(now, id, because);
        if was_chosen {
            for server in &mut self.servers {
                if server.attempt == Attempt::None {
                    server.attempt = Attempt::At(now);
                }
            }
        }
        self.try_servers(now);
    }

    fn pause(&mut self, server: ServerId, was_good: bool, setback: Setback) -> Duration {
        let Some(server) = self.servers.get_mut(server.0) else { return Duration::ZERO };
        if was_good && setback == Setback::Unreachable {
            server.failures = 0;
            return Duration::ZERO;
        }
        if setback == Setback::Useless {
            return LONG_PAUSE + self.jitter.below(LONG_PAUSE_JITTER);
        }
        let least = FIRST_PAUSE * 2u32.saturating_pow(server.failures.min(8));
        server.failures += 1;
        self.jitter.stretch(least.min(LAST_PAUSE))
    }

    /// Ends a connection, with everything that hangs on it.
    fn forget(&mut self, now: Instant, id: ConnId, because: &LostBecause) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        for server in &mut self.servers {
            if server.attempt == Attempt::Now(id) {
                server.attempt = Attempt::None;
            }
        }
        while let Some(chunk) = connection.take_chunk() {
            self.outputs.push_back(Output::Transmit(id, chunk));
        }
        self.outputs.push_back(Output::Disconnect(id));
        if self.chosen != Some(id) {
            return;
        }
        self.chosen = None;
        if connection.phase == Phase::Ready {
            self.unconnected_since = now;
            self.outputs.push_back(Output::Event(Event::Disconnected));
        }
        self.transaction_lost(because);
        self.downloads_lost(&mut connection.downloads, because);
        for (_, pending) in core::mem::take(&mut connection.pending) {
            self.fail_pending(now, pending, because);
        }
        for (asker, oid, before) in connection.loads.take_callers() {
            self.want_again(now, asker, Wanted::Load(oid, before), because);
        }
    }

    /// The application gives up the client.
    pub(super) fn close(&mut self, now: Instant) {
        self.is_closed = true;
        self.end_transactions();
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.forget(now, id, &LostBecause::Closed);
        }
        self.look_after_waiting(now);
    }
}
