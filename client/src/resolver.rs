//! Resolution of conflicts that a server leaves to its clients.

use bytes::Bytes;

/// Resolves conflicts of some classes, when a server leaves that to its clients.
///
/// It is called on the task that runs the client's driver, without a lock, and may take long: other
/// calls go on, but no new connection is made meanwhile.
pub trait Resolver: Send + Sync {
    /// Whether conflicts of this record's class can be resolved. If not, the states are not requested, and
    /// the conflict stands.
    fn knows(&self, new: &Bytes) -> bool;

    /// Resolves the conflict between `committed` and `new`, both made from `old`; all are whole records.
    /// `None` lets the conflict stand, which is always safe.
    fn resolve(&self, old: &Bytes, committed: &Bytes, new: &Bytes) -> Option<Bytes>;
}

/// Resolves what Python's `BTrees` and `Length` resolve, see [`rzeo_core::resolve`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Builtin;

impl Resolver for Builtin {
    fn knows(&self, new: &Bytes) -> bool {
        rzeo_core::resolve::is_supported(new)
    }

    fn resolve(&self, old: &Bytes, committed: &Bytes, new: &Bytes) -> Option<Bytes> {
        rzeo_core::resolve::resolve(old, committed, new)
    }
}
