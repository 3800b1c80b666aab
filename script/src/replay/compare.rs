//! When what a server says is the same as what was recorded.
//!
//! The bytes are to be the same, once tids and oids are those of this run. Besides,
//!
//! - `get_info` tells the name of the database, which is a path; texts of errors have it, too, and tids in the
//!   names of blobs;
//! - `server_status` and `ruok` tell counts and times of the server, not of this conversation;
//! - `getInvalidations` tells a set, which Python writes in any order.
//!
//! Where the server gave other oids than there, records refer to them by other numbers.

use bytes::Bytes;
use rzeo_core::UnixTime;
use rzeo_core::value::Value;

use super::{Expected, Key, Received, Replay};
use crate::notation::Term;
use crate::replay::assigned_ids::Kind;
use crate::script::Action;

/// Seconds that a pack comes after the last commit that it is to see. Tids are finer than the clock.
const JUST_AFTER: f64 = 1e-6;

/// Characters of an id in a text, `0x` and 16 digits.
const ID: usize = 18;

impl Replay {
    /// Whether it is the same; if not, what came.
    pub(super) fn compare(
        &mut self,
        expected: &Expected,
        received: &Received,
    ) -> Result<(), Action> {
        let is_same = match (&expected.action, received) {
            (Action::Closes, Received::Closed) => true,
            (Action::Hello, Received::Frame(frame, _)) => frame == self.codec.greeting(),
            (Action::Bytes(bytes), Received::Bytes(received)) => bytes == received,
            (Action::Frame(bytes), Received::Frame(frame, _)) => {
                bytes == frame
                    || self.is_of_the_server(expected)
                    || self.moved_tids(bytes) == **frame
            }
            (action, Received::Message(got)) => match action.envelope() {
                Some(term) => self.is_same_message(expected, &term, got),
                None => false,
            },
            _ => false,
        };
        if is_same { Ok(()) } else { Err(received.action(&self.bindings)) }
    }

    /// Whether the client has asked for the figures, and not for anything in the database.
    fn is_of_the_server(&self, expected: &Expected) -> bool {
        let connection = self.connections.get(&expected.connection);
        connection.is_some_and(|connection| connection.has_asked_ruok)
    }

    fn is_same_message(&mut self, expected: &Expected, term: &Term, got: &Value) -> bool {
        let Some(connection) = self.connections.get(&expected.connection) else { return false };
        let codec = connection.codec.unwrap_or(self.codec);
        let method = match &expected.key {
            Key::Answer(id) => connection.calls.get(id).cloned().unwrap_or_default(),
            Key::Notice(_) | Key::Closed | Key::Other => String::new(),
        };
        self.bindings.learn(term, got);
        if method == "new_oids" {
            let moved = self.chosen.moved(&self.bindings);
            let oids = moved.filter(|(kind, ..)| *kind == Kind::Oid);
            self.moved_oids = oids.map(|(_, recorded, now)| (recorded, now)).collect();
        }
        let Ok(wanted) = self.bindings.resolve(term) else { return false };
        let mut wanted = self.move_records(wanted);
        let mut got = got.clone();
        match (&*method, result(&mut wanted), result(&mut got)) {
            ("get_info", Some(wanted), Some(got)) => self.learn_place(wanted, got),
            ("server_status", Some(wanted @ Value::Dict(_)), Some(got @ Value::Dict(_))) => {
                *wanted = got.clone();
            }
            ("getInvalidations", Some(wanted), Some(got)) => {
                sort_oids(wanted);
                sort_oids(got);
            }
            _ => {}
        }
        self.move_texts(&mut wanted);
        codec.write_value(&wanted) == codec.write_value(&got)
    }

    fn learn_place(&mut self, recorded: &Value, now: &Value) {
        if let (Some(Value::Str(recorded)), Some(Value::Str(now))) =
            (recorded.item("name"), now.item("name"))
            && recorded != now
            && !self.places.iter().any(|(known, _)| known == recorded)
        {
            self.places.push((recorded.clone(), now.clone()));
        }
    }

