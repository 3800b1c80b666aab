//! The password of a key, and how to get it from another program.

use std::fmt;
use std::io;
use std::process::{Command, ExitStatus, Stdio};

use thiserror::Error;
use zeroize::Zeroizing;

/// A password. Its `Debug` hides it, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes over the text, so that its memory is wiped with the password.
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// A command that gives no password. The messages show the command, not its output.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PasswordCommandError {
    /// The shell cannot be started.
    #[error("the password command `{command}` cannot be run: {source}")]
    Unstartable {
        /// The command line, as configured.
        command: String,
        /// The system's error.
        source: io::Error,
    },
    /// The command failed.
    #[error("the password command `{command}` failed ({status}); run it by hand to see why")]
    Failed {
        /// The command line, as configured.
        command: String,
        /// Exit status, or the signal that ended it.
        status: ExitStatus,
    },
    /// The command printed nothing.
    #[error(
        "the password command `{command}` printed nothing; the first line of its output must be \
         the password"
    )]
    Silent {
        /// The command line, as configured.
        command: String,
    },
    /// The first line of the output is not UTF-8.
    #[error("the first line that the password command `{command}` printed is not UTF-8")]
    NotText {
        /// The command line, as configured.
        command: String,
    },
}

/// Runs a command in a shell. The first line of its output is the password.
///
/// The command's standard error is that of this process. There is no time limit.
pub fn password_from_command(command: &str) -> Result<Password, PasswordCommandError> {
    let owned = || command.to_owned();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = shell.output();
    let output =
        output.map_err(|source| PasswordCommandError::Unstartable { command: owned(), source })?;
    let stdout = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(PasswordCommandError::Failed { command: owned(), status: output.status });
    }
    let line = stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line)
        .map_err(|_| PasswordCommandError::NotText { command: owned() })?;
    if text.is_empty() {
        return Err(PasswordCommandError::Silent { command: owned() });
    }
    Ok(Password::new(text.to_owned()))
}
