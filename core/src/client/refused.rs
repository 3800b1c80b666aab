//! Refusals read: an error reply names a Python exception and carries what it is made from.
//!
//! The payload is a tuple of arguments or a dict of attributes (`spec: zeo-protocol 6.2`), and servers
//! differ. Python's client waits for ever when it is not what it expects; here whatever cannot be
//! found in it is left out.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::reading::Reading;
use crate::ids::{Oid, Tid};
use crate::value::{Opaque, Value};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call may succeed, perhaps after a while.
    Call,
    /// The transaction may succeed when it is done again from its beginning, with fresh reads.
    Transaction,
    /// Look first whether the transaction was committed.
    Look,
    /// Nothing will change by trying again.
    No,
}

/// A refusal of the server, by the Python exception that it names (`spec: zeo-protocol 6.2`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// `POSKeyError`: no such object, revision or blob. The text is the server's, if there is one.
    NoSuchObject {
        /// The object, if it is named.
        oid: Option<Oid>,
        /// The revision, if it is about one.
        serial: Option<Tid>,
        /// For a blob, what the server says of the file.
        text: Option<String>,
    },
    /// `ConflictError`: the object was changed since it was read.
    Conflict {
        /// The object, if it is named.
        oid: Option<Oid>,
        /// `module.Class` of the record that was to be written.
        class_name: Option<String>,
        /// What is current, and what was read.
        serials: Option<(Tid, Tid)>,
    },
    /// `ReadConflictError`: an object that the transaction depends on was changed.
    ReadConflict {
        /// The object, if it is named.
        oid: Option<Oid>,
        /// What is current, and what was read.
        serials: Option<(Tid, Tid)>,
    },
    /// `ReadOnlyError`.
    ReadOnly,
    /// `StorageTransactionError`: the server knows of no such transaction, or of another.
    Transaction(String),
    /// `UndoError`.
    Undo {
        /// The server's reason.
        reason: String,
        /// The object, if it is about one.
        oid: Option<Oid>,
    },
    /// `MultipleUndoErrors`.
    UndoFailures(Vec<(Oid, String)>),
    /// Any other exception, by its class and arguments.
    Other {
        /// `module.Class`.
        class: String,
        /// Its arguments or attributes.
        payload: Value,
    },
}

impl Refused {
    /// Whether trying again may help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Conflict { .. } | Self::ReadConflict { .. } | Self::Transaction(_) => {
                Retry::Transaction
            }
            Self::NoSuchObject { .. }
            | Self::ReadOnly
            | Self::Undo { .. }
            | Self::UndoFailures(_)
            | Self::Other { .. } => Retry::No,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchObject { oid, serial, text } => {
                f.write_str(text.as_deref().unwrap_or("no such object"))?;
                about(f, "object", *oid)?;
                about(f, "revision", *serial)
            }
            Self::Conflict { oid, class_name, serials } => {
                f.write_str("conflict")?;
                about(f, "object", *oid)?;
                about(f, "of class", class_name.as_deref())?;
                since(f, *serials)
            }
            Self::ReadConflict { oid, serials } => {
                f.write_str("read conflict")?;
                about(f, "object", *oid)?;
                since(f, *serials)
            }
            Self::ReadOnly => f.write_str("the server is read-only"),
            Self::Transaction(text) => write!(f, "the server refuses the transaction: {text}"),
            Self::Undo { reason, oid } => {
                write!(f, "undo: {reason}")?;
                about(f, "object", *oid)
            }
            Self::UndoFailures(failures) => {
                write!(f, "undo: {} objects cannot be undone", failures.len())?;
                failures
                    .first()
                    .map_or(Ok(()), |(oid, reason)| write!(f, ", first {oid}: {reason}"))
            }
            Self::Other { class, payload } => write!(f, "{class}: {}", words(payload)),
        }
    }
}

impl core::error::Error for Refused {}

fn about(f: &mut fmt::Formatter<'_>, what: &str, which: Option<impl fmt::Display>) -> fmt::Result {
    which.map_or(Ok(()), |which| write!(f, ", {what} {which}"))
}

