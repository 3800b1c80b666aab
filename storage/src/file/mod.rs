//! FileStorage: a database in one append-only file, as Python's ZODB writes it.
//!
//! ```text
//!   PATH         the log: transactions one after the other (`format`)
//!   PATH.index   where each object's current record is, as of the last close (`index_file`)
//!   PATH.lock    held by the process that may write
//!   PATH.old     the log before the last pack
//!   PATH.spool   for an instant: records of a big transaction that is not voted yet
//!   PATH.trN     what an interrupted write left at the end, cut off when the log was opened
//! ```
//!
//! `recover` opens: it reads the index file, walks whatever was committed since, and decides what
//! to do with an end that does not look right. From then on the index is in memory and everybody
//! shares a `State` behind a read-write lock. A reader holds that lock only while it looks up a
//! position and takes a handle on the file; then it reads without any lock, because what is
//! committed never changes. The writer appends behind everybody's back, and takes the lock to make a
//! commit visible after it is durable. A pack writes a new file and swaps the whole state; those who
//! still read the old file keep it open.

mod commit;
pub(crate) mod format;
pub(crate) mod history;
pub mod index;
pub(crate) mod index_file;
mod iterate;
pub(crate) mod log;
mod pack;
mod read;
pub(crate) mod recover;
mod restore;
mod room;
pub(crate) mod scan;
mod scratch;
mod undo;
mod vote;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::{
    BlobStore, Committed, CurrentRecord, Description, Finishing, HistoryEntry, HistoryShape, Info,
    Load, PackProgress, Patience, PreparedPack, Scratch, Storage, StorageError, TransactionHeader,
    TransactionIterator, TransactionMeta, Vote,
};
use rzeo_core::time::UnixTime;

use self::index::Index;
use self::log::Log;
pub use self::recover::{Cut, IndexUse, Opening};
use self::room::Room;
use self::vote::FileVote;
use crate::blob::{self, Blobs};
use crate::disk::{Disk, RealDisk};

/// How a FileStorage is opened.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Change nothing, take no lock; a writer may be at work at the same time.
    pub read_only: bool,
    /// Start with an empty database, whatever the file and the directory of blobs hold.
    pub create: bool,
    /// Refuse to grow once the file is longer than this.
    pub quota: Option<u64>,
    /// Whether a pack removes unreachable objects too, or only old revisions.
    pub pack_gc: bool,
    /// Whether a pack keeps the previous file as `PATH.old`.
    pub pack_keep_old: bool,
    /// Where blobs are.
    pub blob_dir: Option<PathBuf>,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            create: false,
            quota: None,
            pack_gc: true,
            pack_keep_old: true,
            blob_dir: None,
        }
    }
}

/// A database in a file. See the module's introduction.
pub struct FileStorage {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) options: FileOptions,
    pub(crate) state: Arc<RwLock<State>>,
    /// Held while something is appended to the file or the file is replaced; what it holds is
    /// poisoned when an append could not be taken back.
    pub(crate) append: Arc<Mutex<Append>>,
    pack_flag: pack::PackFlag,
    /// What the last pack has left to be done.
    untidy: Arc<Mutex<Option<pack::Untidy>>>,
    /// The greatest oid in use or handed out.
    last_oid: AtomicU64,
    /// Held while a spool file has a name.
    naming: Mutex<()>,
    room: Arc<Room>,
    pub(crate) blobs: Option<Blobs>,
    opening: Opening,
    lock: Mutex<Option<Box<dyn Send>>>,
}

/// What readers see.
pub(crate) struct State {
    /// The file, up to the end of the last visible commit.
    pub(crate) log: Log,
    /// Where every object's current record is.
    pub(crate) index: Index,
    /// The last visible commit.
    pub(crate) last_tid: Tid,
}

/// What whoever appends to the file needs to know.
#[derive(Debug, Default)]
pub(crate) struct Append {
    /// Why nothing may be appended any more.
    pub(crate) broken: Option<String>,
}

