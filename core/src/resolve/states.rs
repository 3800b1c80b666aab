//! The states of a conflict.

/// The state that both transactions read, the committed one, and the new one.
#[derive(Clone, Copy)]
pub(super) struct States<T> {
    pub(super) old: T,
    pub(super) committed: T,
    pub(super) new: T,
}

impl<T> States<T> {
    pub(super) fn try_map<U>(self, mut f: impl FnMut(T) -> Option<U>) -> Option<States<U>> {
        Some(States { old: f(self.old)?, committed: f(self.committed)?, new: f(self.new)? })
    }
}
