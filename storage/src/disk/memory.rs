//! A disk in memory that fails calls on request and computes the state after a crash.
//!
//! Besides the content of its files it records what was not synced yet: the writes to each file,
//! cut at sector boundaries, and the changes of names in order. [`MemoryDisk::crash`] makes a disk
//! as a power cut can leave it; the caller decides which pieces survive.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::{Access, Disk, DiskFile, FileKind, Metadata, SECTOR_BYTES};

/// A disk in memory; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<DiskState>>);

/// The error that a failing call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ENOSPC`.
    NoSpace,
    /// `EIO`.
    Broken,
}

#[derive(Debug, Default)]
struct DiskState {
    names: Names,
    durable_names: Names,
    changes: Vec<NameChange>,
    locked: BTreeSet<PathBuf>,
    /// Directories that were ever synced. The names that these syncs made durable are in
    /// `durable_names`.
    synced: BTreeSet<PathBuf>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    uncached: bool,
}

#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    directories: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
enum NameChange {
    MakeDirectory(PathBuf),
    RemoveDirectory(PathBuf),
    Create(PathBuf, Arc<Mutex<Content>>),
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Clone, Debug)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pieces: Vec<Piece>,
    /// Permissions; changes are durable at once.
    mode: u32,
}

#[derive(Clone, Debug)]
enum Piece {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// Decides what survives a crash; see [`MemoryDisk::crash`].
pub trait Survival {
    /// Whether the next change of a name survives. After the first one that does not, none does.
    fn name_change(&mut self) -> bool;
    /// Whether this piece of a write, or change of length, survives.
    fn piece(&mut self, path: &Path) -> bool;
}

/// Everything that was not synced is lost.
#[derive(Clone, Copy, Debug)]
pub struct OnlySynced;

impl Survival for OnlySynced {
    fn name_change(&mut self) -> bool {
        false
    }

    fn piece(&mut self, _: &Path) -> bool {
        false
    }
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a file and its parent directories, durable at once.
    pub fn put(&self, path: impl Into<PathBuf>, bytes: &[u8]) {
        let path = path.into();
        let content =
            Content { bytes: bytes.to_vec(), durable: bytes.to_vec(), ..Content::new(0o644) };
        let content = Arc::new(Mutex::new(content));
        let mut state = self.0.lock();
        let DiskState { names, durable_names, .. } = &mut *state;
        for names in [names, durable_names] {
            names.directories.extend(path.ancestors().skip(1).map(Path::to_owned));
            names.files.insert(path.clone(), content.clone());
        }
    }

    /// The content of a file, unsynced writes included; `None` if it does not exist.
    #[must_use]
    pub fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.with_bytes(path, <[u8]>::to_vec)
    }

    /// Calls `see` with the content of a file, without copying it.
    pub fn with_bytes<T>(&self, path: impl AsRef<Path>, see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let content = self.0.lock().names.files.get(path.as_ref())?.clone();
        let content = content.lock();
        Some(see(&content.bytes))
    }

