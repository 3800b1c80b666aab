//! Faults of a server's disk: crashes, power cuts, and failing calls.
//!
//! [`DiskFaults`] intercepts the calls of an [`InterceptedDisk`](rzeo_fixtures::disk::InterceptedDisk). The world arms it,
//! and one of the next calls triggers it: the process is killed or the power is cut at this call, and
//! [`DiskFaults::image`] has the disk that is left; or the call, and some after it, fail. After a crash every
//! later call of the old process fails, and the world ignores it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rzeo_storage::disk::memory::{Fault as CallFault, MemoryDisk, Survival};

use crate::coverage::Coverage;
use rzeo_fixtures::disk::Interceptor;
use rzeo_fixtures::random::Random;

/// A fault of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The process is killed: its writes survive, but are not synced.
    Kill,
    /// The power is cut: synced writes survive, and any part of the others.
    PowerCut,
    /// This number of calls that change something fail.
    Fail(CallFault, u32),
    /// This number of calls that read fail.
    FailReads(u32),
}

/// The faults of one disk, see the module's introduction. Clones share the state.
#[derive(Clone)]
pub struct DiskFaults(Arc<Mutex<FaultState>>);

struct FaultState {
    random: Random,
    /// The fault, and the number of calls of its kind before it.
    armed: Option<(u32, DiskFault)>,
    failing: Option<(CallFault, u32)>,
    failing_reads: u32,
    /// Percentage of reads that find nothing in the page cache.
    uncached: usize,
    image: Option<MemoryDisk>,
    happened: Coverage,
}

impl DiskFaults {
    /// A disk without faults until [`Self::arm`] is called.
    #[must_use]
    pub fn new(mut random: Random) -> Self {
        let uncached = [0, 0, 30][random.below(3)];
        Self(Arc::new(Mutex::new(FaultState {
            random,
            armed: None,
            failing: None,
            failing_reads: 0,
            uncached,
            image: None,
            happened: Coverage::default(),
        })))
    }

    /// Triggers a fault after this number of calls.
    pub fn arm(&self, after: u32, fault: DiskFault) {
        self.lock().armed = Some((after, fault));
    }

    /// Triggers a fault now.
    pub fn inject(&self, fault: DiskFault, disk: &MemoryDisk) {
        self.lock().inject(fault, disk);
    }

    /// Stops all faults.
    pub fn disarm(&self) {
        let mut state = self.lock();
        state.armed = None;
        state.failing = None;
        state.failing_reads = 0;
    }

    /// The disk after a crash, if there was one.
    #[must_use]
    pub fn image(&self) -> Option<MemoryDisk> {
        self.lock().image.clone()
    }

    /// Counts of the faults since the last call.
    pub fn take_happened(&self) -> Coverage {
        std::mem::take(&mut self.lock().happened)
    }

    fn lock(&self) -> MutexGuard<'_, FaultState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultState {
    /// The fault that this call triggers.
    fn due(&mut self, is_read: bool) -> Option<DiskFault> {
        let (left, fault) = self.armed.as_mut()?;
        if is_read != matches!(fault, DiskFault::FailReads(_)) {
            return None;
        }
        if *left > 0 {
            *left -= 1;
            return None;
        }
        self.armed.take().map(|(_, fault)| fault)
    }

    fn inject(&mut self, fault: DiskFault, disk: &MemoryDisk) {
        match fault {
            DiskFault::Kill => {
                self.happened.count("kills of a server");
                self.image = Some(disk.fork());
            }
            DiskFault::PowerCut => {
                self.happened.count("power cuts");
                let mut chance = Chance::new(&mut self.random);
                self.image = Some(disk.crash(&mut chance));
            }
            DiskFault::Fail(fault, times) => self.failing = Some((fault, times)),
            DiskFault::FailReads(times) => self.failing_reads = times,
        }
    }
}

impl Interceptor for DiskFaults {
    fn change(&self, disk: &MemoryDisk) -> Option<CallFault> {
        let mut state = self.lock();
        if state.image.is_some() {
            return Some(CallFault::Broken);
        }
        if let Some(fault) = state.due(false) {
            state.inject(fault, disk);
        }
        if state.image.is_some() {
            return Some(CallFault::Broken);
        }
        let (fault, left) = state.failing?;
        state.failing = (left > 1).then_some((fault, left - 1));
        state.happened.count(match fault {
            CallFault::NoSpace => "calls that failed for lack of space",
            CallFault::Broken => "calls that failed on a broken disk",
        });
        Some(fault)
    }

    fn read(&self, disk: &MemoryDisk, patient: bool) -> Option<io::Error> {
        let mut state = self.lock();
        if let Some(fault) = state.due(true) {
            state.inject(fault, disk);
        }
        if state.failing_reads > 0 {
            state.failing_reads -= 1;
            state.happened.count("reads that failed");
            return Some(io::Error::from_raw_os_error(EIO));
        }
        let uncached = state.uncached;
        if !patient && state.random.below(100) < uncached {
            state.happened.count("reads that had to wait");
            return Some(io::ErrorKind::WouldBlock.into());
        }
        None
    }
}

/// `EIO` on Linux and everywhere else.
const EIO: i32 = 5;

/// Unsynced changes survive with a probability that is drawn for each crash.
struct Chance {
    random: Random,
    /// Probability that a piece of a file survives, in eighths.
    pieces: u64,
    /// Probability that a change of a name survives, in eighths.
    names: u64,
}

impl Chance {
    fn new(random: &mut Random) -> Self {
        let [pieces, names] = [random.next() % 9, random.next() % 9];
        Self { random: Random::new(random.next()), pieces, names }
    }
}

impl Survival for Chance {
    fn name_change(&mut self) -> bool {
        self.random.next() % 8 < self.names
    }

    fn piece(&mut self, _: &Path) -> bool {
        self.random.next() % 8 < self.pieces
    }
}
