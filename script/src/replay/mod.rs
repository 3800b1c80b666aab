//! Plays the clients of a script to a server, and compares the server's messages with the script.
//!
//! ```text
//!   lines of a script ──► Replay ──► commands: open, send, close ──► sockets
//!                           ▲                                           │
//!                           └───────────── received bytes ◄─────────────┘
//! ```
//!
//! Nothing here does I/O or knows the time. The caller passes one line after the other, carries out the commands, and
//! passes the received bytes until the replay does not wait any more. A client's line is sent at once. A server's
//! line is waited for, and must be the next message of the server on its connection, with the same bytes
//! except for assigned ids (`assigned_ids.rs`) and a few answers that are about the server itself
//! (`compare.rs`). Only the answers to loads that are pending at the same time may change places: a server
//! may find one record in memory while it reads another from the disk.
//!
//! `rzeo-fixtures` plays scripts to a server in memory, which it can also stop and inspect; this module needs
//! only a socket.

mod assigned_ids;
mod compare;
mod difference;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rzeo_core::value::{ReadLimits, Value};
use rzeo_core::wire::{Codec, Deframer, Unwritable};

pub use self::assigned_ids::AssignedIds;
use self::difference::Context;
pub use self::difference::Difference;
pub use self::schedule::Schedule;
use crate::bindings::{Bindings, Unbound};
use crate::notation::Term;
use crate::script::{Action, Line, Side};
use crate::transcript::{FRAME_BYTES_MAX, codec_of};

/// A command to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Connect, and give the connection this number.
    Open(u32),
    /// Send bytes on a connection.
    Send(u32, Bytes),
    /// Close the sending side of a connection.
    Close(u32),
    /// Wait, if the pauses of the script are kept.
    Pause(Duration),
}

/// What a connection received from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Bytes, divided into any reads.
    Bytes(&'a [u8]),
    /// The end of the connection.
    Closed,
}

/// What a replay does after a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stops; a difference is reported as soon as it is certain.
    Stop,
    /// It continues. It waits for a missing message until the timeout, which distinguishes a missing message
    /// from a superfluous one.
    Continue,
}

/// Why a line cannot be played to a server over a socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotPlayable {
    /// It acts inside the server, or is not about a server at all.
    #[error("{0:?} works only with a server in memory")]
    Inside(String),
    /// It sends a message on a connection that no line has opened.
    #[error("connection {0} is not open; a line C{0} opens must come first")]
    NotOpened(u32),
    /// It uses a variable without a value.
    #[error(transparent)]
    Unbound(#[from] Unbound),
    /// It has a value that the encoding of the connection does not have.
    #[error("the encoding of the connection cannot carry a value: {0}")]
    Unwritable(#[from] Unwritable),
    /// Its frame is longer than four bytes can say.
    #[error("a frame has {0} bytes, more than a 4-byte length can express")]
    TooLong(usize),
}

/// Sends the messages of one script and compares the replies.
#[derive(Debug)]
pub struct Replay {
    after: After,
    codec: Codec,
    assigned: AssignedIds,
    bindings: Bindings,
    connections: BTreeMap<u32, Connection>,
    /// The server's name of its database, as recorded and now; texts of errors contain it.
    places: Vec<(String, String)>,
    /// Oids as recorded and now, where they differ.
    renumbered_oids: Vec<([u8; 8], [u8; 8])>,
    commands: VecDeque<Command>,
    waiting: Option<Expected>,
    context: Context,
    differences: VecDeque<Difference>,
}

/// The message that a connection must receive next.
#[derive(Clone, Debug)]
struct Expected {
    line: usize,
    connection: u32,
    action: Action,
    key: Key,
}

/// The client's end of a connection.
#[derive(Debug)]
struct Connection {
    /// The encoding, once the client's handshake has chosen it.
    codec: Option<Codec>,
    deframer: Deframer,
    received: VecDeque<Received>,
    is_greeted: bool,
    /// Whether the client sent `ruok`, whose answer is not a message.
    has_asked_ruok: bool,
    /// Whether the client has closed the connection: messages after that are dropped.
    client_closed: bool,
    /// The methods of calls without an answer, by their ids.
    calls: BTreeMap<String, String>,
}

/// A message of the server.
#[derive(Debug)]
enum Received {
    Message(Value),
    /// A handshake, or a frame that is not a message; with the method that it answers, if any.
    Frame(Bytes, Key),
    /// Bytes that are not a frame.
    Bytes(Bytes),
    Closed,
}

/// What identifies a message among those of its connection, even if its content differs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Answer(String),
    Notice(String),
    Closed,
    Other,
}

