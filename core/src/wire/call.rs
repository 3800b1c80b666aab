//! What a client may ask: one variant per method of the protocol, with checked arguments.
//!
//! A call is read in two steps. The envelope gives a name and plain values; [`Call::read`] looks the
//! name up and checks the arguments' number and types. An unknown name is the peer's fault and ends
//! the connection (`spec: zeo-protocol 6.1`); wrong arguments are answered as Python answers them,
//! with a `TypeError` in the same words, because `history(oid, None)` and its like are found in the
//! field and read by people.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Oid, Tid};
use crate::value::Value;

/// A client's own number for a transaction in progress; compared for equality, never interpreted.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnHandle(pub Value);

/// A request. Names are the wire's, camel-cased.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "fields are the wire arguments")]
pub enum Call {
    Register {
        storage: String,
        read_only: bool,
    },
    GetInfo,
    LastTransaction,
    GetInvalidations {
        tid: Tid,
    },
    NewOids {
        count: i64,
    },
    NewOid,
    LoadBefore {
        oid: Oid,
        tid: Tid,
    },
    LoadSerial {
        oid: Oid,
        serial: Tid,
    },
    GetTid {
        oid: Oid,
    },
    /// Both stay values, because an oid of a wrong kind is looked for first, and not found.
    History {
        oid: Value,
        size: Value,
    },
    RecordIternext {
        next: Option<Oid>,
    },
    Ping,
    SetClientLabel {
        label: String,
    },
    ServerStatus,
    Pack {
        time: f64,
        wait: bool,
    },
    UndoLog {
        first: i64,
        last: i64,
    },
    UndoInfo {
        first: i64,
        last: i64,
        specification: Vec<(Value, Value)>,
    },
    IteratorStart {
        start: Option<Tid>,
        stop: Option<Tid>,
    },
    IteratorNext {
        iid: Value,
    },
    IteratorRecordStart {
        txn_iid: Value,
        tid: Tid,
    },
    IteratorRecordNext {
        iid: Value,
    },
    IteratorGc {
        iids: Vec<Value>,
    },
    /// The calls of two-phase commit, which wait for each other.
    Txn(TxnCall),
    /// Moving blobs.
    Blob(BlobCall),
}

/// A call that belongs to a transaction.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "fields are the wire arguments")]
pub enum TxnCall {
    TpcBegin {
        txn: TxnHandle,
        user: Bytes,
        description: Bytes,
        extension: Value,
        tid: Option<Tid>,
        status: u8,
    },
    Storea {
        oid: Oid,
        serial: Tid,
        data: Bytes,
        txn: TxnHandle,
    },
    Restorea {
        oid: Oid,
        serial: Tid,
        data: Option<Bytes>,
        prev_txn: Option<Tid>,
        txn: TxnHandle,
    },
    DeleteObject {
        oid: Oid,
        serial: Tid,
        txn: TxnHandle,
    },
    CheckCurrentSerialInTransaction {
        oid: Oid,
        serial: Tid,
        txn: TxnHandle,
    },
    Undoa {
        id: Bytes,
        txn: TxnHandle,
    },
    Vote {
        txn: TxnHandle,
    },
    TpcFinish {
        txn: TxnHandle,
    },
    TpcAbort {
        txn: TxnHandle,
    },
}

/// A call that moves a blob.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "fields are the wire arguments")]
pub enum BlobCall {
    StoreBlobStart,
    StoreBlobChunk { chunk: Bytes },
    StoreBlobEnd { oid: Oid, serial: Tid, data: Bytes, txn: TxnHandle },
    StoreBlobShared { oid: Oid, serial: Tid, data: Bytes, filename: String, txn: TxnHandle },
    SendBlob { oid: Oid, serial: Tid },
}

/// Why a call could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotACall {
    /// No such method; the connection ends.
    UnknownMethod,
    /// The arguments do not fit; the text goes back in a `TypeError`.
    Arguments(String),
}

/// The parameters of a method: those that must be given, and how many more may be.
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

