//! The one pack of a storage.
//!
//! It runs beside everything else until the packed copy has nearly caught up; for the last step it
//! queues for the whole storage like a vote, so it waits for transactions that are between vote and
//! finish, and those that come after it wait for the switch. What is to be removed then is removed
//! beside everything else again.

use alloc::boxed::Box;
use alloc::format;

use super::{Hub, LockSet, Owner};
use crate::server::caller::Caller;
use crate::server::hub_jobs::HubJob;
use crate::server::ids::ConnId;
use crate::server::log_line::LogLevel;
use crate::server::messages::{HubOutput, Notice};
use crate::storage::{Info, PreparedPack, StorageError};
use crate::time::{Now, UnixTime};
use crate::wire::refusal::Refusal;

/// A pack in progress.
pub(super) struct Packing {
    /// Who wants to hear how it went.
    asked: Option<(ConnId, Caller)>,
    /// Set while it waits for the whole storage.
    prepared: Option<Box<dyn PreparedPack>>,
}

impl core::fmt::Debug for Packing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Packing for {:?}, prepared: {}", self.asked, self.prepared.is_some())
    }
}

impl Hub {
    pub(super) fn pack(&mut self, now: Now, conn: ConnId, time: UnixTime, caller: Option<Caller>) {
        if self.packing.is_some() {
            match caller {
                Some(caller) => {
                    let result = Err(Refusal::from(StorageError::AlreadyPacking));
                    self.deliver(conn, Notice::Packed { caller, result });
                }
                None => self.log(LogLevel::Warning, "pack: already packing".into()),
            }
            return;
        }
        let asked = caller.map(|caller| (conn, caller));
        self.packing = Some(Packing { asked, prepared: None });
        self.packs.running_since = Some(now.wall);
        self.outputs.push_back(HubOutput::Perform(HubJob::Pack(time)));
    }

    /// The first part is done; the second needs the whole storage.
    pub(super) fn packed(
        &mut self,
        now: Now,
        result: Result<Option<Box<dyn PreparedPack>>, StorageError>,
        info: Info,
    ) {
        match result {
            Ok(Some(prepared)) => {
                let packing = self.packing.as_mut().expect("only a pack in progress is done");
                packing.prepared = Some(prepared);
                if self.locks.lock(Owner::Pack, LockSet::whole()).is_ok() {
                    self.switch();
                }
            }
            Ok(None) => self.pack_ended(now, Ok(()), info),
            Err(error) => self.pack_ended(now, Err(error), info),
        }
    }

    /// The whole storage is held.
    pub(super) fn switch(&mut self) {
        let packing = self.packing.as_mut().expect("only a pack in progress gets the storage");
        let prepared = packing.prepared.take().expect("a pack waits when it is prepared");
        self.outputs.push_back(HubOutput::Perform(HubJob::FinishPack(prepared)));
    }

    pub(super) fn switched(&mut self, now: Now, result: Result<(), StorageError>, info: Info) {
        self.locks.unlock(Owner::Pack);
        self.pack_ended(now, result, info);
    }

    /// Switched, but there are files to be removed. Writers need not wait for that, who asked does.
    pub(super) fn untidy(&mut self, now: Now) {
        self.locks.unlock(Owner::Pack);
        self.outputs.push_back(HubOutput::Perform(HubJob::CleanUp));
        self.grant(now);
    }

    pub(super) fn cleaned_up(&mut self, now: Now, result: Result<(), StorageError>, info: Info) {
        if let Err(error) = result {
            let text =
                format!("pack: not all could be removed, the next start tries again: {error}");
            self.log(LogLevel::Error, text);
        }
        self.pack_ended(now, Ok(()), info);
    }

    /// Everybody gets the new figures, then the one who waits gets the result
    /// (`spec: zeo-protocol 14.2`).
    fn pack_ended(&mut self, now: Now, result: Result<(), StorageError>, info: Info) {
        let packing = self.packing.take().expect("only a pack in progress ends");
        self.packs.running_since = None;
        match &result {
            Ok(()) => {
                self.packs.done += 1;
                for conn in self.connections.keys() {
                    self.outputs.push_back(HubOutput::Deliver(*conn, Notice::Info(info)));
                }
            }
            Err(error) => {
                self.packs.failed += 1;
                self.log(LogLevel::Error, format!("pack failed: {error}"));
            }
        }
        if let Some((conn, caller)) = packing.asked {
            let result = result.map_err(Refusal::from);
            self.deliver(conn, Notice::Packed { caller, result });
        }
        self.grant(now);
    }
}
