//! The two kinds of time, which callers pass in.
//!
//! [`Instant`] is for timers: a duration since the driver started, so that a test can write it down
//! and a replay prints the same. [`UnixTime`] is the time of the wall clock; it is used only to
//! make a tid or to compare one with an age.

use core::time::Duration;

use crate::ids::Tid;

/// A point in time of the driver's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(pub Duration);

impl Instant {
    /// The moment when the driver started.
    pub const START: Self = Self(Duration::ZERO);

    /// The time since `earlier`; zero if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

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
    /// The time for timers.
    pub instant: Instant,
    /// The time for new tids.
    pub wall: UnixTime,
}

/// One unit of a tid's lower half in seconds: a minute divided by 2^32, exact as a double.
const FRACTION: f64 = 60.0 / 4_294_967_296.0;

/// 1970-01-01 in the day count of the C `TimeStamp`, which starts on no particular day.
const TIMESTAMP_DAY_1970: i64 = 25_202;

const MINUTES_PER_DAY: i64 = 24 * 60;

/// Days before each month of a common year.
const DAYS_BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

impl Tid {
    /// The tid of a time. Months have 31 slots, so tids grow with time but not linearly.
    ///
    /// Times before 1900 give [`Tid::ZERO`]. Times after the year 5907 result in [`Tid::MAX`].
    #[must_use]
    pub fn from_unix(time: UnixTime) -> Self {
        const YEAR_1900: f64 = -2_208_988_800.0;
        const YEAR_5908: f64 = 124_269_206_400.0;
        if time.0 >= YEAR_5908 {
            return Self::MAX;
        }
        if time.0 < YEAR_1900 || time.0.is_nan() {
            return Self::ZERO;
        }
        let seconds = floor(time.0);
        let days = seconds.div_euclid(86_400);
        let minute = Minute::of_day(days, seconds.rem_euclid(86_400) / 60);
        Self::from_halves(minute.pack(), fraction(rem_60(time.0)))
    }

    /// The time of this tid, computed in the same order of double operations as the C `TimeStamp`
    /// of Python's `persistent`, because the result goes over the wire as `time`.
    #[must_use]
    pub fn to_unix(self) -> UnixTime {
        let (minutes, fraction) = self.halves();
        let minute = Minute::unpack(minutes);
        let days = minute.timestamp_day();
        let of_day = minute.hour * 60 + minute.minute;
        let whole = exact(days * 86_400 + of_day * 60);
        UnixTime((whole + f64::from(fraction) * FRACTION) - exact(TIMESTAMP_DAY_1970 * 86_400))
    }

    /// `self` if it is later than `last`, else the next tid after `last` that is a valid time
    /// stamp.
    #[must_use]
    pub fn later_than(self, last: Self) -> Self {
        if self > last {
            return self;
        }
        let (minutes, fraction) = last.halves();
        match fraction.checked_add(1) {
            Some(fraction) => Self::from_halves(minutes, fraction),
            None => Self::from_halves(Minute::unpack(minutes).next().pack(), 0).max(last.next()),
        }
    }

    fn halves(self) -> (u32, u32) {
        let [a, b, c, d, e, f, g, h] = self.to_bytes();
        (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
    }

    fn from_halves(minutes: u32, fraction: u32) -> Self {
        Self(u64::from(minutes) << 32 | u64::from(fraction))
    }
}

/// The date and minute in the upper half of a tid. `month` and `day` count from zero; `day` may be
/// up to 30 in any month, because a tid read from a file can be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Minute {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
}

impl Minute {
    fn unpack(packed: u32) -> Self {
        let packed = i64::from(packed);
        Self {
            year: packed / 535_680 + 1900,
            month: packed / 44_640 % 12,
            day: packed / MINUTES_PER_DAY % 31,
            hour: packed / 60 % 24,
            minute: packed % 60,
        }
    }

    fn pack(self) -> u32 {
        let days = ((self.year - 1900) * 12 + self.month) * 31 + self.day;
        u32::try_from((days * 24 + self.hour) * 60 + self.minute).unwrap_or(u32::MAX)
    }

