//! Conversions of a key's text to its value, as ZConfig does them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::invalid::InvalidValue;
use crate::python::{self, NotAnInteger};
use crate::system::System;

pub(crate) fn port(text: &str) -> Result<u16, InvalidValue> {
    let value = integer(text, 10)?;
    if value < 0 {
        return Err(InvalidValue::BelowBound { value, bound: 0 });
    }
    let bound = i64::from(u16::MAX);
    u16::try_from(value).map_err(|_| InvalidValue::AboveBound { value, bound })
}

pub(crate) fn boolean(text: &str) -> Result<bool, InvalidValue> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err(InvalidValue::NotBoolean(text.to_owned())),
    }
}

pub(crate) fn integer(text: &str, base: u32) -> Result<i64, InvalidValue> {
    python::int(text, base).map_err(|error| match error {
        NotAnInteger::Malformed => InvalidValue::NotInteger { text: text.to_owned(), base },
        NotAnInteger::TooLarge => InvalidValue::IntegerTooLarge(text.to_owned()),
    })
}

pub(crate) fn float(text: &str) -> Result<f64, InvalidValue> {
    python::float(text).ok_or_else(|| InvalidValue::NotNumber(text.to_owned()))
}

pub(crate) fn byte_size(text: &str) -> Result<u64, InvalidValue> {
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
pub(crate) fn time_interval(text: &str) -> Result<i64, InvalidValue> {
    let lower = text.to_lowercase();
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];
    let suffixed = units.iter().find_map(|(unit, size)| Some((lower.strip_suffix(*unit)?, size)));
    let (number, unit) = suffixed.unwrap_or((&lower, &1));
    let number = integer(number, 10)?;
    number.checked_mul(*unit).ok_or_else(|| InvalidValue::IntegerTooLarge(text.to_owned()))
}

/// A number of at least 0, which may be infinite.
pub(crate) fn non_negative_float(text: &str) -> Result<f64, InvalidValue> {
    let number = float(text)?;
    if number.is_nan() {
        return Err(InvalidValue::NotNumber(text.to_owned()));
    }
    if number < 0.0 {
        return Err(InvalidValue::Negative(text.to_owned()));
    }
    Ok(number)
}

/// A time span; one that is too long for a [`Duration`] becomes the longest.
pub(crate) fn seconds(text: &str) -> Result<Duration, InvalidValue> {
    let seconds = non_negative_float(text)?;
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// A whole number between bounds.
pub(crate) fn count(text: &str, min: u32, max: u32) -> Result<usize, InvalidValue> {
    let value = integer(text, 10)?;
    check_bounds(value, min.into(), max.into())?;
    usize::try_from(value).map_err(|_| InvalidValue::IntegerTooLarge(text.to_owned()))
}

/// A size between bounds.
pub(crate) fn size(text: &str, min: u64, max: u64) -> Result<u64, InvalidValue> {
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
pub(crate) fn one_of(text: &str, words: &'static [&'static str]) -> Result<String, InvalidValue> {
    let lower = text.to_lowercase();
    if words.contains(&lower.as_str()) {
        return Ok(lower);
    }
    Err(InvalidValue::NotOneOf { text: text.to_owned(), words })
}

pub(crate) fn integer_list(text: &str) -> Result<Vec<i64>, InvalidValue> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|number| integer(number, 10)).collect()
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(python::is_space).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

pub(crate) fn dir_path(text: &str, system: &dyn System) -> Result<PathBuf, InvalidValue> {
    let path = expand_user(text, system);
    let directory = dirname(&path);
    if directory.is_empty() || system.is_directory(Path::new(directory)) {
        Ok(path.into())
    } else {
        Err(InvalidValue::NoDirectory(text.to_owned()))
    }
}

pub(crate) fn existing_path(text: &str, system: &dyn System) -> Result<PathBuf, InvalidValue> {
    let path = PathBuf::from(expand_user(text, system));
    if system.exists(&path) { Ok(path) } else { Err(InvalidValue::NoSuchPath(text.to_owned())) }
}

pub(crate) fn parent_dir_path(text: &str, system: &dyn System) -> Result<PathBuf, InvalidValue> {
    let path = expand_user(text, system);
    let parent = dirname(dirname(&path));
    if parent.is_empty() || system.is_directory(Path::new(parent)) {
        Ok(path.into())
    } else {
        Err(InvalidValue::NoDirectory(text.to_owned()))
    }
}

pub(crate) fn parent_directory(text: &str, system: &dyn System) -> Result<PathBuf, InvalidValue> {
    let path = expand_user(text, system);
    if system.is_directory(Path::new(&path)) || system.is_directory(Path::new(dirname(&path))) {
        Ok(path.into())
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
