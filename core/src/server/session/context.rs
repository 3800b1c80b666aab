//! What the parts of a registered connection share.

use alloc::sync::Arc;

use super::outbox::Outbox;
use crate::server::caller::Caller;
use crate::server::counters::Counters;
use crate::server::ids::StorageId;
use crate::server::limits::Limits;
use crate::server::messages::HubRequest;
use crate::server::settings::{ServerSettings, StorageEntry};
use crate::server::storage_calls::{Discard, Job, Leftovers};
use crate::storage::{HistoryShape, Info};
use crate::wire::refusal::Refusal;
use crate::wire::reply::{Reply, info_items};

/// What was settled when the connection registered, and the numbers it has given out.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) settings: Arc<ServerSettings>,
    pub(super) storage: StorageId,
    pub(super) read_only: bool,
    last_number: u64,
}

impl Registration {
    pub(super) const fn new(
        settings: Arc<ServerSettings>,
        storage: StorageId,
        read_only: bool,
    ) -> Self {
        Self { settings, storage, read_only, last_number: 0 }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    pub(super) fn entry(&self) -> &StorageEntry {
        &self.settings.storages[self.storage.0]
    }
}

/// Handed to a part with everything that it handles: where its output goes, and what it may use.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) out: &'a mut Outbox,
    pub(super) registration: &'a mut Registration,
}

impl Context<'_> {
    pub(super) fn limits(&self) -> &Limits {
        self.registration.limits()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.registration.entry().counters
    }

    /// A number that this connection has not used. Loads, uploads and votes share one sequence.
    pub(super) const fn next_number(&mut self) -> u64 {
        self.registration.last_number += 1;
        self.registration.last_number
    }

    pub(super) fn perform(&mut self, job: impl Into<Job>) {
        self.out.perform(self.registration.storage, job.into());
    }

    pub(super) fn ask(&mut self, request: HubRequest) {
        self.out.ask(self.registration.storage, request);
    }

    pub(super) fn answer(&mut self, caller: Caller, result: Result<Reply, Refusal>) {
        self.out.answer(caller, result);
    }

    /// Answers with `None`, or refuses.
    pub(super) fn acknowledge(&mut self, caller: Caller, result: Result<(), Refusal>) {
        self.out.answer(caller, result.map(|()| Reply::Nil));
    }

    /// Drops files where waiting for the disk is allowed.
    pub(super) fn discard(&mut self, leftovers: Leftovers) {
        if !leftovers.is_empty() {
            self.perform(Discard(leftovers));
        }
    }

    pub(super) fn notify_info(&mut self, info: Info) {
        self.out.notify_dict("info", info_items(info));
    }

    /// How a storage without blobs refuses, in the words of Python's server.
    pub(super) fn refuse_without_blobs(&self, attribute: &str) -> Result<(), Refusal> {
        let description = &self.registration.entry().description;
        if description.interfaces.contains(&("ZODB.interfaces", "IBlobStorage")) {
            return Ok(());
        }
        Err(match description.history {
            HistoryShape::FileStorage => {
                Refusal::text("builtins.TypeError", "Blobs are not supported")
            }
            HistoryShape::MappingStorage => {
                let text = alloc::format!("'MappingStorage' object has no attribute '{attribute}'");
                Refusal::text("builtins.AttributeError", text)
            }
        })
    }
}
