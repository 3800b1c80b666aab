//! A context for the tests of one part, without a session around it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;

use bytes::Bytes;

use super::context::{Context, Registration};
use super::outbox::Outbox;
use crate::server::counters::Counters;
use crate::server::ids::StorageId;
use crate::server::limits::Limits;
use crate::server::messages::{HubRequest, Output};
use crate::server::settings::{ServerSettings, StorageEntry};
use crate::server::storage_calls::{Job, StorageCall};
use crate::storage::{Description, HistoryShape, Scratch, StorageError};
use crate::time::UnixTime;
use crate::value::{ReadLimits, Value};
use crate::wire::{Codec, Deframer};

/// What a part needs, and what it puts out.
pub(super) struct Bench {
    pub(super) out: Outbox,
    pub(super) registration: Registration,
    deframer: Deframer,
    jobs: Vec<Job>,
    requests: Vec<HubRequest>,
    messages: Vec<(Value, String, Value)>,
}

impl Bench {
    /// A peer that speaks msgpack and has registered.
    pub(super) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(super) fn with_limits(limits: Limits) -> Self {
        let description = Description {
            name: "1".into(),
            read_only: false,
            supports_undo: true,
            supports_record_iternext: true,
            interfaces: vec![("ZODB.interfaces", "IBlobStorage")],
            history: HistoryShape::FileStorage,
            is_proxy: false,
        };
        let counters = Arc::new(Counters::default());
        let out = Outbox::new(Codec::Msgpack, &limits, "peer".into(), UnixTime(0.0));
        let settings = ServerSettings {
            announce: Codec::Msgpack,
            read_only: false,
            client_conflict_resolution: false,
            limits,
            storages: vec![StorageEntry { name: "1".into(), description, counters }],
        };
        Self {
            out,
            registration: Registration::new(Arc::new(settings), StorageId(0), false),
            deframer: Deframer::new(u32::MAX),
            jobs: Vec::new(),
            requests: Vec::new(),
            messages: Vec::new(),
        }
    }

    pub(super) fn context(&mut self) -> Context<'_> {
        Context { out: &mut self.out, registration: &mut self.registration }
    }

    fn drain(&mut self) {
        while let Some(output) = self.out.poll() {
            match output {
                Output::Transmit(bytes) => self.deframer.push(&bytes),
                Output::Perform(_, StorageCall(job)) => self.jobs.push(job),
                Output::Ask(_, request) => self.requests.push(request),
                Output::Log(_) | Output::Close(_) => {}
            }
        }
        while let Ok(Some(frame)) = self.deframer.next_frame() {
            let read = Codec::Msgpack.read(&frame, &ReadLimits::default());
            let message = read.expect("a session writes what can be read");
            self.messages.push((message.msgid, message.name, message.args));
        }
    }

    /// The storage calls made since this was last called.
    pub(super) fn jobs(&mut self) -> Vec<Job> {
        self.drain();
        core::mem::take(&mut self.jobs)
    }

    /// The requests to the hub since this was last called.
    pub(super) fn requests(&mut self) -> Vec<HubRequest> {
        self.drain();
        core::mem::take(&mut self.requests)
    }

    /// The replies and errors to numbered callers since this was last called.
    pub(super) fn replies(&mut self) -> Vec<(i64, Value)> {
        self.drain();
        let number = |(id, _, value)| match id {
            Value::Int(number) if number != 0 => Some((number, value)),
            _ => None,
        };
        core::mem::take(&mut self.messages).into_iter().filter_map(number).collect()
    }
}

/// A temporary file that keeps nothing.
#[derive(Debug)]
pub(super) struct NoFile;

impl Scratch for NoFile {
    fn write(&self, _: u64, _: &[Bytes]) -> Result<(), StorageError> {
        Ok(())
    }

    fn read(&self, _: u64, _: usize) -> Result<Bytes, StorageError> {
        Ok(Bytes::new())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