fn since(f: &mut fmt::Formatter<'_>, serials: Option<(Tid, Tid)>) -> fmt::Result {
    serials.map_or(Ok(()), |(committed, read)| write!(f, ", read at {read} but at {committed}"))
}

impl Refused {
    /// Reads what an error reply carries.
    pub(super) fn read(value: Value) -> Self {
        let parts = match value {
            Value::Tuple(parts) | Value::List(parts) => <[Value; 2]>::try_from(parts),
            other => Err(alloc::vec![other]),
        };
        match parts {
            Ok([Value::Str(class), payload]) => Self::of_class(class, payload),
            Ok([class, payload]) => Self::Other { class: format!("{class:?}"), payload },
            Err(parts) => Self::Other { class: "?".to_string(), payload: Value::Tuple(parts) },
        }
    }

    fn of_class(class: String, payload: Value) -> Self {
        match class.as_str() {
            "ZODB.POSException.POSKeyError" => no_such_object(&payload),
            "ZODB.POSException.ConflictError" => {
                let class_name = match payload.item("class_name") {
                    Some(Value::Str(name)) => Some(name.clone()),
                    _ => None,
                };
                Self::Conflict { oid: oid(&payload), class_name, serials: serials(&payload) }
            }
            "ZODB.POSException.ReadConflictError" => {
                Self::ReadConflict { oid: oid(&payload), serials: serials(&payload) }
            }
            "ZODB.POSException.ReadOnlyError" => Self::ReadOnly,
            "ZODB.POSException.StorageTransactionError" => Self::Transaction(words(&payload)),
            "ZODB.POSException.UndoError" => undo(&payload),
            "ZODB.POSException.MultipleUndoErrors" => failures(payload),
            _ => Self::Other { class, payload },
        }
    }
}

/// `(oid)`, `(oid, serial)` or `(text, oid, serial)`.
fn no_such_object(payload: &Value) -> Refused {
    let mut text = None;
    let mut ids = Vec::new();
    for arg in items(payload) {
        match arg {
            Value::Str(words) => text = Some(words.clone()),
            Value::Bytes(bytes) => ids.extend(Oid::from_slice(bytes)),
            _ => {}
        }
    }
    let mut ids = ids.into_iter();
    Refused::NoSuchObject { oid: ids.next(), serial: ids.next().map(|id| Tid(id.0)), text }
}

fn undo(payload: &Value) -> Refused {
    let oid = match payload.item("_oid") {
        Some(Value::Bytes(bytes)) => Oid::from_slice(bytes),
        _ => None,
    };
    Refused::Undo { reason: reason(payload), oid }
}

/// Pairs of an oid and an error, in one of several shapes.
fn failures(payload: Value) -> Refused {
    let pairs = match payload.item("_errs") {
        Some(pairs) => pairs.clone(),
        None => payload,
    };
    let pair = |pair: &Value| match items(pair) {
        [Value::Bytes(oid), error] => Some((Oid::from_slice(oid)?, reason(error))),
        _ => None,
    };
    Refused::UndoFailures(items(&pairs).iter().filter_map(pair).collect())
}

/// The words of an undo error: text, its attributes, a pair of class and attributes, or the pickled
/// object.
fn reason(error: &Value) -> String {
    match error {
        Value::Str(text) => text.clone(),
        Value::Dict(_) => match error.item("_reason") {
            Some(Value::Str(reason)) => reason.clone(),
            _ => words(error),
        },
        Value::Tuple(parts) | Value::List(parts) => parts.last().map_or_else(String::new, reason),
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Call { args, .. } | Opaque::New { args, .. } => reason(args),
            Opaque::Build { state, .. } => reason(state),
            _ => words(error),
        },
        _ => words(error),
    }
}

fn oid(payload: &Value) -> Option<Oid> {
    match payload.item("oid")? {
        Value::Bytes(bytes) => Oid::from_slice(bytes),
        _ => None,
    }
}

