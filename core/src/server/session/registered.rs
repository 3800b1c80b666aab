//! A registered connection: routes calls, answers and notices to the parts that handle them.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::context::{Context, Registration};
use super::downloads::Downloads;
use super::hub_calls::HubCalls;
use super::iterators::{IteratorCall, Iterators};
use super::loads::Loads;
use super::outbox::{Outbox, one_line};
use super::queries::Queries;
use super::two_phase_commit::TwoPhaseCommit;
use crate::ids::Tid;
use crate::server::caller::Caller;
use crate::server::close_reason::CloseReason;
use crate::server::ids::StorageId;
use crate::server::messages::{Barrier, HubRequest, Notice, StatusReader};
use crate::server::settings::ServerSettings;
use crate::server::storage_calls::{Answer, StorageReply};
use crate::time::UnixTime;
use crate::wire::call::Call;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;

/// Maximum number of bytes of the messages that asked for the storage calls under way.
const CALL_BYTES_MAX: usize = 1 << 20;

/// Maximum number of characters of a client's label.
const LABEL_LENGTH_MAX: usize = 200;

/// The parts of a registered connection.
#[derive(Debug)]
pub(super) struct Registered {
    registration: Registration,
    loads: Loads,
    queries: Queries,
    hub_calls: HubCalls,
    commit: TwoPhaseCommit,
    iterators: Iterators,
    downloads: Downloads,
}

impl Registered {
    pub(super) fn new(
        settings: Arc<ServerSettings>,
        storage: StorageId,
        read_only: bool,
        known: Tid,
    ) -> Self {
        Self {
            registration: Registration::new(settings, storage, read_only),
            loads: Loads::new(known),
            queries: Queries::default(),
            hub_calls: HubCalls::default(),
            commit: TwoPhaseCommit::default(),
            iterators: Iterators::default(),
            downloads: Downloads::default(),
        }
    }

    /// Whether further requests should wait. Everything that a peer can have under way is bounded
    /// here: storage calls, calls that wait for an iterator or for another download, calls to the hub,
    /// held calls of the transaction, bytes on their way to a file.
    pub(super) fn is_busy(&self, out: &Outbox) -> bool {
        let limits = self.registration.limits();
        let waiting = self.iterators.waiting() + self.downloads.waiting();
        out.storage_calls() + waiting >= limits.jobs_max
            || self.loads.message_bytes() + self.queries.message_bytes() >= CALL_BYTES_MAX
            || self.hub_calls.is_full()
            || self.commit.is_full(limits)
    }

    /// Whether a commit is on its way to the disk.
    pub(super) fn is_finishing(&self) -> bool {
        self.commit.is_finishing()
    }

    /// The peer has sent a call.
    pub(super) fn call(&mut self, out: &mut Outbox, caller: Caller, call: Call) {
        let cx = &mut Context { out, registration: &mut self.registration };
        match call {
            Call::LoadBefore { oid, tid } => self.loads.load(cx, caller, oid, tid),
            Call::Txn(call) => self.commit.call(cx, caller, call),
            Call::Query(call) => self.queries.call(cx, caller, call),
            Call::Ping => self.hub_calls.barrier(cx, Barrier::Ping(caller)),
            Call::LastTransaction => {
                self.hub_calls.barrier(cx, Barrier::LastTransaction(caller));
            }
            Call::ServerStatus => self.hub_calls.status(cx, caller),
            Call::GetInvalidations { tid } => self.hub_calls.changes_since(cx, caller, tid),
            Call::Pack { time, wait } => self.hub_calls.pack(cx, caller, UnixTime(time), wait),
            Call::SetClientLabel { label } => {
                let Registration { storage, read_only, .. } = *cx.registration;
                cx.out.set_label(one_line(&label, LABEL_LENGTH_MAX));
                cx.out.introduce(storage, read_only);
                cx.answer(caller, Ok(Reply::Nil));
            }
            Call::IteratorStart { start, stop } => self.iterators.start(cx, caller, start, stop),
            Call::IteratorNext { iid } => {
                self.iterators.call(cx, caller, &iid, IteratorCall::Next);
            }
            Call::IteratorRecordStart { txn_iid, tid } => {
                self.iterators.call(cx, caller, &txn_iid, IteratorCall::Records(tid));
            }
            Call::IteratorRecordNext { iid } => {
                self.iterators.call(cx, caller, &iid, IteratorCall::NextRecord);
            }
            Call::IteratorGc { iids } => {
                self.iterators.forget(cx, &iids);
                cx.answer(caller, Ok(Reply::Nil));
            }
            Call::SendBlob { oid, serial } => self.downloads.send_blob(cx, caller, oid, serial),
            // The session accepts one registration only.
            Call::Register { .. } | Call::NewOid => {
                cx.answer(caller, Err(Refusal::missing_method("new_oid")));
            }
        }
    }

