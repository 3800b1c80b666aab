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
//! were begun. What was stored is remembered until the commit, because then it is what the cache has
//! to hold, as far as it has room for it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answer::Reading;
use super::blobs::Uploads;
use super::connection::Pending;
use super::{
    Access, Answer, CallError, CallId, Client, Event, LostBecause, Misuse, Output, Refused,
};
use crate::ids::{Oid, Tid};
use crate::storage::Revision;
use crate::time::{Instant, Now};
use crate::value::Value;

/// Whatever is said of a transaction has been said in the same encoding before.
pub(super) const CARRIED: &str =
    "both encodings carry byte strings and whatever began the transaction";

/// A transaction, numbered by the client; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub u64);

/// What a transaction says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Begin {
    /// Who.
    pub user: Bytes,
    /// Why.
    pub description: Bytes,
    /// What else: a dict. Objects in it fail the transaction if msgpack is spoken, and Python's server
    /// closes the connection on them; rzeo's keeps them.
    pub extension: Value,
    /// For copied transactions: the tid to commit under, and the status.
    pub copied: Option<(Tid, u8)>,
    /// What to call it on the wire, where only being equal counts; `None` for its [`TxnId`]. Only who
    /// plays a recorded conversation cares.
    pub handle: Option<Value>,
}

impl Default for Begin {
    fn default() -> Self {
        Self {
            user: Bytes::new(),
            description: Bytes::new(),
            extension: Value::Dict(Vec::new()),
            copied: None,
            handle: None,
        }
    }
}

/// A write conflict that the server leaves to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// Whose.
    pub txn: TxnId,
    /// The object.
    pub oid: Oid,
    /// The revision that was read.
    pub read: Tid,
    /// The revision that is current.
    pub committed: Tid,
    /// The record that was to be written.
    pub new: Bytes,
    /// The records of the two revisions, once they were asked for: as read, as committed.
    pub states: Option<(Bytes, Bytes)>,
}

/// The transactions of a client, the one whose turn it is first.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) queue: VecDeque<Transaction>,
    /// Those that a lost connection ended, until their owners notice.
    pub(super) lost: BTreeMap<TxnId, LostBecause>,
    last_id: u64,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) id: TxnId,
    begin: Begin,
    /// What the server knows it by.
    pub(super) handle: Value,
    since: Instant,
    pub(super) stage: Stage,
    /// What was stored, for the cache; `None` for what is only to be forgotten.
    stored: BTreeMap<Oid, Option<Bytes>>,
    stored_bytes: usize,
    pub(super) uploads: Uploads,
    pub(super) votes: usize,
    /// What conflicts were resolved here.
    pub(super) resolved: Vec<Oid>,
}

#[derive(Debug)]
pub(super) enum Stage {
    Queued {
        begun: CallId,
    },
    Open,
    /// Asked as soon as all blobs are sent.
    Voting {
        call: CallId,
        asked: bool,
    },
    Resolving {
        call: CallId,
        conflicts: VecDeque<Conflict>,
    },
    Voted {
        theirs: BTreeSet<Oid>,
    },
    Finishing {
        call: CallId,
        theirs: BTreeSet<Oid>,
    },
    /// The vote failed: only an abort is left.
    Failed,
}

impl Transaction {
    /// Who waits for its next step.
    pub(super) const fn caller(&self) -> Option<CallId> {
        match self.stage {
            Stage::Queued { begun: call }
            | Stage::Voting { call, .. }
            | Stage::Resolving { call, .. }
            | Stage::Finishing { call, .. } => Some(call),
            Stage::Open | Stage::Voted { .. } | Stage::Failed => None,
        }
    }

    /// Remembers what the cache is to hold after the commit, if there is room for it.
    pub(super) fn remember(&mut self, oid: Oid, data: Option<Bytes>, room: usize) {
        let data = data.filter(|data| self.stored_bytes + data.len() <= room);
        self.stored_bytes += data.as_ref().map_or(0, Bytes::len);
        if let Some(Some(replaced)) = self.stored.insert(oid, data) {
            self.stored_bytes -= replaced.len();
        }
    }
}

