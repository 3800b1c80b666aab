//! Bringing a cache down to its size.
//!
//! ```text
//!   lock check_size.lock ─► remove check_size.attempt ─► list all ─► remove the least recent
//!                                     ▲                                      │
//!                                     └────── if there is an attempt ◄───────┘ small enough
//! ```
//!
//! One client sweeps at a time. Who cannot leaves an attempt, which tells the one who sweeps to
//! take another look: more has come since he listed what there is. He looks for it once more after
//! he has unlocked, so that none is missed that was left in between.
//!
//! A directory in which somebody is busy is skipped. So is a blob that was asked for after the
//! listing, which Python would remove. If nothing else is left, that is all that can be done for
//! now; Python would try for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::blob_file::names;
use super::cache::{Bound, Cache};
use super::error::{BlobError, doing, or_missing};
use super::lock::Lock;
use super::names::{LOCK, SUFFIX, is_cache_directory};

/// The lock of who sweeps.
const SWEEPER: &str = "check_size.lock";
/// Somebody else wanted to.
const ATTEMPT: &str = "check_size.attempt";

/// What became of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// The cache is small enough, or what is left cannot be removed now.
    Done {
        /// How many bytes of blobs there are.
        size: u64,
        /// How many blobs were removed.
        removed: u64,
    },
    /// Somebody else is sweeping, and will have another look.
    Busy,
    /// The cache has no limit, or the directory is the server's.
    Unbounded,
}

/// A blob in a cache.
#[derive(Debug)]
struct Found {
    accessed: SystemTime,
    path: PathBuf,
    size: u64,
}

impl Cache {
    pub(super) fn sweep(&self) -> Result<Sweep, BlobError> {
        let Some(Bound { target, .. }) = self.bound else { return Ok(Sweep::Unbounded) };
        let attempt = self.root.join(ATTEMPT);
        let is_wanted = || attempt.try_exists().map_err(doing("look for", &attempt));
        let Some(mut lock) = self.sweeper(&attempt)? else { return Ok(Sweep::Busy) };
        let mut removed = 0;
        loop {
            or_missing(fs::remove_file(&attempt)).map_err(doing("remove", &attempt))?;
            let found = self.list()?;
            let before = found.iter().map(|found| found.size).sum();
            let (size, gone) = reduce(found, before, target)?;
            removed += gone;
            // What was skipped, because it was used, may be removed by now.
            let goes_on = size > target && gone > 0;
            if goes_on || is_wanted()? {
                continue;
            }
            drop(lock);
            let done = Sweep::Done { size, removed };
            if !is_wanted()? {
                return Ok(done);
            }
            match Lock::try_take(&self.root.join(SWEEPER))? {
                Some(again) => lock = again,
                None => return Ok(done),
            }
        }
    }

    /// Becomes the one who sweeps, or leaves an attempt.
    fn sweeper(&self, attempt: &Path) -> Result<Option<Lock>, BlobError> {
        let path = self.root.join(SWEEPER);
        if let Some(lock) = Lock::try_take(&path)? {
            return Ok(Some(lock));
        }
        fs::write(attempt, "").map_err(doing("write", attempt))?;
        Lock::try_take(&path)
    }

    fn list(&self) -> Result<Vec<Found>, BlobError> {
        let mut all = Vec::new();
        for name in names(&self.root)?.iter().filter(|name| is_cache_directory(name)) {
            let directory = self.root.join(name);
            for name in names(&directory)?.iter().filter(|name| name.ends_with(SUFFIX)) {
                all.extend(look(directory.join(name))?);
            }
        }
        Ok(all)
    }
}

/// Looks at a blob, if it is one.
fn look(path: PathBuf) -> Result<Option<Found>, BlobError> {
    let found = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(doing("look at", &path))?,
    };
    if !found.is_file() {
        return Ok(None);
    }
    let accessed = found.accessed().map_err(doing("look at", &path))?;
    Ok(Some(Found { accessed, path, size: found.len() }))
}

/// Removes those that were not used for the longest time, until the rest is small enough. Says how
/// large that is, and how many were removed.
fn reduce(mut found: Vec<Found>, size: u64, target: u64) -> Result<(u64, u64), BlobError> {
    let (mut size, mut removed) = (size, 0);
    if size > target {
        found.sort_by(|a, b| (a.accessed, &a.path).cmp(&(b.accessed, &b.path)));
    }
    for blob in found {
        if size <= target {
            break;
        }
        if remove(&blob)? {
            size -= blob.size;
            removed += 1;
        }
    }
    Ok((size, removed))
}

/// Removes a blob, unless somebody is busy in its directory or has used it since.
fn remove(blob: &Found) -> Result<bool, BlobError> {
    let lock = blob.path.with_file_name(LOCK);
    let Some(_lock) = Lock::try_take(&lock)? else { return Ok(false) };
    match look(blob.path.clone())? {
        Some(now) if now.accessed != blob.accessed => return Ok(false),
        Some(_) => {}
        None => return Ok(true),
    }
    or_missing(fs::remove_file(&blob.path)).map_err(doing("remove", &blob.path))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_used_since_it_was_listed_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.03f6fcd22ddddddd.blob");
        fs::write(&path, b"x").unwrap();
        let now = look(path.clone()).unwrap().unwrap();
        let earlier = now.accessed - Duration::from_secs(1);
        let then = Found { accessed: earlier, path: path.clone(), size: 1 };
        assert!(!remove(&then).unwrap());
        assert!(path.exists());
        assert!(remove(&now).unwrap());
        assert!(!path.exists());
        assert!(remove(&now).unwrap(), "another did");
    }
}
