//! The host of a server: a disk, which outlives the server's process, and the storage while it runs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rzeo_core::storage::{Finishing, Patience, Storage as _, TransactionMeta};
use rzeo_core::{Now, Oid, Tid, UnixTime};
use rzeo_storage::FileStorage;
use rzeo_storage::disk::memory::MemoryDisk;
use rzeo_storage::file::{FileOptions, IndexUse};

use crate::application::Shared;
use crate::coverage::Coverage;
use crate::disk_faults::{DiskFault, DiskFaults};
use crate::{file_reader, objects};
use rzeo_fixtures::disk::InterceptedDisk;
use rzeo_fixtures::random::Random;
use rzeo_fixtures::server::{Rig, START_TIME, Setup};

/// Path of the database.
pub(crate) const PATH: &str = "Data.fs";
const BLOBS: &str = "blobs";

/// The host of a server.
pub(crate) struct ServerHost {
    disk: MemoryDisk,
    options: FileOptions,
    faults: DiskFaults,
    storage: Option<Arc<FileStorage>>,
    /// Number of disk calls at the last check.
    seen: u64,
    /// Counts of the faults of earlier disks.
    happened: Coverage,
}

impl ServerHost {
    /// A host with a database, whose server does not run.
    pub(crate) fn new(random: &mut Random) -> Self {
        let disk = MemoryDisk::new();
        let options = FileOptions {
            blob_dir: Some(BLOBS.into()),
            pack_gc: random.below(2) == 0,
            pack_keep_old: random.below(2) == 0,
            ..FileOptions::default()
        };
        let storage = FileStorage::open(Arc::new(disk.clone()), PATH, options.clone());
        make_objects(&storage.expect("a disk in memory takes an empty database"));
        let faults = DiskFaults::new(Random::new(random.next()));
        let happened = Coverage::default();
        Self { disk, options, faults, storage: None, seen: 0, happened }
    }

    pub(crate) const fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// Starts a server, if the disk does not fail.
    pub(crate) fn start(
        &mut self,
        setup: &Setup,
        now: Now,
        random: &mut Random,
        shared: &mut Shared,
    ) -> Option<Rig> {
        self.happened += &self.faults.take_happened();
        self.faults = DiskFaults::new(Random::new(random.next()));
        if random.below(8) == 0 {
            let fault =
                [DiskFault::Kill, DiskFault::PowerCut, DiskFault::FailReads(1)][random.below(3)];
            self.faults.arm(u32::try_from(random.below(12)).unwrap_or_default(), fault);
        }
        let watched = InterceptedDisk::with_interceptor(self.disk.clone(), self.faults.clone());
        let opened = FileStorage::open(Arc::new(watched), PATH, self.options.clone());
        if self.has_crashed() {
            drop(opened);
            self.take_crash_image(shared);
            return None;
        }
        let storage = match opened {
            Ok(storage) => Arc::new(storage),
            Err(error) => {
                let failed = self.faults.take_happened();
                self.happened += &failed;
                assert!(
                    failed.of("reads that failed") > 0,
                    "the database cannot be opened: {error}"
                );
                shared.coverage.count("databases that could not be opened");
                return None;
            }
        };
        self.faults.disarm();
        let opening = storage.opening();
        let is_used = matches!(opening.index, IndexUse::Used { .. });
        shared.coverage.add("index files that were used", u64::from(is_used));
        shared.coverage.add("databases with a truncated end", u64::from(opening.cut.is_some()));
        shared.coverage.count("databases that were opened");
        let last_tid = storage.last_tid();
        let read = |file: &[u8]| shared.oracle.read_all(file, last_tid);
        self.disk.with_bytes(PATH, read).expect("there is a database");
        self.compare_blobs(shared);
        self.seen = self.disk.calls();
        let mut rig = Rig::new(setup, storage.clone());
        rig.now = now;
        self.storage = Some(storage);
        Some(rig)
    }

