//! Conversations as text: one message per line, in the order in which they were sent.
//!
//! ```text
//! # The second client stores over a revision that it has not read: its vote is refused, its connection stays.
//! set invalidation-queue-size 3
//! C2 - storea 0x0000000000000001 0x0000000000000000 b"late" 8
//! C2 4 vote 8
//! S2 4 error "ZODB.POSException.ConflictError" {"oid": 0x0000000000000001}
//! ```
//!
//! `C2` is a message from the second client, `S2` a message from the server to it. The message's id follows, or
//! `-` for a message without an answer (id 0, flag true); then a method with its
//! arguments, or `reply` or `error` with their values. [`crate::notation`] describes the values.
//!
//! | other lines | mean |
//! |---|---|
//! | `C1 opens`, `C1 closes`, `S1 closes` | the connection |
//! | `C1 joins` | the client connects, sends its handshake and registers as usual |
//! | `C1 hello`, `S1 hello` | the handshake of the codec with which the script is played |
//! | `C1 frame b"ruok"` | a frame with these bytes as its payload |
//! | `C1 bytes b"\xff"` | bytes without a frame around them |
//! | `C1 message (1, 2)` | a frame with any value, encoded |
//! | `wait 30` | seconds pass |
//! | `hold notices 2`, `release notices 2` | inside the server, a queue ([`Queue`]) is stopped, or runs again |
//! | `set NAME VALUE` | a setting, before the first message |
//! | `do LABEL COMMAND …`, `event LABEL WHAT …` | a command of an application to its client, and an event that the client reports |
//!
//! Reading a script and writing it gives the same text, comments and all. So a test compares two
//! texts, and its failure is a diff of two conversations.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rzeo_core::value::Value;

use crate::notation::{Problem, Reader, Term};
use crate::queue::Queue;

/// A conversation, line by line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// The messages and other lines, in order.
    pub lines: Vec<Line>,
}

/// One line of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A comment with its `#`, or an empty line.
    Comment(String),
    /// `set NAME VALUE`: a setting of the server.
    Set {
        /// Name as in a configuration file.
        name: String,
        /// The setting's value.
        value: Term,
    },
    /// `wait SECONDS`: time passes.
    Wait(Duration),
    /// `hold QUEUE`: the queue is stopped.
    Hold(Queue),
    /// `release QUEUE`: the queue runs again.
    Release(Queue),
    /// `do LABEL COMMAND …`: an application gives its client a command.
    Do(AppMessage),
    /// `event LABEL WHAT …`: a client reports an event to its application.
    Event(AppMessage),
    /// A peer sends something, or opens or closes a connection.
    Peer {
        /// The peer that sends the frame.
        side: Side,
        /// Number of the connection.
        connection: u32,
        /// What the sender does.
        action: Action,
    },
}

/// A command of an application to its client, or an event that the client reports.
#[derive(Clone, Debug, PartialEq)]
pub struct AppMessage {
    /// Name by which the script refers to a call, a transaction or another subject.
    pub label: String,
    /// Name of the command or event.
    pub what: String,
    /// Arguments of the command or event.
    pub args: Vec<Term>,
}

/// One of the two peers of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The peer that connected.
    Client,
    /// The peer that accepted the connection.
    Server,
}

impl Side {
    /// The opposite peer.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a peer can do on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `opens`: the client connects.
    Opens,
    /// `closes`: the peer ends the connection.
    Closes,
    /// `joins`: the client connects, both peers send their handshakes, and the client is registered.
    Joins,
    /// `hello`: the handshake of the script's codec.
    Hello,
    /// `frame`: a frame with these bytes as its payload.
    Frame(Bytes),
    /// `bytes`: bytes that need not be a frame.
    Bytes(Bytes),
    /// A call, with or without an answer.
    Call {
        /// `None` for a call without an answer.
        id: Option<Term>,
        /// Name of the wire method.
        method: String,
        /// Arguments in the order of the wire.
        args: Vec<Term>,
    },
    /// `reply`: a call succeeded.
    Reply {
        /// The id of the call.
        id: Term,
        /// The value that the call returns.
        result: Term,
    },
    /// `error`: a call was refused.
    Error {
        /// The id of the call.
        id: Term,
        /// Name of a Python exception.
        class: Term,
        /// The arguments of the exception.
        payload: Term,
    },
    /// `message`: any other value in a frame.
    Message(Term),
}

