//! The transactions of a worker, as values.

use alloc::sync::Arc;

use rzeo_core::UnixTime;
use rzeo_objects::Snapshot;

use super::bookkeeping::{Bookkeeping, Found};
use super::conclusion::{Concluded, Conclusion};
use crate::error::Error;
use crate::layout::Queue;

/// A function of a snapshot, with its arguments. Can be applied any number of times.
#[derive(Clone, Debug)]
pub struct Operation {
    queue: Arc<str>,
    now: UnixTime,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Bookkeeping(Bookkeeping),
    Conclusion(Conclusion),
}

/// The result of an operation.
#[derive(Clone, Debug)]
pub struct Answer(pub(super) Of);

/// What the result is of.
#[derive(Clone, Debug)]
pub(super) enum Of {
    Bookkeeping(Found),
    Conclusion(Concluded),
}

impl Operation {
    pub(super) const fn bookkeeping(queue: Arc<str>, now: UnixTime, what: Bookkeeping) -> Self {
        Self { queue, now, what: What::Bookkeeping(what) }
    }

    pub(super) const fn conclusion(queue: Arc<str>, now: UnixTime, what: Conclusion) -> Self {
        Self { queue, now, what: What::Conclusion(what) }
    }

    /// What it does, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.what {
            What::Bookkeeping(what) => what.name(),
            What::Conclusion(what) => what.name(),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// Those of the functions of [`queue`](crate::queue), [`worker`](crate::worker) and
    /// [`attempt`](crate::attempt).
    pub fn apply(&self, snapshot: &mut Snapshot) -> Result<Answer, Error> {
        match &self.what {
            What::Bookkeeping(what) => {
                let queue = Queue::open(snapshot, &self.queue)?;
                what.apply(snapshot, &queue, self.now).map(|found| Answer(Of::Bookkeeping(found)))
            }
            What::Conclusion(what) => {
                what.apply(snapshot, self.now).map(|concluded| Answer(Of::Conclusion(concluded)))
            }
        }
    }
}
