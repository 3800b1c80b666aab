//! Locks, as Python's `zc.lockfile` has them: `flock` on a file that says who has it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::{BlobError, doing};

/// How often a lock is tried that another has, as in Python. Waiting in `flock` itself could not
/// end.
const PAUSE: Duration = Duration::from_millis(10);

/// A lock that is held until this is dropped. The file stays.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes a lock if nobody has it.
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
        // Only for people who want to know. A full disk is no reason not to remove something.
        let len = text.len().try_into().expect("a process id is a few digits");
        _ = file.write_all(text.as_bytes()).and_then(|()| file.set_len(len));
        Ok(Some(Self { _file: file }))
    }

    /// Takes a lock, and waits for whoever has it.
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
