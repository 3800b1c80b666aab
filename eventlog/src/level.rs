//! Python's logging levels: numbers, some with names.

use std::fmt;

/// A level from 0 to 50.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

/// In the order of preference when a number has several names.
const NAMES: [(&str, u8); 11] = [
    ("critical", 50),
    ("error", 40),
    ("warning", 30),
    ("info", 20),
    ("blather", 15),
    ("debug", 10),
    ("trace", 5),
    ("notset", 0),
    ("fatal", 50),
    ("warn", 30),
    ("all", 1),
];

impl Level {
    /// The program cannot go on, or violated a guarantee.
    pub const CRITICAL: Self = Self(50);
    /// An operation failed.
    pub const ERROR: Self = Self(40);
    /// Something is about to fail, or a peer misbehaves.
    pub const WARNING: Self = Self(30);
    /// Ordinary events.
    pub const INFO: Self = Self(20);
    /// Zope's level between `DEBUG` and `INFO`.
    pub const BLATHER: Self = Self(15);
    /// Details for developers.
    pub const DEBUG: Self = Self(10);
    /// Zope's level below `DEBUG`.
    pub const TRACE: Self = Self(5);
    /// As a minimum: all records.
    pub const NOTSET: Self = Self(0);

    /// The level of that name, in lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Self(*number))
    }

    /// The level of that number, if there is one.
    #[must_use]
    pub fn numbered(number: i64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| *number <= 50).map(Self)
    }

    /// The number, from 0 to 50.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

/// The name in upper case, or `Level 35`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(&name.to_uppercase()),
            None => write!(f, "Level {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(Level::named("fatal"), Some(Level::CRITICAL));
        assert_eq!(Level::named("warn").map(|level| level.to_string()).as_deref(), Some("WARNING"));
        assert_eq!(Level::numbered(15).map(|level| level.to_string()).as_deref(), Some("BLATHER"));
        assert_eq!(Level::numbered(35).map(|level| level.to_string()).as_deref(), Some("Level 35"));
        assert_eq!(Level::numbered(51), None);
        assert_eq!(Level::numbered(-1), None);
        assert_eq!(Level::named("loud"), None);
    }
}
