//! The file that keeps a cache while its process does not run.
//!
//! ```text
//!   PATH        the journal (docs/client-cache.md): replayed when it is opened, then appended to
//!   PATH.tmp    a shorter journal that will replace PATH
//!   PATH.bad    an earlier PATH that could not be read as a journal
//!   PATH.lock   its lock protects all of them
//! ```
//!
//! Nothing is overwritten: a journal grows at its end, and a rename replaces it as a whole when it
//! has become much longer than the cache. Its checksums show where its valid part ends. So the process can be killed
//! at any instant, and appends need no sync: a power cut may lose the newest entries, which the cache can do
//! without, and entries that it damages are dropped. Only a journal that
//! replaces another one is synced first.
//!
//! If the disk is full or broken, the cache continues without its file. After a failure nothing is appended
//! any more, because entries after a gap are invalid; from time to time the client tries to write the
//! whole file again.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rzeo_core::client::cache::{Cache, HEADER, MAGIC, Snapshot, Statistics};
use thiserror::Error;

/// The journal is compacted when it exceeds twice the cache size by this many bytes, and after a failure when this
/// many bytes were to be written.
const SLACK: u64 = 1 << 20;
/// Number of bytes that are read at once.
const PIECE: usize = 256 * 1024;

/// Why the file of a cache cannot be used.
#[derive(Debug, Error)]
pub enum CacheFileError {
    /// Another process or client has the file open.
    #[error("the cache file {} is in use by another client; give each client its own path", .0.display())]
    InUse(PathBuf),
    /// It is a cache of Python's client.
    #[error(
        "{} is a cache of Python's ZEO, which rzeo cannot use; give another path or remove the file",
        .0.display()
    )]
    Pythons(PathBuf),
    /// It is another file, which may have data that is needed.
    #[error(
        "{} is not a cache of rzeo, it begins with {first:?}; give another path or remove the file",
        path.display()
    )]
    Foreign {
        /// Path of the file.
        path: PathBuf,
        /// Its first bytes, as text.
        first: String,
    },
    /// A call of the operating system failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The operation, as a verb.
        doing: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// The journal of a client's cache, open and locked against other clients.
#[derive(Debug)]
pub struct CacheFile {
    path: PathBuf,
    file: File,
    len: u64,
    /// Whether a chunk is missing, so that nothing may be appended after the gap.
    is_broken: bool,
    /// Number of bytes of the journal since the last failure of a write or rewrite.
    since_failure: Option<u64>,
    _lock: File,
}

impl CacheFile {
    /// Opens the file, or makes it, and reads the cache from it. An invalid end of the file is cut off;
    /// a damaged file of rzeo that has no valid part is moved aside.
    ///
    /// The caller must pass everything that the cache's journal yields from then on to [`Self::append`],
    /// in order.
    ///
    /// # Errors
    /// See [`CacheFileError`]. The file is unchanged then.
    pub fn open(path: &Path, bytes_max: usize) -> Result<(Self, Cache), CacheFileError> {
        let lock = lock(path)?;
        remove_if_there(&beside(path, ".tmp"))?;
        let mut file = open(path)?;
        let (mut cache, good) = read(&mut file, path, bytes_max)?;
        let len = doing("look at", path, file.metadata())?.len();
        if good == 0 && len > 0 {
            let bad = beside(path, ".bad");
            judge(&mut file, path, len)?;
            tracing::warn!(
                "the cache file {} is damaged; it was moved to {} and a new one is used",
                path.display(),
                bad.display()
            );
            doing("move aside", path, std::fs::rename(path, &bad))?;
            file = open(path)?;
        } else if good < len {
            tracing::info!(
                "the cache file {} ends with {} invalid bytes, which are cut off",
                path.display(),
                len - good
            );
            doing("cut the end off", path, file.set_len(good))?;
        }
        doing("read", path, file.seek(SeekFrom::Start(good)))?;
        cache.keep_journal();
        let path = path.to_owned();
        let (is_broken, since_failure) = (false, None);
        Ok((Self { path, file, len: good, is_broken, since_failure, _lock: lock }, cache))
    }

