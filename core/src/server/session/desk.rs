//! What a registered client asks, except for its transaction and its iterators, which have desks of
//! their own beside this one.
//!
//! # The tid a connection reads at
//!
//! `known` is the last tid that the peer was told of: by `register`, by an invalidation, or as the tid
//! of its own commit. Every load is answered as of `known`: what was committed later does not exist
//! yet, and what it replaced is still current. So a load reply can never contradict the notices
//! around it, however many threads read and commit at the same time. A load that was under way when a
//! notice touched its object is done again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::download::Downloads;
use super::iterators::{IteratorCall, Iterators};
use super::line::{Caller, Line, one_line};
use super::transaction::Transactions;
use crate::ids::{Oid, Tid};
use crate::server::close_reason::CloseReason;
use crate::server::counters::{Counters, count};
use crate::server::ids::{JobId, StorageId, Ticket};
use crate::server::jobs::{StorageCall, StorageReply};
use crate::server::log_line::LogLevel;
use crate::server::messages::{Changes, HubRequest, Notice};
use crate::server::settings::ServerSettings;
use crate::storage::{BlobFile, Info, Load, Revision, StorageError};
use crate::time::UnixTime;
use crate::value::Value;
use crate::wire::call::{Call, QueryCall};
use crate::wire::refusal::Refusal;
use crate::wire::reply::{Reply, info_items};

/// Questions to the hub that may be on their way; each is answered while the hub is locked.
const QUESTIONS_MAX: usize = 16;

/// Bytes of the messages that asked for the storage calls under way.
const JOB_BYTES_MAX: usize = 1 << 20;

/// So many oids in one notice are not searched for each load that is on its way.
const SEARCHED_MAX: usize = 1_000;

/// The state of a registered connection.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) settings: Arc<ServerSettings>,
    pub(super) storage: StorageId,
    pub(super) read_only: bool,
    /// The last tid the peer was told of.
    pub(super) known: Tid,
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// Bytes of the messages that asked for them.
    job_bytes: usize,
    questions: BTreeMap<Ticket, Question>,
    next_number: u64,
    pub(super) transactions: Transactions,
    pub(super) iterators: Iterators,
    pub(super) downloads: Downloads,
}

/// A storage call on its way.
#[derive(Debug)]
pub(super) enum Job {
    /// A load; `stale` once a notice has touched its object.
    Load { caller: Caller, oid: Oid, before: Tid, stale: bool },
    /// Something whose reply is ready to be sent.
    Plain(Caller),
    /// A step of an iterator.
    Iterator(u64),
    /// The vote.
    Vote,
    /// The temporary file for the records of this transaction.
    Spool(Ticket),
    /// A step of the upload with this number.
    Upload(u64),
    /// The opening of the blob that is sent.
    OpenBlob,
    /// A read of it.
    ReadBlob(Arc<dyn BlobFile>),
    /// Letting go of files.
    Discard,
}

impl Job {
    /// Bytes of the message that asked for it, as far as the job keeps them.
    const fn message_bytes(&self) -> usize {
        match self {
            Self::Load { caller, .. } | Self::Plain(caller) => caller.message_bytes,
            Self::Iterator(_)
            | Self::Vote
            | Self::Spool(_)
            | Self::Upload(_)
            | Self::OpenBlob
            | Self::ReadBlob(_)
            | Self::Discard => 0,
        }
    }
}

/// Something that was asked of the hub.
#[derive(Debug)]
enum Question {
    /// `ping`, which is answered with nothing.
    Ping(Caller),
    /// Anything else, answered with what the hub says.
    Other(Caller),
}

impl Desk {
    pub(super) fn new(
        settings: Arc<ServerSettings>,
        storage: StorageId,
        read_only: bool,
        known: Tid,
    ) -> Self {
        Self {
            settings,
            storage,
            read_only,
            known,
            jobs: BTreeMap::new(),
            job_bytes: 0,
            questions: BTreeMap::new(),
            next_number: 0,
            transactions: Transactions::default(),
            iterators: Iterators::default(),
            downloads: Downloads::default(),
        }
    }

