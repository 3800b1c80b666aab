//! Locks like those of Python's `zc.lockfile`: `flock` on a file with the process id of the holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::{BlobError, doing};

/// How long to wait between two attempts to take a lock, as in Python. A blocking `flock` has no timeout.
const PAUSE: Duration = Duration::from_millis(10);

/// A lock that is held until this value is dropped. The file stays.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes a lock if it is free.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>, BlobError> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(doing("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(doing("lock", path)(error)),
        }
        let text = format!(" {}\n", std::process::id());
        // The id is information for people. A full disk must not prevent a sweep, so errors are ignored.
        let len = text.len().try_into().expect("a process id is a few digits");
        _ = file.write_all(text.as_bytes()).and_then(|()| file.set_len(len));
        Ok(Some(Self { _file: file }))
    }

    /// Takes a lock, and waits while another client holds it.
    pub(super) fn take(path: &Path, patience: Duration) -> Result<Self, BlobError> {
        let started = Instant::now();
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
            let waited = started.elapsed();
            if waited >= patience {
                return Err(BlobError::Locked { path: path.to_owned(), waited });
            }
            thread::sleep(PAUSE.min(patience.saturating_sub(waited)));
        }
    }
}
