//! The progress of a running pack.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rzeo_core::storage::{PackProgress, PackStep};

/// Written by the pack and read by other threads. The three values are not read atomically, which
/// is good enough for people.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    step: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

const STEPS: [PackStep; 4] = [PackStep::Survey, PackStep::Mark, PackStep::Copy, PackStep::Switch];

impl Progress {
    /// Begins a step with this total amount of work.
    pub(super) fn begin(&self, step: PackStep, total: u64) {
        let number = STEPS.iter().position(|known| *known == step).unwrap_or_default();
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
        self.0.step.store(u8::try_from(number).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Increases the total of the current step.
    pub(super) fn extend(&self, total: u64) {
        self.0.total.fetch_max(total, Ordering::Relaxed);
    }

    /// Sets the amount of work that is done in the current step.
    pub(super) fn set(&self, done: u64) {
        self.0.done.store(done, Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "the figures are shown to people")]
    pub(super) fn read(&self) -> PackProgress {
        let step = STEPS[usize::from(self.0.step.load(Ordering::Relaxed)).min(STEPS.len() - 1)];
        let done = self.0.done.load(Ordering::Relaxed) as f64;
        let total = self.0.total.load(Ordering::Relaxed) as f64;
        PackProgress { step, done: if total > 0.0 { (done / total).min(1.0) } else { 0.0 } }
    }
}