impl Replay {
    /// A replay of a script of which `assigned` has read all lines.
    #[must_use]
    pub fn new(assigned: AssignedIds, after: After) -> Self {
        Self {
            after,
            codec: Codec::Pickle,
            assigned,
            bindings: Bindings::default(),
            connections: BTreeMap::new(),
            places: Vec::new(),
            renumbered_oids: Vec::new(),
            commands: VecDeque::new(),
            waiting: None,
            context: Context::default(),
            differences: VecDeque::new(),
        }
    }

    /// Plays the next line, the `number`th of the script. Must not be called while the replay waits.
    ///
    /// # Errors
    /// [`NotPlayable`] if a socket is not enough for this line.
    pub fn handle_line(&mut self, number: usize, line: &Line) -> Result<(), NotPlayable> {
        match line {
            Line::Comment(_) => {}
            Line::Set { .. } => self.codec = codec_of(line).unwrap_or(self.codec),
            Line::Wait(time) => self.commands.push_back(Command::Pause(*time)),
            Line::Peer { side: Side::Client, connection, action } => {
                self.send_line(*connection, action)?;
                self.context.push(line);
            }
            Line::Peer { side: Side::Server, connection, action } => {
                let received = self.connections.get(connection);
                let received = received.ok_or(NotPlayable::NotOpened(*connection))?;
                if !received.client_closed {
                    let (connection, key) = (*connection, self.key(action, received.codec));
                    let action = self.named(action);
                    self.waiting = Some(Expected { line: number, connection, action, key });
                    self.check_arrived();
                }
            }
            Line::Hold(_) | Line::Release(_) | Line::Do(_) | Line::Event(_) => {
                return Err(NotPlayable::Inside(line.to_string()));
            }
        }
        Ok(())
    }

    /// The next command.
    pub fn poll_output(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Whether the replay waits for a message of the server before the next line.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Takes what a connection received.
    pub fn handle_input(&mut self, number: u32, input: Input<'_>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if !connection.client_closed {
            connection.receive(input);
            self.check_arrived();
        }
    }

    /// Ends the wait for a message as a difference.
    pub fn handle_timeout(&mut self) {
        let Some(expected) = self.waiting.take() else { return };
        let connection = self.connections.get_mut(&expected.connection);
        let first = connection.and_then(|connection| connection.received.front());
        let got = first.map(|received| received.action(&self.bindings));
        self.differ(&expected, got.as_ref());
    }

    /// The next difference.
    pub fn take_difference(&mut self) -> Option<Difference> {
        self.differences.pop_front()
    }

    /// A line of the script with variables for all assigned ids.
    fn named(&self, action: &Action) -> Action {
        let Some(envelope) = action.envelope() else { return action.clone() };
        Action::from_envelope(self.assigned.name(&envelope, &|_| true))
    }

    /// The key of an expected message, with the ids of this run.
    fn key(&self, action: &Action, codec: Option<Codec>) -> Key {
        match action {
            Action::Frame(bytes) => key_of_payload(codec, bytes),
            Action::Reply { id, .. } | Action::Error { id, .. } => {
                let named = self.assigned.name(id, &|name| self.bindings.has(name));
                let id = self.bindings.resolve(&named).map_or_else(|_| named, Term::from);
                Key::Answer(id.to_string())
            }
            action => key(action),
        }
    }

    /// Checks whether the expected message has arrived.
    fn check_arrived(&mut self) {
        let Some(expected) = &self.waiting else { return };
        let Some(connection) = self.connections.get_mut(&expected.connection) else { return };
        let place = match connection.find(expected) {
            Position::At(place) => place,
            Position::NotYet => return,
            // It may still arrive; then the messages before it are superfluous.
            Position::Elsewhere if self.after == After::Continue && connection.is_open() => return,
            Position::Elsewhere => return self.handle_timeout(),
        };
        let expected = self.waiting.take().expect("a message is expected");
        let allowed = connection.answers_of_loads_before(place);
        if place > 0 && !allowed {
            let extra: Vec<Received> = connection.received.drain(..place).collect();
            for received in extra {
                let extra = received.action(&self.bindings);
                self.report(&expected, None, Some(&extra));
            }
            return self.compare_received(&expected, 0);
        }
        self.compare_received(&expected, place);
    }