/// Beginning and adding.
impl Client {
    /// Begins a transaction. One at a time is open: [`Answer::Begun`] says that it is this one. It
    /// waits for a connection as calls do.
    pub fn begin(&mut self, now: Now, begin: Begin) -> (TxnId, CallId) {
        let begun = self.new_call();
        self.turns.last_id += 1;
        let id = TxnId(self.turns.last_id);
        if self.is_closed {
            self.answer(begun, Err(CallError::Closed));
        } else if self.is_read_only() {
            self.answer(begun, Err(Misuse::ReadOnly.into()));
        } else {
            let number = i64::try_from(id.0).expect("nobody begins so many transactions");
            let handle = begin.handle.clone().unwrap_or(Value::Int(number));
            self.turns.queue.push_back(Transaction {
                id,
                begin,
                handle,
                since: now.instant,
                stage: Stage::Queued { begun },
                stored: BTreeMap::new(),
                stored_bytes: 0,
                uploads: Uploads::default(),
                votes: 0,
                resolved: Vec::new(),
            });
            self.take_turns(now.instant);
        }
        (id, begun)
    }

    /// Opens the first transaction of the queue, if there is a connection for it.
    pub(super) fn take_turns(&mut self, now: Instant) {
        while let Some(txn) = self.turns.queue.front()
            && let Stage::Queued { begun } = txn.stage
        {
            let result = if !self.is_connected() {
                let since = txn.since.max(self.unconnected_since);
                if since.after(self.settings.wait_timeout) > now {
                    return;
                }
                Err(self.unreachable())
            } else if self.is_read_only() {
                Err(Misuse::ReadOnly.into())
            } else {
                self.send_begin()
            };
            if result.is_err() {
                self.turns.queue.pop_front();
            }
            self.answer(begun, result.map(|()| Answer::Begun));
        }
    }

    /// When the first of the queue has waited for a connection for as long as one may.
    pub(super) fn turns_until(&self) -> Option<Instant> {
        let first = self.turns.queue.front()?;
        let is_waiting = matches!(first.stage, Stage::Queued { .. }) && !self.is_connected();
        let since = first.since.max(self.unconnected_since);
        is_waiting.then(|| since.after(self.settings.wait_timeout))
    }

    fn send_begin(&mut self) -> Result<(), CallError> {
        let Some(txn) = self.turns.queue.front_mut() else { return Ok(()) };
        let Some(connection) = self.chosen.and_then(|id| self.connections.get_mut(&id)) else {
            return Ok(());
        };
        let (tid, status) = match txn.begin.copied {
            Some((tid, status)) => (Value::tid(tid), status),
            None => (Value::None, b' '),
        };
        let args = vec![
            txn.handle.clone(),
            Value::Bytes(txn.begin.user.clone()),
            Value::Bytes(txn.begin.description.clone()),
            txn.begin.extension.clone(),
            tid,
            Value::Str(String::from(char::from(status))),
        ];
        connection.tell("tpc_begin", args).map_err(CallError::Unwritable)?;
        txn.stage = Stage::Open;
        Ok(())
    }

    /// Writes a record. `serial` is the revision that was read, [`Tid::ZERO`] for a new object.
    ///
    /// # Errors
    /// [`Misuse`], as for everything that is added to a transaction. That its connection is lost is
    /// told by the vote.
    pub fn store(&mut self, txn: TxnId, oid: Oid, serial: Tid, data: Bytes) -> Result<(), Misuse> {
        let args = vec![Value::oid(oid), Value::tid(serial), Value::Bytes(data.clone())];
        self.add(txn, "storea", args, Some((oid, Some(data))))
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn delete(&mut self, txn: TxnId, oid: Oid, serial: Tid) -> Result<(), Misuse> {
        let args = vec![Value::oid(oid), Value::tid(serial)];
        self.add(txn, "deleteObject", args, Some((oid, None)))
    }

    /// Lets the vote fail unless this revision is current.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn check_current(&mut self, txn: TxnId, oid: Oid, serial: Tid) -> Result<(), Misuse> {
        let args = vec![Value::oid(oid), Value::tid(serial)];
        self.add(txn, "checkCurrentSerialInTransaction", args, None)
    }

