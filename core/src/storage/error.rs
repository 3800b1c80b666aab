//! Errors of storages.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

#[cfg(doc)]
use super::Patience;
use crate::ids::{Oid, Tid};
use crate::value::Value;

/// An exception of another server, which is passed on to clients unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignRefusal {
    /// The exception's `module.Class`.
    pub class: String,
    /// The payload of the error reply.
    pub payload: Value,
}

/// `Eq` is not exact if a payload holds a NaN, which no comparison depends on.
impl Eq for ForeignRefusal {}

impl fmt::Display for ForeignRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.class)?;
        let args = match &self.payload {
            Value::Tuple(args) => args.as_slice(),
            other => core::slice::from_ref(other),
        };
        args.iter().try_for_each(|arg| match arg {
            Value::Str(text) => write!(f, ": {text}"),
            _ => Ok(()),
        })
    }
}

/// Why a call of a storage failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The call would wait for the disk; repeat it with [`Patience::Wait`].
    #[error("the data are not in memory")]
    WouldBlock,
    /// The object never existed, or is deleted. Python: `POSKeyError(oid)`.
    #[error("no object {0}")]
    NoSuchObject(Oid),
    /// The object has no such revision. Python (MappingStorage): `POSKeyError(oid, serial)`.
    #[error("object {0} has no revision {1}")]
    NoSuchRevision(Oid, Tid),
    /// The revision has no blob. Python: `POSKeyError("No blob file at …", oid, serial)`.
    #[error("no blob file at {path} for object {oid} at {serial}")]
    NoSuchBlob {
        /// Oid of the object.
        oid: Oid,
        /// Tid of the revision.
        serial: Tid,
        /// Path of the missing file.
        path: String,
    },
    /// A copied transaction has a blob for a revision that already has one.
    #[error("object {oid} already has a blob at {serial}")]
    BlobExists {
        /// Oid of the object.
        oid: Oid,
        /// Tid of the revision.
        serial: Tid,
    },
    /// The file that a client says it put into a shared directory does not exist. Python:
    /// `FileNotFoundError`.
    #[error("no such file: {path}")]
    NoSuchUpload {
        /// Path of the missing file.
        path: String,
    },
    /// `record_iternext` past the last oid; `true` if the storage is empty. Python: `ValueError`.
    #[error("no object at or after the one asked for")]
    NoMoreRecords {
        /// Whether there is no object at all.
        empty: bool,
    },
    /// A record was replaced since the client read it.
    #[error("object {oid} was read at {read} but is at {committed}")]
    Conflict {
        /// Oid of the object.
        oid: Oid,
        /// Serial of the current revision.
        committed: Tid,
        /// Serial that the client had read.
        read: Tid,
    },
    /// A record that the transaction depends on was replaced.
    #[error("object {oid} was read at {read} but is at {committed}")]
    ReadConflict {
        /// Oid of the object.
        oid: Oid,
        /// Serial of the current revision.
        committed: Tid,
        /// Serial that the client had read.
        read: Tid,
    },
    /// `UndoError(reason, oid)`.
    #[error("{reason}")]
    Undo {
        /// The text that Python's ZODB gives.
        reason: String,
        /// The object that cannot be undone, if the reason concerns one.
        oid: Option<Oid>,
    },
    /// `MultipleUndoErrors`.
    #[error("{} objects were changed by later transactions", .0.len())]
    UndoFailures(Vec<(Oid, String)>),
    /// The storage is read-only, or was opened so.
    #[error("the storage is read-only")]
    ReadOnly,
    /// A metadata field is over 65,535 bytes; the text is Python's ("user name too long", …).
    #[error("{field}: {len} bytes exceed the maximum of 65535")]
    MetadataTooLong {
        /// The text that Python's ZODB gives.
        field: &'static str,
        /// Length of the field in bytes.
        len: usize,
    },
    /// A record of no bytes cannot be represented in a FileStorage.
    #[error("object {0}: a record may not be empty")]
    EmptyRecord(Oid),
    /// The configured quota is exceeded.
    #[error("the storage quota of {quota} bytes is used up; pack the database or raise the quota")]
    Quota {
        /// The configured number of bytes.
        quota: u64,
    },
    /// A pack is already running.
    #[error("a pack is already running; wait until it ends")]
    AlreadyPacking,
    /// A pack refuses the time or the database, for this reason.
    #[error("pack: {0}")]
    Pack(String),
    /// The storage does not support the operation.
    #[error("this storage does not support {0}")]
    Unsupported(&'static str),
    /// The bytes of a file contradict its format.
    #[error("{file} is damaged at byte {position}: {what}")]
    Corrupt {
        /// Name of the file.
        file: String,
        /// Position of the damage.
        position: u64,
        /// Description of the damage.
        what: String,
    },
    /// The operating system returned an error.
    #[error("{doing}: {text}")]
    Disk {
        /// The operation, with the name of the file.
        doing: String,
        /// The system's error text.
        text: String,
        /// `errno`, if there is one.
        code: Option<i32>,
    },
    /// The server behind a proxy refused with an exception that has no variant here.
    #[error("the server refused: {0}")]
    Refused(ForeignRefusal),
    /// The proxy cannot reach its server. Python: `ClientDisconnected`.
    #[error("cannot reach the server behind this one: {0}")]
    Unreachable(String),
    /// The proxy lost the connection to its server during a commit. Python: `ClientDisconnected`.
    #[error(
        "the connection to the server behind this one was lost during the commit, which may be done or not: {0}"
    )]
    Uncertain(String),
    /// An earlier failure left the file in a state that only the next opening can determine.
    #[error("the storage refuses commits after an earlier failure until it is restarted: {0}")]
    Broken(String),
}
