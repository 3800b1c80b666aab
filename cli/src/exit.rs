//! One style for everything that is wrong.
//!
//! Errors look like clap's own, `error: …`, colored where standard error is a terminal. The exceptions
//! are `rzeo pack` and `rzeo nagios`, which print what Python's programs print.

use clap::error::ErrorKind;

use rzeo_zconfig::ConfigError;

/// Wrong options, as for clap.
pub(crate) const USAGE: u8 = 2;

/// Prints an error. If standard error is closed, the exit status has to do.
pub(crate) fn error(text: &str) {
    let _ = clap::Error::raw(ErrorKind::Io, format!("{text}\n")).print();
}

/// Prints what is wrong with a configuration, and what a setting takes.
pub(crate) fn config_error(failed: &ConfigError) {
    let expected = failed.expected().map(|expected| format!("\n  expected: {expected}"));
    error(&format!("{failed}{}", expected.unwrap_or_default()));
}
