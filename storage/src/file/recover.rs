//! Opening: reads the index of a file in any state, or refuses a damaged file.
//!
//! The index file has the positions as of the last close; the transactions committed since are
//! scanned one by one. The scan ends at the end of the file, or at bytes that are not a committed
//! transaction. These are one of two things.
//!
//! **What an interrupted write leaves.** The writer appends a group of transactions, each with the
//! status `c` and a length in its header that spans from there to the end of the group; syncs;
//! rewrites each header's length and status (which lie within one sector, except in the last of a
//! group, where only the one status byte changes); syncs again; and only then reports the commit.
//! Python's writer does the same with one transaction and one sync. So after a crash there may be,
//! behind the last committed transaction:
//!
//! - a `c` transaction whose span reaches the end of the file, whatever is inside;
//! - or bytes that are not a transaction: a truncated one, zeros, or the end of a group whose
//!   beginning was lost. They contain no finished transaction.
//!
//! These bytes are saved as `PATH.trN`, then cut off.
//!
//! **What it does not leave** is a committed transaction behind something unreadable, or a
//! committed transaction that contradicts itself. That is damage, and cutting there would lose
//! acknowledged commits. The storage does not open, reports the position, and changes nothing.
//!
//! The last tid is always that of the last transaction *accepted*, never of one that was cut.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rzeo_core::Tid;
use rzeo_core::storage::{Patience, StorageError};

use super::format::{FIRST, MAGIC, MAGIC_PYTHON_2, Status, TransactionHead};
use super::index::Index;
use super::index_file::{self, Unusable, directory_of, with_suffix};
use super::log::{DataFile, Log, RecordReader};
use super::options::FileOptions;
use super::scan::{self, Flaw, FlawKind, ScannedRecord, Window};
use super::scratch;
use super::state::VisibleState;
use crate::blob::holds_blobs;
use crate::disk::{Access, Disk, DiskFile, failed, remove_if_there};

/// Minimum position up to which an index must be good to be used, as in Python.
const INDEXED_MIN: u64 = 100;
/// Number of records that an index is checked against.
const INDEX_PROBES: usize = 5;
/// Number of objects of an index that are looked up.
const INDEX_SAMPLES: u64 = 100;
/// Maximum number of warnings kept.
const WARNINGS_MAX: usize = 100;
/// Bytes of a tail copied at once.
const COPY_BYTES: usize = 1 << 20;

/// The findings when a file was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Whether the index file was used.
    pub index: IndexUse,
    /// The interrupted write at the end of the file, if there was one.
    pub cut: Option<Cut>,
    /// Harmless irregularities.
    pub warnings: Vec<String>,
}

/// Whether an index file was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexUse {
    /// The index file was used: the part of the data file before `end` was not read.
    Used {
        /// Position up to which the index file is good.
        end: u64,
    },
    /// There was no index file.
    Missing,
    /// The index file was not used, for this reason.
    Ignored(String),
}

/// An interrupted write at the end of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its position, where the file now ends unless it was opened read-only.
    pub position: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The flaw at its beginning.
    pub what: &'static str,
    /// The file that its bytes were saved in; `None` when opened read-only.
    pub saved: Option<PathBuf>,
}

impl Opening {
    pub(super) fn log(&self, path: &Path) {
        let file = path.display();
        for warning in &self.warnings {
            tracing::warn!(%file, "{warning}");
        }
        if let Some(Cut { position, bytes, what, saved }) = &self.cut {
            let saved = saved.as_deref().map(Path::display);
            let saved =
                saved.map_or_else(|| "not changed".to_owned(), |to| format!("saved as {to}"));
            tracing::warn!(%file, "{what}: {bytes} bytes from {position} on are ignored, {saved}");
        }
    }
}

/// Takes the writer's lock.
pub(super) fn lock(
    disk: &dyn Disk,
    path: &Path,
    options: &FileOptions,
) -> Result<Option<Box<dyn Send>>, StorageError> {
    if options.read_only {
        return Ok(None);
    }
    let lock = with_suffix(path, ".lock");
    match disk.lock(&lock) {
        Ok(held) => Ok(Some(held)),
        Err(error) => Err(StorageError::Disk {
            doing: format!("lock {}", lock.display()),
            text: match error.kind() {
                io::ErrorKind::WouldBlock => "another process has the database open for writing; stop it or open the database read-only".to_owned(),
                _ => error.to_string(),
            },
            code: error.raw_os_error(),
        }),
    }
}

