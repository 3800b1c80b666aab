//! The clock of the storage, computed from the commits that were seen.

use core::time::Duration;

use rzeo_core::{Instant, Tid, UnixTime};

/// The time of the latest known commit, plus the time since then by the clock of the driver. It never goes
/// back. No other clock decides when a job is due, so the clocks of different machines need not agree.
/// While a storage whose clock was set back gives tids of the old time, this clock is ahead of them by the
/// time between two commits at most.
#[derive(Clone, Debug, Default)]
pub(super) struct StorageClock {
    latest: Option<(Tid, Instant)>,
    floor: f64,
}

impl StorageClock {
    /// Takes note of a commit.
    pub(super) fn seen(&mut self, now: Instant, tid: Tid) {
        if self.latest.is_none_or(|(latest, _)| latest < tid) {
            self.floor = self.time(now).0;
            self.latest = Some((tid, now));
        }
    }

    /// The time of the storage.
    pub(super) fn time(&self, now: Instant) -> UnixTime {
        UnixTime(self.running(now).max(self.floor))
    }

    /// When a time of the storage is reached. A clock that was set back stands still at first.
    pub(super) fn instant(&self, now: Instant, time: UnixTime) -> Instant {
        if time.0 <= self.time(now).0 {
            return now;
        }
        // One that is too long never ends.
        let wait = Duration::try_from_secs_f64(time.0 - self.running(now));
        now.after(wait.unwrap_or(Duration::MAX))
    }

    /// The latest commit and the time since then.
    fn running(&self, now: Instant) -> f64 {
        let Some((tid, at)) = self.latest else { return self.floor };
        tid.to_unix().0 + now.since(at).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn the_clock_goes_on_after_a_commit_and_never_back() {
        let mut clock = StorageClock::default();
        clock.seen(at(10), Tid::from_unix(UnixTime(1000.0)));
        assert!((clock.time(at(15)).0 - 1005.0).abs() < 1e-3);
        // A storage whose clock was set back.
        clock.seen(at(15), Tid::from_unix(UnixTime(1001.0)));
        assert!((clock.time(at(15)).0 - 1005.0).abs() < 1e-3);
        assert!((clock.time(at(25)).0 - 1011.0).abs() < 1e-3);
        assert_eq!(clock.instant(at(15), UnixTime(1006.0)), at(20));
        // Older commits change nothing.
        clock.seen(at(25), Tid::from_unix(UnixTime(500.0)));
        assert!((clock.time(at(25)).0 - 1011.0).abs() < 1e-3);
    }

    #[test]
    fn times_become_instants() {
        let mut clock = StorageClock::default();
        clock.seen(at(10), Tid::from_unix(UnixTime(1000.0)));
        let wait = clock.instant(at(10), UnixTime(1003.0)).since(at(10));
        assert!((wait.as_secs_f64() - 3.0).abs() < 1e-3, "{wait:?}");
        assert_eq!(clock.instant(at(20), UnixTime(1003.0)), at(20));
        assert_eq!(clock.instant(at(20), UnixTime(f64::INFINITY)), Instant(Duration::MAX));
    }
}
