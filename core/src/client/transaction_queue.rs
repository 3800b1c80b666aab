//! Two-phase commit from the client's side.
//!
//! ```text
//!   Queued ─► Open ─► Voting ─► Voted ─► Finishing ─► (gone)
//!                       │  ▲                             every stage can be aborted; a lost connection
//!                       ▼  │ stored again                ends all but the first
//!                    Resolving
//! ```
//!
//! A server has one transaction of a connection at a time, so they take turns, in the order in which they
//! were begun. What was stored is remembered until the commit, because the cache holds it then, as far
//! as it has room for it.
//!
//! The vote, with the conflicts that a server leaves to its clients, is in `vote`.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answer::{Begun, Call};
use super::channel::{Channel, Pending};
use super::connections::Uplink;
use super::context::Context;
use super::error::{CallError, LostBecause, Misuse};
use super::ids::TxnId;
use super::loads::Loads;
use super::output::Event;
use super::reading::Reading;
use super::refused::Refused;
use super::transaction::{Begin, Conflict};
use super::uploads::Uploads;
use crate::ids::{Oid, Tid};
use crate::storage::Revision;
use crate::time::Instant;
use crate::value::Value;

/// A transaction's arguments were already encoded once for its connection.
pub(super) const CARRIED: &str =
    "both encodings carry byte strings and whatever began the transaction";

/// The transactions of a client, the one whose turn it is first.
#[derive(Debug, Default)]
pub(super) struct TransactionQueue {
    pub(super) queue: VecDeque<Transaction>,
    /// Those that a lost connection ended, until their owners notice.
    pub(super) lost: BTreeMap<TxnId, LostBecause>,
    last_id: u64,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) id: TxnId,
    begin: Begin,
    /// Its id on the wire.
    pub(super) handle: Value,
    since: Instant,
    pub(super) stage: Stage,
    /// What was stored, for the cache; `None` for what is only to be forgotten.
    stored: BTreeMap<Oid, Option<Bytes>>,
    stored_bytes: usize,
    pub(super) uploads: Uploads,
    /// Number of times that it was voted.
    pub(super) votes: usize,
    /// The objects whose conflicts were resolved here.
    pub(super) resolved: Vec<Oid>,
}

#[derive(Debug)]
pub(super) enum Stage {
    Queued {
        begun: Call<Begun>,
    },
    Open,
    /// Asked as soon as all blobs are sent.
    Voting {
        call: Call<Vec<Oid>>,
        asked: bool,
    },
    Resolving {
        call: Call<Vec<Oid>>,
        conflicts: VecDeque<Conflict>,
    },
    Voted {
        /// The objects that are not what was stored: the server resolved their conflicts, or undid them.
        resolved_by_server: BTreeSet<Oid>,
    },
    Finishing {
        call: Call<Tid>,
        resolved_by_server: BTreeSet<Oid>,
    },
    /// The vote failed: only an abort is left.
    Failed,
}

/// What a message adds to a transaction.
pub(super) struct Addition {
    pub(super) method: &'static str,
    /// Its arguments, without the transaction's id.
    pub(super) args: Vec<Value>,
    /// The object that it changes, and its new record if the cache can hold it after the commit.
    pub(super) stored: Option<(Oid, Option<Bytes>)>,
}

impl Transaction {
    const fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued { .. })
    }

    /// Fails the call that waits for its next step.
    pub(super) fn fail(&self, cx: &mut Context, error: CallError) {
        match self.stage {
            Stage::Queued { begun } => cx.answer(begun, Err(error)),
            Stage::Voting { call, .. } | Stage::Resolving { call, .. } => {
                cx.answer(call, Err(error));
            }
            Stage::Finishing { call, .. } => cx.answer(call, Err(error)),
            Stage::Open | Stage::Voted { .. } | Stage::Failed => {}
        }
    }

    /// Remembers what the cache holds after the commit, if there is room for it.
    pub(super) fn remember(&mut self, oid: Oid, data: Option<Bytes>, room: usize) {
        let data = data.filter(|data| self.stored_bytes + data.len() <= room);
        self.stored_bytes += data.as_ref().map_or(0, Bytes::len);
        if let Some(Some(replaced)) = self.stored.insert(oid, data) {
            self.stored_bytes -= replaced.len();
        }
    }

    fn send_begin(&mut self, channel: &mut Channel) -> Result<(), CallError> {
        let (tid, status) = match self.begin.copied {
            Some((tid, status)) => (Value::tid(tid), status),
            None => (Value::None, b' '),
        };
        let args = vec![
            self.handle.clone(),
            Value::Bytes(self.begin.user.clone()),
            Value::Bytes(self.begin.description.clone()),
            self.begin.extension.clone(),
            tid,
            Value::Str(String::from(char::from(status))),
        ];
        channel.send_oneway("tpc_begin", args).map_err(CallError::Unwritable)?;
        self.stage = Stage::Open;
        Ok(())
    }
}