    /// Writes a record under its original tid, without looking for conflicts: for copied transactions.
    /// `prev_txn` may name a transaction that wrote the same data.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn restore(
        &mut self,
        txn: TxnId,
        oid: Oid,
        serial: Tid,
        data: Option<Bytes>,
        prev_txn: Option<Tid>,
    ) -> Result<(), Misuse> {
        let data = data.map_or(Value::None, Value::Bytes);
        let prev_txn = prev_txn.map_or(Value::None, Value::tid);
        let args = vec![Value::oid(oid), Value::tid(serial), data, prev_txn];
        self.add(txn, "restorea", args, Some((oid, None)))
    }

    /// Undoes a transaction, by the id of an [`UndoEntry`](super::UndoEntry).
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn undo(&mut self, txn: TxnId, id: Bytes) -> Result<(), Misuse> {
        self.add(txn, "undoa", vec![Value::Bytes(id)], None)
    }

    /// Writes a record and its blob, whose bytes are asked for with [`Output::ReadBlob`]. Returns which of
    /// the transaction's blobs it is.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn store_blob(
        &mut self,
        txn: TxnId,
        oid: Oid,
        serial: Tid,
        data: Bytes,
    ) -> Result<usize, Misuse> {
        let record = vec![Value::oid(oid), Value::tid(serial), Value::Bytes(data.clone())];
        self.add(txn, "storea", record.clone(), Some((oid, Some(data))))?;
        let Some(open) = self.turns.queue.front_mut().filter(|open| open.id == txn) else {
            return Ok(0);
        };
        let mut end = record;
        end.push(open.handle.clone());
        let number = open.uploads.push(end);
        self.send_blobs();
        Ok(number)
    }

    /// Writes a record and its blob, a file that was put into a directory shared with the server.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn store_blob_shared(
        &mut self,
        txn: TxnId,
        oid: Oid,
        serial: Tid,
        data: Bytes,
        filename: String,
    ) -> Result<(), Misuse> {
        let record = vec![Value::oid(oid), Value::tid(serial), Value::Bytes(data.clone())];
        self.add(txn, "storea", record.clone(), Some((oid, Some(data))))?;
        let mut args = record;
        args.push(Value::Str(filename));
        self.add(txn, "storeBlobShared", args, None)
    }

    /// How many bytes wait to be taken by the socket: who stores much should wait while it is much.
    #[must_use]
    pub fn backlog(&self) -> usize {
        let chosen = self.chosen.and_then(|id| self.connections.get(&id));
        chosen.map_or(0, super::connection::Connection::backlog)
    }

    /// Says something of the open transaction, and remembers what it stores.
    fn add(
        &mut self,
        id: TxnId,
        method: &str,
        mut args: Vec<Value>,
        stored: Option<(Oid, Option<Bytes>)>,
    ) -> Result<(), Misuse> {
        if self.turns.lost.contains_key(&id) {
            return Ok(());
        }
        let room = self.settings.cache_bytes;
        let open = self.turns.queue.front_mut().filter(|open| open.id == id);
        let open = open.ok_or(Misuse::NotOpen)?;
        match open.stage {
            Stage::Open => {}
            Stage::Queued { .. } => return Err(Misuse::NotOpen),
            Stage::Voting { .. }
            | Stage::Resolving { .. }
            | Stage::Voted { .. }
            | Stage::Finishing { .. }
            | Stage::Failed => return Err(Misuse::Voted),
        }
        let Some(connection) = self.chosen.and_then(|id| self.connections.get_mut(&id)) else {
            return Ok(());
        };
        args.push(open.handle.clone());
        connection.tell(method, args).expect(CARRIED);
        if let Some((oid, data)) = stored {
            open.remember(oid, data, room);
        }
        Ok(())
    }
}

/// Finishing and ending.
impl Client {
    /// Second phase; [`Answer::Finished`].
    pub fn finish(&mut self, _now: Now, txn: TxnId) -> CallId {
        let call = self.new_call();
        if let Some(because) = self.turns.lost.get(&txn) {
            let error = CallError::from(because);
            self.answer(call, Err(error));
            return call;
        }
        let open = self.turns.queue.front_mut().filter(|open| open.id == txn);
        let Some(open) = open else {
            self.answer(call, Err(Misuse::NotOpen.into()));
            return call;
        };
        let Stage::Voted { theirs } = &mut open.stage else {
            self.answer(call, Err(Misuse::NotVoted.into()));
            return call;
        };
        let theirs = core::mem::take(theirs);
        open.stage = Stage::Finishing { call, theirs };
        let handle = open.handle.clone();
        if let Some(connection) = self.chosen_connection() {
            connection.ask(Pending::Finish(txn), "tpc_finish", vec![handle]);
        }
        call
    }