    /// The names of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().names.files.keys().cloned().collect()
    }

    /// Number of calls so far that changed the disk or tried to.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// Whether a directory was ever synced. In this model a sync of one directory makes the names
    /// in all of them durable, so tests use this to check that each directory is synced.
    #[must_use]
    pub fn has_synced(&self, directory: &Path) -> bool {
        self.0.lock().synced.contains(directory)
    }

    /// Makes the call number `nth` (counted by [`Self::calls`], from 0) fail once. A write that
    /// fails has written its first half.
    pub fn fail_call(&self, nth: u64, fault: Fault) {
        self.0.lock().fault = Some((nth, fault));
    }

    /// Sets whether the page cache is empty or holds everything: see [`DiskFile::try_read_at`].
    pub fn set_uncached(&self, uncached: bool) {
        self.0.lock().uncached = uncached;
    }

    /// A copy of the disk as it is if the process is killed now: all writes are present, and
    /// unsynced ones stay unsynced. This disk does not change.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.0.lock();
        // Hard links share one content, in the copy too.
        let mut copies = BTreeMap::new();
        let mut copy = |content: &Arc<Mutex<Content>>| {
            let copied = || Arc::new(Mutex::new(content.lock().clone()));
            copies.entry(Arc::as_ptr(content).addr()).or_insert_with(copied).clone()
        };
        let changes = state.changes.iter().map(|change| match change {
            NameChange::Create(path, content) => NameChange::Create(path.clone(), copy(content)),
            change => change.clone(),
        });
        let forked = DiskState {
            changes: changes.collect(),
            names: state.names.copied(&mut copy),
            durable_names: state.durable_names.copied(&mut copy),
            calls: state.calls,
            ..DiskState::default()
        };
        Self(Arc::new(Mutex::new(forked)))
    }

    /// A copy of the disk as it is after a power cut now: everything synced, and of the rest what
    /// `survival` keeps. This disk does not change.
    #[must_use]
    pub fn crash(&self, survival: &mut dyn Survival) -> Self {
        let state = self.0.lock();
        let mut names = state.durable_names.clone();
        for change in &state.changes {
            if !survival.name_change() {
                break;
            }
            change.apply(&mut names);
        }
        let mut after = DiskState::default();
        after.names.directories = names.directories;
        for (path, content) in names.files {
            let bytes = content.lock().crash(&path, survival);
            let mode = content.lock().mode;
            let content = Content { durable: bytes.clone(), bytes, ..Content::new(mode) };
            after.names.files.insert(path, Arc::new(Mutex::new(content)));
        }
        after.durable_names = after.names.clone();
        Self(Arc::new(Mutex::new(after)))
    }
}

impl DiskState {
    /// Counts a call that changes the disk; fails if the call was set to fail.
    fn call(&mut self) -> io::Result<()> {
        let number = self.calls;
        self.calls += 1;
        match self.fault {
            Some((nth, fault)) if nth == number => {
                self.fault = None;
                Err(fault.error())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::NoSpace => Errno::NOSPC.into(),
            Self::Broken => Errno::IO.into(),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::MakeDirectory(path) => _ = names.directories.insert(path.clone()),
            Self::RemoveDirectory(path) => _ = names.directories.remove(path),
            Self::Create(path, content) => _ = names.files.insert(path.clone(), content.clone()),
            Self::Remove(path) => _ = names.files.remove(path),
            Self::Link(from, to) => {
                if let Some(content) = names.files.get(from).cloned() {
                    names.files.insert(to.clone(), content);
                }
            }
            Self::Rename(from, to) => names.rename(from, to),
        }
    }
}

impl Names {
    fn copied(&self, copy: &mut impl FnMut(&Arc<Mutex<Content>>) -> Arc<Mutex<Content>>) -> Self {
        let files = self.files.iter().map(|(path, content)| (path.clone(), copy(content)));
        Self { files: files.collect(), directories: self.directories.clone() }
    }

    fn has(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.directories.contains(path)
    }

    /// The entries directly in a directory.
    fn inside<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        let inside = move |path: &&PathBuf| path.parent() == Some(directory);
        self.files.keys().chain(&self.directories).filter(inside)
    }

    /// Fails if the parent directory of a path does not exist.
    fn takes(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        // The root and the working directory always exist.
        if parent.parent().is_none() || self.directories.contains(parent) {
            return Ok(());
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Renaming a directory moves everything in it.
    fn rename(&mut self, from: &Path, to: &Path) {
        let moved = |path: &Path| match path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
            Ok(rest) => to.join(rest),
            Err(_) => path.to_owned(),
        };
        self.files.remove(to);
        self.files = std::mem::take(&mut self.files)
            .into_iter()
            .map(|(path, content)| (moved(&path), content))
            .collect();
        self.directories =
            std::mem::take(&mut self.directories).iter().map(|path| moved(path)).collect();
    }
}

impl Content {
    fn new(mode: u32) -> Self {
        Self { bytes: vec![], durable: vec![], pieces: vec![], mode }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut at = at;
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = SECTOR_BYTES - at % SECTOR_BYTES;
            let len = usize::try_from(room).expect("a sector is small").min(rest.len());
            let (now, later) = rest.split_at(len);
            let piece = Piece::Bytes(usize::try_from(at).expect("it is in memory"), now.to_vec());
            piece.apply(&mut self.bytes);
            self.pieces.push(piece);
            at += len as u64;
            rest = later;
        }
    }