/// Beginning and adding.
impl TransactionQueue {
    /// The transaction whose turn it is, if it is this one.
    pub(super) fn open(&mut self, id: TxnId) -> Option<&mut Transaction> {
        self.queue.front_mut().filter(|open| open.id == id)
    }

    /// A transaction takes its place, unless it is refused; [`Self::take_turns`] comes next.
    pub(super) fn begin(
        &mut self,
        cx: &mut Context,
        begin: Begin,
        refused: Option<CallError>,
    ) -> (TxnId, Call<Begun>) {
        let begun = cx.new_call();
        self.last_id += 1;
        let id = TxnId(self.last_id);
        if let Some(error) = refused {
            cx.answer(begun, Err(error));
            return (id, begun);
        }
        let number = i64::try_from(id.0).expect("a client begins fewer than 2^63 transactions");
        let handle = begin.handle.clone().unwrap_or(Value::Int(number));
        self.queue.push_back(Transaction {
            id,
            begin,
            handle,
            since: cx.now,
            stage: Stage::Queued { begun },
            stored: BTreeMap::new(),
            stored_bytes: 0,
            uploads: Uploads::default(),
            votes: 0,
            resolved: Vec::new(),
        });
        (id, begun)
    }

    /// Opens the first transaction of the queue, if there is a connection for it.
    pub(super) fn take_turns(&mut self, cx: &mut Context, mut uplink: Uplink<'_>) {
        while let Some(txn) = self.queue.front_mut()
            && let Stage::Queued { begun } = txn.stage
        {
            let result = match &mut uplink {
                Uplink::Down { since, .. } => {
                    let since = txn.since.max(*since);
                    let Some(error) = uplink.failure(cx, since) else { return };
                    Err(error)
                }
                Uplink::Ready { read_only: true, .. } => Err(Misuse::ReadOnly.into()),
                Uplink::Ready { channel, .. } => txn.send_begin(channel),
            };
            if result.is_err() {
                self.queue.pop_front();
            }
            cx.answer(begun, result.map(|()| Begun));
        }
    }

    /// When the first of the queue has waited for a connection, which there is not since then, for as
    /// long as a call may.
    pub(super) fn timeout(&self, cx: &Context, unconnected_since: Instant) -> Option<Instant> {
        let first = self.queue.front().filter(|first| first.is_queued())?;
        Some(first.since.max(unconnected_since).after(cx.settings.wait_timeout))
    }

    /// Adds something to the open transaction. Returns the arguments that were sent; `None` if the
    /// transaction is lost, which its vote tells.
    pub(super) fn add(
        &mut self,
        cx: &Context,
        channel: Option<&mut Channel>,
        id: TxnId,
        addition: Addition,
    ) -> Result<(), Misuse> {
        if self.lost.contains_key(&id) {
            return Ok(());
        }
        let open = self.open(id).ok_or(Misuse::NotOpen)?;
        match open.stage {
            Stage::Open => {}
            Stage::Queued { .. } => return Err(Misuse::NotOpen),
            Stage::Voting { .. }
            | Stage::Resolving { .. }
            | Stage::Voted { .. }
            | Stage::Finishing { .. }
            | Stage::Failed => return Err(Misuse::Voted),
        }
        let Some(channel) = channel else { return Ok(()) };
        let Addition { method, mut args, stored } = addition;
        args.push(open.handle.clone());
        channel.send_oneway(method, args).expect(CARRIED);
        if let Some((oid, data)) = stored {
            open.remember(oid, data, cx.settings.cache_bytes);
        }
        Ok(())
    }

    /// Adds a blob, whose record was added before. Returns its number.
    pub(super) fn add_blob(&mut self, id: TxnId, mut record: Vec<Value>) -> usize {
        let Some(open) = self.open(id) else { return 0 };
        record.push(open.handle.clone());
        open.uploads.push(record)
    }

    /// Asks for the next piece of the blob that is being sent, if there is room for it.
    pub(super) fn send_blobs(&mut self, cx: &mut Context, channel: &mut Channel) {
        if let Some(txn) = self.queue.front_mut() {
            txn.uploads.read_next(cx, channel, txn.id);
        }
    }
}

