//! What befalls the disk of a server, and with it the server.
//!
//! A [`Fate`] is the witness of a disk ([`WatchedDisk`](rzeo_fixtures::disk::WatchedDisk)). The world arms it,
//! and at one of the next calls it strikes: the process is killed or the power cut at this very call, and
//! what is found afterwards is kept ([`Fate::image`]); or the call, and some after it, fail. A process that
//! is dead does nothing any more: every later call of it fails, and the world listens to it no longer.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rzeo_storage::disk::memory::{Fault, MemoryDisk, Survival};

use crate::coverage::Coverage;
use rzeo_fixtures::disk::Witness;
use rzeo_fixtures::random::Random;

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// The process is killed: what it wrote is there, and still not synced.
    Kill,
    /// The power is cut: what it synced is there, and any part of the rest.
    PowerCut,
    /// So many calls that change something fail.
    Fail(Fault, u32),
    /// So many calls that read fail.
    FailReads(u32),
}

/// See the module's introduction; clones share it.
#[derive(Clone)]
pub struct Fate(Arc<Mutex<State>>);

struct State {
    random: Random,
    /// Strikes after so many calls of its kind.
    armed: Option<(u32, Doom)>,
    failing: Option<(Fault, u32)>,
    failing_reads: u32,
    /// How many of 100 reads find nothing in the page cache.
    uncached: usize,
    image: Option<MemoryDisk>,
    happened: Coverage,
}

impl Fate {
    /// Nothing happens to the disk until it is told so.
    #[must_use]
    pub fn new(mut random: Random) -> Self {
        let uncached = [0, 0, 30][random.below(3)];
        Self(Arc::new(Mutex::new(State {
            random,
            armed: None,
            failing: None,
            failing_reads: 0,
            uncached,
            image: None,
            happened: Coverage::default(),
        })))
    }

    /// This is to happen, so many calls from now.
    pub fn arm(&self, after: u32, doom: Doom) {
        self.lock().armed = Some((after, doom));
    }

    /// The process dies now, if that is its doom.
    pub fn strike(&self, doom: Doom, disk: &MemoryDisk) {
        self.lock().strike(doom, disk);
    }

    /// Faults stop.
    pub fn disarm(&self) {
        let mut state = self.lock();
        state.armed = None;
        state.failing = None;
        state.failing_reads = 0;
    }

    /// What is found after the process died, if it did.
    #[must_use]
    pub fn image(&self) -> Option<MemoryDisk> {
        self.lock().image.clone()
    }

    /// What happened since somebody asked.
    pub fn take_happened(&self) -> Coverage {
        std::mem::take(&mut self.lock().happened)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The doom whose call this is.
    fn strikes(&mut self, is_read: bool) -> Option<Doom> {
        let (left, doom) = self.armed.as_mut()?;
        if is_read != matches!(doom, Doom::FailReads(_)) {
            return None;
        }
        if *left > 0 {
            *left -= 1;
            return None;
        }
        self.armed.take().map(|(_, doom)| doom)
    }

    fn strike(&mut self, doom: Doom, disk: &MemoryDisk) {
        match doom {
            Doom::Kill => {
                self.happened.count("kills of a server");
                self.image = Some(disk.fork());
            }
            Doom::PowerCut => {
                self.happened.count("power cuts");
                let mut chance = Chance::new(&mut self.random);
                self.image = Some(disk.crash(&mut chance));
            }
            Doom::Fail(fault, times) => self.failing = Some((fault, times)),
            Doom::FailReads(times) => self.failing_reads = times,
        }
    }
}

impl Witness for Fate {
    fn change(&self, disk: &MemoryDisk) -> Option<Fault> {
        let mut state = self.lock();
        if state.image.is_some() {
            return Some(Fault::Broken);
        }
        if let Some(doom) = state.strikes(false) {
            state.strike(doom, disk);
        }
        if state.image.is_some() {
            return Some(Fault::Broken);
        }
        let (fault, left) = state.failing?;
        state.failing = (left > 1).then_some((fault, left - 1));
        state.happened.count(match fault {
            Fault::NoSpace => "calls without room on the disk",
            Fault::Broken => "calls that a broken disk refused",
        });
        Some(fault)
    }

    fn read(&self, disk: &MemoryDisk, patient: bool) -> Option<io::Error> {
        let mut state = self.lock();
        if let Some(doom) = state.strikes(true) {
            state.strike(doom, disk);
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

/// What is not synced survives with some probability, which is another one for each crash.
struct Chance {
    random: Random,
    /// Of eight.
    pieces: u64,
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
