//! What a copy needs of a database, be it in a file or behind a server.

use std::io::Read;

use bytes::Bytes;
use rzeo_core::storage::Record;
use rzeo_core::value::Value;
use rzeo_core::{Oid, Tid};

use crate::tools::ToolError;

/// What a transaction says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) tid: Tid,
    pub(super) status: u8,
    pub(super) user: Bytes,
    pub(super) description: Bytes,
    pub(super) extension: Extension,
    /// How far the progress goes with it, beside its records.
    pub(super) bytes: u64,
}

/// What else was said of a transaction. A file has it pickled, and keeps it so to the byte; on the wire it
/// is a dict.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Extension {
    Pickled(Bytes),
    Dict(Value),
}

/// A database, as far as both sides of a copy are alike.
pub(super) trait Database {
    /// What to call it in messages.
    fn name(&self) -> String;

    /// Walks the transactions from a tid on that are there now.
    fn transactions(
        &self,
        start: Option<Tid>,
    ) -> Result<Box<dyn TransactionCursor + '_>, ToolError>;

    /// Whether it keeps blobs.
    fn has_blobs(&self) -> bool;

    /// About how many bytes it is long.
    fn size(&self) -> u64;
}

/// A cursor over transactions, and over the records of each.
pub(super) trait TransactionCursor {
    fn next_transaction(&mut self) -> Result<Option<Header>, ToolError>;

    /// The next record of the transaction that came last.
    fn next_record(&mut self) -> Result<Option<Record>, ToolError>;
}

/// Where to copy from.
pub(super) trait Source: Database {
    /// A blob, or `None` if there is no such one.
    fn blob(&self, oid: Oid, tid: Tid) -> Result<Option<Box<dyn Read + '_>>, ToolError>;
}

/// Where to copy to. A transaction is begun, its records are restored, and it is committed; whatever ends in
/// between leaves nothing of it.
pub(super) trait Target: Database {
    /// The newest transaction, [`Tid::ZERO`] if there is none.
    fn last_tid(&mut self) -> Result<Tid, ToolError>;

    /// Whether a transaction whose tid is not later than the one before gets another one. Python does so
    /// where it copies without blobs.
    fn wants_ascending_tids(&self) -> bool;

    fn begin(&mut self, header: &Header) -> Result<(), ToolError>;

    /// Adds a record.
    fn restore(&mut self, record: Record) -> Result<(), ToolError>;

    /// Adds a record with its blob, or tells why it cannot have it; nothing is added then.
    fn restore_blob(
        &mut self,
        record: &Record,
        blob: &mut dyn Read,
    ) -> Result<Result<(), String>, ToolError>;

    /// Commits the transaction, at the latest with the next [`Self::flush`].
    fn commit(&mut self) -> Result<(), ToolError>;

    /// Makes durable what was committed.
    fn flush(&mut self) -> Result<(), ToolError>;

    /// Flushes, and lets go.
    fn close(self: Box<Self>) -> Result<(), ToolError>;
}
