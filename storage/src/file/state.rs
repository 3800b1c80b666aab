//! What the readers and the writer of a FileStorage share.

use rzeo_core::ids::Tid;

use super::index::Index;
use super::log::Log;

/// What readers see.
pub(crate) struct VisibleState {
    /// The file, up to the end of the last visible commit.
    pub(crate) log: Log,
    /// Where every object's current record is.
    pub(crate) index: Index,
    /// The last visible commit.
    pub(crate) last_tid: Tid,
}

/// What whoever appends to the file needs to know.
#[derive(Debug, Default)]
pub(crate) struct Append {
    /// Why nothing may be appended any more.
    pub(crate) broken: Option<String>,
}