impl Call {
    /// Reads a call from its name and the envelope's `args`.
    ///
    /// # Errors
    /// See [`NotACall`].
    pub fn read(name: &str, args: Value) -> Result<Self, NotACall> {
        let signature = signature(name).ok_or(NotACall::UnknownMethod)?;
        let (Value::Tuple(values) | Value::List(values)) = args else {
            let text = format!("ZEOStorage.{name}() argument after * must be an iterable");
            return Err(NotACall::Arguments(text));
        };
        check_count(name, &signature, values.len())?;
        let mut args = Arguments { name, values: values.into_iter() };
        Self::from_arguments(&mut args)
    }

    fn from_arguments(args: &mut Arguments<'_>) -> Result<Self, NotACall> {
        Ok(match args.name {
            "register" => Self::Register { storage: args.text()?, read_only: args.truth() },
            "get_info" => Self::GetInfo,
            "lastTransaction" => Self::LastTransaction,
            "getInvalidations" => Self::GetInvalidations { tid: args.tid()? },
            "new_oids" => Self::NewOids { count: args.int_or(100)? },
            "new_oid" => Self::NewOid,
            "loadBefore" => Self::LoadBefore { oid: args.oid()?, tid: args.tid()? },
            "loadSerial" => Self::LoadSerial { oid: args.oid()?, serial: args.tid()? },
            "getTid" => Self::GetTid { oid: args.oid()? },
            "history" => Self::History { oid: args.value(), size: args.value_or(Value::Int(1)) },
            "record_iternext" => Self::RecordIternext { next: args.maybe_oid()? },
            "ping" => Self::Ping,
            "set_client_label" => Self::SetClientLabel { label: args.text()? },
            "server_status" => Self::ServerStatus,
            "pack" => Self::Pack { time: args.float()?, wait: args.truth_or(true) },
            "undoLog" => Self::UndoLog { first: args.int()?, last: args.int()? },
            "undoInfo" => Self::UndoInfo {
                first: args.int()?,
                last: args.int()?,
                specification: args.dict()?,
            },
            "iterator_start" => {
                Self::IteratorStart { start: args.maybe_tid()?, stop: args.maybe_tid()? }
            }
            "iterator_next" => Self::IteratorNext { iid: args.value() },
            "iterator_record_start" => {
                Self::IteratorRecordStart { txn_iid: args.value(), tid: args.tid()? }
            }
            "iterator_record_next" => Self::IteratorRecordNext { iid: args.value() },
            "iterator_gc" => Self::IteratorGc { iids: args.items()? },
            "storeBlobStart" | "storeBlobChunk" | "storeBlobEnd" | "storeBlobShared"
            | "sendBlob" => Self::Blob(BlobCall::from_arguments(args)?),
            _ => Self::Txn(TxnCall::from_arguments(args)?),
        })
    }
}

impl TxnCall {
    fn from_arguments(args: &mut Arguments<'_>) -> Result<Self, NotACall> {
        Ok(match args.name {
            "tpc_begin" => Self::TpcBegin {
                txn: args.txn(),
                user: args.bytes_or_text()?,
                description: args.bytes_or_text()?,
                extension: args.value(),
                tid: args.maybe_tid()?,
                status: args.status()?,
            },
            "storea" => Self::Storea {
                oid: args.oid()?,
                serial: args.serial(),
                data: args.bytes()?,
                txn: args.txn(),
            },
            "restorea" => Self::Restorea {
                oid: args.oid()?,
                serial: args.tid()?,
                data: args.maybe_bytes()?,
                prev_txn: args.maybe_tid()?,
                txn: args.txn(),
            },
            "deleteObject" => {
                Self::DeleteObject { oid: args.oid()?, serial: args.serial(), txn: args.txn() }
            }
            "checkCurrentSerialInTransaction" => Self::CheckCurrentSerialInTransaction {
                oid: args.oid()?,
                serial: args.serial(),
                txn: args.txn(),
            },
            "undoa" => Self::Undoa { id: args.bytes_or_text()?, txn: args.txn() },
            "vote" => Self::Vote { txn: args.txn() },
            "tpc_finish" => Self::TpcFinish { txn: args.txn() },
            "tpc_abort" => Self::TpcAbort { txn: args.txn() },
            _ => return Err(NotACall::UnknownMethod),
        })
    }
}

