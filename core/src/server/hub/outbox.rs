//! The outputs of a hub, in the order in which an adapter performs them.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::server::hub_jobs::HubJob;
use crate::server::ids::ConnId;
use crate::server::log_line::{LogLevel, LogLine};
use crate::server::messages::{HubOutput, Notice, Urgency};
use crate::storage::Finishing;

#[derive(Debug)]
pub(super) struct HubOutbox {
    /// Of the storage, for the log.
    name: String,
    queue: VecDeque<HubOutput>,
}

impl HubOutbox {
    pub(super) const fn new(name: String) -> Self {
        Self { name, queue: VecDeque::new() }
    }

    pub(super) fn pop(&mut self) -> Option<HubOutput> {
        self.queue.pop_front()
    }

    pub(super) fn registered(&mut self, conn: ConnId) {
        self.queue.push_back(HubOutput::Registered(conn));
    }

    /// Delivers a notice that the connection waits for, or has to act on.
    pub(super) fn deliver(&mut self, conn: ConnId, notice: Notice) {
        self.queue.push_back(HubOutput::Deliver { conn, notice, urgency: Urgency::Now });
    }

    /// Delivers a notice that the connection may find later, in its order.
    pub(super) fn deliver_later(&mut self, conn: ConnId, notice: Notice) {
        self.queue.push_back(HubOutput::Deliver { conn, notice, urgency: Urgency::Later });
    }

    pub(super) fn commit(&mut self, group: Vec<Finishing>) {
        self.queue.push_back(HubOutput::Commit(group));
    }

    pub(super) fn perform(&mut self, job: HubJob) {
        self.queue.push_back(HubOutput::Perform(job));
    }

    pub(super) fn log(&mut self, level: LogLevel, text: &str) {
        let text = format!("storage {:?}: {text}", self.name);
        self.queue.push_back(HubOutput::Log(LogLine { level, text, client: None }));
    }
}
