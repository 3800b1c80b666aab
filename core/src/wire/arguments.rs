//! Takes the arguments of a call one by one.
//!
//! Python's servers check the type of an argument where they use it; here number and types are
//! checked on arrival, so that all later code is typed. The error texts are those of Python where
//! Python has one.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::{IntoIter, Vec};

use bytes::Bytes;

use crate::ids::{Oid, Tid};
use crate::value::Value;

/// A client's own number for a transaction in progress; compared for equality, never interpreted.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnHandle(pub Value);

/// Why a call could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotACall {
    /// No such method; the connection ends.
    UnknownMethod,
    /// The arguments have the wrong number or types; the text is the reply's `TypeError`.
    Arguments(String),
}

/// The parameters of a method: the required ones, and the number of optional ones.
struct Signature {
    required: &'static [&'static str],
    optional: usize,
}

const fn takes(required: &'static [&'static str], optional: usize) -> Option<Signature> {
    Some(Signature { required, optional })
}

/// `spec: zeo-protocol 8.2`. Parameter names matter only in the texts of `TypeError`s.
fn signature(name: &str) -> Option<Signature> {
    match name {
        "get_info" | "lastTransaction" | "new_oid" | "ping" | "server_status"
        | "storeBlobStart" => takes(&[], 0),
        "new_oids" | "record_iternext" => takes(&[], 1),
        "register" => takes(&["storage_id", "read_only"], 0),
        "getInvalidations" | "tpc_abort" | "vote" => takes(&["tid"], 0),
        "tpc_finish" => takes(&["id"], 0),
        "loadBefore" => takes(&["oid", "tid"], 0),
        "loadSerial" | "sendBlob" => takes(&["oid", "serial"], 0),
        "getTid" => takes(&["oid"], 0),
        "history" => takes(&["tid"], 1),
        "set_client_label" => takes(&["label"], 0),
        "pack" => takes(&["time"], 1),
        "undoLog" => takes(&["first", "last"], 0),
        "undoInfo" => takes(&["first", "last", "spec"], 0),
        "undoa" => takes(&["trans_id", "tid"], 0),
        "iterator_start" => takes(&["start", "stop"], 0),
        "iterator_next" | "iterator_record_next" => takes(&["iid"], 0),
        "iterator_record_start" => takes(&["txn_iid", "tid"], 0),
        "iterator_gc" => takes(&["iids"], 0),
        "tpc_begin" => takes(&["id", "user", "description", "ext"], 2),
        "storea" | "storeBlobEnd" => takes(&["oid", "serial", "data", "id"], 0),
        "restorea" => takes(&["oid", "serial", "data", "prev_txn", "id"], 0),
        "deleteObject" | "checkCurrentSerialInTransaction" => takes(&["oid", "serial", "id"], 0),
        "storeBlobChunk" => takes(&["chunk"], 0),
        "storeBlobShared" => takes(&["oid", "serial", "data", "filename", "id"], 0),
        _ => None,
    }
}

/// Python's error text for a wrong number of arguments, in which `self` counts.
fn check_count(name: &str, signature: &Signature, given: usize) -> Result<(), NotACall> {
    let required = signature.required.len();
    if given < required {
        let missing = &signature.required[given..];
        let plural = if missing.len() == 1 { "" } else { "s" };
        return Err(NotACall::Arguments(format!(
            "ZEOStorage.{name}() missing {} required positional argument{plural}: {}",
            missing.len(),
            enumerate(missing)
        )));
    }
    if given > required + signature.optional {
        let (least, most) = (required + 1, required + signature.optional + 1);
        let range =
            if least == most { most.to_string() } else { format!("from {least} to {most}") };
        let plural = if most == 1 { "" } else { "s" };
        return Err(NotACall::Arguments(format!(
            "ZEOStorage.{name}() takes {range} positional argument{plural} but {} were given",
            given + 1
        )));
    }
    Ok(())
}

/// `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`.
fn enumerate(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("'{one}'"),
        [one, two] => format!("'{one}' and '{two}'"),
        [init @ .., last] => {
            let init: Vec<String> = init.iter().map(|name| format!("'{name}'")).collect();
            format!("{}, and '{last}'", init.join(", "))
        }
    }
}

/// The remaining arguments of a call.
pub(super) struct Arguments<'a> {
    name: &'a str,
    values: IntoIter<Value>,
}

impl<'a> Arguments<'a> {
    /// The arguments of a call, if the method exists and their number is valid.
    pub(super) fn new(name: &'a str, args: Value) -> Result<Self, NotACall> {
        let signature = signature(name).ok_or(NotACall::UnknownMethod)?;
        let (Value::Tuple(values) | Value::List(values)) = args else {
            let text = format!("ZEOStorage.{name}() argument after * must be an iterable");
            return Err(NotACall::Arguments(text));
        };
        check_count(name, &signature, values.len())?;
        Ok(Self { name, values: values.into_iter() })
    }