    /// Compares a received message with the expected one.
    fn compare_received(&mut self, expected: &Expected, place: usize) {
        let connection = self.connections.get_mut(&expected.connection);
        let Some(connection) = connection else { return };
        let Some(received) = connection.received.remove(place) else { return };
        connection.is_greeted = true;
        match self.compare(expected, &received) {
            Ok(()) => self.context.push(&expected.as_line(expected.action.clone())),
            Err(got) => self.differ(expected, Some(&got)),
        }
        if let (Key::Answer(id), Some(connection)) =
            (&expected.key, self.connections.get_mut(&expected.connection))
        {
            connection.calls.remove(id);
        }
    }

    fn differ(&mut self, expected: &Expected, got: Option<&Action>) {
        self.report(expected, Some(&expected.action), got);
        self.context.push(&expected.as_line(expected.action.clone()));
    }

    fn report(&mut self, at: &Expected, expected: Option<&Action>, got: Option<&Action>) {
        let line = |action: &Action| at.as_line(action.clone());
        let (expected, got) = (expected.map(line), got.map(line));
        self.differences.push_back(Difference::new(at.line, &self.context, expected, got));
    }

    fn send_line(&mut self, number: u32, action: &Action) -> Result<(), NotPlayable> {
        match action {
            Action::Opens => {
                self.connections.insert(number, Connection::new());
                self.commands.push_back(Command::Open(number));
                return Ok(());
            }
            Action::Joins => return Err(NotPlayable::Inside(format!("C{number} joins"))),
            _ => {}
        }
        let (payload, sent) = self.payload(number, action)?;
        let connection = self.connections.get_mut(&number);
        let connection = connection.ok_or(NotPlayable::NotOpened(number))?;
        match action {
            Action::Closes => {
                connection.client_closed = true;
                connection.received.clear();
                self.commands.push_back(Command::Close(number));
            }
            Action::Bytes(bytes) => self.commands.push_back(Command::Send(number, bytes.clone())),
            _ => {
                connection.note_sent(&sent, &payload);
                let length = u32::try_from(payload.len());
                let length = length.map_err(|_| NotPlayable::TooLong(payload.len()))?;
                let frame = [&length.to_be_bytes(), &payload[..]].concat();
                self.commands.push_back(Command::Send(number, frame.into()));
            }
        }
        Ok(())
    }

    /// The payload for the frame of a client's line, and the line with the ids of this run.
    fn payload(&self, number: u32, action: &Action) -> Result<(Bytes, Action), NotPlayable> {
        let connection = self.connections.get(&number).ok_or(NotPlayable::NotOpened(number))?;
        let payload = match (action, action.envelope()) {
            (Action::Hello, _) => Bytes::from_static(self.codec.greeting()),
            (Action::Frame(bytes), _) => bytes.clone(),
            (_, Some(envelope)) => {
                let value = self.in_this_run(&envelope)?;
                let payload = connection.codec.unwrap_or(self.codec).write_value(&value)?;
                return Ok((payload, Action::from_envelope(value.into())));
            }
            (_, None) => Bytes::new(),
        };
        Ok((payload, action.clone()))
    }

    /// The value that a client sends in this run in place of `recorded`.
    fn in_this_run(&self, recorded: &Term) -> Result<Value, NotPlayable> {
        // An id that the server has not sent yet is equal by chance, so it stays as recorded.
        let named = self.assigned.name(recorded, &|name| self.bindings.has(name));
        let value = self.bindings.resolve(&named)?;
        Ok(self.adjust_pack_time(self.renumber_records(value)))
    }
}

impl Connection {
    fn new() -> Self {
        Self {
            codec: None,
            deframer: Deframer::new(FRAME_BYTES_MAX),
            received: VecDeque::new(),
            is_greeted: false,
            has_asked_ruok: false,
            client_closed: false,
            calls: BTreeMap::new(),
        }
    }

    fn is_open(&self) -> bool {
        !matches!(self.received.back(), Some(Received::Closed))
    }

