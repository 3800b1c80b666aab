//! Conversations as text: one message a line, in the order in which they were said.
//!
//! ```text
//! # Bob stores over a revision he never read: his vote is refused, his connection is not.
//! set invalidation-queue-size 3
//! C2 - storea 0x0000000000000001 0x0000000000000000 b"late" 8
//! C2 4 vote 8
//! S2 4 error "ZODB.POSException.ConflictError" {"oid": 0x0000000000000001}
//! ```
//!
//! `C2` is what the second client says, `S2` what the server says to it. After the speaker comes the
//! message's id, or `-` for a message that wants no answer (id 0, flag true); then a method with its
//! arguments, or `reply` or `error` with what they carry. [`crate::notation`] has the values.
//!
//! | other lines | mean |
//! |---|---|
//! | `C1 opens`, `C1 closes`, `S1 closes` | the connection |
//! | `C1 joins` | opens, says hello and registers, all as usual and not worth a line each |
//! | `C1 hello`, `S1 hello` | the handshake of whatever codec is played |
//! | `C1 frame b"ruok"` | a frame with just these bytes |
//! | `C1 bytes b"\xff"` | bytes without a frame around them |
//! | `C1 message (1, 2)` | a frame with any value, encoded |
//! | `wait 30` | seconds pass |
//! | `hold notices 2`, `release notices 2` | inside the server, things of this kind ([`Hold`]) are late |
//! | `set NAME VALUE` | a setting, before anything is said |
//! | `do LABEL COMMAND …`, `event LABEL WHAT …` | what an application asks of a client, and what it is told ([`crate::client_play`]) |
//!
//! Reading a script and writing it gives the same text, comments and all. So a test compares two
//! texts, and its failure is a diff of two conversations.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rzeo_core::value::Value;

use crate::hold::Hold;
use crate::notation::{Problem, Reader, Term};

/// A conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Its lines.
    pub lines: Vec<Line>,
}

/// One line of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A comment with its `#`, or an empty line.
    Comment(String),
    /// A setting of the server.
    Set {
        /// As in a configuration file.
        name: String,
        /// Its value.
        value: Term,
    },
    /// Time passes.
    Wait(Duration),
    /// From now on things of this kind are late.
    Hold(Hold),
    /// Things of this kind are late no longer.
    Release(Hold),
    /// The application of a client wants something.
    Do(AppMessage),
    /// The application of a client is told something.
    Event(AppMessage),
    /// Somebody says something.
    Peer {
        /// Who.
        side: Side,
        /// On which connection.
        connection: u32,
        /// What.
        action: Action,
    },
}

/// A command to a client, or something that it tells.
#[derive(Clone, Debug, PartialEq)]
pub struct AppMessage {
    /// A name by which the script refers to a call or a transaction, or who else it is about.
    pub label: String,
    /// What is to be done, or has happened.
    pub what: String,
    /// With what.
    pub args: Vec<Term>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that connected.
    Client,
    /// The other.
    Server,
}

impl Side {
    /// Who listens.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What can be said on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The connection is made.
    Opens,
    /// The connection is ended.
    Closes,
    /// The connection is made, both say hello, and the client is registered.
    Joins,
    /// The handshake.
    Hello,
    /// A frame with just these bytes.
    Frame(Bytes),
    /// Bytes that need not be a frame.
    Bytes(Bytes),
    /// A request or a notice.
    Call {
        /// `None` for one without an answer.
        id: Option<Term>,
        /// Its name.
        method: String,
        /// Its arguments.
        args: Vec<Term>,
    },
    /// An answer.
    Reply {
        /// The request's.
        id: Term,
        /// The answer.
        result: Term,
    },
    /// A refusal.
    Error {
        /// The request's.
        id: Term,
        /// Name of a Python exception.
        class: Term,
        /// What it is made from.
        payload: Term,
    },
    /// Any other value as a message.
    Message(Term),
}

