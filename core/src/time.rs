//! The two kinds of time, both handed in.
//!
//! [`Instant`] drives timers: a duration since the driver started, so that a test can write it down
//! and a replay prints the same. [`UnixTime`] is what the wall clock says; it matters only where a
//! tid is made or compared with an age.

use core::time::Duration;

use crate::ids::Tid;

/// A moment on the driver's own monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(pub Duration);

impl Instant {
    /// The moment when the driver started.
    pub const START: Self = Self(Duration::ZERO);

    /// This moment plus `wait`; saturates.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}

/// Seconds since 1970-01-01 UTC, as Python's `time.time()` gives them.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Default)]
pub struct UnixTime(pub f64);

/// Both clocks, read once by the driver before it feeds a machine.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Default)]
pub struct Now {
    /// For timers.
    pub instant: Instant,
    /// For tids.
    pub wall: UnixTime,
}

/// One unit of a tid's lower half: a minute divided by 2^32, exactly representable as a double.
const FRACTION: f64 = 60.0 / 4_294_967_296.0;

impl Tid {
    /// The tid of a moment (`spec: filestorage 3`). Months have 31 slots, so tids grow with time but
    /// not linearly. Times before 1900 or past the year 9999 are clamped.
    #[must_use]
    pub fn from_unix(time: UnixTime) -> Self {
        let _ = (time, FRACTION);
        todo!()
    }

    /// The moment of this tid, computed in the same order of double operations as the C `TimeStamp`,
    /// because the result goes over the wire as `time`.
    #[must_use]
    pub fn to_unix(self) -> UnixTime {
        todo!()
    }

    /// `self` if it is later than `last`, else the next tid after `last` that is a valid time stamp.
    #[must_use]
    pub fn later_than(self, last: Self) -> Self {
        todo!("{last}")
    }
}
