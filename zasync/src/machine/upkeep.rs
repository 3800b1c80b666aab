//! What a look through the shards has found beside jobs to take: jobs that have expired, that wait to be
//! settled, that are malformed, and entries that belong elsewhere.
//!
//! The home of a shard does this work, so that workers do not conflict with each other.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use rzeo_core::Instant;
use rzeo_objects::ObjectId;

use super::bookkeeping::{Bookkeeping, Taken};
use super::context::Context;
use super::event::Event;
use super::shards::Shards;
use crate::layout::Place;

/// How long entries wait to be moved together, so that few transactions conflict with programs that
/// enqueue.
const FILE_AFTER: Duration = Duration::from_secs(5);

/// Number of entries that do not wait, and maximum number of entries or jobs of one transaction.
const BATCH: usize = 64;

/// Work that is to be done in the shards of this worker.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    expired: BTreeSet<ObjectId>,
    unsettled: BTreeSet<ObjectId>,
    malformed: BTreeSet<ObjectId>,
    misplaced: Vec<Place>,
    file_at: Option<Instant>,
    /// Entries that cannot be mended. They are reported once.
    reported: BTreeSet<(i64, i64)>,
}

impl Upkeep {
    /// Takes note of what was found.
    pub(super) fn found(&mut self, cx: &mut Context, shards: &Shards, taken: &Taken) {
        let is_home = |place: &Place| shards.is_home(place.shard);
        let expired = taken.expired.iter().filter(|entry| is_home(&entry.place));
        self.expired.extend(expired.map(|entry| entry.job));
        let unsettled = taken.unsettled.iter().filter(|entry| is_home(&entry.place));
        self.unsettled.extend(unsettled.map(|entry| entry.job));
        self.misplaced.extend(taken.misplaced.iter().copied().filter(is_home));
        for (place, job, error) in &taken.malformed {
            if is_home(place) && self.reported.insert((place.shard, place.key)) {
                cx.event(Event::Malformed { error: error.clone() });
                self.malformed.extend(job);
                self.misplaced.push(*place);
            }
        }
        self.misplaced.sort_unstable_by_key(|place| (place.shard, place.tree as u8, place.key));
        self.misplaced.dedup();
        if !self.misplaced.is_empty() {
            self.file_at.get_or_insert(cx.now.after(FILE_AFTER));
        }
    }

    /// What is to be done first, and when.
    pub(super) fn at(&self, now: Instant) -> Option<Instant> {
        let is_urgent = !self.expired.is_empty()
            || !self.unsettled.is_empty()
            || !self.malformed.is_empty()
            || self.misplaced.len() >= BATCH;
        if is_urgent { Some(now) } else { self.file_at }
    }

    /// The next transaction. It is done once: what it did not do is found again.
    pub(super) fn next(&mut self, cx: &mut Context, shards: &Shards) -> Option<Bookkeeping> {
        let (shard, random) = (shards.any(&mut cx.random), cx.random.next());
        if let Some(jobs) = batch(&mut self.expired) {
            return Some(Bookkeeping::Expire { jobs });
        }
        if let Some(jobs) = batch(&mut self.malformed) {
            return Some(Bookkeeping::Reject { jobs });
        }
        if let Some(jobs) = batch(&mut self.unsettled) {
            return Some(Bookkeeping::Settle { jobs, shard, random });
        }
        let is_due = self.file_at.is_some_and(|at| at <= cx.now);
        if !is_due && self.misplaced.len() < BATCH {
            return None;
        }
        let rest = self.misplaced.split_off(self.misplaced.len().min(BATCH));
        let places = core::mem::replace(&mut self.misplaced, rest);
        if self.misplaced.is_empty() {
            self.file_at = None;
        }
        Some(Bookkeeping::File { places, random })
    }

    /// How much is reported once is bounded: after that everything is reported again.
    pub(super) fn swept(&mut self) {
        self.reported.clear();
    }
}

fn batch(jobs: &mut BTreeSet<ObjectId>) -> Option<Vec<ObjectId>> {
    let mut batch = Vec::new();
    while batch.len() < BATCH
        && let Some(job) = jobs.pop_first()
    {
        batch.push(job);
    }
    (!batch.is_empty()).then_some(batch)
}