    /// The server has committed: the cache learns of it here, where the reply stands in the stream.
    pub(super) fn finished(
        &mut self,
        now: Instant,
        id: TxnId,
        answer: Result<Value, Refused>,
    ) -> Result<(), LostBecause> {
        if self.turns.queue.front().is_none_or(|txn| txn.id != id) {
            return Ok(());
        }
        let Some(txn) = self.turns.queue.pop_front() else { return Ok(()) };
        let Stage::Finishing { call, theirs } = txn.stage else { return Ok(()) };
        let tid = match answer.map(Reading::into_tid) {
            Ok(Ok(tid)) => tid,
            Ok(Err(problem)) => {
                let odd = LostBecause::Odd { method: "tpc_finish", problem };
                self.answer(call, Err(CallError::MaybeCommitted(odd.clone())));
                return Err(odd);
            }
            Err(refused) => {
                self.answer(call, Err(finish_refused(refused)));
                return Err(LostBecause::CommitFailed);
            }
        };
        let is_newest = tid > self.cache.last_tid();
        let only_theirs = theirs.iter().filter(|oid| !txn.stored.contains_key(oid)).copied();
        let oids: Arc<[Oid]> = txn.stored.keys().copied().chain(only_theirs).collect();
        for oid in &*oids {
            self.changed(*oid, is_newest.then_some(tid));
        }
        if is_newest {
            for (oid, data) in txn.stored {
                if let Some(data) = data.filter(|_| !theirs.contains(&oid)) {
                    self.cache.store(oid, Revision { data, serial: tid, end: None });
                }
            }
            self.cache.set_last_tid(tid);
        }
        self.outputs.push_back(Output::Event(Event::Committed { tid, oids }));
        self.answer(call, Ok(Answer::Finished(tid)));
        self.take_turns(now);
        Ok(())
    }

    /// Gives a transaction up, whatever its stage; [`Answer::Done`]. Whoever waits for its next step
    /// hears that it is not open any more; only a finish that was sent goes on.
    pub fn abort(&mut self, now: Now, txn: TxnId) -> CallId {
        let call = self.new_call();
        let place = self.turns.queue.iter().position(|known| known.id == txn);
        let is_finishing = |txn: &Transaction| matches!(txn.stage, Stage::Finishing { .. });
        let place = place.filter(|place| !is_finishing(&self.turns.queue[*place]));
        let ended = place.and_then(|place| self.turns.queue.remove(place));
        let Some(mut ended) = ended else {
            self.turns.lost.remove(&txn);
            self.answer(call, Ok(Answer::Done));
            return call;
        };
        if let Some(caller) = ended.caller() {
            self.answer(caller, Err(Misuse::NotOpen.into()));
        }
        let was_begun = !matches!(ended.stage, Stage::Queued { .. });
        if let Some(connection) = self.chosen_connection().filter(|_| was_begun) {
            if let Some(end) = ended.uploads.give_up() {
                connection.tell("storeBlobEnd", end).expect(CARRIED);
            }
            connection.ask(Pending::Abort(call, txn), "tpc_abort", vec![ended.handle]);
        } else {
            self.answer(call, Ok(Answer::Done));
        }
        self.take_turns(now.instant);
        call
    }

    /// The server has let go. A vote that waited for its locks gets no answer any more
    /// (`spec: zeo-protocol 9.3`).
    pub(super) fn aborted(&mut self, call: CallId, txn: TxnId, answer: Result<(), Refused>) {
        if let Some(connection) = self.chosen_connection() {
            connection.pending.retain(|_, pending| !pending.is_vote_of(txn));
        }
        self.answer(call, answer.map(|()| Answer::Done).map_err(CallError::from));
    }

    /// The connection is lost, and the open transaction with it.
    pub(super) fn transaction_lost(&mut self, because: &LostBecause) {
        let is_queued = |txn: &Transaction| matches!(txn.stage, Stage::Queued { .. });
        if self.turns.queue.front().is_none_or(is_queued) {
            return;
        }
        let Some(txn) = self.turns.queue.pop_front() else { return };
        if let Stage::Finishing { call, .. } = txn.stage {
            return self.answer(call, Err(CallError::MaybeCommitted(because.clone())));
        }
        self.turns.lost.insert(txn.id, because.clone());
        if let Some(call) = txn.caller() {
            self.answer(call, Err(because.into()));
        }
    }

    /// The client is given up.
    pub(super) fn end_transactions(&mut self) {
        for txn in core::mem::take(&mut self.turns.queue) {
            let error = match txn.stage {
                Stage::Finishing { .. } => CallError::MaybeCommitted(LostBecause::Closed),
                _ => CallError::Closed,
            };
            if let Some(call) = txn.caller() {
                self.answer(call, Err(error));
            }
        }
    }

    /// Whether writing is refused, by the settings or by the server.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let chosen = self.chosen.and_then(|id| self.connections.get(&id));
        self.settings.access == Access::ReadOnly || chosen.is_some_and(|it| it.read_only)
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