impl FileStorage {
    /// Opens a database, and makes it if there is none and it is to be written.
    ///
    /// # Errors
    /// `Disk` if a file cannot be opened or somebody else has the lock; `Corrupt` if the file is not
    /// a FileStorage, or is damaged in a way that no interrupted write explains: then nothing was
    /// changed.
    pub fn open(
        disk: Arc<dyn Disk>,
        path: impl Into<PathBuf>,
        options: FileOptions,
    ) -> Result<Self, StorageError> {
        let path = path.into();
        let lock = recover::lock(&*disk, &path, &options)?;
        let (state, opening) = recover::open(&*disk, &path, &options)?;
        opening.log(&path);
        let last_oid = state.index.last_oid().unwrap_or_default();
        let blobs = open_blobs(&disk, &options, &state)?;
        Ok(Self {
            disk,
            path,
            options,
            state: Arc::new(RwLock::new(state)),
            append: Arc::default(),
            pack_flag: pack::PackFlag::default(),
            untidy: Arc::default(),
            last_oid: AtomicU64::new(last_oid.0),
            naming: Mutex::default(),
            room: Arc::default(),
            blobs,
            opening,
            lock: Mutex::new(lock),
        })
    }

    /// Opens a database in the operating system's files.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_file(path: impl Into<PathBuf>, options: FileOptions) -> Result<Self, StorageError> {
        let mut options = options;
        if let Some(path) = &mut options.blob_dir
            && let Ok(absolute) = std::path::absolute(&*path)
        {
            // As clients hear of it that share the directory.
            *path = absolute;
        }
        Self::open(Arc::new(RealDisk), path, options)
    }

    /// What was found when the file was opened.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The file's path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The greatest oid in use or handed out.
    #[must_use]
    pub fn last_oid(&self) -> Oid {
        Oid(self.last_oid.load(Ordering::Relaxed))
    }

    /// Sees to it that an oid is not handed out any more.
    pub(crate) fn use_oid(&self, oid: Oid) {
        self.last_oid.fetch_max(oid.0, Ordering::Relaxed);
    }

    /// A handle on what is committed now.
    pub(crate) fn log(&self) -> Log {
        self.state.read().log.clone()
    }

    fn writable(&self) -> Result<(), StorageError> {
        if self.options.read_only { Err(StorageError::ReadOnly) } else { Ok(()) }
    }
}

impl fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStorage").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Opens the blobs, if there are to be any. Those of a database that was to be made anew are removed.
fn open_blobs(
    disk: &Arc<dyn Disk>,
    options: &FileOptions,
    state: &State,
) -> Result<Option<Blobs>, StorageError> {
    let Some(path) = &options.blob_dir else { return Ok(None) };
    if options.create {
        blob::clear(&**disk, path)?;
    }
    let knows = |oid, tid| read::has_revision(state, oid, tid);
    let keep_old = options.pack_keep_old;
    Blobs::open(Arc::clone(disk), path, options.read_only, keep_old, &knows).map(Some)
}

/// What Python's FileStorage provides, in the order of its class.
const INTERFACES: [(&str, &str); 9] = [
    ("ZODB.interfaces", "IBlobStorageRestoreable"),
    ("ZODB.interfaces", "IBlobStorage"),
    ("ZODB.interfaces", "IStorageRestoreable"),
    ("ZODB.interfaces", "IStorageIteration"),
    ("ZODB.interfaces", "IStorageUndoable"),
    ("ZODB.interfaces", "IStorageCurrentRecordIteration"),
    ("ZODB.interfaces", "IExternalGC"),
    ("ZODB.interfaces", "IStorage"),
    ("zope.interface", "Interface"),
];
/// How many of them are only for storages with blobs.
const BLOB_INTERFACES: usize = 2;

impl Storage for FileStorage {
    fn description(&self) -> Description {
        let skipped = if self.blobs.is_some() { 0 } else { BLOB_INTERFACES };
        Description {
            name: self.path.display().to_string(),
            read_only: self.options.read_only,
            supports_undo: true,
            supports_record_iternext: true,
            interfaces: INTERFACES[skipped..].to_vec(),
            history: HistoryShape::FileStorage,
            is_proxy: false,
        }
    }

