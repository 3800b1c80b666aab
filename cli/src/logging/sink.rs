//! Where records end up: a standard stream, or a file that can be opened anew.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where a handler writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A file, appended to.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether it is opened with the first record only.
        delay: bool,
    },
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Stderr => f.write_str("STDERR"),
            Self::Stdout => f.write_str("STDOUT"),
        }
    }
}

/// An open destination. Records of several threads come out whole, one after the other.
#[derive(Debug)]
pub(crate) struct Sink {
    destination: Destination,
    /// `None` for the streams, and for a delayed file before its first record.
    file: Mutex<Option<File>>,
}

impl Sink {
    /// Opens a destination.
    pub(crate) fn open(destination: Destination) -> io::Result<Self> {
        let file = match &destination {
            Destination::File { path, delay: false } => Some(append_to(path)?),
            Destination::File { .. } | Destination::Stderr | Destination::Stdout => None,
        };
        Ok(Self { destination, file: Mutex::new(file) })
    }

    /// Writes a record with one call, so that lines of several processes do not mix either.
    pub(crate) fn write(&self, record: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.destination {
            Destination::File { path, .. } => {
                let file = match &mut *file {
                    Some(file) => file,
                    none => none.insert(append_to(path)?),
                };
                file.write_all(record)
            }
            Destination::Stderr => io::stderr().lock().write_all(record),
            Destination::Stdout => {
                let mut stream = io::stdout().lock();
                stream.write_all(record)?;
                stream.flush()
            }
        }
    }

    /// Opens a file anew, after it was renamed for instance. When that fails, writing goes on into
    /// the old one.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let Destination::File { path, delay } = &self.destination else { return Ok(()) };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        *file = if *delay { None } else { Some(append_to(path)?) };
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reopened_file_is_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let (log, old) = (directory.path().join("l"), directory.path().join("o"));
        let sink = Sink::open(Destination::File { path: log.clone(), delay: false }).unwrap();
        sink.write(b"1\n").unwrap();
        std::fs::rename(&log, &old).unwrap();
        sink.write(b"2\n").unwrap();
        sink.reopen().unwrap();
        sink.write(b"3\n").unwrap();
        assert_eq!(std::fs::read_to_string(old).unwrap(), "1\n2\n");
        assert_eq!(std::fs::read_to_string(log).unwrap(), "3\n");
    }

    #[test]
    fn a_delayed_file_appears_with_its_first_record() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l");
        let sink = Sink::open(Destination::File { path: path.clone(), delay: true }).unwrap();
        sink.reopen().unwrap();
        assert!(!path.exists());
        sink.write(b"1\n").unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_reopened_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (inner, moved) = (directory.path().join("d"), directory.path().join("e"));
        std::fs::create_dir(&inner).unwrap();
        let sink = Sink::open(Destination::File { path: inner.join("l"), delay: false }).unwrap();
        std::fs::rename(&inner, &moved).unwrap();
        assert!(sink.reopen().is_err());
        sink.write(b"still here\n").unwrap();
        assert_eq!(std::fs::read_to_string(moved.join("l")).unwrap(), "still here\n");
    }
}