    /// The storage has answered a call.
    pub(super) fn answered(&mut self, out: &mut Outbox, StorageReply(answer): StorageReply) {
        out.performed();
        let cx = &mut Context { out, registration: &mut self.registration };
        match answer {
            Answer::Load((id, result)) => self.loads.answered(cx, id, result),
            Answer::Query((caller, result)) => self.queries.answered(cx, caller, result),
            Answer::IteratorStep(stepped) => self.iterators.stepped(cx, stepped),
            Answer::Vote(voted) => self.commit.voted(cx, voted),
            Answer::CreateSpool((ticket, file)) => self.commit.spool_created(cx, ticket, file),
            Answer::CreateUpload((id, file)) => self.commit.upload_created(cx, id, file),
            Answer::FindShared(found) => self.commit.upload_shared(cx, found),
            Answer::WriteScratch((writer, result)) => self.commit.written(cx, writer, result),
            Answer::Discard(()) => {}
            Answer::OpenBlob(opened) => self.downloads.opened(cx, opened),
            Answer::ReadBlob(part) => self.downloads.read(cx, part),
        }
    }

    /// The hub has something for this connection.
    pub(super) fn notice(&mut self, out: &mut Outbox, notice: Notice) {
        let cx = &mut Context { out, registration: &mut self.registration };
        match notice {
            Notice::Invalidated(invalidation) => {
                cx.out.invalidate(&invalidation);
                self.loads.learn(invalidation.tid, &invalidation.oids);
            }
            Notice::Barrier { barrier, last_tid } => {
                self.hub_calls.barrier_passed(cx, barrier, last_tid);
            }
            Notice::Status { reader: StatusReader::Caller(caller), status } => {
                self.hub_calls.status_read(cx, caller, *status);
            }
            Notice::Changes { caller, changes } => {
                if let Some((caller, after, up_to)) = self.hub_calls.changes(cx, caller, changes) {
                    self.queries.changes(cx, caller, after, up_to);
                }
            }
            Notice::Packed { caller, result } => self.hub_calls.packed(cx, caller, result),
            Notice::Info(info) => cx.notify_info(info),
            Notice::Locked { ticket } => self.commit.locked(cx, ticket),
            Notice::Waiting { ticket, ahead } => self.commit.waiting(cx, ticket, ahead),
            Notice::Finished { ticket, result, oids } => {
                if let Some(tid) = self.commit.finished(cx, ticket, result) {
                    self.loads.learn(tid, &oids);
                }
            }
            Notice::StorageReconnected => cx.out.close(CloseReason::StorageReconnected),
            Notice::TimedOut { after } => cx.out.close(CloseReason::TransactionTimeout { after }),
            // These are for connections that have not registered, which ask for them.
            Notice::Registered { .. } | Notice::Status { reader: StatusReader::Report(_), .. } => {}
        }
    }

    /// The connection ends: the hub releases everything that it holds.
    pub(super) fn leave(mut self: Box<Self>, out: &mut Outbox) {
        let cx = &mut Context { out, registration: &mut self.registration };
        let leftovers = self.commit.leave(cx);
        cx.ask(HubRequest::Leave);
        cx.discard(leftovers);
    }
}
