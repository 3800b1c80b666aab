//! The one pack of a storage.
//!
//! It runs beside everything else until the packed copy has nearly caught up. For the last step it
//! queues for the whole storage like a vote, so it waits for transactions that are between vote and
//! finish, and later ones wait for the switch. Files that are not needed any more are then removed
//! beside everything else again.

use alloc::boxed::Box;
use alloc::format;

use super::outbox::HubOutbox;
use super::peers::Peers;
use crate::server::caller::Caller;
use crate::server::figures::Packs;
use crate::server::hub_jobs::{HubJob, PackCaller};
use crate::server::ids::ConnId;
use crate::server::log_line::LogLevel;
use crate::server::messages::Notice;
use crate::storage::{Info, PreparedPack, StorageError};
use crate::time::{Now, UnixTime};
use crate::wire::refusal::Refusal;

/// The pack in progress, and the number of packs so far. The waiting call travels with its jobs.
#[derive(Default)]
pub(super) struct Packing {
    /// Set while the pack waits for the whole storage.
    prepared: Option<(PackCaller, Box<dyn PreparedPack>)>,
    figures: Packs,
}

impl core::fmt::Debug for Packing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Packs { running_since, .. } = self.figures;
        write!(f, "Packing since {running_since:?}, prepared: {}", self.prepared.is_some())
    }
}

impl Packing {
    pub(super) const fn figures(&self) -> Packs {
        self.figures
    }

    /// Starts a pack, unless one is in progress.
    pub(super) fn start(
        &mut self,
        now: Now,
        out: &mut HubOutbox,
        conn: ConnId,
        time: UnixTime,
        caller: Option<Caller>,
    ) {
        if self.figures.running_since.is_none() {
            self.figures.running_since = Some(now.wall);
            let caller = PackCaller(caller.map(|caller| (conn, caller)));
            return out.perform(HubJob::Pack(caller, time));
        }
        match caller {
            Some(caller) => {
                let result = Err(Refusal::from(StorageError::AlreadyPacking));
                out.deliver(conn, Notice::Packed { caller, result });
            }
            None => out.log(LogLevel::Warning, "pack: already packing"),
        }
    }

    /// The first part is done; the switch needs the whole storage.
    pub(super) fn prepared(&mut self, caller: PackCaller, prepared: Box<dyn PreparedPack>) {
        self.prepared = Some((caller, prepared));
    }

    /// The whole storage is held.
    pub(super) fn switch(&mut self, out: &mut HubOutbox) {
        if let Some((caller, prepared)) = self.prepared.take() {
            out.perform(HubJob::FinishPack(caller, prepared));
        }
    }

    /// All connections get the new figures, then the caller gets the result
    /// (`spec: zeo-protocol 14.2`).
    pub(super) fn end(
        &mut self,
        out: &mut HubOutbox,
        peers: &Peers,
        PackCaller(caller): PackCaller,
        result: Result<(), StorageError>,
        info: Info,
    ) {
        self.figures.running_since = None;
        match &result {
            Ok(()) => {
                self.figures.done += 1;
                for conn in peers.ids() {
                    out.deliver(conn, Notice::Info(info));
                }
            }
            Err(error) => {
                self.figures.failed += 1;
                out.log(LogLevel::Error, &format!("pack failed: {error}"));
            }
        }
        if let Some((conn, caller)) = caller {
            let result = result.map_err(Refusal::from);
            out.deliver(conn, Notice::Packed { caller, result });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::messages::HubOutput;
    use crate::time::Instant;

    const NOW: Now = Now { instant: Instant::START, wall: UnixTime(1.0) };

    #[test]
    fn a_second_pack_is_refused_while_one_runs() {
        let mut out = HubOutbox::new("1".into());
        let mut packing = Packing::default();
        for conn in 1..=2 {
            let caller = Some(Caller::numbered(1));
            packing.start(NOW, &mut out, ConnId(conn), UnixTime(0.0), caller);
        }
        let Some(HubOutput::Perform(HubJob::Pack(caller, _))) = out.pop() else {
            panic!("the first one runs")
        };
        let Some(HubOutput::Deliver { conn, notice: Notice::Packed { result, .. }, .. }) =
            out.pop()
        else {
            panic!("the second one is answered")
        };
        assert!(conn == ConnId(2) && result.is_err());
        packing.end(&mut out, &Peers::default(), caller, Ok(()), Info::default());
        assert_eq!(packing.figures(), Packs { done: 1, ..Packs::default() });
        assert!(matches!(out.pop(), Some(HubOutput::Deliver { conn: ConnId(1), .. })));
    }
}