/// Finishing and ending.
impl TransactionQueue {
    /// Second phase.
    pub(super) fn finish(
        &mut self,
        cx: &mut Context,
        channel: Option<&mut Channel>,
        txn: TxnId,
    ) -> Call<Tid> {
        let call = cx.new_call();
        if let Some(because) = self.lost.get(&txn) {
            cx.answer(call, Err(because.into()));
            return call;
        }
        let Some(open) = self.open(txn) else {
            cx.answer(call, Err(Misuse::NotOpen.into()));
            return call;
        };
        let Stage::Voted { resolved_by_server } = &mut open.stage else {
            cx.answer(call, Err(Misuse::NotVoted.into()));
            return call;
        };
        let resolved_by_server = core::mem::take(resolved_by_server);
        open.stage = Stage::Finishing { call, resolved_by_server };
        if let Some(channel) = channel {
            channel.ask(Pending::Finish(txn), "tpc_finish", vec![open.handle.clone()]);
        }
        call
    }

    /// The server has committed: the cache learns of it here, where the reply stands in the stream.
    /// [`Self::take_turns`] comes next.
    pub(super) fn finished(
        &mut self,
        cx: &mut Context,
        loads: &mut Loads,
        id: TxnId,
        answer: Result<Value, Refused>,
    ) -> Result<(), LostBecause> {
        if self.open(id).is_none() {
            return Ok(());
        }
        let Some(txn) = self.queue.pop_front() else { return Ok(()) };
        let Stage::Finishing { call, resolved_by_server } = txn.stage else { return Ok(()) };
        let tid = match answer.map(Reading::into_tid) {
            Ok(Ok(tid)) => tid,
            Ok(Err(problem)) => {
                let odd = LostBecause::Odd { method: "tpc_finish", problem };
                cx.answer(call, Err(CallError::MaybeCommitted(odd.clone())));
                return Err(odd);
            }
            Err(refused) => {
                cx.answer(call, Err(finish_refused(refused)));
                return Err(LostBecause::CommitFailed);
            }
        };
        let is_newest = tid > cx.cache.last_tid();
        let others = resolved_by_server.iter().filter(|oid| !txn.stored.contains_key(oid));
        let oids: Arc<[Oid]> = txn.stored.keys().chain(others).copied().collect();
        for oid in &*oids {
            loads.object_changed(cx, *oid, is_newest.then_some(tid));
        }
        if is_newest {
            for (oid, data) in txn.stored {
                if let Some(data) = data.filter(|_| !resolved_by_server.contains(&oid)) {
                    cx.cache.store(oid, Revision { data, serial: tid, end: None });
                }
            }
            cx.cache.set_last_tid(tid);
        }
        cx.event(Event::Committed { tid, oids });
        cx.answer(call, Ok(tid));
        Ok(())
    }

    /// Ends a transaction at any stage, except one whose finish was sent. The call that waits for
    /// its next step fails. [`Self::take_turns`] comes next.
    pub(super) fn abort(
        &mut self,
        cx: &mut Context,
        channel: Option<&mut Channel>,
        txn: TxnId,
    ) -> Call<()> {
        let call = cx.new_call();
        let can_end = |known: &Transaction| {
            known.id == txn && !matches!(known.stage, Stage::Finishing { .. })
        };
        let position = self.queue.iter().position(can_end);
        let Some(mut ended) = position.and_then(|position| self.queue.remove(position)) else {
            self.lost.remove(&txn);
            cx.answer(call, Ok(()));
            return call;
        };
        ended.fail(cx, Misuse::NotOpen.into());
        if let Some(channel) = channel.filter(|_| !ended.is_queued()) {
            ended.uploads.give_up(channel);
            channel.ask(Pending::Abort(call, txn), "tpc_abort", vec![ended.handle]);
        } else {
            cx.answer(call, Ok(()));
        }
        call
    }

    /// The connection is lost, and the open transaction with it.
    pub(super) fn connection_lost(&mut self, cx: &mut Context, because: &LostBecause) {
        if self.queue.front().is_none_or(Transaction::is_queued) {
            return;
        }
        let Some(txn) = self.queue.pop_front() else { return };
        if let Stage::Finishing { call, .. } = txn.stage {
            return cx.answer(call, Err(CallError::MaybeCommitted(because.clone())));
        }
        self.lost.insert(txn.id, because.clone());
        txn.fail(cx, because.into());
    }

    /// The client is closed.
    pub(super) fn close(&mut self, cx: &mut Context) {
        for txn in core::mem::take(&mut self.queue) {
            let error = match txn.stage {
                Stage::Finishing { .. } => CallError::MaybeCommitted(LostBecause::Closed),
                _ => CallError::Closed,
            };
            txn.fail(cx, error);
        }
    }
}