/// Opens the data file, and cuts off an interrupted write.
pub(super) fn open(
    disk: &dyn Disk,
    path: &Path,
    options: &FileOptions,
) -> Result<(VisibleState, Opening), StorageError> {
    let file = open_file(disk, path, options)?;
    let len = file.disk_file.len().map_err(|error| failed(|| file.doing("measure"), &error))?;
    let log = Log { file, end: len };
    check_magic(&log)?;

    let mut recovery = Recovery::new(log.clone());
    let mut index = recovery.take_index(index_file::load(disk, path, len))?;
    let mut flaw = recovery.go_on()?;
    if recovery.contradicted && matches!(index, IndexUse::Used { .. }) {
        recovery = Recovery::new(log);
        index = recovery.ignored("it contradicts a transaction committed after it");
        flaw = recovery.go_on()?;
    }
    let mut state = recovery.state;
    let mut opening = Opening { index, cut: None, warnings: recovery.warnings };
    if let Some(flaw) = flaw {
        opening.cut = Some(cut(disk, path, &mut state.log, recovery.at, flaw, options.read_only)?);
    }
    let end = state.log.end;
    // A saved index covers only durable transactions.
    let is_durable = matches!(opening.index, IndexUse::Used { end: covered } if covered == end);
    if !options.read_only && !is_durable && end > FIRST {
        // The process that wrote the rest may have been killed, or its sync may have failed, before
        // it was durable. From now on it is visible, so a power cut must not lose it.
        let file = &state.log.file;
        file.disk_file.sync().map_err(|error| failed(|| file.doing("sync"), &error))?;
    }
    if !options.read_only && !matches!(opening.index, IndexUse::Used { .. }) {
        // If saving fails, only the next start is slower. But an index that was rejected now must
        // not remain until the file has grown past its end.
        if let Err(error) = index_file::save(disk, path, end, &state.index) {
            opening.warnings.push(error.to_string());
            if let Err(error) = index_file::discard(disk, path) {
                opening.warnings.push(error.to_string());
            }
        }
    }
    if !options.read_only && end > FIRST {
        remove_leftover(disk, path, &mut opening);
    }
    Ok((state, opening))
}

/// Removes files of a process that was killed: a pack's new file may be as large as the database.
fn remove_leftover(disk: &dyn Disk, path: &Path, opening: &mut Opening) {
    for suffix in [".pack", scratch::SUFFIX] {
        let leftover = with_suffix(path, suffix);
        if let Err(error) = remove_if_there(disk, &leftover) {
            opening.warnings.push(format!("{} cannot be removed: {error}", leftover.display()));
        }
    }
}

/// Opens the data file, or creates it.
fn open_file(
    disk: &dyn Disk,
    path: &Path,
    options: &FileOptions,
) -> Result<Arc<DataFile>, StorageError> {
    let name = path.display().to_string();
    let fail = |error: io::Error| failed(|| format!("open {name}"), &error);
    if options.read_only {
        if options.create {
            return Err(StorageError::ReadOnly);
        }
        let disk_file = disk.open(path, Access::Read).map_err(fail)?;
        return Ok(Arc::new(DataFile { disk_file, name }));
    }
    let old = match disk.open(path, Access::ReadWrite) {
        Ok(file) if !options.create && !file.is_empty().map_err(fail)? => Some(file),
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fail(error)),
    };
    let disk_file = match old {
        Some(file) => file,
        None => {
            refuse_to_create(disk, path, options)?;
            create_file(disk, path).map_err(fail)?
        }
    };
    Ok(Arc::new(DataFile { disk_file, name }))
}

/// Fails if other files show that a database existed under this name.
fn refuse_to_create(
    disk: &dyn Disk,
    path: &Path,
    options: &FileOptions,
) -> Result<(), StorageError> {
    let refuse = |text: String| {
        let doing = format!("create {}", path.display());
        Err(StorageError::Disk { doing, text, code: None })
    };
    let check = |checked: io::Result<bool>| {
        checked.map_err(|error| {
            failed(|| format!("look for other files of {}", path.display()), &error)
        })
    };
    // `create` removes the blobs of the old database, too.
    if let Some(blobs) = options.blob_dir.as_ref().filter(|_| !options.create)
        && check(holds_blobs(disk, blobs))?
    {
        let blobs = blobs.display();
        return refuse(format!(
            "{blobs} holds blobs; they belong to a database whose data file is missing"
        ));
    }
    // Python's pack renames two files, and may have been interrupted in between.
    let (old, new) = (with_suffix(path, ".old"), with_suffix(path, ".pack"));
    let missing = !check(disk.exists(path))?;
    if missing && check(disk.exists(&old))? && check(disk.exists(&new))? {
        let old = old.display();
        return refuse(format!("a pack was interrupted; {old} is the database as it was before"));
    }
    Ok(())
}

