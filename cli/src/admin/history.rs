//! The last minutes: samples taken every few seconds, so that the page can tell what happens *now*
//! and not only what happened since the start.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rzeo_core::server::Histogram;
use rzeo_host::Sample;

/// How often a sample is taken.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// How many are kept: five minutes, and the one before them.
const SAMPLES_MAX: usize = 61;

/// Rates are those of the last minute.
const RATE_TIME: Duration = Duration::from_secs(60);

/// Samples of all storages, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<(Instant, Vec<Sample>)>);

/// What happens in a storage now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recent {
    /// Per second, in the last minute.
    pub(super) loads: f64,
    /// Per second, in the last minute.
    pub(super) stores: f64,
    /// Per second, in the last minute.
    pub(super) commits: f64,
    /// Loads per second between one sample and the next, oldest first.
    pub(super) load_curve: Vec<f64>,
    /// The same for commits.
    pub(super) commit_curve: Vec<f64>,
    /// Of the last five minutes.
    pub(super) commit: Histogram,
    /// Of the last five minutes.
    pub(super) sync: Histogram,
    /// Of the last five minutes.
    pub(super) group: Histogram,
}

impl History {
    /// Keeps a sample.
    pub(super) fn add(&mut self, now: Instant, samples: Vec<Sample>) {
        if self.0.len() == SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, samples));
    }

    /// What happens in a storage now, which is at `sample`.
    pub(super) fn recent(&self, storage: usize, now: Instant, sample: &Sample) -> Recent {
        let known = self.0.iter().filter_map(|(at, samples)| Some((*at, samples.get(storage)?)));
        let known: Vec<(Instant, &Sample)> = known.chain([(now, sample)]).collect();
        let young = |(at, _): &&(Instant, &Sample)| now.duration_since(*at) <= RATE_TIME;
        // The last one is young: it is from now.
        let base = known.iter().find(young).map_or(sample, |(_, base)| base);
        let base_at = known.iter().find(young).map_or(now, |(at, _)| *at);
        let rate =
            |value: fn(&Sample) -> u64| per_second(value(base), value(sample), now - base_at);
        let curve = |value: fn(&Sample) -> u64| -> Vec<f64> {
            let steps = known.windows(2).filter(|pair| pair[1].0 - pair[0].0 >= EVERY / 2);
            steps
                .map(|pair| per_second(value(pair[0].1), value(pair[1].1), pair[1].0 - pair[0].0))
                .collect()
        };
        let oldest = &known[0].1.histograms;
        Recent {
            loads: rate(|sample| sample.loads),
            stores: rate(|sample| sample.stores),
            commits: rate(|sample| sample.commits),
            load_curve: curve(|sample| sample.loads),
            commit_curve: curve(|sample| sample.commits),
            commit: sample.histograms.commit.since(&oldest.commit),
            sync: sample.histograms.sync.since(&oldest.sync),
            group: sample.histograms.group.since(&oldest.group),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per_second(before: u64, after: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { after.saturating_sub(before) as f64 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use rzeo_core::server::CommitHistograms;

    use super::*;

    fn sample(loads: u64) -> Sample {
        Sample { loads, stores: 0, commits: loads / 10, histograms: CommitHistograms::default() }
    }

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let start = Instant::now();
        let mut history = History::default();
        let nothing = history.recent(0, start, &sample(7));
        assert_eq!((nothing.loads, nothing.load_curve.len()), (0.0, 0));
        // A thousand a second for four minutes, then a hundred.
        let loads = |second: u64| second.min(240) * 1_000 + second.saturating_sub(240) * 100;
        for second in (0..=400).step_by(5) {
            history.add(start + Duration::from_secs(second), vec![sample(loads(second))]);
        }
        let recent = history.recent(0, start + Duration::from_secs(402), &sample(loads(402)));
        assert_eq!((recent.loads, recent.commits), (100.0, 10.0));
        assert_eq!(recent.load_curve.len(), 60, "what is younger than a step is not drawn");
        assert_eq!((recent.load_curve[0], recent.load_curve[59]), (1_000.0, 100.0));
    }

    #[test]
    fn a_storage_that_is_not_there_has_no_history() {
        let mut history = History::default();
        let start = Instant::now();
        history.add(start, vec![]);
        assert_eq!(history.recent(3, start + EVERY, &sample(9)).loads, 0.0);
    }
}
