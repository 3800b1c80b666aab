//! Plays the clients of a script to a server that is somewhere else, and compares what it says.
//!
//! ```text
//!   lines of a script ──► Replay ──► orders: open, send, close ──► sockets
//!                           ▲                                         │
//!                           └───────────── bytes that came ◄──────────┘
//! ```
//!
//! Nothing here does I/O or knows the time; whoever plays gives it line by line, carries out the orders, and
//! gives it what comes until it does not wait any more. A client's line is said at once. A server's line is
//! waited for, and must be the very next that the server says on its connection, with the same bytes
//! but for what servers choose ([`crate::chosen`]) and a few answers that are about the server itself
//! (`compare.rs`). Only the answers to loads that are out at the same time may change places: a server
//! may find one in memory while it reads another from the disk.
//!
//! [`crate::play`] does the like with a server in memory, which it can stop and look into; here there is
//! only what comes out of a socket.

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

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Connect, and call this connection so.
    Open(u32),
    /// Say this.
    Send(u32, Bytes),
    /// Say nothing more.
    Close(u32),
    /// Let this time pass, if the script's pauses are wanted.
    Pause(Duration),
}

/// What came from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// Their end.
    Closed,
}

/// What is done after a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing: it is told as soon as it is certain that there is one.
    Stop,
    /// The rest is played, too. A message that does not come is waited for, so that one too many is
    /// told from one that is missing.
    GoOn,
}

/// A line that cannot be played to a server over a socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotPlayable {
    /// It needs somebody inside the server, or is not about a server at all.
    #[error("only a server in memory can play {0:?}")]
    Inside(String),
    /// It says something on a connection that nobody has opened.
    #[error("connection {0} has not been opened")]
    NotOpened(u32),
    /// A variable.
    #[error(transparent)]
    Unbound(#[from] Unbound),
    /// A value.
    #[error("this encoding cannot carry it: {0}")]
    Unwritable(#[from] Unwritable),
    /// A frame that no length can be written before.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
}

/// Plays one script.
#[derive(Debug)]
pub struct Replay {
    after: After,
    codec: Codec,
    chosen: AssignedIds,
    bindings: Bindings,
    connections: BTreeMap<u32, Connection>,
    /// The server's names of its database, as recorded and now: texts have them, too.
    places: Vec<(String, String)>,
    /// Oids as recorded and now, where they differ.
    moved_oids: Vec<([u8; 8], [u8; 8])>,
    orders: VecDeque<Order>,
    waiting: Option<Expected>,
    context: Context,
    differences: VecDeque<Difference>,
}

/// What must come next on a connection.
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
    /// Chosen by the client's handshake.
    codec: Option<Codec>,
    deframer: Deframer,
    received: VecDeque<Received>,
    is_greeted: bool,
    /// Whether it asked for figures, which are no messages.
    has_asked_ruok: bool,
    /// Whether the client has closed it: what comes then, nobody hears.
    has_left: bool,
    /// The methods of calls without an answer, by their ids.
    calls: BTreeMap<String, String>,
}

/// Something that the server said.
#[derive(Debug)]
enum Received {
    Message(Value),
    /// A greeting, or what cannot be said as a message; with what it is the answer to, if anything.
    Frame(Bytes, Key),
    /// What is no frame.
    Bytes(Bytes),
    Closed,
}

/// What makes two messages the same one, even if they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Answer(String),
    Notice(String),
    Closed,
    Other,
}

impl Replay {
    /// A player of a script of which `chosen` has read all lines.
    #[must_use]
    pub fn new(chosen: AssignedIds, after: After) -> Self {
        Self {
            after,
            codec: Codec::Pickle,
            chosen,
            bindings: Bindings::default(),
            connections: BTreeMap::new(),
            places: Vec::new(),
            moved_oids: Vec::new(),
            orders: VecDeque::new(),
            waiting: None,
            context: Context::default(),
            differences: VecDeque::new(),
        }
    }

    /// Plays the next line, the `number`th of the script. The one before must not be waited for any more.
    ///
    /// # Errors
    /// [`NotPlayable`].
    pub fn handle_line(&mut self, number: usize, line: &Line) -> Result<(), NotPlayable> {
        match line {
            Line::Comment(_) => {}
            Line::Set { .. } => self.codec = codec_of(line).unwrap_or(self.codec),
            Line::Wait(time) => self.orders.push_back(Order::Pause(*time)),
            Line::Peer { side: Side::Client, connection, action } => {
                self.send_line(*connection, action)?;
                self.context.push(line);
            }
            Line::Peer { side: Side::Server, connection, action } => {
                let received = self.connections.get(connection);
                let received = received.ok_or(NotPlayable::NotOpened(*connection))?;
                if !received.has_left {
                    let (connection, key) = (*connection, self.key(action, received.codec));
                    let action = self.named(action);
                    self.waiting = Some(Expected { line: number, connection, action, key });
                    self.look();
                }
            }
            Line::Hold(_) | Line::Release(_) | Line::Do(_) | Line::Event(_) => {
                return Err(NotPlayable::Inside(line.to_string()));
            }
        }
        Ok(())
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Whether the server has to say something before the next line.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Takes what the server said on a connection.
    pub fn handle_input(&mut self, number: u32, input: Input<'_>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if !connection.has_left {
            connection.receive(input);
            self.look();
        }
    }