/// The first line of a text that is not a line of a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct NotAScript {
    /// Number of the line, counted from 1.
    pub line: usize,
    /// Why it cannot be read.
    pub problem: String,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// [`NotAScript`], with the first line that cannot be read.
    pub fn read(text: &str) -> Result<Self, NotAScript> {
        let line = |(index, text)| {
            Line::read(text).map_err(|problem| NotAScript { line: index + 1, problem })
        };
        let lines = text.lines().enumerate().map(line).collect::<Result<_, _>>()?;
        Ok(Self { lines })
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// [`Problem`] if it is not a line of a script.
    pub fn read(text: &str) -> Result<Self, Problem> {
        if text.trim().is_empty() || text.starts_with('#') {
            return Ok(Self::Comment(text.trim_end().to_owned()));
        }
        let mut reader = Reader::new(text);
        let line = match reader.word() {
            "set" => Self::Set { name: reader.word().to_owned(), value: reader.term()? },
            "wait" => Self::Wait(seconds(reader.word())?),
            "hold" => Self::Hold(queue(&mut reader)?),
            "release" => Self::Release(queue(&mut reader)?),
            "do" => Self::Do(AppMessage::read(&mut reader)?),
            "event" => Self::Event(AppMessage::read(&mut reader)?),
            sender => {
                let (side, connection) = peer(sender)?;
                Self::Peer { side, connection, action: Action::read(&mut reader)? }
            }
        };
        if reader.is_at_end() {
            Ok(line)
        } else {
            Err(format!("unexpected at the end of the line: {:?}", reader.remaining()))
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Comment(text) => f.write_str(text),
            Self::Set { name, value } => write!(f, "set {name} {value}"),
            Self::Wait(time) => write!(f, "wait {}", time.as_secs_f64()),
            Self::Hold(queue) => write!(f, "hold {queue}"),
            Self::Release(queue) => write!(f, "release {queue}"),
            Self::Do(word) => write!(f, "do {word}"),
            Self::Event(word) => write!(f, "event {word}"),
            Self::Peer { side: Side::Client, connection, action } => {
                write!(f, "C{connection} {action}")
            }
            Self::Peer { side: Side::Server, connection, action } => {
                write!(f, "S{connection} {action}")
            }
        }
    }
}

impl AppMessage {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let (label, what) = (reader.word().to_owned(), reader.word().to_owned());
        if label.is_empty() || what.is_empty() {
            return Err(format!("expected a label and a command at {:?}", reader.remaining()));
        }
        Ok(Self { label, what, args: reader.terms()? })
    }
}

impl fmt::Display for AppMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.label, self.what)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

impl Action {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let mut ahead = reader.clone();
        let action = match ahead.word() {
            "opens" => Self::Opens,
            "closes" => Self::Closes,
            "joins" => Self::Joins,
            "hello" => Self::Hello,
            "frame" => Self::Frame(raw(&mut ahead)?),
            "bytes" => Self::Bytes(raw(&mut ahead)?),
            "message" => Self::Message(ahead.term()?),
            "-" => Self::call(None, &mut ahead)?,
            _ => {
                ahead = reader.clone();
                let id = ahead.term()?;
                Self::call(Some(id), &mut ahead)?
            }
        };
        *reader = ahead;
        Ok(action)
    }

    fn call(id: Option<Term>, reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let method = reader.word();
        match (method, id) {
            ("", _) => Err(format!("expected a method at {:?}", reader.remaining())),
            ("reply", Some(id)) => Ok(Self::Reply { id, result: reader.term()? }),
            ("error", Some(id)) => {
                Ok(Self::Error { id, class: reader.term()?, payload: reader.term()? })
            }
            (_, id) => Ok(Self::Call { id, method: method.to_owned(), args: reader.terms()? }),
        }
    }

    /// The message as its envelope, for those that have one.
    #[must_use]
    pub fn envelope(&self) -> Option<Term> {
        let leaf = |value| Term::Leaf(value);
        let text = |text: &str| leaf(Value::text(text));
        let reply = |id: &Term, flag, result| {
            Term::Tuple(vec![id.clone(), leaf(Value::Int(flag)), text(".reply"), result])
        };
        match self {
            Self::Opens
            | Self::Closes
            | Self::Joins
            | Self::Hello
            | Self::Frame(_)
            | Self::Bytes(_) => None,
            Self::Call { id, method, args } => {
                let flag = leaf(Value::Bool(id.is_none()));
                let id = id.clone().unwrap_or(leaf(Value::Int(0)));
                Some(Term::Tuple(vec![id, flag, text(method), Term::Tuple(args.clone())]))
            }
            Self::Reply { id, result } => Some(reply(id, 0, result.clone())),
            Self::Error { id, class, payload } => {
                let result = Term::Tuple(vec![class.clone(), payload.clone()]);
                Some(reply(id, 2, result))
            }
            Self::Message(term) => Some(term.clone()),
        }
    }

    /// The shortest way to write the message with this envelope.
    #[must_use]
    pub fn from_envelope(envelope: Term) -> Self {
        Self::shorthand(&envelope).unwrap_or(Self::Message(envelope))
    }

    fn shorthand(envelope: &Term) -> Option<Self> {
        let Term::Tuple(parts) = envelope else { return None };
        let [id, Term::Leaf(flag), Term::Leaf(Value::Str(name)), body] = &parts[..] else {
            return None;
        };
        match (flag, name.as_str(), body) {
            (Value::Int(0), ".reply", result) => {
                Some(Self::Reply { id: id.clone(), result: result.clone() })
            }
            (Value::Int(2), ".reply", Term::Tuple(error)) => {
                let [class, payload] = &error[..] else { return None };
                let (class, payload) = (class.clone(), payload.clone());
                Some(Self::Error { id: id.clone(), class, payload })
            }
            (Value::Bool(one_way), method, Term::Tuple(args)) if is_method(method) => {
                if *one_way && *id != Term::Leaf(Value::Int(0)) {
                    return None;
                }
                let id = (!one_way).then(|| id.clone());
                Some(Self::Call { id, method: method.to_owned(), args: args.clone() })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opens => f.write_str("opens"),
            Self::Closes => f.write_str("closes"),
            Self::Joins => f.write_str("joins"),
            Self::Hello => f.write_str("hello"),
            Self::Frame(bytes) => write!(f, "frame {}", raw_term(bytes)),
            Self::Bytes(bytes) => write!(f, "bytes {}", raw_term(bytes)),
            Self::Call { id, method, args } => {
                match id {
                    Some(id) => write!(f, "{id} {method}")?,
                    None => write!(f, "- {method}")?,
                }
                args.iter().try_for_each(|arg| write!(f, " {arg}"))
            }
            Self::Reply { id, result } => write!(f, "{id} reply {result}"),
            Self::Error { id, class, payload } => write!(f, "{id} error {class} {payload}"),
            Self::Message(term) => write!(f, "message {term}"),
        }
    }
}

