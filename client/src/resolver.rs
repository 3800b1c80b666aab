//! Who merges two changes of one object.

use bytes::Bytes;

/// What knows how to merge the changes of some classes, when a server leaves that to its clients.
///
/// It is called on the task that drives the client, with nothing locked, and may take its time: other
/// calls go on, but no new connection is made meanwhile.
pub trait Resolver: Send + Sync {
    /// Whether records of this one's class may be merged. If not, the states are not asked for, and the
    /// conflict stands.
    fn knows(&self, new: &Bytes) -> bool;

    /// Merges `committed` and `new`, both made from `old`; all are whole records. `None` lets the
    /// conflict stand, which is always safe.
    fn resolve(&self, old: &Bytes, committed: &Bytes, new: &Bytes) -> Option<Bytes>;
}

/// Merges what Python's `BTrees` and `Length` merge, see [`rzeo_core::resolve`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Builtin;

impl Resolver for Builtin {
    fn knows(&self, new: &Bytes) -> bool {
        rzeo_core::resolve::knows(new)
    }

    fn resolve(&self, old: &Bytes, committed: &Bytes, new: &Bytes) -> Option<Bytes> {
        rzeo_core::resolve::resolve(old, committed, new)
    }
}
