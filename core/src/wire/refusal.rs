//! Refusals: error replies with the names of Python exceptions.
//!
//! A client creates a Python exception from a class name and a payload; with an unknown name or a
//! payload of another shape, the call never returns (`spec: zeo-protocol 6.4`). So every refusal is
//! a variant of one type, and the shapes are in one place.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::ids::{Oid, Tid};
use crate::storage::{ForeignRefusal, StorageError};
use crate::value::Value;
use crate::wire::call::TxnHandle;

/// An error reply to a call. The connection stays open, unless the call was one-way.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// `ZODB.POSException.POSKeyError`, with what identifies the object.
    PosKey(Vec<Value>),
    /// `ZODB.POSException.ConflictError`.
    Conflict {
        /// Oid of the object.
        oid: Oid,
        /// `module.Class` of the record to be stored.
        class_name: Option<String>,
        /// Serial of the current revision.
        committed: Tid,
        /// Serial that the client had read.
        read: Tid,
    },
    /// `ZODB.POSException.ReadConflictError`.
    ReadConflict {
        /// Oid of the object.
        oid: Oid,
        /// Serial of the current revision.
        committed: Tid,
        /// Serial that the client had read.
        read: Tid,
    },
    /// `ZODB.POSException.ReadOnlyError`.
    ReadOnly,
    /// `ZODB.POSException.StorageTransactionError` about the wrong transaction: the current one,
    /// and the one that the call names.
    WrongTransaction(Option<TxnHandle>, TxnHandle),
    /// `ZODB.POSException.StorageTransactionError` with a text.
    Transaction(&'static str),
    /// `ZODB.POSException.UndoError`.
    Undo {
        /// The text that Python's ZODB gives.
        reason: String,
        /// The object that cannot be undone, if the reason concerns one.
        oid: Option<Oid>,
    },
    /// `ZODB.POSException.MultipleUndoErrors`. The second item of each pair is sent as text, which
    /// both encodings support and `str()` on the client shows (`spec: zeo-protocol 6.3`).
    UndoFailures(Vec<(Oid, String)>),
    /// Any other exception class, with its `args`.
    Other(&'static str, Vec<Value>),
    /// A refusal of the server behind a proxy, passed on unchanged.
    Foreign(ForeignRefusal),
}

impl Refusal {
    /// A refusal of class `builtins.…` or other with one text.
    pub fn text(class: &'static str, text: impl Into<String>) -> Self {
        Self::Other(class, vec![Value::Str(text.into())])
    }

    /// `builtins.KeyError` with the key.
    #[must_use]
    pub fn key(key: Value) -> Self {
        Self::Other("builtins.KeyError", vec![key])
    }

    /// `builtins.AttributeError`, with which a Python server refuses an unsupported method.
    #[must_use]
    pub fn missing_method(name: &str) -> Self {
        let text = format!("'ZEOStorage' object has no attribute '{name}'");
        Self::text("builtins.AttributeError", text)
    }

    /// The exception's `module.Class`.
    #[must_use]
    pub fn class(&self) -> &str {
        match self {
            Self::PosKey(_) => "ZODB.POSException.POSKeyError",
            Self::Conflict { .. } => "ZODB.POSException.ConflictError",
            Self::ReadConflict { .. } => "ZODB.POSException.ReadConflictError",
            Self::ReadOnly => "ZODB.POSException.ReadOnlyError",
            Self::WrongTransaction(..) | Self::Transaction(_) => {
                "ZODB.POSException.StorageTransactionError"
            }
            Self::Undo { .. } => "ZODB.POSException.UndoError",
            Self::UndoFailures(_) => "ZODB.POSException.MultipleUndoErrors",
            Self::Other(class, _) => class,
            Self::Foreign(foreign) => &foreign.class,
        }
    }

    /// `(class, payload)`, the result of an error reply.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Tuple(vec![Value::Str(self.class().to_owned()), self.payload()])
    }

    fn payload(&self) -> Value {
        match self {
            Self::PosKey(args) | Self::Other(_, args) => Value::Tuple(args.clone()),
            Self::Conflict { oid, class_name, committed, read } => conflict(
                "database conflict error",
                *oid,
                class_name.as_ref().map_or(Value::None, |name| Value::Str(name.clone())),
                *committed,
                *read,
            ),
            Self::ReadConflict { oid, committed, read } => {
                conflict("database read conflict error", *oid, Value::None, *committed, *read)
            }
            Self::ReadOnly => Value::Tuple(vec![]),
            Self::WrongTransaction(open, named) => {
                let open = open.clone().map_or(Value::None, |txn| txn.0);
                Value::Tuple(vec![open, named.0.clone()])
            }
            Self::Transaction(text) => Value::Tuple(vec![Value::Str((*text).to_owned())]),
            Self::Undo { reason, oid } => Value::Dict(vec![
                (Value::text("_reason"), Value::Str(reason.clone())),
                (Value::text("_oid"), oid.map_or(Value::None, Value::oid)),
            ]),
            Self::UndoFailures(failures) => undo_failures(failures),
            Self::Foreign(foreign) => foreign.payload.clone(),
        }
    }
}

