//! Figures of a hub, for monitoring.
//!
//! The hub knows when each of its inputs came, so it measures how long commits take without reading a
//! clock. The bytes of a connection are counted by its session, in a
//! [`Traffic`](super::peer::Traffic) that the hub shares, and are added up when figures are requested.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::peer::{ByteCounts, PeerInfo};
use crate::time::UnixTime;
use crate::wire::reply::Status;

/// Upper bounds of the classes of durations, in microseconds: from a fast disk to a dying one.
const DURATION_BOUNDS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Upper bounds of the classes of group sizes.
const SIZE_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// Numbers of values by class of size. The last class has no upper bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: Vec<u64>,
    sum: u64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0 }
    }

    /// An empty one for durations, which are counted in microseconds.
    #[must_use]
    pub fn of_durations() -> Self {
        Self::new(DURATION_BOUNDS)
    }

    /// An empty one for numbers of things.
    #[must_use]
    pub fn of_sizes() -> Self {
        Self::new(SIZE_BOUNDS)
    }

    pub(super) fn add(&mut self, value: u64) {
        let class = self.bounds.partition_point(|bound| *bound < value);
        self.counts[class] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    pub(super) fn add_duration(&mut self, duration: Duration) {
        self.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// The classes in ascending order: the upper bound (`None` for infinity) and the number of values.
    pub fn classes(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().copied())
    }

    /// The sum of all values.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The values added since `earlier`, an older copy of this histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts);
        Self {
            bounds: self.bounds,
            counts: counts.map(|(now, then)| now.saturating_sub(*then)).collect(),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }

    /// An estimate of the value that `share` of all values (0 to 1) do not exceed. Within a class, values
    /// are assumed to be spread evenly, as Prometheus does. `None` without values; for the class
    /// without an upper bound, its lower one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let (mut below, mut lower) = (0, 0);
        for (upper, count) in self.classes() {
            if count > 0 && (below + count) as f64 >= wanted {
                let Some(upper) = upper else { return Some(lower as f64) };
                let part = ((wanted - below as f64) / count as f64).max(0.0);
                return Some((upper - lower) as f64 * part + lower as f64);
            }
            below += count;
            lower = upper.unwrap_or(lower);
        }
        None
    }
}

/// Measurements of commits.
#[derive(Clone, Debug)]
pub struct CommitHistograms {
    /// From the request to finish to the answer, in microseconds.
    pub commit: Histogram,
    /// From when a group was given to the writer to when it was durable, in microseconds.
    pub sync: Histogram,
    /// Transactions in a group.
    pub group: Histogram,
}

impl Default for CommitHistograms {
    fn default() -> Self {
        Self {
            commit: Histogram::of_durations(),
            sync: Histogram::of_durations(),
            group: Histogram::of_sizes(),
        }
    }
}

/// The packs of a storage since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Packs {
    /// Successful packs.
    pub done: u64,
    /// Failed packs.
    pub failed: u64,
    /// Start of the pack that is running.
    pub running_since: Option<UnixTime>,
}

/// The figures of a hub.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The answer to `server_status`.
    pub status: Status,
    /// Times and group sizes of commits.
    pub histograms: CommitHistograms,
    /// Commits in the invalidation queue.
    pub recent: usize,
    /// Maximum number of commits in it.
    pub recent_max: usize,
    /// Since the start of the server.
    pub packs: Packs,
    /// Bytes of all clients, including those that have left.
    pub bytes: ByteCounts,
    /// The connected clients, in the order in which they registered.
    pub clients: Vec<PeerInfo>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_class() {
        let mut sizes = Histogram::of_sizes();
        for size in [1, 2, 3, 4, 512, 513, 9_999] {
            sizes.add(size);
        }
        let filled: Vec<_> = sizes.classes().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(Some(1), 1), (Some(2), 1), (Some(4), 2), (Some(512), 1), (None, 2)]);
        assert_eq!((sizes.count(), sizes.sum()), (7, 11_034));
    }

    #[test]
    fn quantiles_are_estimated_within_a_class() {
        let mut times = Histogram::of_durations();
        assert_eq!(times.quantile(0.5), None);
        for _ in 0..10 {
            times.add_duration(Duration::from_micros(700));
        }
        assert_eq!(times.quantile(0.5), Some(750.0));
        assert_eq!(times.quantile(0.0), Some(500.0));
        assert_eq!(times.quantile(1.0), Some(1_000.0));
        times.add_duration(Duration::MAX);
        assert_eq!(times.quantile(1.0), Some(10_000_000.0), "at least that");
    }

    #[test]
    fn a_histogram_since_an_earlier_one_is_their_difference() {
        let mut sizes = Histogram::of_sizes();
        sizes.add(4);
        let earlier = sizes.clone();
        sizes.add(4);
        sizes.add(1);
        let since = sizes.since(&earlier);
        assert_eq!((since.count(), since.sum()), (2, 5));
        assert_eq!(since.quantile(0.5), Some(1.0));
    }
}