    fn info(&self) -> Info {
        let state = self.state.read();
        Info { length: state.index.len(), size: state.log.end }
    }

    fn last_tid(&self) -> Tid {
        self.state.read().last_tid
    }

    fn recent(&self, count: usize) -> Result<Option<Vec<(Tid, Vec<Oid>)>>, StorageError> {
        history::recent(&self.log(), count).map(Some)
    }

    fn load_before(&self, oid: Oid, before: Tid, patience: Patience) -> Result<Load, StorageError> {
        read::load_before(self, oid, before, patience)
    }

    fn load_serial(
        &self,
        oid: Oid,
        serial: Tid,
        patience: Patience,
    ) -> Result<Bytes, StorageError> {
        read::load_serial(self, oid, serial, patience)
    }

    fn current_serial(&self, oid: Oid, patience: Patience) -> Result<Tid, StorageError> {
        read::current_serial(self, oid, patience)
    }

    fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, StorageError> {
        history::history(self, oid, size)
    }

    fn next_record(&self, from: Oid) -> Result<CurrentRecord, StorageError> {
        read::next_record(self, from)
    }

    fn new_oids(&self, count: usize, _: Patience) -> Result<Vec<Oid>, StorageError> {
        self.writable()?;
        let count = count as u64;
        let last = self
            .last_oid
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| last.checked_add(count))
            .map_err(|_| StorageError::Broken("there are no oids left".to_owned()))?;
        Ok((1..=count).map(|n| Oid(last + n)).collect())
    }

    fn undo_log(
        &self,
        visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        if self.pack_flag.is_set() {
            return Err(StorageError::Undo {
                reason: "Undo is currently disabled for database maintenance.<p>".to_owned(),
                oid: None,
            });
        }
        history::undo_log(&self.log(), visit)
    }

    fn iterate(
        &self,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Box<dyn TransactionIterator>, StorageError> {
        Ok(Box::new(iterate::Transactions::new(self.log(), start, stop)?))
    }

    fn begin_vote<'a>(
        &'a self,
        meta: &TransactionMeta,
        patience: Patience,
    ) -> Result<Box<dyn Vote + 'a>, StorageError> {
        self.writable()?;
        Ok(Box::new(FileVote::new(self, meta, patience)?))
    }

    fn commit(&self, group: Vec<Finishing>) -> Result<Vec<Committed>, StorageError> {
        self.writable()?;
        commit::commit(self, group)
    }

    fn pack(&self, time: UnixTime) -> Result<Option<Box<dyn PreparedPack>>, StorageError> {
        self.writable()?;
        pack::pack(self, Tid::from_unix(time))
    }

    fn blobs(&self) -> Option<&dyn BlobStore> {
        self.blobs.as_ref().map(|blobs| blobs as _)
    }

    fn scratch(&self) -> Result<Option<Arc<dyn Scratch>>, StorageError> {
        self.writable()?;
        self.new_scratch().map(Some)
    }

    fn clean_up_due(&self) -> bool {
        self.untidy.lock().is_some()
    }

    fn clean_up(&self) -> Result<(), StorageError> {
        pack::clean_up(self)
    }

    fn pack_progress(&self) -> Option<PackProgress> {
        self.pack_flag.progress()
    }

    fn broken(&self) -> Option<String> {
        // While something is appended it is not.
        self.append.try_lock().and_then(|append| append.broken.clone())
    }

    fn close(&self) -> Result<(), StorageError> {
        let mut append = self.append.lock();
        let saved = if self.options.read_only || append.broken.is_some() {
            Ok(())
        } else {
            let state = self.state.read();
            self.room.release(&state.log);
            index_file::save(&*self.disk, &self.path, state.log.end, &state.index)
        };
        if let Some(blobs) = &self.blobs {
            blobs.close();
        }
        // A pack that is still going on must not replace a file that another process has by then.
        append.broken.get_or_insert_with(|| "it was closed".to_owned());
        // Only now may another process open the file.
        drop(self.lock.lock().take());
        saved
    }
}