/// A line that is not of a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct NotAScript {
    /// Counted from 1.
    pub line: usize,
    /// In words.
    pub problem: String,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// [`NotAScript`], for the first such line.
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
    /// What is wrong with it, in words.
    pub fn read(text: &str) -> Result<Self, Problem> {
        if text.trim().is_empty() || text.starts_with('#') {
            return Ok(Self::Comment(text.trim_end().to_owned()));
        }
        let mut reader = Reader::new(text);
        let line = match reader.word() {
            "set" => Self::Set { name: reader.word().to_owned(), value: reader.term()? },
            "wait" => Self::Wait(seconds(reader.word())?),
            "hold" => Self::Hold(hold(&mut reader)?),
            "release" => Self::Release(hold(&mut reader)?),
            "do" => Self::Do(AppMessage::read(&mut reader)?),
            "event" => Self::Event(AppMessage::read(&mut reader)?),
            who => {
                let (side, connection) = speaker(who)?;
                Self::Peer { side, connection, action: Action::read(&mut reader)? }
            }
        };
        if reader.is_at_end() { Ok(line) } else { Err(format!("what is {:?}?", reader.rest())) }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Comment(text) => f.write_str(text),
            Self::Set { name, value } => write!(f, "set {name} {value}"),
            Self::Wait(time) => write!(f, "wait {}", time.as_secs_f64()),
            Self::Hold(hold) => write!(f, "hold {hold}"),
            Self::Release(hold) => write!(f, "release {hold}"),
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
            return Err(format!("a label and a word expected at {:?}", reader.rest()));
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
            ("", _) => Err(format!("a method expected at {:?}", reader.rest())),
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

/// Whether a line can have it as its method.
fn is_method(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !matches!(name, "reply" | "error")
}

fn raw(reader: &mut Reader<'_>) -> Result<Bytes, Problem> {
    match reader.term()? {
        Term::Leaf(Value::Bytes(bytes)) => Ok(bytes),
        other => Err(format!("bytes expected, not {other}")),
    }
}

fn raw_term(bytes: &Bytes) -> Term {
    Term::Leaf(Value::Bytes(bytes.clone()))
}

fn seconds(word: &str) -> Result<Duration, Problem> {
    let seconds: Option<f64> = word.parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("seconds expected, not {word:?}"))
}

fn hold(reader: &mut Reader<'_>) -> Result<Hold, Problem> {
    let name = reader.word();
    let client = reader.word();
    let hold = match client {
        "" => Hold::read(name, None),
        client => client.parse().ok().and_then(|client| Hold::read(name, Some(client))),
    };
    hold.ok_or_else(|| format!("what is held? {name:?} {client:?}"))
}

fn speaker(word: &str) -> Result<(Side, u32), Problem> {
    let (side, number) = match word.as_bytes().first() {
        Some(b'C') => (Side::Client, &word[1..]),
        Some(b'S') => (Side::Server, &word[1..]),
        _ => return Err(format!("nobody is called {word:?}")),
    };
    let number = number.parse().map_err(|_| format!("nobody is called {word:?}"))?;
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
    fn what_is_no_line_is_said() {
        for (text, problem) in [
            ("X1 hello", "nobody is called \"X1\""),
            ("C hello", "nobody is called \"C\""),
            ("C1 hello there", "what is \"there\"?"),
            ("C1 1", "a method expected at \"\""),
            ("C1 frame 1", "bytes expected, not 1"),
            ("hold notices", "what is held? \"notices\" \"\""),
            ("do a", "a label and a word expected at \"\""),
            ("wait long", "seconds expected, not \"long\""),
            ("C1 1 error \"a\"", "a value is missing"),
        ] {
            let expected = NotAScript { line: 2, problem: problem.to_owned() };
            assert_eq!(Script::read(&format!("\n{text}")), Err(expected), "{text}");
        }
    }
}