    /// Checks that every blob's record has its file, and every file its record.
    fn compare_blobs(&self, shared: &mut Shared) {
        let known = shared.oracle.blobs();
        let mut found = BTreeSet::new();
        let is_blob = |path: &PathBuf| path.starts_with(BLOBS) && path.extension().is_some();
        for path in self.disk.paths().into_iter().filter(is_blob) {
            let tid = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix("0x"));
            let Some(tid) = tid.and_then(|tid| u64::from_str_radix(tid, 16).ok()) else { continue };
            // A commit in these worlds has at most one blob.
            let revision = known.range(..).find(|((_, known), _)| *known == Tid(tid));
            let (revision, bytes) =
                revision.unwrap_or_else(|| panic!("no record has the blob {path:?}"));
            self.disk.with_bytes(&path, |file| assert_eq!(file, bytes, "{path:?}"));
            found.insert(*revision);
        }
        for (oid, tid) in known.keys() {
            let is_there = found.contains(&(*oid, *tid));
            assert!(
                is_there || shared.oracle.may_be_packed(*oid, tid.next()),
                "the blob of {oid} {tid}"
            );
            shared.coverage.count("blob files looked for");
        }
    }

    /// Shows the oracle the commits that the server has written.
    pub(crate) fn read_new(&mut self, shared: &mut Shared) {
        let Some(storage) = &self.storage else { return };
        if self.disk.calls() != std::mem::replace(&mut self.seen, self.disk.calls()) {
            let last_tid = storage.last_tid();
            let read = |file: &[u8]| shared.oracle.read_new(file, last_tid);
            self.disk.with_bytes(PATH, read).expect("there is a database");
        }
    }

    /// Whether the server refuses all commits until it is restarted.
    pub(crate) fn is_broken(&self) -> bool {
        self.storage.as_ref().is_some_and(|storage| storage.broken().is_some())
    }

    pub(crate) fn arm(&self, after: u32, fault: DiskFault) {
        self.faults.arm(after, fault);
    }

    pub(crate) fn disarm(&self) {
        self.faults.disarm();
    }

    /// Kills the server, or cuts the power, now.
    pub(crate) fn kill(&self, random: &mut Random) {
        let fault = [DiskFault::Kill, DiskFault::PowerCut][random.below(2)];
        if self.storage.is_some() {
            self.faults.inject(fault, &self.disk);
        }
    }

    /// Whether the server's process has crashed.
    pub(crate) fn has_crashed(&self) -> bool {
        self.faults.image().is_some()
    }

    /// Replaces the disk by the one that the crash left, and checks with a second reader that no acknowledged
    /// commit is lost.
    pub(crate) fn take_crash_image(&mut self, shared: &mut Shared) {
        let image = self.faults.image().expect("the server has crashed");
        self.happened += &self.faults.take_happened();
        self.storage = None;
        self.disk = image;
        let file = self.disk.bytes(PATH).expect("a database does not vanish");
        shared.oracle.compare(&file_reader::commits(&file));
        let is_packing = self.disk.paths().iter().any(|path| path.ends_with("Data.fs.pack"));
        shared.coverage.add("crashes in the middle of a pack", u64::from(is_packing));
        self.faults = DiskFaults::new(Random::new(0));
    }

    /// Stops the server cleanly, unless a fault crashes it.
    pub(crate) fn stop(&mut self, shared: &mut Shared) {
        if let Some(storage) = self.storage.take() {
            // The next opening does not need what a close writes, so a close may fail.
            let _ = storage.close();
            drop(storage);
        }
        if self.has_crashed() {
            self.take_crash_image(shared);
        }
    }

    pub(crate) fn take_happened(&mut self) -> Coverage {
        let mut happened = std::mem::take(&mut self.happened);
        happened += &self.faults.take_happened();
        happened
    }
}

/// The tid of the first commit of a world.
pub(crate) fn first_tid() -> Tid {
    Tid::from_unix(UnixTime(START_TIME - 1.0))
}

/// Commits the first state of all objects.
fn make_objects(storage: &FileStorage) {
    const TAKEN: &str = "an empty database takes its first objects";
    let meta =
        TransactionMeta { description: Bytes::from_static(b"0"), ..TransactionMeta::default() };
    let mut vote = storage.begin_vote(&meta, Patience::Wait).expect(TAKEN);
    for oid in (0..objects::UNUSED.0).map(Oid) {
        if let Some(data) = objects::at_first(oid) {
            vote.store(oid, Tid::ZERO, data.into()).expect(TAKEN);
        }
    }
    let voted = vote.seal().expect(TAKEN);
    storage.commit(vec![Finishing { tid: first_tid(), voted }]).expect(TAKEN);
    storage.new_oids(usize::try_from(objects::UNUSED.0).unwrap_or(0), Patience::Wait).expect(TAKEN);
    storage.close().expect(TAKEN);
}
