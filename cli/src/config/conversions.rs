//! From a key's text to its value, as ZConfig converts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::python::{self, NotAnInteger};
use super::system::System;
use super::types::{InvalidValue, Value};
use crate::logging::{Facility, Level, Style};

pub(super) fn port(text: &str) -> Result<u16, InvalidValue> {
    let value = integer(text, 10)?;
    if value < 0 {
        return Err(InvalidValue::BelowBound { value, bound: 0 });
    }
    let bound = i64::from(u16::MAX);
    u16::try_from(value).map_err(|_| InvalidValue::AboveBound { value, bound })
}

pub(super) fn boolean(text: &str) -> Result<bool, InvalidValue> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err(InvalidValue::NotBoolean(text.to_owned())),
    }
}

pub(super) fn integer(text: &str, base: u32) -> Result<i64, InvalidValue> {
    python::int(text, base).map_err(|error| match error {
        NotAnInteger::Malformed => InvalidValue::NotInteger { text: text.to_owned(), base },
        NotAnInteger::TooLarge => InvalidValue::IntegerTooLarge(text.to_owned()),
    })
}

pub(super) fn float(text: &str) -> Result<f64, InvalidValue> {
    python::float(text).ok_or_else(|| InvalidValue::NotNumber(text.to_owned()))
}

