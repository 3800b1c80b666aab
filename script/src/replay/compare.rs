//! Compares a message of the server with the recorded one.
//!
//! The bytes must be equal, after assigned tids and oids are replaced by those of this run. Allowed differences:
//!
//! - the name of the database, which is a path, in `get_info` and in texts of errors, and tids in the
//!   names of blobs;
//! - the counts and times of the server in `server_status` and `ruok`;
//! - the order of the set in `getInvalidations`, which Python writes in any order.
//!
//! If the server assigns other oids than the recorded one, the references in records are changed to them.

use bytes::Bytes;
use rzeo_core::UnixTime;
use rzeo_core::value::Value;

use super::{Expected, Key, Received, Replay};
use crate::notation::Term;
use crate::replay::assigned_ids::Kind;
use crate::script::Action;

/// Seconds between the last commit that a pack includes and its time. Tids are finer than the clock.
const JUST_AFTER: f64 = 1e-6;

/// Number of characters of an id in a text: `0x` and 16 digits.
const ID: usize = 18;

impl Replay {
    /// Compares a message with the expected one; returns it if they differ.
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
                    || self.is_about_server(expected)
                    || self.renumbered_tids(bytes) == **frame
            }
            (action, Received::Message(got)) => match action.envelope() {
                Some(term) => self.is_same_message(expected, &term, got),
                None => false,
            },
            _ => false,
        };
        if is_same { Ok(()) } else { Err(received.action(&self.bindings)) }
    }

    /// Whether the message is about the server and not about the database.
    fn is_about_server(&self, expected: &Expected) -> bool {
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
            let renumbered = self.assigned.renumbered(&self.bindings);
            let oids = renumbered.filter(|(kind, ..)| *kind == Kind::Oid);
            self.renumbered_oids = oids.map(|(_, recorded, now)| (recorded, now)).collect();
        }
        let Ok(wanted) = self.bindings.resolve(term) else { return false };
        let mut wanted = self.renumber_records(wanted);
        let mut got = got.clone();
        match (&*method, result(&mut wanted), result(&mut got)) {
            ("get_info", Some(wanted), Some(got)) => self.learn_database_name(wanted, got),
            ("server_status", Some(wanted @ Value::Dict(_)), Some(got @ Value::Dict(_))) => {
                *wanted = got.clone();
            }
            ("getInvalidations", Some(wanted), Some(got)) => {
                sort_oids(wanted);
                sort_oids(got);
            }
            _ => {}
        }
        self.renumber_texts(&mut wanted);
        codec.write_value(&wanted) == codec.write_value(&got)
    }

    fn learn_database_name(&mut self, recorded: &Value, now: &Value) {
        if let (Some(Value::Str(recorded)), Some(Value::Str(now))) =
            (recorded.item("name"), now.item("name"))
            && recorded != now
            && !self.places.iter().any(|(known, _)| known == recorded)
        {
            self.places.push((recorded.clone(), now.clone()));
        }
    }

    /// Changes texts to those of this run: its paths, and its tids in the names of blobs.
    fn renumber_texts(&self, value: &mut Value) {
        match value {
            Value::Str(text) => {
                for (recorded, now) in &self.places {
                    if text.contains(recorded.as_str()) {
                        *text = text.replace(recorded, now);
                    }
                }
                self.renumber_ids(text);
            }
            Value::Tuple(items) | Value::List(items) => {
                items.iter_mut().for_each(|item| self.renumber_texts(item));
            }
            Value::Dict(items) => items.iter_mut().for_each(|(_, item)| self.renumber_texts(item)),
            _ => {}
        }
    }

    fn renumber_ids(&self, text: &mut String) {
        let places: Vec<usize> = text.match_indices("0x").map(|(place, _)| place).collect();
        for place in places {
            let id = place..place + ID;
            // The name of a variable is its recorded tid.
            let renumbered = text.get(id.clone()).and_then(|name| self.bindings.get(name));
            if let Some(renumbered) = renumbered {
                text.replace_range(id, &crate::replay::assigned_ids::name(renumbered.0));
            }
        }
    }

    /// Changes the references in records to the oids of this run.
    pub(super) fn renumber_records(&self, value: Value) -> Value {
        if self.renumbered_oids.is_empty() {
            value
        } else {
            renumbered_in(value, &self.renumbered_oids)
        }
    }

    /// Bytes that are not a message, with the tids of this run.
    fn renumbered_tids(&self, bytes: &Bytes) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for (kind, recorded, now) in self.assigned.renumbered(&self.bindings) {
            if kind == Kind::Tid {
                replace(&mut bytes, &[], recorded, now);
            }
        }
        bytes
    }

    /// Changes the time of a pack so that it includes the same commits as the recorded one.
    pub(super) fn adjust_pack_time(&self, mut call: Value) -> Value {
        if let Value::Tuple(parts) = &mut call
            && let [_, _, Value::Str(method), Value::Tuple(args)] = &mut parts[..]
            && method == "pack"
            && let Some(Value::Float(time)) = args.first_mut()
            && let Some(last) = self.assigned.last_until(UnixTime(*time + JUST_AFTER))
            && let Some((_, tid)) = (self.bindings.iter())
                .find(|(name, _)| *name == crate::replay::assigned_ids::name(last.0))
            && tid != last
        {
            *time = tid.to_unix().0 + JUST_AFTER;
        }
        call
    }
}

/// The result in an answer.
fn result(message: &mut Value) -> Option<&mut Value> {
    match message {
        Value::Tuple(parts) => parts.last_mut(),
        _ => None,
    }
}

/// Sorts the set of oids in an answer to `getInvalidations`.
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

fn renumbered_in(value: Value, renumbered: &[([u8; 8], [u8; 8])]) -> Value {
    match value {
        Value::Bytes(record) if record.len() > 10 => {
            let mut bytes = record.to_vec();
            // The opcodes of the eight bytes of a reference: SHORT_BINSTRING, SHORT_BINBYTES.
            for (recorded, now) in renumbered {
                replace(&mut bytes, b"U\x08", *recorded, *now);
                replace(&mut bytes, b"C\x08", *recorded, *now);
            }
            Value::Bytes(bytes.into())
        }
        Value::Tuple(items) => {
            Value::Tuple(items.into_iter().map(|item| renumbered_in(item, renumbered)).collect())
        }
        Value::List(items) => {
            Value::List(items.into_iter().map(|item| renumbered_in(item, renumbered)).collect())
        }
        value => value,
    }
}

/// Replaces `recorded` by `now` wherever it follows `before`.
fn replace(bytes: &mut [u8], before: &[u8], recorded: [u8; 8], now: [u8; 8]) {
    let wanted = [before, &recorded].concat();
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(wanted.len()).position(|part| part == wanted) {
        let place = from + at + before.len();
        bytes[place..place + 8].copy_from_slice(&now);
        from = place + 8;
    }
}
