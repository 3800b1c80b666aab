//! Reduces a cache to its size.
//!
//! ```text
//!   lock check_size.lock ─► remove check_size.attempt ─► list all ─► remove the least recent
//!                                     ▲                                      │
//!                                     └────── if there is an attempt ◄───────┘ small enough
//! ```
//!
//! One client sweeps at a time. Another client that tries to sweep leaves an attempt, which makes the sweeping
//! client list the cache again, because there are new files. The sweeping client checks for an attempt once more
//! after it has unlocked, so that it does not miss one that was made in between.
//!
//! A locked directory is skipped. So is a blob that was used after the
//! listing, which Python would remove. A sweep ends when only such blobs are left; Python would try for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::blob_file::names;
use super::cache::{Bound, Cache};
use super::error::{BlobError, doing, or_missing};
use super::lock::Lock;
use super::names::{LOCK, SUFFIX, is_cache_directory};

/// Name of the lock that is held during a sweep.
const SWEEPER: &str = "check_size.lock";
/// Name of the file by which another client requests a sweep.
const ATTEMPT: &str = "check_size.attempt";

/// The result of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// The cache is small enough, or the remaining blobs are in use.
    Done {
        /// Number of bytes of the remaining blobs.
        size: u64,
        /// Number of removed blobs.
        removed: u64,
    },
    /// Another client is sweeping, and will list the cache again.
    Busy,
    /// The cache has no limit, or the directory is shared with the server.
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
        let Some(mut lock) = self.lock_sweep(&attempt)? else { return Ok(Sweep::Busy) };
        let mut removed = 0;
        loop {
            or_missing(fs::remove_file(&attempt)).map_err(doing("remove", &attempt))?;
            let found = self.list()?;
            let before = found.iter().map(|found| found.size).sum();
            let (size, gone) = reduce(found, before, target)?;
            removed += gone;
            // A blob that was skipped because it was in use may be free now.
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

    /// Takes the lock of sweeps, or leaves an attempt.
    fn lock_sweep(&self, attempt: &Path) -> Result<Option<Lock>, BlobError> {
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
                all.extend(inspect(directory.join(name))?);
            }
        }
        Ok(all)
    }
}

/// Reads the metadata of a file, if it is a blob.
fn inspect(path: PathBuf) -> Result<Option<Found>, BlobError> {
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

/// Removes the least recently used blobs until the rest is small enough. Returns the size of the rest
/// and the number of removed blobs.
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

/// Removes a blob, unless its directory is locked or it was used since the listing.
fn remove(blob: &Found) -> Result<bool, BlobError> {
    let lock = blob.path.with_file_name(LOCK);
    let Some(_lock) = Lock::try_take(&lock)? else { return Ok(false) };
    match inspect(blob.path.clone())? {
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
    fn a_blob_used_since_the_listing_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.03f6fcd22ddddddd.blob");
        fs::write(&path, b"x").unwrap();
        let now = inspect(path.clone()).unwrap().unwrap();
        let earlier = now.accessed - Duration::from_secs(1);
        let then = Found { accessed: earlier, path: path.clone(), size: 1 };
        assert!(!remove(&then).unwrap());
        assert!(path.exists());
        assert!(remove(&now).unwrap());
        assert!(!path.exists());
        assert!(remove(&now).unwrap(), "the name is already removed");
    }
}