    pub(super) const fn name(&self) -> &'a str {
        self.name
    }

    pub(super) fn value(&mut self) -> Value {
        self.values.next().unwrap_or(Value::None)
    }

    pub(super) fn value_or(&mut self, default: Value) -> Value {
        self.values.next().unwrap_or(default)
    }

    pub(super) fn txn(&mut self) -> TxnHandle {
        TxnHandle(self.value())
    }

    fn wrong(&self, expected: &str, got: &Value) -> NotACall {
        NotACall::Arguments(format!("{}: {expected} expected, not {}", self.name, got.kind()))
    }

    fn eight(&mut self, what: &str) -> Result<[u8; 8], NotACall> {
        let value = self.value();
        match &value {
            Value::Bytes(bytes) => bytes[..].try_into().ok(),
            _ => None,
        }
        .ok_or_else(|| self.wrong(what, &value))
    }

    pub(super) fn oid(&mut self) -> Result<Oid, NotACall> {
        self.eight("an oid of 8 bytes").map(Oid::from_bytes)
    }

    pub(super) fn tid(&mut self) -> Result<Tid, NotACall> {
        self.eight("a tid of 8 bytes").map(Tid::from_bytes)
    }

    /// Returns a serial that no revision can have for an argument that is not a serial: FileStorage
    /// ignores the serial of a new object, and reports a conflict for others.
    pub(super) fn serial(&mut self) -> Tid {
        match self.value() {
            Value::Bytes(bytes) => Tid::from_slice(&bytes).unwrap_or(Tid::ZERO),
            _ => Tid::ZERO,
        }
    }

    pub(super) fn maybe_oid(&mut self) -> Result<Option<Oid>, NotACall> {
        if self.skip_none() { Ok(None) } else { self.oid().map(Some) }
    }

    pub(super) fn maybe_tid(&mut self) -> Result<Option<Tid>, NotACall> {
        if self.skip_none() { Ok(None) } else { self.tid().map(Some) }
    }

    pub(super) fn maybe_bytes(&mut self) -> Result<Option<Bytes>, NotACall> {
        if self.skip_none() { Ok(None) } else { self.bytes().map(Some) }
    }

    /// Takes the next argument if it is `None`; `true` also if there is none left.
    fn skip_none(&mut self) -> bool {
        let none = matches!(self.values.as_slice().first(), None | Some(Value::None));
        if none {
            self.values.next();
        }
        none
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, NotACall> {
        match self.value() {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(self.wrong("bytes", &other)),
        }
    }

    pub(super) fn bytes_or_text(&mut self) -> Result<Bytes, NotACall> {
        match self.value() {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Str(text) => Ok(Bytes::from(text.into_bytes())),
            other => Err(self.wrong("bytes or str", &other)),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, NotACall> {
        match self.value() {
            Value::Str(text) => Ok(text),
            Value::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            other => Err(self.wrong("str", &other)),
        }
    }

    pub(super) fn truth(&mut self) -> bool {
        self.value().is_true()
    }

    pub(super) fn truth_or(&mut self, default: bool) -> bool {
        self.values.next().map_or(default, |value| value.is_true())
    }

    pub(super) fn int(&mut self) -> Result<i64, NotACall> {
        match self.value() {
            Value::Int(int) => Ok(int),
            Value::Bool(bool) => Ok(i64::from(bool)),
            other => Err(self.wrong("int", &other)),
        }
    }

    pub(super) fn int_or(&mut self, default: i64) -> Result<i64, NotACall> {
        if self.values.len() == 0 { Ok(default) } else { self.int() }
    }

    pub(super) fn float(&mut self) -> Result<f64, NotACall> {
        match self.value() {
            Value::Float(float) => Ok(float),
            // Python does the same with an int; a double is exact for the next 285 million years.
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
            Value::Int(int) => Ok(int as f64),
            other => Err(self.wrong("float", &other)),
        }
    }

    pub(super) fn dict(&mut self) -> Result<Vec<(Value, Value)>, NotACall> {
        match self.value() {
            Value::Dict(items) => Ok(items),
            Value::None => Ok(Vec::new()),
            other => Err(self.wrong("dict", &other)),
        }
    }

    pub(super) fn items(&mut self) -> Result<Vec<Value>, NotACall> {
        match self.value() {
            Value::List(items) | Value::Tuple(items) => Ok(items),
            other => Err(self.wrong("list", &other)),
        }
    }

    /// A transaction's status: one character, a space unless transactions are copied.
    pub(super) fn status(&mut self) -> Result<u8, NotACall> {
        match self.values.next() {
            None => Ok(b' '),
            Some(Value::Str(text)) if text.len() == 1 => Ok(text.as_bytes()[0]),
            Some(Value::Bytes(bytes)) if bytes.len() == 1 => Ok(bytes[0]),
            Some(other) => Err(self.wrong("a status of one character", &other)),
        }
    }
}