/// What failed within the commit may have failed after it was done.
fn finish_refused(refused: Refused) -> CallError {
    match refused {
        Refused::Transaction(_)
        | Refused::ReadOnly
        | Refused::Conflict { .. }
        | Refused::ReadConflict { .. } => refused.into(),
        Refused::NoSuchObject { .. }
        | Refused::Undo { .. }
        | Refused::UndoFailures(_)
        | Refused::Other { .. } => CallError::MaybeCommitted(LostBecause::Refused(refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Answer;
    use super::super::cache::Cache;
    use super::super::ids::{CallId, ConnId};
    use super::super::output::Output;
    use super::super::settings::ClientSettings;
    use super::*;

    fn answers(cx: &mut Context) -> Vec<(CallId, Result<Answer, CallError>)> {
        let mut answers = vec![];
        while let Some(output) = cx.take_output() {
            if let Output::Event(Event::Answered { call, result }) = output {
                answers.push((call, result));
            }
        }
        answers
    }

    fn ready(channel: &mut Channel) -> Uplink<'_> {
        Uplink::Ready { id: ConnId(1), channel, read_only: false }
    }

    fn store(data: &'static str) -> Addition {
        let args = vec![Value::oid(Oid(1)), Value::tid(Tid::ZERO), Value::Bytes(data.into())];
        Addition { method: "storea", args, stored: Some((Oid(1), Some(data.into()))) }
    }

    struct Fixture {
        cx: Context,
        loads: Loads,
        channel: Channel,
        queue: TransactionQueue,
    }

    impl Fixture {
        fn new() -> Self {
            let settings = ClientSettings::default();
            Self {
                cx: Context::new(Instant::START, settings, Cache::new(1 << 20)),
                loads: Loads::default(),
                channel: Channel::new(1 << 20),
                queue: TransactionQueue::default(),
            }
        }

        /// A transaction that has stored something and is voted.
        fn voted(&mut self) -> TxnId {
            let (txn, _) = self.queue.begin(&mut self.cx, Begin::default(), None);
            self.queue.take_turns(&mut self.cx, ready(&mut self.channel));
            self.queue.add(&self.cx, Some(&mut self.channel), txn, store("new")).unwrap();
            self.queue.vote(&mut self.cx, Some(&mut self.channel), txn);
            let (cx, channel) = (&mut self.cx, &mut self.channel);
            self.queue.voted(cx, channel, &mut self.loads, txn, Ok(Value::None));
            answers(&mut self.cx);
            txn
        }
    }

    #[test]
    fn transactions_take_turns() {
        let mut it = Fixture::new();
        let (first, begun) = it.queue.begin(&mut it.cx, Begin::default(), None);
        let (second, second_begun) = it.queue.begin(&mut it.cx, Begin::default(), None);
        it.queue.take_turns(&mut it.cx, ready(&mut it.channel));
        assert_eq!(answers(&mut it.cx), [(begun.id, Ok(Answer::Begun))]);
        let early = it.queue.add(&it.cx, Some(&mut it.channel), second, store("early"));
        assert_eq!(early, Err(Misuse::NotOpen));
        it.queue.abort(&mut it.cx, Some(&mut it.channel), first);
        it.queue.take_turns(&mut it.cx, ready(&mut it.channel));
        assert_eq!(answers(&mut it.cx), [(second_begun.id, Ok(Answer::Begun))]);
    }

    #[test]
    fn an_own_commit_is_in_the_cache_and_announced() {
        let mut it = Fixture::new();
        let txn = it.voted();
        let call = it.queue.finish(&mut it.cx, Some(&mut it.channel), txn);
        let tid = Ok(Value::tid(Tid(9)));
        it.queue.finished(&mut it.cx, &mut it.loads, txn, tid).unwrap();
        let committed = Event::Committed { tid: Tid(9), oids: [Oid(1)].into() };
        assert!(matches!(it.cx.take_output(), Some(Output::Event(event)) if event == committed));
        assert_eq!(answers(&mut it.cx), [(call.id, Ok(Answer::Finished(Tid(9))))]);
        let cached = it.cx.cache.load_before(Oid(1), Tid::MAX).unwrap();
        assert_eq!((&*cached.data, cached.serial), (&b"new"[..], Tid(9)));
    }

    #[test]
    fn a_lost_connection_leaves_a_finish_in_doubt_and_ends_all_else() {
        let lost = LostBecause::Gone("gone".into());
        let mut it = Fixture::new();
        let txn = it.voted();
        let call = it.queue.finish(&mut it.cx, Some(&mut it.channel), txn);
        it.queue.connection_lost(&mut it.cx, &lost);
        let maybe = Err(CallError::MaybeCommitted(lost.clone()));
        assert_eq!(answers(&mut it.cx), [(call.id, maybe)]);
        let txn = it.voted();
        it.queue.connection_lost(&mut it.cx, &lost);
        assert_eq!(it.queue.add(&it.cx, None, txn, store("late")), Ok(()));
        let call = it.queue.finish(&mut it.cx, None, txn);
        assert_eq!(answers(&mut it.cx), [(call.id, Err(CallError::Lost(lost)))]);
    }
}
