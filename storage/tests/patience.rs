//! A call that must not wait returns the right answer, or `WouldBlock`.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rzeo_core::storage::{Finishing, Load, Patience, Storage, StorageError, TransactionMeta};
use rzeo_core::{Oid, Tid};
use rzeo_storage::FileStorage;
use rzeo_storage::disk::memory::MemoryDisk;
use rzeo_storage::disk::{Access, Disk, DiskFile, Metadata};
use rzeo_storage::file::FileOptions;

/// A disk of whose files only this many bytes from any position on are cached.
#[derive(Clone, Debug)]
struct Forgetful(MemoryDisk, Arc<AtomicUsize>);

#[derive(Debug)]
struct ForgetfulFile(Arc<dyn DiskFile>, Arc<AtomicUsize>);

impl Disk for Forgetful {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ForgetfulFile(self.0.open(path, access)?, self.1.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.0.metadata(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.0.remove_directory(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.0.create_directory(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.0.names(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.0.sync_directory(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        self.0.lock(path)
    }
}

impl DiskFile for ForgetfulFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let len = buffer.len().min(self.1.load(Ordering::Relaxed));
        self.0.read_at(&mut buffer[..len], at)
    }

    fn write_at(&self, slices: &[&[u8]], at: u64) -> io::Result<()> {
        self.0.write_at(slices, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.0.set_mode(mode)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn reserve(&self, from: u64, len: u64) -> io::Result<()> {
        self.0.reserve(from, len)
    }
}

fn open(disk: impl Disk + 'static) -> FileStorage {
    FileStorage::open(Arc::new(disk), "Data.fs", FileOptions::default()).unwrap()
}

/// Commits a record, or a deletion, of object 1.
fn commit(storage: &FileStorage, data: Option<Bytes>) -> Tid {
    let serial = storage.last_tid();
    let tid = serial.next();
    let mut vote = storage.begin_vote(&TransactionMeta::default(), Patience::Wait).unwrap();
    match data {
        Some(data) => vote.store(Oid(1), serial, data.into()).unwrap(),
        None => vote.delete(Oid(1), serial).unwrap(),
    }
    let voted = vote.seal().unwrap();
    storage.commit(vec![Finishing { tid, voted }]).unwrap();
    tid
}

#[test]
fn half_of_it_in_memory_is_no_answer() {
    let cached = Arc::new(AtomicUsize::new(usize::MAX));
    let storage = open(Forgetful(MemoryDisk::new(), cached.clone()));
    let lens = [1, 7, 8, 9, 2000, 2005, 2006, 2007, 2100, 9000];
    let data = lens.map(|len| Some(Bytes::from(vec![b'x'; len])));
    let tids: Vec<_> = data.into_iter().chain([None]).map(|data| commit(&storage, data)).collect();
    let loads = |patience: Patience| {
        let load = |tid: &Tid| {
            let serial = storage.load_serial(Oid(1), *tid, patience);
            (storage.load_before(Oid(1), tid.next(), patience), serial)
        };
        tids.iter().map(load).collect::<Vec<_>>()
    };
    let expected = loads(Patience::Wait);
    for len in (0..100).chain(1990..2110).chain([4096, 8000, 9000, usize::MAX]) {
        cached.store(len, Ordering::Relaxed);
        for (now, wait) in loads(Patience::Now).into_iter().zip(&expected) {
            assert!(now.0 == wait.0 || now.0 == Err(StorageError::WouldBlock), "{len}");
            assert!(now.1 == wait.1 || now.1 == Err(StorageError::WouldBlock), "{len}");
        }
    }
    assert_eq!(loads(Patience::Now), expected);
}

#[test]
fn a_revision_far_back_is_not_searched_for_without_waiting() {
    let storage = open(MemoryDisk::new());
    let data = || Some(Bytes::from_static(b"data"));
    let tids: Vec<_> = (0..1000).map(|_| commit(&storage, data())).collect();
    let load = |tid: Tid, patience| storage.load_before(Oid(1), tid.next(), patience);
    assert!(matches!(load(tids[950], Patience::Now), Ok(Load::Found(_))));
    assert_eq!(load(tids[0], Patience::Now), Err(StorageError::WouldBlock));
    let Ok(Load::Found(found)) = load(tids[0], Patience::Wait) else { panic!("it is there") };
    assert_eq!((found.serial, found.end), (tids[0], Some(tids[1])));
}