    /// Appends the next chunk of the journal.
    ///
    /// # Errors
    /// If it cannot be written. The following chunks are dropped then, without an error.
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), CacheFileError> {
        let bytes = u64::try_from(chunk.len()).expect("64 bits are enough");
        if let Some(since) = &mut self.since_failure {
            *since += bytes;
        }
        if self.is_broken {
            return Ok(());
        }
        if let Err(source) = self.file.write_all(chunk) {
            self.is_broken = true;
            self.since_failure = Some(0);
            let path = self.path.clone();
            return Err(CacheFileError::Io { doing: "write", path, source });
        }
        self.len += bytes;
        Ok(())
    }

    /// Whether the file should be rewritten, for a cache with these figures: it is much longer than
    /// necessary, or a write has failed.
    #[must_use]
    pub fn wants_rewrite(&self, cache: &Statistics) -> bool {
        let bytes = u64::try_from(cache.bytes).expect("64 bits are enough");
        let is_due = self.is_broken || self.len > bytes.saturating_mul(2).saturating_add(SLACK);
        is_due && self.since_failure.is_none_or(|bytes| bytes > SLACK)
    }

    /// Rewrites the file. All chunks that the journal yielded before the snapshot must have been
    /// passed to [`Self::append`]; later ones follow.
    ///
    /// # Errors
    /// If it cannot be written. The old file stays in use, and [`Self::wants_rewrite`] returns `true` again after a
    /// while.
    pub fn rewrite(&mut self, snapshot: Snapshot) -> Result<(), CacheFileError> {
        let temporary = beside(&self.path, ".tmp");
        match write_anew(&temporary, &self.path, snapshot) {
            Ok((file, len)) => {
                (self.file, self.len) = (file, len);
                (self.is_broken, self.since_failure) = (false, None);
                sync_directory(&self.path)
            }
            Err(error) => {
                self.since_failure = Some(0);
                // The next rewrite or the next opening removes the temporary file.
                let _ = std::fs::remove_file(&temporary);
                Err(error)
            }
        }
    }
}

fn write_anew(
    temporary: &Path,
    path: &Path,
    snapshot: Snapshot,
) -> Result<(File, u64), CacheFileError> {
    remove_if_there(temporary)?;
    let mut file = open(temporary)?;
    let mut len = 0;
    for piece in snapshot {
        doing("write", temporary, file.write_all(&piece))?;
        len += u64::try_from(piece.len()).expect("64 bits are enough");
    }
    doing("sync", temporary, file.sync_all())?;
    doing("replace", path, std::fs::rename(temporary, path))?;
    Ok((file, len))
}

fn lock(path: &Path) -> Result<File, CacheFileError> {
    let name = beside(path, ".lock");
    let file = open(&name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CacheFileError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => doing("lock", &name, Err(source)),
    }
}

/// Opens a file to read and write; makes it, readable only to its owner, if it does not exist.
fn open(path: &Path) -> Result<File, CacheFileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    doing("open", path, options.open(path))
}

/// Reads a cache; returns it with the length of the valid part of the file.
fn read(file: &mut File, path: &Path, bytes_max: usize) -> Result<(Cache, u64), CacheFileError> {
    let mut replay = Cache::replay(bytes_max);
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => {
                let read = doing("read", path, read)?;
                if read == 0 || !replay.feed(&piece[..read]) {
                    return Ok(replay.finish());
                }
            }
        }
    }
}

/// Checks that a file without a valid header may be moved aside: it is a damaged file of rzeo, or
/// one of an unknown version.
fn judge(file: &mut File, path: &Path, len: u64) -> Result<(), CacheFileError> {
    let mut first = Vec::new();
    doing("read", path, file.rewind())?;
    let header = u64::try_from(HEADER.len()).expect("it is short").min(len);
    doing("read", path, file.take(header).read_to_end(&mut first))?;
    let is_ours = first.starts_with(&MAGIC)
        || HEADER.starts_with(&first)
        || first.iter().all(|byte| *byte == 0);
    if is_ours {
        return Ok(());
    }
    if first.starts_with(b"ZEC") {
        return Err(CacheFileError::Pythons(path.to_owned()));
    }
    let first = String::from_utf8_lossy(&first).into_owned();
    Err(CacheFileError::Foreign { path: path.to_owned(), first })
}

fn remove_if_there(path: &Path) -> Result<(), CacheFileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => doing("remove", path, result),
    }
}

/// Makes a rename durable. If this fails, a power cut may bring back the old journal, which is valid, too.
fn sync_directory(path: &Path) -> Result<(), CacheFileError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    doing("sync", directory, File::open(directory).and_then(|directory| directory.sync_all()))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn doing<T>(doing: &'static str, path: &Path, result: io::Result<T>) -> Result<T, CacheFileError> {
    result.map_err(|source| CacheFileError::Io { doing, path: path.to_owned(), source })
}