impl BlobCall {
    fn from_arguments(args: &mut Arguments<'_>) -> Result<Self, NotACall> {
        Ok(match args.name {
            "storeBlobStart" => Self::StoreBlobStart,
            "storeBlobChunk" => Self::StoreBlobChunk { chunk: args.bytes()? },
            "storeBlobEnd" => Self::StoreBlobEnd {
                oid: args.oid()?,
                serial: args.serial(),
                data: args.bytes()?,
                txn: args.txn(),
            },
            "storeBlobShared" => Self::StoreBlobShared {
                oid: args.oid()?,
                serial: args.serial(),
                data: args.bytes()?,
                filename: args.text()?,
                txn: args.txn(),
            },
            "sendBlob" => Self::SendBlob { oid: args.oid()?, serial: args.tid()? },
            _ => return Err(NotACall::UnknownMethod),
        })
    }
}

/// Python's words for a wrong number of arguments; `self` counts there, so it counts here.
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

/// Takes a call's arguments one by one. Python's servers look at an argument's type only where they
/// use it; here it is checked on arrival, so what is inside the server is typed.
struct Arguments<'a> {
    name: &'a str,
    values: alloc::vec::IntoIter<Value>,
}

impl Arguments<'_> {
    fn value(&mut self) -> Value {
        self.values.next().unwrap_or(Value::None)
    }

    fn value_or(&mut self, default: Value) -> Value {
        self.values.next().unwrap_or(default)
    }

    fn txn(&mut self) -> TxnHandle {
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

    fn oid(&mut self) -> Result<Oid, NotACall> {
        self.eight("an oid of 8 bytes").map(Oid::from_bytes)
    }

    fn tid(&mut self) -> Result<Tid, NotACall> {
        self.eight("a tid of 8 bytes").map(Tid::from_bytes)
    }

    /// A serial that no revision can have stands for anything that is not a serial: FileStorage
    /// accepts whatever comes for a new object, and conflicts otherwise.
    fn serial(&mut self) -> Tid {
        match self.value() {
            Value::Bytes(bytes) => Tid::from_slice(&bytes).unwrap_or(Tid::ZERO),
            _ => Tid::ZERO,
        }
    }

    fn maybe_oid(&mut self) -> Result<Option<Oid>, NotACall> {
        if self.skip_none() { Ok(None) } else { self.oid().map(Some) }
    }

    fn maybe_tid(&mut self) -> Result<Option<Tid>, NotACall> {
        if self.skip_none() { Ok(None) } else { self.tid().map(Some) }
    }

    fn maybe_bytes(&mut self) -> Result<Option<Bytes>, NotACall> {
        if self.skip_none() { Ok(None) } else { self.bytes().map(Some) }
    }

    /// Whether the next argument is `None` or left out, which is then taken.
    fn skip_none(&mut self) -> bool {
        let none = matches!(self.values.as_slice().first(), None | Some(Value::None));
        if none {
            self.values.next();
        }
        none
    }

    fn bytes(&mut self) -> Result<Bytes, NotACall> {
        match self.value() {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(self.wrong("bytes", &other)),
        }
    }

    fn bytes_or_text(&mut self) -> Result<Bytes, NotACall> {
        match self.value() {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Str(text) => Ok(Bytes::from(text.into_bytes())),
            other => Err(self.wrong("bytes or str", &other)),
        }
    }

    fn text(&mut self) -> Result<String, NotACall> {
        match self.value() {
            Value::Str(text) => Ok(text),
            Value::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            other => Err(self.wrong("str", &other)),
        }
    }

    fn truth(&mut self) -> bool {
        self.value().is_true()
    }

    fn truth_or(&mut self, default: bool) -> bool {
        self.values.next().map_or(default, |value| value.is_true())
    }

    fn int(&mut self) -> Result<i64, NotACall> {
        match self.value() {
            Value::Int(int) => Ok(int),
            Value::Bool(bool) => Ok(i64::from(bool)),
            other => Err(self.wrong("int", &other)),
        }
    }

    fn int_or(&mut self, default: i64) -> Result<i64, NotACall> {
        if self.values.len() == 0 { Ok(default) } else { self.int() }
    }

    fn float(&mut self) -> Result<f64, NotACall> {
        match self.value() {
            Value::Float(float) => Ok(float),
            // Python does the same with an int; a double is exact for the next 285 million years.
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
            Value::Int(int) => Ok(int as f64),
            other => Err(self.wrong("float", &other)),
        }
    }

    fn dict(&mut self) -> Result<Vec<(Value, Value)>, NotACall> {
        match self.value() {
            Value::Dict(items) => Ok(items),
            Value::None => Ok(Vec::new()),
            other => Err(self.wrong("dict", &other)),
        }
    }

    fn items(&mut self) -> Result<Vec<Value>, NotACall> {
        match self.value() {
            Value::List(items) | Value::Tuple(items) => Ok(items),
            other => Err(self.wrong("list", &other)),
        }
    }

    /// A transaction's status: one character, a blank unless transactions are copied.
    fn status(&mut self) -> Result<u8, NotACall> {
        match self.values.next() {
            None => Ok(b' '),
            Some(Value::Str(text)) if text.len() == 1 => Ok(text.as_bytes()[0]),
            Some(Value::Bytes(bytes)) if bytes.len() == 1 => Ok(bytes[0]),
            Some(other) => Err(self.wrong("a status of one character", &other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn bytes(bytes: &'static [u8]) -> Value {
        Value::Bytes(Bytes::from_static(bytes))
    }

    #[test]
    fn too_few_and_too_many_arguments_get_pythons_words() {
        let one = Value::Tuple(vec![bytes(&[0; 8])]);
        assert_eq!(
            Call::read("loadBefore", one),
            Err(NotACall::Arguments(
                "ZEOStorage.loadBefore() missing 1 required positional argument: 'tid'".into()
            ))
        );
        assert_eq!(
            Call::read("storea", Value::Tuple(vec![Value::None])),
            Err(NotACall::Arguments(
                "ZEOStorage.storea() missing 3 required positional arguments: \
                 'serial', 'data', and 'id'"
                    .into()
            ))
        );
        assert_eq!(
            Call::read("new_oids", Value::Tuple(vec![Value::Int(1), Value::Int(2)])),
            Err(NotACall::Arguments(
                "ZEOStorage.new_oids() takes from 1 to 2 positional arguments but 3 were given"
                    .into()
            ))
        );
        assert!(matches!(Call::read("ping", Value::None), Err(NotACall::Arguments(_))));
    }

    #[test]
    fn an_unknown_name_is_no_call() {
        for name in ["nosuch", ".reply", "load", "undo", ""] {
            assert_eq!(Call::read(name, Value::Tuple(vec![])), Err(NotACall::UnknownMethod));
        }
    }

    #[test]
    fn defaults_are_pythons() {
        assert_eq!(Call::read("new_oids", Value::Tuple(vec![])), Ok(Call::NewOids { count: 100 }));
        assert_eq!(
            Call::read("pack", Value::Tuple(vec![Value::Int(7)])),
            Ok(Call::Pack { time: 7.0, wait: true })
        );
        assert_eq!(
            Call::read("record_iternext", Value::Tuple(vec![])),
            Ok(Call::RecordIternext { next: None })
        );
    }

    #[test]
    fn history_takes_anything() {
        let call = Call::read("history", Value::Tuple(vec![Value::None]));
        assert_eq!(call, Ok(Call::History { oid: Value::None, size: Value::Int(1) }));
    }

    #[test]
    fn every_method_reads_with_some_arguments() {
        let eight = || bytes(&[7; 8]);
        let calls: [(&str, Vec<Value>); 6] = [
            ("register", vec![Value::Str("1".into()), Value::Int(0)]),
            ("tpc_begin", vec![Value::Int(1), bytes(b"u"), bytes(b"d"), Value::Dict(vec![])]),
            ("storea", vec![eight(), eight(), bytes(b"x"), Value::Int(1)]),
            ("restorea", vec![eight(), eight(), Value::None, Value::None, Value::Int(1)]),
            ("iterator_start", vec![Value::None, eight()]),
            ("undoInfo", vec![Value::Int(0), Value::Int(-20), Value::None]),
        ];
        for (name, args) in calls {
            assert!(Call::read(name, Value::Tuple(args)).is_ok(), "{name}");
        }
    }
}