/// Whether a line can have this name as its method.
fn is_method(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !matches!(name, "reply" | "error")
}

fn raw(reader: &mut Reader<'_>) -> Result<Bytes, Problem> {
    match reader.term()? {
        Term::Leaf(Value::Bytes(bytes)) => Ok(bytes),
        other => Err(format!("expected bytes, not {other}")),
    }
}

fn raw_term(bytes: &Bytes) -> Term {
    Term::Leaf(Value::Bytes(bytes.clone()))
}

fn seconds(word: &str) -> Result<Duration, Problem> {
    let seconds: Option<f64> = word.parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("expected seconds, not {word:?}"))
}

fn queue(reader: &mut Reader<'_>) -> Result<Queue, Problem> {
    let name = reader.word();
    let client = reader.word();
    let queue = match client {
        "" => Queue::read(name, None),
        client => client.parse().ok().and_then(|client| Queue::read(name, Some(client))),
    };
    queue.ok_or_else(|| format!("unknown queue {name:?} {client:?}"))
}

fn peer(word: &str) -> Result<(Side, u32), Problem> {
    let (side, number) = match word.as_bytes().first() {
        Some(b'C') => (Side::Client, &word[1..]),
        Some(b'S') => (Side::Server, &word[1..]),
        _ => return Err(format!("unknown peer {word:?}: expected C or S and a number")),
    };
    let number = number
        .parse()
        .map_err(|_| format!("unknown peer {word:?}: expected C or S and a number"))?;
    Ok((side, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONVERSATION: &str = r#"# A comment.

set invalidation-queue-size 3
C1 joins
C1 opens
S1 hello
C1 hello
C1 frame b"ruok"
C1 bytes b"\xff\xff\xff\xff"
C1 1 register "1" False
S1 1 reply $last
C1 (0x0000000000000000, $last+1) loadBefore 0x0000000000000000 $last+1
S1 (0x0000000000000000, $last+1) error "ZODB.POSException.POSKeyError" (0x0000000000000000,)
C1 - tpc_begin 8 b"" b"" {} None " "
C1 -1 reply None
C1 message (7, 2, "vote", ())
wait 1.5
hold notices 2
hold committed
release notices 2
do a loadBefore 0x0000000000000001 $last+1
event a failed "Lost" "the connection was lost"
S1 - info {"length": 1, "size": 123}
C1 closes
S1 closes
"#;

    #[test]
    fn what_is_read_is_written_the_same_way() {
        assert_eq!(Script::read(CONVERSATION).unwrap().to_string(), CONVERSATION);
    }

    #[test]
    fn an_envelope_is_written_as_what_it_came_from() {
        let script = Script::read(CONVERSATION).unwrap();
        let mut envelopes = 0;
        for line in script.lines {
            let Line::Peer { action, .. } = line else { continue };
            let Some(envelope) = action.envelope() else { continue };
            assert_eq!(Action::from_envelope(envelope), action);
            envelopes += 1;
        }
        assert_eq!(envelopes, 8);
    }

    #[test]
    fn unreadable_lines_are_reported() {
        for (text, problem) in [
            ("X1 hello", "unknown peer \"X1\": expected C or S and a number"),
            ("C hello", "unknown peer \"C\": expected C or S and a number"),
            ("C1 hello there", "unexpected at the end of the line: \"there\""),
            ("C1 1", "expected a method at \"\""),
            ("C1 frame 1", "expected bytes, not 1"),
            ("hold notices", "unknown queue \"notices\" \"\""),
            ("do a", "expected a label and a command at \"\""),
            ("wait long", "expected seconds, not \"long\""),
            ("C1 1 error \"a\"", "a value is missing"),
        ] {
            let expected = NotAScript { line: 2, problem: problem.to_owned() };
            assert_eq!(Script::read(&format!("\n{text}")), Err(expected), "{text}");
        }
    }
}
