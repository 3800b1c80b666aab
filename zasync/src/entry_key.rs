//! The keys of entries in a shard.
//!
//! ```text
//!   ready:           band (3 bits) │ due time in ms (42 bits) │ random (18 bits)
//!   later:                           begin_after in ms (42)   │ random (18 bits)
//!   done, failed, parked:            end, begin of the wait   │ random (18 bits)
//! ```
//!
//! Keys give an order and nothing else. Whether a job is due is decided by its own record, so a wrong
//! clock of the program that enqueues it cannot delay it.

use rzeo_core::UnixTime;

/// The largest priority; jobs of smaller ones are taken first.
pub const PRIORITY_MAX: u8 = 7;

/// Priority of jobs that have none.
pub const PRIORITY_DEFAULT: u8 = 4;

const RANDOM_BITS: u32 = 18;
const TIME_BITS: u32 = 42;

/// The largest time of a key, in the year 2109. Later ones count as this one.
const MILLISECONDS_MAX: u64 = (1 << TIME_BITS) - 1;

/// A key for `ready`.
pub(crate) fn by_priority(priority: u8, due: UnixTime, random: u64) -> i64 {
    i64::from(priority.min(PRIORITY_MAX)) << (TIME_BITS + RANDOM_BITS) | by_time(due, random)
}

/// A key for the other trees.
pub(crate) fn by_time(time: UnixTime, random: u64) -> i64 {
    let random = random & ((1 << RANDOM_BITS) - 1);
    (milliseconds(time) << RANDOM_BITS | random).cast_signed()
}

/// The largest key in `later` of a job that can be due.
pub(crate) fn last_due(now: UnixTime) -> i64 {
    by_time(now, u64::MAX)
}

/// The time of a key.
pub(crate) fn time(key: i64) -> UnixTime {
    let milliseconds = key.cast_unsigned() >> RANDOM_BITS & MILLISECONDS_MAX;
    #[expect(clippy::cast_precision_loss, reason = "42 bits are exact")]
    UnixTime(milliseconds as f64 / 1000.0)
}

/// The key to try when this one is taken.
pub(crate) fn next(key: i64) -> i64 {
    key.checked_add(1).unwrap_or(0)
}

#[expect(clippy::cast_possible_truncation, reason = "the conversion saturates, and NaN is zero")]
fn milliseconds(time: UnixTime) -> u64 {
    ((time.0 * 1000.0) as u64).min(MILLISECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_and_priority_fits() {
        for seconds in [-1.0, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(by_time(UnixTime(seconds), 5), 5);
        }
        let last = by_time(UnixTime(1e12), u64::MAX);
        assert_eq!(last, (1 << 60) - 1);
        assert_eq!(by_priority(7, UnixTime(f64::INFINITY), u64::MAX), i64::MAX);
        assert_eq!(by_priority(200, UnixTime(0.0), 0), by_priority(7, UnixTime(0.0), 0));
    }

    #[test]
    fn keys_are_in_the_order_of_priority_and_time() {
        let early = by_priority(4, UnixTime(1000.0), u64::MAX);
        assert!(early < by_priority(4, UnixTime(1000.001), 0));
        assert!(by_priority(3, UnixTime(9e9), 0) < early);
        assert!(by_time(UnixTime(10.0), 77) <= last_due(UnixTime(10.0)));
        assert!(by_time(UnixTime(10.001), 0) > last_due(UnixTime(10.0)));
    }

    #[test]
    fn a_key_has_its_time() {
        for key in [by_time(UnixTime(1000.5), 7), by_priority(5, UnixTime(1000.5), u64::MAX)] {
            assert_eq!(time(key), UnixTime(1000.5));
        }
    }

    #[test]
    fn the_key_after_the_last_one_is_the_first() {
        assert_eq!(next(7), 8);
        assert_eq!(next(i64::MAX), 0);
    }
}