    /// Texts as they are in this run: with the paths of this database, and its tids in the names of blobs.
    fn move_texts(&self, value: &mut Value) {
        match value {
            Value::Str(text) => {
                for (recorded, now) in &self.places {
                    if text.contains(recorded.as_str()) {
                        *text = text.replace(recorded, now);
                    }
                }
                self.move_ids(text);
            }
            Value::Tuple(items) | Value::List(items) => {
                items.iter_mut().for_each(|item| self.move_texts(item));
            }
            Value::Dict(items) => items.iter_mut().for_each(|(_, item)| self.move_texts(item)),
            _ => {}
        }
    }

    fn move_ids(&self, text: &mut String) {
        let places: Vec<usize> = text.match_indices("0x").map(|(place, _)| place).collect();
        for place in places {
            let id = place..place + ID;
            // A variable is named as its tid is written.
            let moved = text.get(id.clone()).and_then(|name| self.bindings.get(name));
            if let Some(moved) = moved {
                text.replace_range(id, &crate::replay::assigned_ids::name(moved.0));
            }
        }
    }

    /// Records whose references are to the oids of this run.
    pub(super) fn move_records(&self, value: Value) -> Value {
        if self.moved_oids.is_empty() { value } else { moved_in(value, &self.moved_oids) }
    }

    /// Bytes that are no message, with the tids of this run.
    fn moved_tids(&self, bytes: &Bytes) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for (kind, recorded, now) in self.chosen.moved(&self.bindings) {
            if kind == Kind::Tid {
                replace(&mut bytes, &[], recorded, now);
            }
        }
        bytes
    }

    /// A pack sees the same commits as there.
    pub(super) fn move_pack_time(&self, mut call: Value) -> Value {
        if let Value::Tuple(parts) = &mut call
            && let [_, _, Value::Str(method), Value::Tuple(args)] = &mut parts[..]
            && method == "pack"
            && let Some(Value::Float(time)) = args.first_mut()
            && let Some(last) = self.chosen.last_until(UnixTime(*time + JUST_AFTER))
            && let Some((_, tid)) = (self.bindings.iter())
                .find(|(name, _)| *name == crate::replay::assigned_ids::name(last.0))
            && tid != last
        {
            *time = tid.to_unix().0 + JUST_AFTER;
        }
        call
    }
}

/// What an answer carries.
fn result(message: &mut Value) -> Option<&mut Value> {
    match message {
        Value::Tuple(parts) => parts.last_mut(),
        _ => None,
    }
}

/// Of the answer to `getInvalidations`, a tid and a set.
fn sort_oids(answer: &mut Value) {
    if let Value::Tuple(parts) = answer
        && let Some(Value::List(oids) | Value::Tuple(oids)) = parts.last_mut()
    {
        oids.sort_by_key(|oid| match oid {
            Value::Bytes(bytes) => bytes.clone(),
            _ => Bytes::new(),
        });
    }
}

fn moved_in(value: Value, moved: &[([u8; 8], [u8; 8])]) -> Value {
    match value {
        Value::Bytes(record) if record.len() > 10 => {
            let mut bytes = record.to_vec();
            // How pickles write the eight bytes of a reference: SHORT_BINSTRING, SHORT_BINBYTES.
            for (recorded, now) in moved {
                replace(&mut bytes, b"U\x08", *recorded, *now);
                replace(&mut bytes, b"C\x08", *recorded, *now);
            }
            Value::Bytes(bytes.into())
        }
        Value::Tuple(items) => {
            Value::Tuple(items.into_iter().map(|item| moved_in(item, moved)).collect())
        }
        Value::List(items) => {
            Value::List(items.into_iter().map(|item| moved_in(item, moved)).collect())
        }
        value => value,
    }
}

/// Puts `now` where `before` and `recorded` stand.
fn replace(bytes: &mut [u8], before: &[u8], recorded: [u8; 8], now: [u8; 8]) {
    let wanted = [before, &recorded].concat();
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(wanted.len()).position(|part| part == wanted) {
        let place = from + at + before.len();
        bytes[place..place + 8].copy_from_slice(&now);
        from = place + 8;
    }
}
