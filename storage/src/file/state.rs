//! The state that the readers and the writer of a FileStorage share.

use rzeo_core::Tid;

use super::index::Index;
use super::log::Log;

/// The state that loads read.
pub(crate) struct VisibleState {
    /// The file, up to the end of the last visible commit.
    pub(crate) log: Log,
    /// The position of every object's current record.
    pub(crate) index: Index,
    /// The tid of the last visible commit.
    pub(crate) last_tid: Tid,
}

/// The state of the writer.
#[derive(Debug, Default)]
pub(crate) struct Append {
    /// Why the storage refuses further appends, if it does.
    pub(crate) broken: Option<String>,
}