/// The class and its text, if it has one, for the log.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Foreign(foreign) = self {
            return foreign.fmt(f);
        }
        f.write_str(self.class())?;
        match self {
            Self::Transaction(text) => write!(f, ": {text}"),
            Self::Undo { reason, .. } => write!(f, ": {reason}"),
            Self::Other(_, args) => args.iter().try_for_each(|arg| match arg {
                Value::Str(text) => write!(f, ": {text}"),
                _ => Ok(()),
            }),
            Self::PosKey(_)
            | Self::Conflict { .. }
            | Self::ReadConflict { .. }
            | Self::ReadOnly
            | Self::WrongTransaction(..)
            | Self::UndoFailures(_)
            | Self::Foreign(_) => Ok(()),
        }
    }
}

fn conflict(message: &str, oid: Oid, class_name: Value, committed: Tid, read: Tid) -> Value {
    Value::Dict(vec![
        (Value::text("message"), Value::text(message)),
        (Value::text("oid"), Value::oid(oid)),
        (Value::text("class_name"), class_name),
        (Value::text("serials"), Value::Tuple(vec![Value::tid(committed), Value::tid(read)])),
    ])
}

/// As FileStorage fills it: `_reason` and `_oid` have the first failure, exchanged
/// (`spec: filestorage 13`).
fn undo_failures(failures: &[(Oid, String)]) -> Value {
    let errors = failures
        .iter()
        .map(|(oid, reason)| Value::Tuple(vec![Value::oid(*oid), Value::Str(reason.clone())]))
        .collect();
    let (oid, reason) = failures.first().map_or((Value::None, Value::None), |(oid, reason)| {
        (Value::oid(*oid), Value::Str(reason.clone()))
    });
    Value::Dict(vec![
        (Value::text("_reason"), oid),
        (Value::text("_oid"), reason),
        (Value::text("_errs"), Value::List(errors)),
    ])
}

/// `errno` of a missing file.
const ENOENT: i64 = 2;

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        let text = error.to_string();
        match error {
            StorageError::NoSuchObject(oid) => Self::PosKey(vec![Value::oid(oid)]),
            StorageError::NoSuchRevision(oid, serial) => {
                Self::PosKey(vec![Value::oid(oid), Value::tid(serial)])
            }
            StorageError::NoSuchBlob { oid, serial, path } => {
                let text = Value::Str(format!("No blob file at {path}"));
                Self::PosKey(vec![text, Value::oid(oid), Value::tid(serial)])
            }
            StorageError::NoSuchUpload { path } => {
                let text = format!("No such file or directory: {path}");
                let args = vec![Value::Int(ENOENT), Value::Str(text)];
                Self::Other("builtins.FileNotFoundError", args)
            }
            StorageError::NoMoreRecords { empty } => {
                let text = if empty { "empty tree" } else { "no key satisfies the conditions" };
                Self::text("builtins.ValueError", text)
            }
            StorageError::Conflict { oid, committed, read } => {
                Self::Conflict { oid, class_name: None, committed, read }
            }
            StorageError::ReadConflict { oid, committed, read } => {
                Self::ReadConflict { oid, committed, read }
            }
            StorageError::Undo { reason, oid } => Self::Undo { reason, oid },
            StorageError::UndoFailures(failures) => Self::UndoFailures(failures),
            StorageError::ReadOnly => Self::ReadOnly,
            StorageError::MetadataTooLong { field, .. } => {
                Self::text("ZODB.FileStorage.FileStorage.FileStorageError", field)
            }
            StorageError::Quota { .. } => Self::text(
                "ZODB.FileStorage.FileStorage.FileStorageQuotaError",
                "The storage quota has been exceeded.",
            ),
            StorageError::AlreadyPacking => {
                Self::text("ZODB.FileStorage.FileStorage.FileStorageError", "Already packing")
            }
            StorageError::EmptyRecord(_) => Self::text("builtins.ValueError", text),
            StorageError::Unsupported(name) => Self::missing_method(name),
            StorageError::Disk { code: Some(code), .. } => {
                Self::Other("builtins.OSError", vec![Value::Int(i64::from(code)), Value::Str(text)])
            }
            StorageError::Corrupt { .. } => {
                Self::text("ZODB.FileStorage.format.CorruptedDataError", text)
            }
            StorageError::Refused(foreign) => Self::Foreign(foreign),
            StorageError::Unreachable(_) | StorageError::Uncertain(_) => {
                Self::text("ZEO.Exceptions.ClientDisconnected", text)
            }
            StorageError::Pack(_)
            | StorageError::BlobExists { .. }
            | StorageError::Disk { .. }
            | StorageError::Broken(_)
            | StorageError::WouldBlock => Self::text("ZODB.POSException.StorageError", text),
        }
    }
}
