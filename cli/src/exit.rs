//! How a command ends: one style for what is wrong, and the exit status.
//!
//! Errors look like clap's own, `error: …`, colored where standard error is a terminal. The exceptions
//! are `rzeo pack` and `rzeo nagios`, which print what Python's programs print.

use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;
use rzeo_zconfig::ConfigError;

use crate::args;
use crate::tools::ToolError;

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

/// The status of a tool that has ended; `true` means that all is well.
pub(crate) fn end(command: &str, result: Result<bool, ToolError>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(ToolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(ToolError::Usage(text)) => {
            let _ = args::usage_error(command, &text).print();
            ExitCode::from(USAGE)
        }
        Err(failed) => {
            error(&failed.to_string());
            ExitCode::FAILURE
        }
    }
}
