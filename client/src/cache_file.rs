//! The file in which a cache survives its process.
//!
//! ```text
//!   PATH        the journal (docs/client-cache.md): replayed when it is opened, then appended to
//!   PATH.tmp    a shorter journal on its way to become PATH
//!   PATH.bad    what was at PATH and could not be read as a journal
//!   PATH.lock   who has the lock of this file has the others
//! ```
//!
//! Nothing is written over: a journal grows at its end, and is replaced as a whole, by a rename, when it
//! has become much longer than what it says. Its checksums tell how far it can be believed. So there is
//! no instant at which the process must not be killed, and appending waits for no disk: what a power cut
//! takes from the end was in a cache, and what it leaves in disorder is not believed. Only a journal that
//! replaces another one is synced before.
//!
//! A disk that is full or broken takes away the file, not the cache. After a failure nothing is appended
//! any more, because what came behind a gap would not be believed; from time to time the whole is tried
//! to be written anew.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rzeo_core::client::cache::{Cache, HEADER, MAGIC, Snapshot, Statistics};
use thiserror::Error;

/// A journal may have so many bytes more than twice its cache, and a failure is forgotten after so many.
const SLACK: u64 = 1 << 20;
/// How much is read at a time.
const PIECE: usize = 256 * 1024;

/// Why a cache has no file.
#[derive(Debug, Error)]
pub enum CacheFileError {
    /// Two processes cannot share it.
    #[error("the cache {} is in use by another client", .0.display())]
    InUse(PathBuf),
    /// It is a cache, of Python's client.
    #[error(
        "{} is a cache of Python's ZEO, which rzeo cannot use: give another path, or remove it",
        .0.display()
    )]
    Pythons(PathBuf),
    /// It is something else, and may be dear to somebody.
    #[error(
        "{} is not a cache of rzeo, it begins with {first:?}: give another path, or remove it",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its first bytes, as text.
        first: String,
    },
    /// The operating system says no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct CacheFile {
    path: PathBuf,
    file: File,
    len: u64,
    /// A chunk is missing: nothing may come behind the gap.
    is_broken: bool,
    /// Bytes that came to the journal since a rewrite failed, or the file broke.
    since_failure: Option<u64>,
    _lock: File,
}

impl CacheFile {
    /// Opens the file, or makes it, and reads the cache that is in it. The end of the file is cut off if
    /// it cannot be believed; a file of ours that cannot be read at all is moved aside.
    ///
    /// What comes to the cache's journal from then on has to be given to [`Self::append`], all of it
    /// and in order.
    ///
    /// # Errors
    /// See [`CacheFileError`]. The file is as it was then.
    pub fn open(path: &Path, bytes_max: usize) -> Result<(Self, Cache), CacheFileError> {
        let lock = lock(path)?;
        remove_if_there(&beside(path, ".tmp"))?;
        let mut file = open(path)?;
        let (mut cache, good) = read(&mut file, path, bytes_max)?;
        let len = doing("look at", path, file.metadata())?.len();
        if good == 0 && len > 0 {
            let bad = beside(path, ".bad");
            judge(&mut file, path, len)?;
            tracing::warn!("the cache {} is damaged, see {}", path.display(), bad.display());
            doing("move aside", path, std::fs::rename(path, &bad))?;
            file = open(path)?;
        } else if good < len {
            tracing::info!("the cache {} ends with {} bad bytes", path.display(), len - good);
            doing("cut the end off", path, file.set_len(good))?;
        }
        doing("read", path, file.seek(SeekFrom::Start(good)))?;
        cache.keep_journal();
        let path = path.to_owned();
        let (is_broken, since_failure) = (false, None);
        Ok((Self { path, file, len: good, is_broken, since_failure, _lock: lock }, cache))
    }

    /// Appends what has come to the journal.
    ///
    /// # Errors
    /// If it could not be written. The following chunks are dropped then, without an error.
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

    /// Whether the file should be written anew, for a cache with these figures: it is much longer than
    /// it needs to be, or broken.
    #[must_use]
    pub fn wants_rewrite(&self, cache: &Statistics) -> bool {
        let bytes = u64::try_from(cache.bytes).expect("64 bits are enough");
        let is_due = self.is_broken || self.len > bytes.saturating_mul(2).saturating_add(SLACK);
        is_due && self.since_failure.is_none_or(|bytes| bytes > SLACK)
    }

    /// Writes the file anew. What had come to the journal before the snapshot was made must have been
    /// given to [`Self::append`]; what comes later, follows.
    ///
    /// # Errors
    /// If it could not be written. What is there goes on, and [`Self::wants_rewrite`] again after a
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
                // What is left of it is removed by the next try, or the next opening.
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

/// Opens a file to read and write, and makes it, for nobody else's eyes, if there is none.
fn open(path: &Path) -> Result<File, CacheFileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    doing("open", path, options.open(path))
}

/// -> a cache, and how many bytes of the file are good
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

/// Whether a file without a good beginning may be moved aside: if it is one of ours that is damaged, or
/// of a version that is not known here.
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

/// Makes a rename last. If this fails, a power cut may bring the old journal back, which was true.
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
