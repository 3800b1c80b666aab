//! The requests of clients: one variant per method of the protocol, with checked arguments.
//!
//! A call is read in two steps. The envelope has a name and plain values; [`Call::read`] looks up
//! the name and checks the number and types of the arguments. For an unknown name the server closes
//! the connection (`spec: zeo-protocol 6.1`); for wrong arguments it replies with a `TypeError`
//! with the same text as Python's, because calls such as `history(oid, None)` occur in practice and
//! people read the errors.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Oid, Tid};
use crate::value::Value;
use crate::wire::SHARED_FROM;
use crate::wire::arguments::Arguments;
pub(crate) use crate::wire::arguments::{NotACall, TxnHandle};

/// A request. Variants have the names of the wire methods in camel case.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "fields are the wire arguments")]
pub enum Call {
    Register {
        storage: String,
        read_only: bool,
    },
    LastTransaction,
    GetInvalidations {
        tid: Tid,
    },
    NewOid,
    LoadBefore {
        oid: Oid,
        tid: Tid,
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
    /// Calls that the storage answers directly.
    Query(QueryCall),
    /// Calls of two-phase commit, which are answered in order.
    Txn(TxnCall),
    SendBlob {
        oid: Oid,
        serial: Tid,
    },
}

/// A call that the storage answers directly.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "fields are the wire arguments")]
pub enum QueryCall {
    GetInfo,
    NewOids {
        count: i64,
    },
    LoadSerial {
        oid: Oid,
        serial: Tid,
    },
    GetTid {
        oid: Oid,
    },
    /// Both are unchecked values: an oid of the wrong type is answered with "not found", as in
    /// Python.
    History {
        oid: Value,
        size: Value,
    },
    RecordIternext {
        next: Option<Oid>,
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
}

/// A call of a transaction, or of an upload, which is processed in order with them.
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
    StoreBlobStart,
    StoreBlobChunk {
        chunk: Bytes,
    },
    StoreBlobEnd {
        oid: Oid,
        serial: Tid,
        data: Bytes,
        txn: TxnHandle,
    },
    StoreBlobShared {
        oid: Oid,
        serial: Tid,
        data: Bytes,
        filename: String,
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

impl Call {
    /// Reads a call from its name and the envelope's `args`.
    ///
    /// # Errors
    /// See [`NotACall`].
    pub fn read(name: &str, args: Value) -> Result<Self, NotACall> {
        Self::from_arguments(&mut Arguments::new(name, args)?)
    }

    /// Copies the parts of the message that the call keeps if they are a small part of it:
    /// otherwise a record keeps its message, and others in the same buffer, in memory until it is
    /// on the disk.
    #[must_use]
    pub fn detached(mut self, message_bytes: usize) -> Self {
        if let Self::Txn(
            TxnCall::Storea { data, .. }
            | TxnCall::Restorea { data: Some(data), .. }
            | TxnCall::StoreBlobChunk { chunk: data }
            | TxnCall::StoreBlobEnd { data, .. }
            | TxnCall::StoreBlobShared { data, .. },
        ) = &mut self
            && (data.len() < SHARED_FROM || data.len() < message_bytes / 2)
        {
            *data = Bytes::copy_from_slice(data);
        }
        self
    }

    fn from_arguments(args: &mut Arguments<'_>) -> Result<Self, NotACall> {
        Ok(match args.name() {
            "register" => Self::Register { storage: args.text()?, read_only: args.truth() },
            "lastTransaction" => Self::LastTransaction,
            "getInvalidations" => Self::GetInvalidations { tid: args.tid()? },
            "new_oid" => Self::NewOid,
            "loadBefore" => Self::LoadBefore { oid: args.oid()?, tid: args.tid()? },
            "ping" => Self::Ping,
            "set_client_label" => Self::SetClientLabel { label: args.text()? },
            "server_status" => Self::ServerStatus,
            "pack" => Self::Pack { time: args.float()?, wait: args.truth_or(true) },
            "iterator_start" => {
                Self::IteratorStart { start: args.maybe_tid()?, stop: args.maybe_tid()? }
            }
            "iterator_next" => Self::IteratorNext { iid: args.value() },
            "iterator_record_start" => {
                Self::IteratorRecordStart { txn_iid: args.value(), tid: args.tid()? }
            }
            "iterator_record_next" => Self::IteratorRecordNext { iid: args.value() },
            "iterator_gc" => Self::IteratorGc { iids: args.items()? },
            "sendBlob" => Self::SendBlob { oid: args.oid()?, serial: args.tid()? },
            _ => match TxnCall::from_arguments(args) {
                Err(NotACall::UnknownMethod) => Self::Query(QueryCall::from_arguments(args)?),
                call => Self::Txn(call?),
            },
        })
    }
}

impl QueryCall {
    fn from_arguments(args: &mut Arguments<'_>) -> Result<Self, NotACall> {
        Ok(match args.name() {
            "get_info" => Self::GetInfo,
            "new_oids" => Self::NewOids { count: args.int_or(100)? },
            "loadSerial" => Self::LoadSerial { oid: args.oid()?, serial: args.tid()? },
            "getTid" => Self::GetTid { oid: args.oid()? },
            "history" => Self::History { oid: args.value(), size: args.value_or(Value::Int(1)) },
            "record_iternext" => Self::RecordIternext { next: args.maybe_oid()? },
            "undoLog" => Self::UndoLog { first: args.int()?, last: args.int()? },
            "undoInfo" => Self::UndoInfo {
                first: args.int()?,
                last: args.int()?,
                specification: args.dict()?,
            },
            _ => return Err(NotACall::UnknownMethod),
        })
    }
}

impl TxnCall {
    fn from_arguments(args: &mut Arguments<'_>) -> Result<Self, NotACall> {
        Ok(match args.name() {
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
            "vote" => Self::Vote { txn: args.txn() },
            "tpc_finish" => Self::TpcFinish { txn: args.txn() },
            "tpc_abort" => Self::TpcAbort { txn: args.txn() },
            _ => return Err(NotACall::UnknownMethod),
        })
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
        assert_eq!(
            Call::read("new_oids", Value::Tuple(vec![])),
            Ok(Call::Query(QueryCall::NewOids { count: 100 }))
        );
        assert_eq!(
            Call::read("pack", Value::Tuple(vec![Value::Int(7)])),
            Ok(Call::Pack { time: 7.0, wait: true })
        );
        assert_eq!(
            Call::read("record_iternext", Value::Tuple(vec![])),
            Ok(Call::Query(QueryCall::RecordIternext { next: None }))
        );
    }

    #[test]
    fn history_takes_anything() {
        let call = Call::read("history", Value::Tuple(vec![Value::None]));
        assert_eq!(
            call,
            Ok(Call::Query(QueryCall::History { oid: Value::None, size: Value::Int(1) }))
        );
    }

    #[test]
    fn a_small_record_does_not_keep_its_message() {
        let message = Bytes::from(vec![7; 4 * SHARED_FROM]);
        let chunk = |len| {
            let call = Call::Txn(TxnCall::StoreBlobChunk { chunk: message.slice(..len) });
            match call.detached(message.len()) {
                Call::Txn(TxnCall::StoreBlobChunk { chunk }) => chunk.as_ptr() == message.as_ptr(),
                _ => unreachable!("it is the same call"),
            }
        };
        assert!(!chunk(100), "shares a block with other messages");
        assert!(!chunk(SHARED_FROM), "the message is much longer");
        assert!(chunk(2 * SHARED_FROM), "not worth a copy");
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