    /// Updates the connection for a frame that its client sends.
    fn note_sent(&mut self, action: &Action, payload: &Bytes) {
        if self.codec.is_none() {
            self.codec = Codec::chosen_by(payload);
            self.has_asked_ruok |= &payload[..] == b"ruok";
        }
        if let Action::Call { id: Some(id), method, .. } = action {
            self.calls.insert(id.to_string(), method.clone());
        }
    }

    fn receive(&mut self, input: Input<'_>) {
        match input {
            Input::Bytes(bytes) => {
                self.deframer.push(bytes);
                loop {
                    match self.deframer.next_frame() {
                        Ok(Some(frame)) => {
                            let received = self.decode(frame);
                            self.received.push_back(received);
                        }
                        Ok(None) => break,
                        Err(_) => {
                            self.received.push_back(Received::Bytes(self.deframer.take_rest()));
                            break;
                        }
                    }
                }
            }
            Input::Closed => {
                let rest = self.deframer.take_rest();
                if !rest.is_empty() {
                    self.received.push_back(Received::Bytes(rest));
                }
                self.received.push_back(Received::Closed);
            }
        }
    }

    fn decode(&self, frame: Bytes) -> Received {
        // The server's handshake precedes the choice of the encoding.
        let greeting = !self.is_greeted && self.received.is_empty();
        let codec = self.codec.filter(|_| !greeting);
        match codec.map(|codec| (codec, codec.read_value(&frame, &ReadLimits::default()))) {
            Some((codec, Ok(value))) if codec.write_value(&value).is_ok_and(|it| it == frame) => {
                Received::Message(value)
            }
            _ => {
                let key = key_of_payload(codec, &frame);
                Received::Frame(frame, key)
            }
        }
    }

    fn find(&self, expected: &Expected) -> Position {
        let Some(first) = self.received.front() else { return Position::NotYet };
        let wanted = &expected.key;
        if first.key() == *wanted {
            return Position::At(0);
        }
        match self.received.iter().position(|received| received.key() == *wanted) {
            Some(place) => Position::At(place),
            None if self.is_load(wanted) && self.answers_of_loads_before(self.received.len()) => {
                Position::NotYet
            }
            None => Position::Elsewhere,
        }
    }

    /// Whether all messages before a position are answers to loads, which may change places.
    fn answers_of_loads_before(&self, place: usize) -> bool {
        self.received.iter().take(place).all(|received| self.is_load(&received.key()))
    }

    fn is_load(&self, key: &Key) -> bool {
        let Key::Answer(id) = key else { return false };
        self.calls.get(id).is_some_and(|method| method == "loadBefore" || method == "loadSerial")
    }
}

/// Where an expected message is among the received ones.
enum Position {
    At(usize),
    NotYet,
    /// Another message is in its place.
    Elsewhere,
}

impl Received {
    fn action(&self, bindings: &Bindings) -> Action {
        match self {
            Self::Message(value) => Action::from_envelope(bindings.name(value)),
            Self::Frame(frame, _) => Action::Frame(frame.clone()),
            Self::Bytes(bytes) => Action::Bytes(bytes.clone()),
            Self::Closed => Action::Closes,
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Message(value) => key(&Action::from_envelope(value.clone().into())),
            Self::Frame(_, key) => key.clone(),
            Self::Bytes(_) => Key::Other,
            Self::Closed => Key::Closed,
        }
    }
}

/// The key of a frame that can be decoded but is encoded differently than rzeo would.
fn key_of_payload(codec: Option<Codec>, payload: &Bytes) -> Key {
    let value = codec.and_then(|codec| codec.read_value(payload, &ReadLimits::default()).ok());
    value.map_or(Key::Other, |value| key(&Action::from_envelope(value.into())))
}

fn key(action: &Action) -> Key {
    match action {
        Action::Reply { id, .. } | Action::Error { id, .. } => Key::Answer(id.to_string()),
        Action::Call { method, .. } => Key::Notice(method.clone()),
        Action::Closes => Key::Closed,
        Action::Opens
        | Action::Joins
        | Action::Hello
        | Action::Frame(_)
        | Action::Bytes(_)
        | Action::Message(_) => Key::Other,
    }
}

impl Expected {
    const fn as_line(&self, action: Action) -> Line {
        Line::Peer { side: Side::Server, connection: self.connection, action }
    }
}
