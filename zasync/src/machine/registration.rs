//! The worker's own record: its id, its beats, and the settings that people have given it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use rzeo_core::{Instant, Oid};

use super::bookkeeping::Wanted;
use super::context::Context;
use crate::state::WorkerState;

/// How far the worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is not in the queue, or not any more.
    Unregistered,
    /// It takes jobs.
    Up,
    /// It takes no more jobs, and its record still has another state.
    Stopping,
    /// It takes no more jobs.
    Draining,
    /// It has left.
    Left,
}

/// The worker's registration.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) id: String,
    pub(super) phase: Phase,
    /// Number of jobs that it executes at the same time.
    pub(super) slots: u32,
    /// When the next beat is due.
    pub(super) beat_at: Instant,
    /// Number of beats.
    pub(super) beats: u64,
    /// Records with the settings that people have given it.
    records: Vec<Oid>,
    /// They have changed since they were read.
    pub(super) is_wanted_stale: bool,
}

impl Registration {
    pub(super) fn new(cx: &mut Context) -> Self {
        Self {
            id: new_id(cx),
            phase: Phase::Unregistered,
            slots: cx.settings.info.slots,
            beat_at: cx.now,
            beats: 0,
            records: Vec::new(),
            is_wanted_stale: false,
        }
    }

    /// The worker is not in the queue any more. It registers under another id, so that nothing that was
    /// meant for the old one reaches it; unless it is about to leave.
    pub(super) fn lost(&mut self, cx: &mut Context) {
        if self.phase == Phase::Up {
            *self = Self::new(cx);
        } else {
            self.phase = Phase::Draining;
            self.beat_at = Instant(Duration::MAX);
            self.records.clear();
        }
    }

    pub(super) fn registered(&mut self, cx: &Context) {
        self.phase = Phase::Up;
        self.beat_at = cx.now;
    }

    /// A beat is committed.
    pub(super) fn beat(&mut self, cx: &Context) {
        self.beats += 1;
        self.beat_at = cx.now.after(cx.settings.beat);
    }

    /// Takes settings that people have given the worker. Returns whether they are new.
    pub(super) fn wanted(&mut self, wanted: Wanted) -> bool {
        self.is_wanted_stale = false;
        self.records = wanted.records;
        if wanted.state == WorkerState::Draining && self.phase == Phase::Up {
            self.phase = Phase::Draining;
        }
        core::mem::replace(&mut self.slots, wanted.slots) != wanted.slots
    }

    pub(super) fn invalidated(&mut self, oids: &[Oid]) {
        self.is_wanted_stale |= oids.iter().any(|oid| self.records.contains(oid));
    }

    pub(super) fn invalidated_all(&mut self) {
        self.is_wanted_stale = !self.records.is_empty();
    }
}

fn new_id(cx: &mut Context) -> String {
    format!("{}-{:016x}", cx.settings.name, cx.random.next())
}