/// Creates an empty database.
fn create_file(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    // An index of a removed file would be accepted once the new file has grown.
    remove_if_there(disk, &index_file::path_of(path))?;
    let file = disk.open(path, Access::Create)?;
    file.write_at(&[&MAGIC], 0)?;
    file.sync()?;
    disk.sync_directory(directory_of(path))?;
    Ok(file)
}

pub(crate) fn check_magic(log: &Log) -> Result<(), StorageError> {
    let mut magic = [0; MAGIC.len()];
    let filled = log.fill(&mut magic, 0, Patience::Wait)?;
    match &magic[..filled] {
        magic if magic == MAGIC => Ok(()),
        magic if magic == MAGIC_PYTHON_2 => {
            Err(log.file.corrupt(0, "it was written by Python 2; convert it with zodbupdate"))
        }
        _ => Err(log.file.corrupt(0, "it is not a FileStorage: it does not start with FS30")),
    }
}

/// The state of an opening: everything read from the file so far.
struct Recovery {
    state: VisibleState,
    at: u64,
    warnings: Vec<String>,
    /// Whether a record names another predecessor than the index has.
    contradicted: bool,
}

impl Recovery {
    fn new(log: Log) -> Self {
        let state = VisibleState { log, index: Index::new(), last_tid: Tid::ZERO };
        Self { state, at: FIRST, warnings: Vec::new(), contradicted: false }
    }

    /// Starts with the index file if it fits the data file.
    fn take_index(
        &mut self,
        loaded: Result<(u64, Index), Unusable>,
    ) -> Result<IndexUse, StorageError> {
        let (end, index) = match loaded {
            Ok(loaded) => loaded,
            Err(Unusable::Missing) => return Ok(IndexUse::Missing),
            Err(reason) => return Ok(self.ignored(&reason.to_string())),
        };
        // A database that was closed while it was empty has an index without objects, which is no fault.
        if end == FIRST && self.state.log.end == FIRST && index.is_empty() {
            return Ok(IndexUse::Missing);
        }
        match trusted(&self.state.log, end, &index)? {
            None => Ok(self.ignored("it does not fit the data file")),
            Some(last_tid) => {
                self.state.index = index;
                self.state.last_tid = last_tid;
                self.at = end;
                Ok(IndexUse::Used { end })
            }
        }
    }

    fn ignored(&mut self, reason: &str) -> IndexUse {
        self.warn(|| format!("the index file is ignored: {reason}"));
        IndexUse::Ignored(reason.to_owned())
    }

    /// Scans until the end of the file or a flaw.
    fn go_on(&mut self) -> Result<Option<Flaw>, StorageError> {
        let mut window = Window::new(self.state.log.clone());
        let mut records = Vec::new();
        while self.at < self.state.log.end {
            match scan::check(&mut window, self.at, &mut records)? {
                Ok(head) => self.accept(head, &records),
                Err(flaw) => {
                    refuse_damage(&mut window, self.at, flaw)?;
                    return Ok(Some(flaw));
                }
            }
        }
        Ok(None)
    }

    fn accept(&mut self, head: TransactionHead, records: &[ScannedRecord]) {
        let at = self.at;
        if head.tid <= self.state.last_tid {
            self.warn(|| format!("the transaction at {at} is not later than the one before it"));
        }
        if !head.status.is_final() && head.status != Status::UNDONE {
            self.warn(|| {
                format!("the transaction at {at} has the unknown status {}", head.status.0)
            });
        }
        let index = &self.state.index;
        self.contradicted |= (records.iter())
            .any(|record| record.prev != 0 && index.position(record.oid) != Some(record.prev));
        for record in records {
            self.state.index.insert(record.oid, record.at);
        }
        self.state.last_tid = head.tid;
        self.at = head.end(at).expect("the scan found the transaction within the file");
    }

    fn warn(&mut self, text: impl FnOnce() -> String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(text());
        }
    }
}

