//! When a log is begun anew, and what the old one is called then: Python's `TimedRotatingFileHandler`.
//!
//! Times are whole seconds since 1970, as Python computes them, and days are those of the server's
//! time zone. With `midnight` and `W0` to `W6` a log ends when a day does, also where a day has 23 hours
//! or 25; with the others after so many seconds.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// `when` and `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The unit.
    pub(crate) when: When,
    /// How many of them; at least one.
    pub(crate) interval: u32,
}

/// The unit in which a log's time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// `S`
    Seconds,
    /// `M`
    Minutes,
    /// `H`
    Hours,
    /// `D`: 24 hours, from whenever the server was started.
    Days,
    /// `midnight`
    Midnight,
    /// `W0`, a Monday, to `W6`: at the end of that day.
    Weekday(u8),
}

impl When {
    /// The unit of that name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
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

    /// The same with a zero for each digit.
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
    /// When a log that was last written to at `time` ends.
    pub(super) fn end_of(self, time: i64, zone: &TimeZone) -> i64 {
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

    /// When a log that begins at `now` ends.
    pub(super) fn end_after(self, now: i64, zone: &TimeZone) -> i64 {
        let mut end = self.end_of(now, zone);
        while end <= now {
            end += self.seconds();
        }
        if self.when.ends_with_a_day() { corrected(end, now, zone) } else { end }
    }

    /// What is appended to the name of a log that was to end at `end` and ends `now`: its beginning.
    pub(super) fn stamp(self, end: i64, now: i64, zone: &TimeZone) -> String {
        let begin = end - self.seconds();
        let begin = match (is_summer(now, zone), is_summer(begin, zone)) {
            (true, false) => begin + HOUR,
            (false, true) => begin - HOUR,
            (true, true) | (false, false) => begin,
        };
        at(begin).to_zoned(zone.clone()).strftime(self.when.suffix()).to_string()
    }

    /// Whether part of a file's name could be such a stamp.
    pub(super) fn is_stamp(self, part: &str) -> bool {
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

/// A time that was computed with days of 24 hours, an hour earlier or later if the clocks are changed
/// between the two.
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

    /// The table was made by Python, see `fixtures/python/rollovers.py`.
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
