//! The first walk: up to the pack time, to learn where each object's last revision is.

use rzeo_core::ids::Tid;
use rzeo_core::storage::{PackStep, StorageError};

use super::progress::Progress;
use crate::file::format::{FIRST, Status, TransactionHead};
use crate::file::index::Index;
use crate::file::log::Log;
use crate::file::scan::{self, Found, Shape, Window};

/// What there is as of the pack time.
pub(super) struct Survey {
    /// Where the first transaction after the pack time starts.
    pub(super) boundary: u64,
    /// Where each object's last revision is; objects that do not exist at that time are left out.
    pub(super) last: Index,
    /// Where it says of these that they do not exist any more.
    pub(super) gone: Index,
}

/// Walks a log in file order, and checks all of it: what contradicts itself is not packed.
pub(super) struct Walk {
    window: Window,
    records: Vec<Found>,
    pub(super) at: u64,
}

/// One step of a [`Walk`].
pub(super) struct Step<'a> {
    pub(super) at: u64,
    pub(super) head: TransactionHead,
    /// None for undone transactions: they do not count.
    pub(super) records: &'a [Found],
}

impl Walk {
    pub(super) fn new(log: &Log, from: u64) -> Self {
        Self { window: Window::new(log.clone()), records: Vec::new(), at: from }
    }

    /// The next transaction.
    pub(super) fn step(&mut self) -> Result<Option<Step<'_>>, StorageError> {
        let at = self.at;
        if at >= self.window.log().end {
            return Ok(None);
        }
        let checked = scan::check(&mut self.window, at, &mut self.records)?;
        let head = checked.map_err(|flaw| self.window.log().corrupt(flaw.at, flaw.what))?;
        for record in &self.records {
            let forwards = matches!(record.payload, Shape::Back(back) if back >= record.at);
            if forwards {
                let what = "a record's pointer does not lead backwards";
                return Err(self.window.log().corrupt(record.at, what));
            }
        }
        self.at = head.end(at).expect("the scan found the transaction within the file");
        Ok(Some(Step { at, head, records: &self.records }))
    }
}

/// Walks up to the pack time. `None` if a pack up to then, or a later one, was the last thing that
/// happened to the file.
pub(super) fn survey(
    log: &Log,
    stop: Tid,
    progress: &Progress,
) -> Result<Option<Survey>, StorageError> {
    progress.begin(PackStep::Survey, log.end);
    let (mut last, mut gone) = (Index::new(), Index::new());
    let mut walk = Walk::new(log, FIRST);
    let mut boundary = FIRST;
    let mut all_packed = true;
    let mut next_packed = false;
    while let Some(step) = walk.step()? {
        next_packed = step.head.status == Status::PACKED;
        if step.head.tid > stop {
            break;
        }
        all_packed &= next_packed;
        for record in step.records {
            match record.payload {
                Shape::Data(_) | Shape::Back(_) => {
                    gone.remove(record.oid);
                    last.insert(record.oid, record.at);
                }
                Shape::Gone => {
                    last.remove(record.oid);
                    gone.insert(record.oid, record.at);
                }
            }
        }
        boundary = walk.at;
        progress.set(boundary);
    }
    let redundant = all_packed && next_packed;
    Ok((!redundant).then_some(Survey { boundary, last, gone }))
}