    fn set_len(&mut self, len: u64) {
        let piece = Piece::Length(usize::try_from(len).expect("it is in memory"));
        piece.apply(&mut self.bytes);
        self.pieces.push(piece);
    }

    fn crash(&self, path: &Path, survival: &mut dyn Survival) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for piece in &self.pieces {
            if survival.piece(path) {
                piece.apply(&mut bytes);
            }
        }
        bytes
    }
}

impl Piece {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(len) => bytes.resize(*len, 0),
            Self::Bytes(at, piece) => {
                let end = at + piece.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(piece);
            }
        }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        let found = state.names.files.get(path).cloned();
        let content = match (access, found) {
            (Access::Read | Access::ReadWrite | Access::ReadPlain, None) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (Access::Read | Access::ReadWrite | Access::ReadPlain, Some(content)) => content,
            (Access::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Access::Create, Some(content)) => {
                state.call()?;
                content.lock().set_len(0);
                content
            }
            (Access::Create | Access::CreateNew, None) => {
                state.call()?;
                state.names.takes(path)?;
                let mode = if access == Access::Create { 0o644 } else { 0o600 };
                let content = Arc::new(Mutex::new(Content::new(mode)));
                state.change(NameChange::Create(path.to_owned(), content.clone()));
                content
            }
        };
        Ok(Arc::new(MemoryFile { content, state: self.0.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call()?;
        if !state.names.has(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.names.takes(to)?;
        state.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call()?;
        if state.names.has(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.names.files.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.names.takes(to)?;
        state.change(NameChange::Link(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call()?;
        if !state.names.files.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.lock().names.has(path))
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let state = self.0.lock();
        if let Some(content) = state.names.files.get(path) {
            return Ok(Some(Metadata { kind: FileKind::File, mode: content.lock().mode }));
        }
        let directory = Metadata { kind: FileKind::Directory, mode: 0o755 };
        Ok(state.names.directories.contains(path).then_some(directory))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call()?;
        if state.names.inside(path).next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        if !state.names.directories.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(NameChange::RemoveDirectory(path.to_owned()));
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call()?;
        let missing: Vec<_> = (path.ancestors())
            .filter(|above| !state.names.directories.contains(*above))
            .map(Path::to_owned)
            .collect();
        for directory in missing.into_iter().rev() {
            state.change(NameChange::MakeDirectory(directory));
        }
        Ok(())
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let state = self.0.lock();
        let inside: BTreeSet<OsString> = (state.names.inside(directory))
            .filter_map(|path| path.file_name())
            .map(OsString::from)
            .collect();
        if inside.is_empty() && !state.names.directories.contains(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(inside.into_iter().collect())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        // All directories share one journal, as in journaling file systems.
        let mut state = self.0.lock();
        state.call()?;
        state.synced.insert(directory.to_owned());
        state.durable_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let mut state = self.0.lock();
        if !state.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { path: path.to_owned(), state: self.0.clone() }))
    }
}

#[derive(Debug)]
struct MemoryLock {
    path: PathBuf,
    state: Arc<Mutex<DiskState>>,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.state.lock().locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct MemoryFile {
    content: Arc<Mutex<Content>>,
    state: Arc<Mutex<DiskState>>,
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let content = self.content.lock();
        let rest = usize::try_from(at).ok().and_then(|at| content.bytes.get(at..)).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        if self.state.lock().uncached {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(buffer, at)
    }

    fn write_at(&self, slices: &[&[u8]], at: u64) -> io::Result<()> {
        let all = slices.concat();
        if let Err(error) = self.state.lock().call() {
            self.content.lock().write(at, &all[..all.len() / 2]);
            return Err(error);
        }
        self.content.lock().write(at, &all);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state.lock().call()?;
        self.content.lock().set_len(len);
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.state.lock().call()?;
        self.content.lock().mode = mode;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.state.lock().call()?;
        let mut content = self.content.lock();
        content.durable = content.bytes.clone();
        content.pieces.clear();
        Ok(())
    }

    fn reserve(&self, _: u64, _: u64) -> io::Result<()> {
        self.state.lock().call()
    }
}

#[cfg(test)]
mod tests;
