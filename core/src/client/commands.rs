//! What an application asks of a client.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answer::{Begun, Call};
use super::error::{CallError, Misuse};
use super::ids::{IteratorId, TxnId};
use super::machine::Client;
use super::output::Found;
use super::query::{Reply, Request, number};
use super::transaction::Begin;
use super::transaction_queue::Addition;
use super::waiting::Wanted;
use crate::ids::{Oid, Tid};
use crate::storage::Revision;
use crate::time::Now;
use crate::value::Value;

/// Reading.
impl Client {
    /// Whether calls go through.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connections.is_ready()
    }

    /// Whether writing is refused, by the settings or by the server.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.connections.is_read_only(&self.cx)
    }

    /// There are other servers now. Takes effect when the connection is lost; at once if there is none,
    /// or one that refuses writing although the client writes.
    pub fn set_servers(&mut self, now: Now, servers: usize) {
        self.cx.now = now.instant;
        self.connections.set_servers(&mut self.cx, servers);
    }

    /// Asks the server something; the answer comes with [`Event::Answered`](super::Event::Answered), and
    /// is read with [`Reply::read`].
    pub fn ask(&mut self, now: Now, query: impl Into<Request>) -> Call<Reply> {
        self.cx.now = now.instant;
        let caller = self.cx.new_caller();
        self.want(Wanted::Query(caller, query.into()));
        caller.call
    }

    /// Asks for a blob, whose bytes come as [`Output::WriteBlob`](super::Output::WriteBlob) before the
    /// answer. Asked for twice at the same time it comes once.
    pub fn load_blob(&mut self, now: Now, oid: Oid, serial: Tid) -> Call<()> {
        self.cx.now = now.instant;
        let caller = self.cx.new_caller();
        self.want(Wanted::Download(caller, oid, serial));
        caller.call
    }

    /// The newest revision with a serial less than `before`, `None` if the object has none so old.
    /// With [`Tid::MAX`], the current one. If it comes later, with [`Answer::Loaded`](super::Answer::Loaded).
    pub fn load_before(&mut self, now: Now, oid: Oid, before: Tid) -> Found<Option<Revision>> {
        match self.cached_before(oid, before) {
            Some(revision) => Found::Now(Some(revision)),
            None => Found::Later(self.ask_before(now, oid, before)),
        }
    }

    /// What [`Self::load_before`] finds in the cache: it needs no clock and has no outputs.
    pub fn cached_before(&mut self, oid: Oid, before: Tid) -> Option<Revision> {
        self.cx.cache.load_before(oid, before)
    }

    /// What [`Self::load_before`] does about a revision that is not in the cache.
    pub fn ask_before(&mut self, now: Now, oid: Oid, before: Tid) -> Call<Option<Revision>> {
        self.cx.now = now.instant;
        let caller = self.cx.new_caller();
        self.want(Wanted::Load(caller, oid, before));
        caller.call
    }

    /// Asks for all of these that are not in the cache, and waits for none. Does nothing without a
    /// connection.
    pub fn prefetch(&mut self, oids: &[Oid], before: Tid) {
        let Some(channel) = self.connections.ready() else { return };
        for &oid in oids {
            if !self.cx.cache.knows_before(oid, before) {
                self.loads.ask(channel, oid, before, None);
            }
        }
    }

    /// Tells the server that these iterators are not needed any more.
    pub fn forget_iterators(&mut self, iterators: &[IteratorId]) {
        let Some((id, connection)) = self.connections.chosen_mut() else { return };
        let its = iterators.iter().filter(|iterator| iterator.connection == id);
        let ids: Vec<Value> = its.map(|iterator| number(iterator.id)).collect();
        if !ids.is_empty() {
            let sent = connection.channel.send_oneway("iterator_gc", vec![Value::List(ids)]);
            sent.expect("both encodings carry numbers");
        }
    }
}

/// Writing.
impl Client {
    /// An oid that was never given out. If it comes later, with [`Answer::Oid`](super::Answer::Oid).
    pub fn new_oid(&mut self, now: Now) -> Found<Oid> {
        self.cx.now = now.instant;
        if let Some(oid) = self.new_oids.take_spare() {
            return Found::Now(oid);
        }
        let caller = self.cx.new_caller();
        if self.is_read_only() {
            self.cx.answer(caller.call, Err(Misuse::ReadOnly.into()));
        } else {
            self.want(Wanted::NewOid(caller));
        }
        Found::Later(caller.call)
    }

    /// Begins a transaction. One at a time is open: [`Answer::Begun`](super::Answer::Begun) says that it is this one. It
    /// waits for a connection as calls do.
    pub fn begin(&mut self, now: Now, begin: Begin) -> (TxnId, Call<Begun>) {
        self.cx.now = now.instant;
        let refused = if self.is_closed {
            Some(CallError::Closed)
        } else if self.is_read_only() {
            Some(Misuse::ReadOnly.into())
        } else {
            None
        };
        let begun = self.transactions.begin(&mut self.cx, begin, refused);
        self.take_turns();
        begun
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

    /// Writes a record and its blob, whose bytes are requested with
    /// [`Output::ReadBlob`](super::Output::ReadBlob). Returns the number of the blob in its transaction.
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
        let number = self.transactions.add_blob(txn, record);
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

    fn add(
        &mut self,
        txn: TxnId,
        method: &'static str,
        args: Vec<Value>,
        stored: Option<(Oid, Option<Bytes>)>,
    ) -> Result<(), Misuse> {
        let channel = self.connections.ready();
        self.transactions.add(&self.cx, channel, txn, Addition { method, args, stored })
    }

    /// Number of bytes that wait to be taken by the socket: further stores should wait while it is high.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.connections.backlog()
    }

    /// First phase; [`Answer::Voted`](super::Answer::Voted). After an error only an abort is left.
    pub fn vote(&mut self, now: Now, txn: TxnId) -> Call<Vec<Oid>> {
        self.cx.now = now.instant;
        self.transactions.vote(&mut self.cx, self.connections.ready(), txn)
    }

    /// Second phase; [`Answer::Finished`](super::Answer::Finished).
    pub fn finish(&mut self, now: Now, txn: TxnId) -> Call<Tid> {
        self.cx.now = now.instant;
        self.transactions.finish(&mut self.cx, self.connections.ready(), txn)
    }

    /// Aborts a transaction, whatever its stage; [`Answer::Done`](super::Answer::Done). The call that waits for its next step
    /// fails with [`Misuse::NotOpen`]; only a finish that was sent goes on.
    pub fn abort(&mut self, now: Now, txn: TxnId) -> Call<()> {
        self.cx.now = now.instant;
        let call = self.transactions.abort(&mut self.cx, self.connections.ready(), txn);
        self.take_turns();
        call
    }

    /// Asks for the two records that a conflict is between; it is shown again with
    /// [`Conflict::states`](super::Conflict::states).
    pub fn conflict_states(&mut self, txn: TxnId) {
        if let Some(channel) = self.connections.ready() {
            self.transactions.conflict_states(channel, txn);
        }
    }

    /// What to store in place of the new record; `None` lets the conflict stand, and the vote fail.
    pub fn conflict_resolved(&mut self, txn: TxnId, resolved: Option<Bytes>) {
        let (cx, loads) = (&mut self.cx, &mut self.loads);
        if let Some(channel) = self.connections.ready() {
            self.transactions.conflict_resolved(cx, channel, loads, txn, resolved);
        }
    }
}