fn serials(payload: &Value) -> Option<(Tid, Tid)> {
    let [committed, read] = payload.item("serials")?.clone().into_parts().ok()?;
    Some((committed.into_tid().ok()?, read.into_tid().ok()?))
}

/// A payload as text: its values one after the other.
fn words(payload: &Value) -> String {
    let one = |value: &Value| match value {
        Value::Str(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::None => "None".to_string(),
        other => format!("{other:?}"),
    };
    match payload {
        Value::Tuple(args) | Value::List(args) => {
            args.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        other => one(other),
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Tuple(items) | Value::List(items) => items,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec;

    use super::*;

    fn opaque(opaque: Opaque) -> Value {
        Value::Opaque(Box::new(opaque))
    }

    fn class() -> Value {
        let (module, name) = ("ZODB.POSException".to_string(), "UndoError".to_string());
        opaque(Opaque::Global { module, name })
    }

    /// `UndoError` with its attributes, as Python's servers of several versions tell it.
    #[test]
    fn the_reason_of_a_failed_undo_is_found_in_any_shape() {
        let attributes = || Value::Dict(vec![(Value::text("_reason"), Value::text("no"))]);
        let call = Opaque::Call { callable: class(), args: Value::Tuple(vec![attributes()]) };
        let new = Opaque::New { class: class(), args: Value::Tuple(vec![]) };
        let odd = Opaque::Build { object: opaque(new), state: attributes() };
        let new = Opaque::New { class: class(), args: Value::Tuple(vec![Value::text("no")]) };
        let errors = [
            Value::text("no"),
            attributes(),
            Value::Tuple(vec![class(), attributes()]),
            Value::List(vec![class(), Value::text("no")]),
            opaque(call),
            opaque(new),
            opaque(odd),
        ];
        let pairs = errors.map(|error| Value::Tuple(vec![Value::oid(Oid(1)), error]));
        let found = vec![(Oid(1), "no".to_string()); pairs.len()];
        let odd = [Value::None, Value::Tuple(vec![Value::text("odd"), Value::text("no")])];
        let pairs = Value::List(pairs.into_iter().chain(odd).collect());
        let within = Value::Dict(vec![(Value::text("_errs"), pairs.clone())]);
        for payload in [pairs, within] {
            let class = "ZODB.POSException.MultipleUndoErrors".to_string();
            assert_eq!(Refused::of_class(class, payload), Refused::UndoFailures(found.clone()));
        }
    }

    #[test]
    fn a_reason_of_another_type_is_shown_as_it_is() {
        assert_eq!(reason(&Value::Int(7)), "7");
        assert_eq!(reason(&Value::Tuple(vec![])), "");
        assert_eq!(reason(&Value::Dict(vec![])), words(&Value::Dict(vec![])));
        assert_eq!(reason(&class()), words(&class()));
    }

    #[test]
    fn conflicts_name_the_object_class_and_serials() {
        let serials = Value::Tuple(vec![Value::tid(Tid(9)), Value::tid(Tid(8))]);
        let attributes = [("oid", Value::oid(Oid(1))), ("serials", serials)];
        let name = [("class_name", Value::text("m.C"))];
        let dict = |items: &[(&str, Value)]| {
            Value::Dict(
                items.iter().map(|(key, value)| (Value::text(key), value.clone())).collect(),
            )
        };
        let conflict =
            |payload| Refused::of_class("ZODB.POSException.ConflictError".into(), payload);
        let (oid, serials) = (Some(Oid(1)), Some((Tid(9), Tid(8))));
        let class_name = Some("m.C".to_string());
        let all = dict(&[&attributes[..], &name].concat());
        assert_eq!(conflict(all), Refused::Conflict { oid, class_name, serials });
        let none = Refused::Conflict { oid: None, class_name: None, serials: None };
        let odd = ["oid", "serials", "class_name"].map(|key| (key, Value::Int(7)));
        assert_eq!(conflict(dict(&odd)), none);
        let class = "ZODB.POSException.ReadConflictError".to_string();
        let read = Refused::of_class(class, dict(&attributes));
        assert_eq!(read, Refused::ReadConflict { oid, serials });
    }
}