/// Whether an index, good up to `end`, fits the file: the records of the last transaction with
/// records must be where the index says. Returns the last transaction's tid.
fn trusted(log: &Log, end: u64, index: &Index) -> Result<Option<Tid>, StorageError> {
    if end < INDEXED_MIN || end > log.end {
        return Ok(None);
    }
    let log = Log { file: log.file.clone(), end };
    let mut window = Window::new(log.clone());
    let mut records = Vec::new();
    let mut last_tid = None;
    let mut at = end;
    loop {
        let head = match log.transaction_before(at) {
            Ok(Some((start, head))) => {
                at = start;
                head
            }
            Ok(None) | Err(StorageError::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let last_tid = *last_tid.get_or_insert(head.tid);
        if scan::check(&mut window, at, &mut records)?.is_err() {
            return Ok(None);
        }
        if !head.status.is_final() && head.status != Status::UNDONE {
            return Ok(None);
        }
        if !records.is_empty() {
            // An object may have several records in one transaction; the last one counts.
            let end = head.end(at).expect("the scan found the transaction within the file");
            let fits = (records.iter().take(INDEX_PROBES)).all(|record| {
                index.position(record.oid).is_some_and(|at| (record.at..end).contains(&at))
            });
            return Ok((fits && sample_fits(&log, index)?).then_some(last_tid));
        }
    }
}

/// Whether a sample of the index's positions has records of its objects. The index of another file
/// (the one before a pack, or before a backup was put back) may fit at its end by chance, where
/// transactions are similar.
fn sample_fits(log: &Log, index: &Index) -> Result<bool, StorageError> {
    let distance = usize::try_from(index.len() / INDEX_SAMPLES + 1).unwrap_or(usize::MAX);
    for (oid, at) in index.iter().step_by(distance) {
        match RecordReader::new(log, oid, at, Patience::Wait) {
            Ok(_) => {}
            Err(StorageError::Corrupt { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Fails unless the flawed end of the file can be an interrupted write.
fn refuse_damage(window: &mut Window, at: u64, flaw: Flaw) -> Result<(), StorageError> {
    const ADVICE: &str = "nothing was changed; restore a backup, or copy everything readable with \
                          rzeo repair";
    let log = window.log().clone();
    let refuse = |what: String| {
        Err(StorageError::Corrupt {
            file: log.file.name.clone(),
            position: flaw.at,
            what: format!("{what}; {ADVICE}"),
        })
    };
    match flaw.kind {
        FlawKind::Wrong => return refuse(flaw.what.to_owned()),
        FlawKind::Stub => return Ok(()),
        FlawKind::Voted { end } if end == log.end => return Ok(()),
        FlawKind::Voted { .. } | FlawKind::PassesEnd | FlawKind::Unwritten => {}
    }
    if scan::complete_but_for_length(window, at)? {
        return refuse("a transaction is complete but its length is wrong".to_owned());
    }
    match scan::find_committed(&log, at + 1)? {
        Some(later) => refuse(format!("{}, but another is complete at {later}", flaw.what)),
        None => Ok(()),
    }
}

/// Saves the end of the file and cuts it off; a read-only opening only ignores it.
fn cut(
    disk: &dyn Disk,
    path: &Path,
    log: &mut Log,
    position: u64,
    flaw: Flaw,
    read_only: bool,
) -> Result<Cut, StorageError> {
    let bytes = log.end - position;
    let mut cut = Cut { position, bytes, what: flaw.what, saved: None };
    if !read_only {
        let saved = save_tail(disk, path, log, position)
            .map_err(|error| failed(|| log.file.doing("save the end of"), &error))?;
        cut.saved = Some(saved);
        (log.file.disk_file.set_len(position))
            .and_then(|()| log.file.disk_file.sync())
            .map_err(|error| failed(|| log.file.doing("cut the end of"), &error))?;
    }
    log.end = position;
    Ok(cut)
}

/// Copies the log, starting at a position, to the first free `PATH.trN`.
fn save_tail(disk: &dyn Disk, path: &Path, log: &Log, from: u64) -> io::Result<PathBuf> {
    let mut number = 0_u64;
    let saved = loop {
        let saved = with_suffix(path, &format!(".tr{number}"));
        if !disk.exists(&saved)? {
            break saved;
        }
        number += 1;
    };
    let copied = copy_tail(disk, &saved, log, from);
    if let Err(error) = copied.and_then(|()| disk.sync_directory(directory_of(path))) {
        // Otherwise a server that restarts repeatedly would leave an incomplete file each time.
        let _ = disk.remove(&saved);
        return Err(error);
    }
    Ok(saved)
}

fn copy_tail(disk: &dyn Disk, to: &Path, log: &Log, from: u64) -> io::Result<()> {
    let copy = disk.open(to, Access::Create)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = from;
    loop {
        let filled = log.file.disk_file.read_at(&mut buffer, at)?;
        if filled == 0 {
            return copy.sync();
        }
        copy.write_at(&[&buffer[..filled]], at - from)?;
        at += filled as u64;
    }
}