pub(super) fn byte_size(text: &str) -> Result<u64, InvalidValue> {
    let lower = text.to_lowercase();
    let suffixes = [("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)];
    let suffixed =
        suffixes.iter().find_map(|(suffix, unit)| Some((lower.strip_suffix(suffix)?, unit)));
    let (number, unit) = suffixed.unwrap_or((&lower, &1));
    let value = integer(number, 10)?;
    let value = u64::try_from(value).map_err(|_| InvalidValue::BelowBound { value, bound: 0 })?;
    value.checked_mul(*unit).ok_or_else(|| InvalidValue::IntegerTooLarge(text.to_owned()))
}

/// A whole number of seconds, or of the units `s`, `m`, `h` and `d`.
pub(super) fn time_interval(text: &str) -> Result<i64, InvalidValue> {
    let lower = text.to_lowercase();
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];
    let suffixed = units.iter().find_map(|(unit, size)| Some((lower.strip_suffix(*unit)?, size)));
    let (number, unit) = suffixed.unwrap_or((&lower, &1));
    let number = integer(number, 10)?;
    number.checked_mul(*unit).ok_or_else(|| InvalidValue::IntegerTooLarge(text.to_owned()))
}

/// A time span that a clock can measure; what is longer is for ever.
pub(super) fn seconds(text: &str) -> Result<Duration, InvalidValue> {
    let seconds = float(text)?;
    if seconds.is_nan() {
        return Err(InvalidValue::NotNumber(text.to_owned()));
    }
    if seconds < 0.0 {
        return Err(InvalidValue::Negative(text.to_owned()));
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// A whole number between bounds.
pub(super) fn count(text: &str, min: u32, max: u32) -> Result<usize, InvalidValue> {
    let value = integer(text, 10)?;
    check_bounds(value, min.into(), max.into())?;
    usize::try_from(value).map_err(|_| InvalidValue::IntegerTooLarge(text.to_owned()))
}

/// A size between bounds.
pub(super) fn size(text: &str, min: u64, max: u64) -> Result<u64, InvalidValue> {
    let size = byte_size(text)?;
    let value = i64::try_from(size).unwrap_or(i64::MAX);
    let bound = |bound| i64::try_from(bound).unwrap_or(i64::MAX);
    check_bounds(value, bound(min), bound(max))?;
    Ok(size)
}

fn check_bounds(value: i64, min: i64, max: i64) -> Result<(), InvalidValue> {
    if value < min {
        return Err(InvalidValue::BelowBound { value, bound: min });
    }
    if value > max {
        return Err(InvalidValue::AboveBound { value, bound: max });
    }
    Ok(())
}

/// One of a few words, in lower case.
pub(super) fn one_of(text: &str, words: &'static [&'static str]) -> Result<String, InvalidValue> {
    let lower = text.to_lowercase();
    if words.contains(&lower.as_str()) {
        return Ok(lower);
    }
    Err(InvalidValue::NotOneOf { text: text.to_owned(), words })
}

pub(super) fn integer_list(text: &str) -> Result<Value, InvalidValue> {
    if !text.is_empty() {
        for number in text.split(',') {
            integer(number, 10)?;
        }
    }
    Ok(Value::Checked)
}

pub(super) fn level(text: &str) -> Result<Level, InvalidValue> {
    let lower = text.to_lowercase();
    if let Some(level) = Level::named(&lower) {
        return Ok(level);
    }
    let number = integer(&lower, 10)?;
    Level::numbered(number).ok_or(InvalidValue::LevelOutOfRange(number))
}

pub(super) fn log_style(text: &str) -> Result<Style, InvalidValue> {
    Style::named(text).ok_or_else(|| InvalidValue::Style(text.to_owned()))
}

pub(super) fn facility(text: &str) -> Result<Facility, InvalidValue> {
    Facility::named(text).ok_or(InvalidValue::Facility)
}

pub(super) fn http_method(text: &str) -> Result<String, InvalidValue> {
    match text.to_uppercase().as_str() {
        method @ ("GET" | "POST") => Ok(method.to_owned()),
        other => Err(InvalidValue::HttpMethod(other.to_owned())),
    }
}

pub(super) fn dir_path(text: &str, system: &dyn System) -> Result<PathBuf, InvalidValue> {
    let path = expand_user(text, system);
    let directory = dirname(&path);
    if directory.is_empty() || system.is_directory(Path::new(directory)) {
        Ok(path.into())
    } else {
        Err(InvalidValue::NoDirectory(text.to_owned()))
    }
}

pub(super) fn existing_path(text: &str, system: &dyn System) -> Result<Value, InvalidValue> {
    if system.exists(Path::new(&expand_user(text, system))) {
        Ok(Value::Checked)
    } else {
        Err(InvalidValue::NoSuchPath(text.to_owned()))
    }
}

pub(super) fn parent_dir_path(text: &str, system: &dyn System) -> Result<Value, InvalidValue> {
    let path = expand_user(text, system);
    let parent = dirname(dirname(&path));
    if parent.is_empty() || system.is_directory(Path::new(parent)) {
        Ok(Value::Checked)
    } else {
        Err(InvalidValue::NoDirectory(text.to_owned()))
    }
}

pub(super) fn parent_directory(text: &str, system: &dyn System) -> Result<Value, InvalidValue> {
    let path = expand_user(text, system);
    if system.is_directory(Path::new(&path)) || system.is_directory(Path::new(dirname(&path))) {
        Ok(Value::Checked)
    } else {
        Err(InvalidValue::NoExistingDirectory(text.to_owned()))
    }
}

/// `os.path.expanduser` for the user that runs the server; other users' homes are not looked up.
fn expand_user(text: &str, system: &dyn System) -> String {
    let home = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => system.variable("HOME"),
        _ => None,
    };
    match home {
        Some(home) => format!("{}{}", home.trim_end_matches('/'), &text[1..]),
        None => text.to_owned(),
    }
}

/// `os.path.dirname`.
fn dirname(path: &str) -> &str {
    let head = &path[..path.rfind('/').map_or(0, |at| at + 1)];
    let trimmed = head.trim_end_matches('/');
    if trimmed.is_empty() { head } else { trimmed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::system::fake::FakeSystem;
    use crate::config::types::Kind;

    fn convert(kind: Kind, text: &str) -> Result<Value, String> {
        let system = FakeSystem::with(&[("/dir/file", "")]);
        kind.convert(text, &system).map_err(|error| error.to_string())
    }

    fn message(kind: Kind, text: &str) -> String {
        convert(kind, text).unwrap_err()
    }

    #[test]
    fn booleans() {
        for text in ["yes", "TRUE", "On"] {
            assert_eq!(convert(Kind::Boolean, text), Ok(Value::Boolean(true)));
        }
        for text in ["no", "False", "OFF"] {
            assert_eq!(convert(Kind::Boolean, text), Ok(Value::Boolean(false)));
        }
        assert_eq!(message(Kind::Boolean, "1"), "not a valid boolean value: '1'");
        assert_eq!(message(Kind::Boolean, ""), "not a valid boolean value: ''");
    }

    #[test]
    fn numbers() {
        assert_eq!(convert(Kind::Integer, "1_000"), Ok(Value::Integer(1000)));
        assert_eq!(convert(Kind::Float, "1.5"), Ok(Value::Float(1.5)));
        assert_eq!(convert(Kind::Octal, "022"), Ok(Value::Checked));
        assert_eq!(convert(Kind::IntegerList, "0, 2"), Ok(Value::Checked));
        assert_eq!(convert(Kind::IntegerList, ""), Ok(Value::Checked));
        assert_eq!(message(Kind::Integer, "1.5"), "invalid literal for int() with base 10: '1.5'");
        assert_eq!(message(Kind::Octal, "9"), "invalid literal for int() with base 8: '9'");
        assert_eq!(
            message(Kind::IntegerList, "1,x"),
            "invalid literal for int() with base 10: 'x'"
        );
        assert_eq!(message(Kind::Float, "x"), "could not convert string to float: 'x'");
        let huge = "99999999999999999999";
        assert_eq!(message(Kind::Integer, huge), format!("{huge} does not fit into 64 bits"));
    }

    #[test]
    fn byte_sizes() {
        let cases = [("10", 10), ("10kb", 10_240), ("10 MB", 10 << 20), ("1_0Gb", 10 << 30)];
        for (text, size) in cases {
            assert_eq!(convert(Kind::ByteSize, text), Ok(Value::Size(size)), "{text:?}");
        }
        let cases = [
            ("10b", "invalid literal for int() with base 10: '10b'"),
            ("1.5kb", "invalid literal for int() with base 10: '1.5'"),
            ("10tb", "invalid literal for int() with base 10: '10tb'"),
            ("-1", "-1 is below lower bound (0)"),
            ("9000000000000000000gb", "9000000000000000000gb does not fit into 64 bits"),
        ];
        for (text, expected) in cases {
            assert_eq!(message(Kind::ByteSize, text), expected, "{text:?}");
        }
    }

    #[test]
    fn bounded_values() {
        let count = Kind::Count { min: 1, max: 9 };
        assert_eq!(convert(count, "9"), Ok(Value::Count(9)));
        assert_eq!(message(count, "0"), "0 is below lower bound (1)");
        assert_eq!(message(count, "10"), "10 is above upper bound (9)");
        let size = Kind::Size { min: 1024, max: 2048 };
        assert_eq!(convert(size, "2kb"), Ok(Value::Size(2048)));
        assert_eq!(message(size, "1023"), "1023 is below lower bound (1024)");
        assert_eq!(message(size, "3kb"), "3072 is above upper bound (2048)");
        assert_eq!(convert(Kind::Seconds, "1.5"), Ok(Value::Time(Duration::from_millis(1500))));
        assert_eq!(convert(Kind::Seconds, "inf"), Ok(Value::Time(Duration::MAX)));
        assert_eq!(message(Kind::Seconds, "-1"), "-1 is below lower bound (0)");
        assert_eq!(message(Kind::Seconds, "nan"), "could not convert string to float: 'nan'");
        let word = Kind::OneOf(&["tokio", "smol"]);
        assert_eq!(convert(word, "Smol"), Ok(Value::Text("smol".to_owned())));
        assert_eq!(message(word, "x"), "must be one of tokio, smol; found 'x'");
        assert_eq!(time_interval("2 m"), Ok(120));
        assert_eq!(time_interval("4"), Ok(4));
    }

    #[test]
    fn paths() {
        let cases = [
            ("Data.fs", "Data.fs"),
            ("/dir/Data.fs", "/dir/Data.fs"),
            ("/Data.fs", "/Data.fs"),
            ("/dir//Data.fs", "/dir//Data.fs"),
            ("~/Data.fs", "/dir/Data.fs"),
            ("~other", "~other"),
        ];
        for (text, path) in cases {
            assert_eq!(convert(Kind::DirPath, text), Ok(Value::Path(path.into())), "{text:?}");
        }
        let missing = "The directory named as part of the path /nowhere/x does not exist.";
        assert_eq!(message(Kind::DirPath, "/nowhere/x"), missing);
        assert_eq!(message(Kind::ParentDirPath, "/nowhere/x/y").replace("/y", ""), missing);
        assert_eq!(convert(Kind::ParentDirPath, "/dir/later/zdsock"), Ok(Value::Checked));
        assert_eq!(convert(Kind::ParentDirectory, "/dir/later"), Ok(Value::Checked));
        assert_eq!(
            message(Kind::ParentDirectory, "/no/where"),
            "/no/where is not an existing directory"
        );
        assert_eq!(convert(Kind::ExistingPath, "/dir/file"), Ok(Value::Checked));
        assert_eq!(message(Kind::ExistingPath, "/x"), "/x is not an existing path");
    }

    #[test]
    fn levels() {
        let number = |text| match convert(Kind::Level, text) {
            Ok(Value::Level(level)) => level.number(),
            other => panic!("{other:?}"),
        };
        for (text, expected) in
            [("Fatal", 50), ("warn", 30), ("BLATHER", 15), ("all", 1), ("20", 20)]
        {
            assert_eq!(number(text), expected);
        }
        assert_eq!(message(Kind::Level, "51"), "log level not in range: 51");
        assert_eq!(message(Kind::Level, "-1"), "log level not in range: -1");
        assert_eq!(message(Kind::Level, "Foo"), "invalid literal for int() with base 10: 'foo'");
    }

    #[test]
    fn log_settings() {
        assert_eq!(convert(Kind::LogStyle, "Classic"), Ok(Value::LogStyle(Style::Classic)));
        assert_eq!(
            message(Kind::LogStyle, "x"),
            "log_format_style must be one of 'classic', 'format', 'safe-template', 'template'; \
             found 'x'"
        );
        assert!(
            message(Kind::Facility, "ftp").starts_with("Syslog facility must be one of auth, ")
        );
        assert_eq!(convert(Kind::HttpMethod, "post"), Ok(Value::Text("POST".to_owned())));
        assert_eq!(
            message(Kind::HttpMethod, "put"),
            "method must be \"GET\" or \"POST\", instead received: 'PUT'"
        );
        assert_eq!(message(Kind::HttpUrl, "ftp://x/"), "url must be an http url");
        assert_eq!(message(Kind::Refused("because"), "x"), "because");
    }
}