    /// The civil date of a day counted from 1970-01-01. Years start in March here, so that the leap
    /// day is the last one and months follow a linear rule.
    fn of_day(day_1970: i64, minute_of_day: i64) -> Self {
        const DAYS_PER_400_YEARS: i64 = 146_097;
        let day = day_1970 + 719_468; // since 0000-03-01
        let era = day.div_euclid(DAYS_PER_400_YEARS);
        let of_era = day.rem_euclid(DAYS_PER_400_YEARS);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let month = (month_from_march + 2) % 12;
        Self {
            year: era * 400 + year + i64::from(month < 2),
            month,
            day: of_year - (153 * month_from_march + 2) / 5,
            hour: minute_of_day / 60,
            minute: minute_of_day % 60,
        }
    }

    fn next(self) -> Self {
        if self.minute < 59 {
            return Self { minute: self.minute + 1, ..self };
        }
        let hour_start = Self { minute: 0, ..self };
        if self.hour < 23 {
            return Self { hour: self.hour + 1, ..hour_start };
        }
        let day_start = Self { hour: 0, ..hour_start };
        if self.day + 1 < self.days_in_month() {
            return Self { day: self.day + 1, ..day_start };
        }
        let month_start = Self { day: 0, ..day_start };
        if self.month < 11 {
            return Self { month: self.month + 1, ..month_start };
        }
        Self { year: self.year + 1, month: 0, ..month_start }
    }

    fn days_in_month(self) -> i64 {
        let month = usize::try_from(self.month).expect("months are below twelve");
        let end = DAYS_BEFORE.get(month + 1).copied().unwrap_or(365);
        end - DAYS_BEFORE[month] + i64::from(self.month == 1 && self.is_leap())
    }

    fn is_leap(self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    /// The day in `TimeStamp`'s count. A day that its month does not have runs into the next month.
    fn timestamp_day(self) -> i64 {
        let years = self.year - 1901;
        let month = usize::try_from(self.month).expect("months are below twelve");
        let leap_day = i64::from(self.month > 1 && self.is_leap());
        years * 365
            + (years / 4 - years / 100 + (years + 300) / 400)
            + (DAYS_BEFORE[month] + leap_day + self.day)
    }
}

/// `trunc(seconds / FRACTION)`, for 0 <= seconds <= 60.
#[expect(clippy::cast_possible_truncation, reason = "truncation is the point; `as` saturates")]
#[expect(clippy::cast_sign_loss, reason = "seconds of a minute are not negative")]
fn fraction(seconds: f64) -> u32 {
    (seconds / FRACTION) as u32
}

/// The largest integer not above `x` (`f64::floor` is not in `core`); saturates.
#[expect(clippy::cast_possible_truncation, reason = "truncation is the point; `as` saturates")]
fn floor(x: f64) -> i64 {
    let truncated = x as i64;
    if exact(truncated) > x { truncated.saturating_sub(1) } else { truncated }
}

/// Python's `x % 60`, which is never negative.
fn rem_60(x: f64) -> f64 {
    let rem = x % 60.0;
    if rem < 0.0 { rem + 60.0 } else { rem }
}

/// An integer as double; exact for everything that a tid can hold.
#[expect(clippy::cast_precision_loss, reason = "tids stay far below 2^53 seconds")]
fn exact(x: i64) -> f64 {
    x as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: Tid = Tid(0x023c_2b00_0000_0000);

    #[test]
    fn reference_values_of_the_c_timestamp() {
        for (unix, tid) in REFERENCE {
            assert_eq!(Tid::from_unix(UnixTime(unix)), Tid(tid), "{unix}");
        }
    }

    #[test]
    fn moments_are_those_of_the_c_timestamp() {
        for (tid, unix) in MOMENTS {
            assert_eq!(Tid(tid).to_unix(), UnixTime(unix), "{tid:#x}");
        }
    }

    #[test]
    fn times_without_a_tid_are_clamped() {
        for early in [-1e30, -2_208_988_800.5, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Tid::from_unix(UnixTime(early)), Tid::ZERO, "{early}");
        }
        for late in [1e30, 124_269_206_400.0] {
            assert_eq!(Tid::from_unix(UnixTime(late)), Tid::MAX, "{late}");
        }
        assert!(Tid::from_unix(UnixTime(124_269_206_399.0)) < Tid::MAX);
    }