    /// What is waited for has not come for too long.
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

    /// A line of the script with variables for all that may be otherwise in this run.
    fn named(&self, action: &Action) -> Action {
        let Some(envelope) = action.envelope() else { return action.clone() };
        Action::from_envelope(self.chosen.name(&envelope, &|_| true))
    }

    /// The key of what is expected, with the ids of this run.
    fn key(&self, action: &Action, codec: Option<Codec>) -> Key {
        match action {
            Action::Frame(bytes) => key_of_payload(codec, bytes),
            Action::Reply { id, .. } | Action::Error { id, .. } => {
                let named = self.chosen.name(id, &|name| self.bindings.has(name));
                let id = self.bindings.resolve(&named).map_or_else(|_| named, Term::from);
                Key::Answer(id.to_string())
            }
            action => key(action),
        }
    }

    /// Looks whether what is waited for has come.
    fn look(&mut self) {
        let Some(expected) = &self.waiting else { return };
        let Some(connection) = self.connections.get_mut(&expected.connection) else { return };
        let place = match connection.find(expected) {
            Place::At(place) => place,
            Place::NotYet => return,
            // It may still come, and then all before it is too much.
            Place::Elsewhere if self.after == After::GoOn && connection.is_open() => return,
            Place::Elsewhere => return self.handle_timeout(),
        };
        let expected = self.waiting.take().expect("there is something that is waited for");
        let allowed = connection.answers_of_loads_before(place);
        if place > 0 && !allowed {
            let extra: Vec<Received> = connection.received.drain(..place).collect();
            for received in extra {
                let extra = received.action(&self.bindings);
                self.tell(&expected, None, Some(&extra));
            }
            return self.meet(&expected, 0);
        }
        self.meet(&expected, place);
    }

    /// Compares what has come with what was waited for.
    fn meet(&mut self, expected: &Expected, place: usize) {
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
        self.tell(expected, Some(&expected.action), got);
        self.context.push(&expected.as_line(expected.action.clone()));
    }

    fn tell(&mut self, at: &Expected, expected: Option<&Action>, got: Option<&Action>) {
        let line = |action: &Action| at.as_line(action.clone());
        let (expected, got) = (expected.map(line), got.map(line));
        self.differences.push_back(Difference::new(at.line, &self.context, expected, got));
    }

    fn send_line(&mut self, number: u32, action: &Action) -> Result<(), NotPlayable> {
        match action {
            Action::Opens => {
                self.connections.insert(number, Connection::new());
                self.orders.push_back(Order::Open(number));
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
                connection.has_left = true;
                connection.received.clear();
                self.orders.push_back(Order::Close(number));
            }
            Action::Bytes(bytes) => self.orders.push_back(Order::Send(number, bytes.clone())),
            _ => {
                connection.has_sent(&sent, &payload);
                let length = u32::try_from(payload.len());
                let length = length.map_err(|_| NotPlayable::TooLong(payload.len()))?;
                let frame = [&length.to_be_bytes(), &payload[..]].concat();
                self.orders.push_back(Order::Send(number, frame.into()));
            }
        }
        Ok(())
    }

    /// What goes into the frame of a client's line, and what that says in this run.
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

    /// What a client says here where it said `recorded` there.
    fn in_this_run(&self, recorded: &Term) -> Result<Value, NotPlayable> {
        // What nobody has been told yet cannot have been learned: it is the same by chance.
        let named = self.chosen.name(recorded, &|name| self.bindings.has(name));
        let value = self.bindings.resolve(&named)?;
        Ok(self.move_pack_time(self.move_records(value)))
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
            has_left: false,
            calls: BTreeMap::new(),
        }
    }

    fn is_open(&self) -> bool {
        !matches!(self.received.back(), Some(Received::Closed))
    }

    /// A client's frame goes out.
    fn has_sent(&mut self, action: &Action, payload: &Bytes) {
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
                            let received = self.understand(frame);
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

    fn understand(&self, frame: Bytes) -> Received {
        // The server's greeting comes before anybody has chosen.
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

    fn find(&self, expected: &Expected) -> Place {
        let Some(first) = self.received.front() else { return Place::NotYet };
        let wanted = &expected.key;
        if first.key() == *wanted {
            return Place::At(0);
        }
        match self.received.iter().position(|received| received.key() == *wanted) {
            Some(place) => Place::At(place),
            None if self.is_load(wanted) && self.answers_of_loads_before(self.received.len()) => {
                Place::NotYet
            }
            None => Place::Elsewhere,
        }
    }

    /// Whether all that was heard before a place may come after it as well.
    fn answers_of_loads_before(&self, place: usize) -> bool {
        self.received.iter().take(place).all(|received| self.is_load(&received.key()))
    }

    fn is_load(&self, key: &Key) -> bool {
        let Key::Answer(id) = key else { return false };
        self.calls.get(id).is_some_and(|method| method == "loadBefore" || method == "loadSerial")
    }
}

/// Where in what was heard something is.
enum Place {
    At(usize),
    NotYet,
    /// Something else came.
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

/// Of a frame that is not written as it would be now, but can be read.
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