    /// Whether further requests should wait. Everything that a peer can have under way is bounded
    /// here: storage calls, calls that wait for an iterator or for another download, questions to the
    /// hub, held calls of the transaction, bytes on their way to a file.
    pub(super) fn is_busy(&self) -> bool {
        let limits = &self.settings.limits;
        let jobs = self.jobs.len() + self.iterators.waiting() + self.downloads.waiting();
        jobs >= limits.jobs_max
            || self.job_bytes >= JOB_BYTES_MAX
            || self.questions.len() >= QUESTIONS_MAX
            || self.transactions.is_held_up(limits)
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.settings.storages[self.storage.0].counters
    }

    /// Jobs and tickets share one sequence of numbers.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn perform(&mut self, line: &mut Line, job: Job, call: StorageCall) {
        let id = JobId(self.number());
        self.job_bytes += job.message_bytes();
        self.jobs.insert(id, job);
        line.perform(self.storage, id, call);
    }

    /// Prepares to ask the hub something; the answer comes through the inbox, behind all notices
    /// before it.
    fn question(&mut self, question: Question) -> Ticket {
        let ticket = Ticket(self.number());
        self.questions.insert(ticket, question);
        ticket
    }

    fn ask(&mut self, line: &mut Line, question: Question, request: fn(Ticket) -> HubRequest) {
        let ticket = self.question(question);
        line.ask(self.storage, request(ticket));
    }

    pub(super) fn call(&mut self, line: &mut Line, caller: Caller, call: Call) {
        match call {
            Call::LoadBefore { oid, tid } => self.load(line, caller, oid, tid),
            Call::Txn(call) => self.transaction_call(line, caller, call),
            // These two come back behind all that was committed before (promise 5).
            Call::Ping => self.ask(line, Question::Ping(caller), HubRequest::Barrier),
            Call::LastTransaction => {
                self.ask(line, Question::Other(caller), HubRequest::Barrier);
            }
            Call::ServerStatus => self.ask(line, Question::Other(caller), HubRequest::Status),
            Call::GetInvalidations { tid } => {
                let ticket = self.question(Question::Other(caller));
                line.ask(self.storage, HubRequest::ChangesSince(ticket, tid));
            }
            Call::Pack { time, wait } => self.pack(line, caller, UnixTime(time), wait),
            Call::SetClientLabel { label } => {
                line.set_label(one_line(&label, 200));
                line.introduce(self.storage, self.read_only);
                line.answer(caller, Ok(Reply::Nil));
            }
            Call::IteratorStart { start, stop } => self.start_iterator(line, caller, start, stop),
            Call::IteratorNext { iid } => {
                self.iterator_call(line, caller, &iid, IteratorCall::Next);
            }
            Call::IteratorRecordStart { txn_iid, tid } => {
                self.iterator_call(line, caller, &txn_iid, IteratorCall::Records(tid));
            }
            Call::IteratorRecordNext { iid } => {
                self.iterator_call(line, caller, &iid, IteratorCall::NextRecord);
            }
            Call::IteratorGc { iids } => {
                self.forget_iterators(line, &iids);
                line.answer(caller, Ok(Reply::Nil));
            }
            Call::SendBlob { oid, serial } => self.send_blob(line, caller, oid, serial),
            // The session lets nobody register twice.
            Call::Register { .. } | Call::NewOid => {
                line.answer(caller, Err(Refusal::missing_method("new_oid")));
            }
            Call::Query(call) => match self.storage_call(call) {
                Ok(call) => self.perform(line, Job::Plain(caller), call),
                Err(refusal) => line.answer(caller, Err(refusal)),
            },
        }
    }

    /// The calls that the storage answers by itself.
    fn storage_call(&self, call: QueryCall) -> Result<StorageCall, Refusal> {
        Ok(match call {
            QueryCall::LoadSerial { oid, serial } => StorageCall::LoadSerial { oid, serial },
            QueryCall::GetTid { oid } => StorageCall::CurrentSerial { oid },
            QueryCall::History { oid, size } => {
                let known = match &oid {
                    Value::Bytes(bytes) => Oid::from_slice(bytes),
                    _ => None,
                };
                let oid = known.ok_or_else(|| Refusal::PosKey(vec![oid]))?;
                let Value::Int(size) = size else {
                    let text = format!("history: int expected, not {}", size.kind());
                    return Err(Refusal::text("builtins.TypeError", text));
                };
                StorageCall::History { oid, size: usize::try_from(size).unwrap_or(0) }
            }
            QueryCall::RecordIternext { next } => {
                let entry = &self.settings.storages[self.storage.0];
                if !entry.description.supports_record_iternext {
                    return Err(Refusal::missing_method("record_iternext"));
                }
                StorageCall::NextRecord { from: next.unwrap_or(Oid::ROOT) }
            }
            QueryCall::NewOids { .. } if self.read_only => return Err(Refusal::ReadOnly),
            // Python hands out between 1 and 100 at a time.
            QueryCall::NewOids { count } => {
                StorageCall::NewOids { count: usize::try_from(count.clamp(1, 100)).unwrap_or(1) }
            }
            QueryCall::UndoLog { first, last } => {
                StorageCall::UndoLog { first, last, specification: Vec::new() }
            }
            QueryCall::UndoInfo { first, last, specification } => {
                StorageCall::UndoLog { first, last, specification }
            }
            QueryCall::GetInfo => StorageCall::Info,
        })
    }

    /// A load as of `known`, see the module's introduction.
    fn load(&mut self, line: &mut Line, caller: Caller, oid: Oid, before: Tid) {
        count(&self.counters().loads);
        let job = Job::Load { caller, oid, before, stale: false };
        let before = before.min(self.known.next());
        self.perform(line, job, StorageCall::Load { oid, before });
    }

    fn loaded(
        &mut self,
        line: &mut Line,
        caller: Caller,
        oid: Oid,
        before: Tid,
        result: Result<Load, StorageError>,
    ) {
        let result = match result {
            Ok(Load::Found(Revision { data, serial, end })) => {
                let end = end.filter(|end| *end <= self.known);
                Ok(Reply::Loaded(Revision { data, serial, end }))
            }
            // The object exists since after `known`: for this connection it does not exist.
            Ok(Load::Younger { first }) if first > self.known => Err(no_such_object(oid)),
            // It exists since `before` or later.
            Ok(Load::Younger { .. }) => Ok(Reply::Nil),
            Ok(Load::Gone { .. }) => Err(no_such_object(oid)),
            Err(error) => Err(error.into()),
        };
        if let Err(Refusal::Other(..)) = &result {
            line.log(LogLevel::Error, &format!("load of {oid} before {before}: {result:?}"));
        }
        line.answer(caller, result);
    }

    /// With `wait`, the reply comes when the pack is done; without, at once
    /// (`spec: zeo-protocol 14.2`). Allowed on read-only connections.
    fn pack(&mut self, line: &mut Line, caller: Caller, time: UnixTime, wait: bool) {
        let ticket = if wait {
            Some(self.question(Question::Other(caller)))
        } else {
            line.answer(caller, Ok(Reply::Nil));
            None
        };
        line.ask(self.storage, HubRequest::Pack(time, ticket));
    }

    pub(super) fn answered(&mut self, line: &mut Line, id: JobId, reply: StorageReply) {
        line.performed();
        let Some(job) = self.jobs.remove(&id) else { return };
        self.job_bytes -= job.message_bytes();
        match (job, reply) {
            // Computed before a notice that touches it: computed again.
            (Job::Load { caller, oid, before, stale: true }, StorageReply::Loaded(_)) => {
                let bound = before.min(self.known.next());
                let job = Job::Load { caller, oid, before, stale: false };
                self.perform(line, job, StorageCall::Load { oid, before: bound });
            }
            (Job::Load { caller, oid, before, .. }, StorageReply::Loaded(result)) => {
                self.loaded(line, caller, oid, before, result);
            }
            (Job::Plain(caller), StorageReply::Ready(result)) => {
                line.answer(caller, result.map_err(Refusal::from));
            }
            (Job::Vote, StorageReply::Voted(result)) => self.voted(line, result),
            (Job::Iterator(iid), reply) => self.iterated(line, iid, reply),
            (Job::Discard, StorageReply::Discarded) => {}
            (Job::Spool(ticket), reply) => self.spooled(line, ticket, reply),
            (Job::Upload(number), reply) => self.uploaded(line, number, reply),
            (Job::OpenBlob, StorageReply::Blob(opened)) => self.blob_opened(line, opened),
            (Job::ReadBlob(file), StorageReply::BlobBytes(read)) => {
                self.blob_read(line, file, read);
            }
            (job, reply) => unreachable!("{job:?} answered with {reply:?}"),
        }
    }

    pub(super) fn notice(&mut self, line: &mut Line, notice: Notice) {
        match notice {
            Notice::Invalidated { tid, oids } => {
                let list = oids.iter().copied().map(Value::oid).collect();
                line.notify("invalidateTransaction", vec![Value::tid(tid), Value::List(list)]);
                self.learn(tid, &oids);
            }
            Notice::Barrier { ticket, last_tid } => {
                self.reply(line, ticket, Ok(Reply::Tid(last_tid)));
            }
            Notice::Status { ticket, status } => {
                self.reply(line, ticket, Ok(Reply::Status(*status)));
            }
            Notice::Changes { ticket, changes } => self.changes(line, ticket, changes),
            Notice::Info(info) => send_info(line, info),
            Notice::Packed { ticket, result } => {
                self.reply(line, ticket, result.map(|()| Reply::Nil));
            }
            Notice::Locked { ticket } => self.locked(line, ticket),
            Notice::Waiting { ticket, ahead } => self.waiting(line, ticket, ahead),
            Notice::Finished { ticket, result, oids } => {
                self.finished(line, ticket, result, &oids);
            }
            Notice::Reset => line.close(CloseReason::Reset),
            Notice::TimedOut { after } => line.close(CloseReason::TransactionTimeout { after }),
            Notice::Registered { .. } => unreachable!("a desk is opened when the hub has said so"),
        }
    }

    /// Moves the connection on to a tid that its peer was just told of. A load that is taken for
    /// stale and is not costs another look; a long search for each of many loads costs more.
    pub(super) fn learn(&mut self, tid: Tid, changed: &[Oid]) {
        self.known = self.known.max(tid);
        for job in self.jobs.values_mut() {
            if let Job::Load { oid, stale, .. } = job {
                *stale |= changed.len() > SEARCHED_MAX || changed.contains(oid);
            }
        }
    }

    fn changes(&mut self, line: &mut Line, ticket: Ticket, changes: Changes) {
        match changes {
            Changes::Known { tid, commits } => {
                let oids: BTreeSet<Oid> =
                    commits.iter().flat_map(|oids| oids.iter().copied()).collect();
                self.reply(line, ticket, Ok(Reply::Changes(tid, oids.into_iter().collect())));
            }
            Changes::Unknown => self.reply(line, ticket, Ok(Reply::Nil)),
            Changes::LookUp { after, up_to } => {
                if let Some(Question::Other(caller)) = self.questions.remove(&ticket) {
                    self.perform(line, Job::Plain(caller), StorageCall::Changes { after, up_to });
                }
            }
        }
    }

    fn reply(&mut self, line: &mut Line, ticket: Ticket, result: Result<Reply, Refusal>) {
        match self.questions.remove(&ticket) {
            Some(Question::Ping(caller)) => line.answer(caller, result.map(|_| Reply::Nil)),
            Some(Question::Other(caller)) => line.answer(caller, result),
            None => {}
        }
    }

    /// The connection ends: the hub lets go of everything.
    pub(super) fn leave(mut self, line: &mut Line) {
        self.transactions.leave(self.counters());
        line.ask(self.storage, HubRequest::Leave);
        let leftovers = self.transactions.take_leftovers();
        self.discard(line, leftovers);
    }
}

pub(super) fn send_info(line: &mut Line, info: Info) {
    line.notify_dict("info", info_items(info));
}

fn no_such_object(oid: Oid) -> Refusal {
    Refusal::PosKey(vec![Value::oid(oid)])
}