    #[test]
    fn later_than_counts_up_and_carries_into_real_months() {
        assert_eq!(Tid(5).later_than(Tid(4)), Tid(5));
        assert_eq!(EPOCH.later_than(EPOCH), Tid(EPOCH.0 + 1));
        for (last, next) in LATER {
            assert_eq!(Tid::ZERO.later_than(Tid(last)), Tid(next), "{last:#x}");
        }
        assert_eq!(Tid::ZERO.later_than(Tid(u64::MAX)), Tid(u64::MAX));
    }

    proptest! {
        #[test]
        fn a_moment_survives_the_way_through_a_tid(seconds in 0f64..100_000_000_000.0) {
            let tid = Tid::from_unix(UnixTime(seconds));
            let back = tid.to_unix().0;
            prop_assert!((back - seconds).abs() < 1e-4, "{seconds} {back}");
        }

        #[test]
        fn tids_grow_with_time(seconds in -2_208_988_800f64..1e11, more in 0.001f64..1e7) {
            let earlier = Tid::from_unix(UnixTime(seconds));
            prop_assert!(Tid::from_unix(UnixTime(seconds + more)) > earlier);
        }

        #[test]
        fn later_than_is_later(now: u64, last in 0..u64::MAX) {
            prop_assert!(Tid(now).later_than(Tid(last)) > Tid(last));
        }
    }

    const REFERENCE: [(f64, u64); 9] = [
        (-2_208_988_800.0, 0x0000_0000_0000_0000),
        (0.0, 0x023c_2b00_0000_0000),
        (1_709_528_767.25, 0x03f6_fcd2_1eee_eeee),
        (1_709_251_199.999_999, 0x03f6_df7f_ffff_ffbb),
        (1_704_067_199.5, 0x03f5_8dff_fddd_dddd),
        (951_782_400.0, 0x0332_ade0_0000_0000),
        (-1.5, 0x023c_2aff_f999_9999),
        (4_107_542_400.0, 0x0664_20c0_0000_0000),
        (1_763_713_386.123_456, 0x0404_fcb7_1a20_7266),
    ];

    const MOMENTS: [(u64, f64); 13] = [
        (0x0000_0000_0000_0000, -2_208_988_800.0),
        (0x023c_2b00_0000_0000, 0.0),
        (0x03f6_fcd2_1eee_eeee, 1_709_528_767.25),
        (0x03f6_df7f_ffff_ffb8, 1_709_251_199.999_999),
        (0x0412_d1a2_ffff_fff1, 1_816_978_740.0),
        (0x0200_0000_dead_beef, -232_356_427.809_680_94),
        (0x040d_2851_9a69_b6cc, 1_795_235_616.190_534),
        (0x0319_c048_15c5_8155, 855_575_525.102_696_4),
        (0x06d1_bb9f_b9d1_c444, 4_530_750_703.551_422),
        (0x04b4_0c03_f9ed_a6aa, 2_439_461_998.576_951),
        (0x078b_41b2_62ca_b511, 5_247_040_463.154_334),
        (0x07cf_0427_7cff_c088, 5_508_643_649.296_648),
        (0x0101_d9d6_83be_bebb, -1_213_653_689.122_242_7),
    ];

    const LATER: [(u64, u64); 8] = [
        (0x03f6_d9df_ffff_ffff, 0x03f6_d9e0_0000_0000),
        (0x03f6_df7f_ffff_ffff, 0x03f6_eac0_0000_0000),
        (0x03ee_ad5f_ffff_ffff, 0x03ee_be40_0000_0000),
        (0x0001_4bdf_ffff_ffff, 0x0001_5cc0_0000_0000),
        (0x03f5_8dff_ffff_ffff, 0x03f5_8e00_0000_0000),
        (0x03f0_155f_ffff_ffff, 0x03f0_1b00_0000_0000),
        (0x03f0_1523_ffff_ffff, 0x03f0_1524_0000_0000),
        (0x03f0_1522_ffff_ffff, 0x03f0_1523_0000_0000),
    ];
}
