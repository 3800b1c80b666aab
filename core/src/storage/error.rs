//! Why a storage did not do what it was asked.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

#[cfg(doc)]
use super::Patience;
use crate::ids::{Oid, Tid};
use crate::value::Value;

/// An exception of another server, which clients are to see as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignRefusal {
    /// The exception's `module.Class`.
    pub class: String,
    /// What it was made of.
    pub payload: Value,
}

/// Floats in a payload may be no numbers, which are equal to nothing; nobody looks for them.
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

/// Why a storage did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk would have to be waited for; ask again with [`Patience::Wait`].
    #[error("the answer is not in memory")]
    WouldBlock,
    /// The object never was, or is deleted. Python: `POSKeyError(oid)`.
    #[error("no object {0}")]
    NoSuchObject(Oid),
    /// The object has no such revision. Python (MappingStorage): `POSKeyError(oid, serial)`.
    #[error("object {0} has no revision {1}")]
    NoSuchRevision(Oid, Tid),
    /// The revision has no blob. Python: `POSKeyError("No blob file at …", oid, serial)`.
    #[error("no blob file at {path} for object {oid} at {serial}")]
    NoSuchBlob {
        /// The object.
        oid: Oid,
        /// The revision.
        serial: Tid,
        /// Where it should be.
        path: String,
    },
    /// A copied transaction brings a blob for a revision that has one.
    #[error("object {oid} has a blob at {serial} already")]
    BlobExists {
        /// The object.
        oid: Oid,
        /// The revision.
        serial: Tid,
    },
    /// The file that a client says it put into a shared directory is not there. Python:
    /// `FileNotFoundError`.
    #[error("no such file: {path}")]
    NoSuchUpload {
        /// Where it should be.
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
        /// The object.
        oid: Oid,
        /// What is current.
        committed: Tid,
        /// What the client had read.
        read: Tid,
    },
    /// A record that the transaction depends on was replaced.
    #[error("object {oid} was read at {read} but is at {committed}")]
    ReadConflict {
        /// The object.
        oid: Oid,
        /// What is current.
        committed: Tid,
        /// What the client had read.
        read: Tid,
    },
    /// `UndoError(reason, oid)`.
    #[error("{reason}")]
    Undo {
        /// In Python's words.
        reason: String,
        /// The object, if it is about one.
        oid: Option<Oid>,
    },
    /// `MultipleUndoErrors`.
    #[error("{} objects were changed since", .0.len())]
    UndoFailures(Vec<(Oid, String)>),
    /// The storage, or this opening of it, takes no commits.
    #[error("the storage is read-only")]
    ReadOnly,
    /// A metadata field is over 65,535 bytes; the text is Python's ("user name too long", …).
    #[error("{field}: {len} bytes, at most 65535 fit")]
    MetadataTooLong {
        /// Python's words.
        field: &'static str,
        /// Its length.
        len: usize,
    },
    /// A record of no bytes cannot be represented in a FileStorage.
    #[error("object {0}: a record may not be empty")]
    EmptyRecord(Oid),
    /// The configured quota is used up.
    #[error("the storage quota of {quota} bytes is used up")]
    Quota {
        /// The setting.
        quota: u64,
    },
    /// One pack at a time.
    #[error("already packing")]
    AlreadyPacking,
    /// Pack found something that it will not touch.
    #[error("pack: {0}")]
    Pack(String),
    /// The storage has no such operation.
    #[error("this storage has no {0}")]
    Unsupported(&'static str),
    /// Bytes of the file contradict its format.
    #[error("{file} is damaged at byte {position}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where.
        position: u64,
        /// What is wrong there.
        what: String,
    },
    /// The operating system refused.
    #[error("{doing}: {text}")]
    Disk {
        /// What was tried, with the file's name.
        doing: String,
        /// The system's text.
        text: String,
        /// `errno`, when there is one.
        code: Option<i32>,
    },
    /// The server behind a proxy says no, in a way that there is no variant for.
    #[error("the server refused: {0}")]
    Refused(ForeignRefusal),
    /// The server behind a proxy is out of reach. Python: `ClientDisconnected`.
    #[error("the server behind this one is out of reach: {0}")]
    Unreachable(String),
    /// The server behind a proxy was lost in the middle of a commit. Python: `ClientDisconnected`.
    #[error("the server behind this one was lost during the commit, which may be done or not: {0}")]
    Uncertain(String),
    /// An earlier failure left the file in a state that only a restart can judge.
    #[error("the storage takes no commits after an earlier failure: {0}")]
    Broken(String),
}
