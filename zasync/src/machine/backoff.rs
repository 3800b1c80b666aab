//! When to try again what has failed.

use core::time::Duration;

use rzeo_core::Instant;

use super::random::Random;

/// Delays that double from a first one to a last one, each shortened at random by up to a half.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) const fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, failures: 0 }
    }

    /// Counts a failure, and returns when to try again.
    pub(super) fn failed(&mut self, now: Instant, random: &mut Random) -> Instant {
        let factor = 1_u32.checked_shl(self.failures.min(20)).unwrap_or(u32::MAX);
        self.failures += 1;
        let delay = self.first.saturating_mul(factor).min(self.last);
        let half = u64::try_from(delay.as_micros() / 2).unwrap_or(u64::MAX);
        now.after(delay.saturating_sub(Duration::from_micros(random.below(half))))
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Number of failures since the last success.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }
}
