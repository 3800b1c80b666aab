//! When a log file is rotated by time, and the name of the old file, as in Python's
//! `TimedRotatingFileHandler`.
//!
//! Times are whole seconds since 1970, as Python computes them, and days are those of the local time
//! zone. With `midnight` and `W0` to `W6` a file ends at the end of a day, also of a day with 23 or 25
//! hours; with the other units after a number of seconds.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The time for which a log file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Unit of the interval.
    pub when: When,
    /// The number of units. Minimum 1.
    pub interval: u32,
}

/// The unit of a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// `S`
    Seconds,
    /// `M`
    Minutes,
    /// `H`
    Hours,
    /// `D`: 24 hours.
    Days,
    /// `midnight`: the end of a day.
    Midnight,
    /// `W0` to `W6`: the end of a Monday, …, of a Sunday.
    Weekday(u8),
}

impl When {
    /// The unit of that name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_uppercase().as_str() {
            "S" => Self::Seconds,
            "M" => Self::Minutes,
            "H" => Self::Hours,
            "D" => Self::Days,
            "MIDNIGHT" => Self::Midnight,
            other => match other.strip_prefix('W')?.parse() {
                Ok(day @ 0..=6) if other.len() == 2 => Self::Weekday(day),
                _ => return None,
            },
        })
    }

    fn seconds(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Hours => HOUR,
            Self::Days | Self::Midnight => DAY,
            Self::Weekday(_) => 7 * DAY,
        }
    }

    fn ends_with_a_day(self) -> bool {
        match self {
            Self::Midnight | Self::Weekday(_) => true,
            Self::Seconds | Self::Minutes | Self::Hours | Self::Days => false,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Seconds => "%Y-%m-%d_%H-%M-%S",
            Self::Minutes => "%Y-%m-%d_%H-%M",
            Self::Hours => "%Y-%m-%d_%H",
            Self::Days | Self::Midnight | Self::Weekday(_) => "%Y-%m-%d",
        }
    }

    /// The suffix with a zero for each digit.
    fn shape(self) -> &'static str {
        match self {
            Self::Seconds => "0000-00-00_00-00-00",
            Self::Minutes => "0000-00-00_00-00",
            Self::Hours => "0000-00-00_00",
            Self::Days | Self::Midnight | Self::Weekday(_) => "0000-00-00",
        }
    }
}

impl Schedule {
    /// The end of a file that was last written to at `time`.
    pub(crate) fn end_of(self, time: i64, zone: &TimeZone) -> i64 {
        if !self.when.ends_with_a_day() {
            return time + self.seconds();
        }
        let local = at(time).to_zoned(zone.clone());
        let past = i64::from(local.hour()) * HOUR
            + i64::from(local.minute()) * 60
            + i64::from(local.second());
        let midnight = time + DAY - past;
        let When::Weekday(last) = self.when else { return midnight };
        let today = local.weekday().to_monday_zero_offset();
        if i64::from(today) == i64::from(last) {
            return midnight;
        }
        let days = (i64::from(last) - i64::from(today)).rem_euclid(7);
        corrected(midnight + days * DAY, time, zone)
    }

    /// The end of a file that begins at `now`.
    pub(crate) fn end_after(self, now: i64, zone: &TimeZone) -> i64 {
        let mut end = self.end_of(now, zone);
        while end <= now {
            end += self.seconds();
        }
        if self.when.ends_with_a_day() { corrected(end, now, zone) } else { end }
    }

    /// The suffix of the name of a file that was due at `end` and ends `now`: the time of its beginning.
    pub(crate) fn stamp(self, end: i64, now: i64, zone: &TimeZone) -> String {
        let begin = end - self.seconds();
        let begin = match (is_summer(now, zone), is_summer(begin, zone)) {
            (true, false) => begin + HOUR,
            (false, true) => begin - HOUR,
            (true, true) | (false, false) => begin,
        };
        at(begin).to_zoned(zone.clone()).strftime(self.when.suffix()).to_string()
    }

    /// Whether a part of a file's name looks like such a suffix.
    pub(crate) fn is_stamp(self, part: &str) -> bool {
        let shape = self.when.shape();
        part.len() == shape.len()
            && part.chars().zip(shape.chars()).all(|(c, wanted)| match wanted {
                '0' => c.is_ascii_digit(),
                other => c == other,
            })
    }

    fn seconds(self) -> i64 {
        self.when.seconds() * i64::from(self.interval)
    }
}

/// Corrects `end`, which was computed with days of 24 hours, by an hour if the clocks are changed between
/// `now` and `end`.
fn corrected(end: i64, now: i64, zone: &TimeZone) -> i64 {
    match (is_summer(now, zone), is_summer(end, zone)) {
        (false, true) => end - HOUR,
        (true, false) => end + HOUR,
        (true, true) | (false, false) => end,
    }
}

fn is_summer(time: i64, zone: &TimeZone) -> bool {
    zone.to_offset_info(at(time)).dst().is_dst()
}

fn at(time: i64) -> Timestamp {
    Timestamp::from_second(time).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python made the table, see `fixtures/make-samples/rollovers.py`.
    #[test]
    fn rollovers_are_pythons() {
        let table = include_str!("expected/rollovers.txt");
        let mut lines = 0;
        for line in table.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<i64>().unwrap();
            let zone = TimeZone::get(words[0]).unwrap();
            let when = When::named(words[1]).unwrap();
            let schedule = Schedule { when, interval: words[2].parse().unwrap() };
            let (start, end, now) = (number(3), number(4), number(5));
            assert_eq!(schedule.end_of(start, &zone), end, "{line}");
            assert_eq!(schedule.stamp(end, now, &zone), words[6], "{line}");
            assert_eq!(schedule.end_after(now, &zone), number(7), "{line}");
            assert!(schedule.is_stamp(words[6]), "{line}");
            lines += 1;
        }
        assert!(lines > 200, "{lines}");
    }

    #[test]
    fn units_and_stamps() {
        for name in ["s", "M", "h", "D", "Midnight", "w0", "W6"] {
            assert!(When::named(name).is_some(), "{name}");
        }
        for name in ["", "X", "W", "W7", "W10", "W+1", "days"] {
            assert_eq!(When::named(name), None, "{name}");
        }
        let hourly = Schedule { when: When::Hours, interval: 1 };
        assert!(!hourly.is_stamp("2026-11-24"));
        assert!(!hourly.is_stamp("2026-11-24_1x"));
        assert!(!hourly.is_stamp("2026-11-24-12"));
    }
}
