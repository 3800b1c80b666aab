//! Messages on one connection: frames, encoding, and the calls that are not answered yet.
//!
//! A channel does not know what answers mean: [`Pending`] names the part of the client that asked.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answer::Call;
use super::error::LostBecause;
use super::ids::TxnId;
use super::query::Reply;
use crate::ids::{Oid, Tid};
use crate::value::{ReadLimits, Value};
use crate::wire::load::{self, Loaded};
use crate::wire::{Codec, Deframer, Envelope, Flag, Outgoing, Unwritable};

/// The version of the protocol that is spoken here.
const VERSION: &[u8] = b"5";

/// Messages on one connection.
#[derive(Debug)]
pub(super) struct Channel {
    /// Calls that are not answered, but for loads.
    pending: BTreeMap<i64, Pending>,
    deframer: Deframer,
    codec: Codec,
    outgoing: Outgoing,
    /// Bytes given to the adapter and not yet taken by the socket.
    unsent: usize,
    last_id: i64,
}

/// What a call was for.
#[derive(Debug)]
pub(super) enum Pending {
    Register,
    /// `lastTransaction`, of a server that registered without telling its tid.
    NewestTid,
    Changes,
    Describe,
    Query {
        call: Call<Reply>,
        method: &'static str,
        opens_iterator: bool,
    },
    Download(Oid, Tid),
    NewOids,
    Vote(TxnId),
    /// One of the two records that a conflict is between.
    ConflictState(TxnId),
    Finish(TxnId),
    Abort(Call<()>, TxnId),
}

impl Channel {
    pub(super) fn new(frame_bytes_max: u32) -> Self {
        Self {
            pending: BTreeMap::new(),
            deframer: Deframer::new(frame_bytes_max),
            codec: Codec::Pickle,
            outgoing: Outgoing::new(),
            unsent: 0,
            last_id: 0,
        }
    }

    /// Takes bytes that have arrived.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        self.deframer.push(bytes);
    }

    /// The next frame, if it is complete.
    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, LostBecause> {
        Ok(self.deframer.next_frame()?)
    }

    /// Answers the server's announcement in kind. Versions that Python's client takes for newer ones
    /// that speak the older one, too, are taken (`spec: zeo-protocol 2.2`).
    pub(super) fn greet(&mut self, announced: &[u8]) -> Result<(), LostBecause> {
        let codec = match announced {
            [b'Z', version @ ..] if version >= VERSION => Codec::Pickle,
            [b'M', version @ ..] if version >= VERSION => Codec::Msgpack,
            _ => {
                let shown = &announced[..announced.len().min(20)];
                let shown = String::from_utf8_lossy(shown).into_owned();
                return Err(LostBecause::BadGreeting(shown));
            }
        };
        self.codec = codec;
        self.outgoing.push_frame(codec.greeting());
        Ok(())
    }

    pub(super) fn read(&self, frame: &Bytes) -> Result<Envelope, LostBecause> {
        Ok(self.codec.read(frame, &ReadLimits::default())?)
    }

    /// A reply with a record, as most are.
    pub(super) fn read_loaded(&self, frame: &Bytes) -> Option<Loaded> {
        load::read_reply(self.codec, frame)
    }

    /// Makes a call whose arguments are plain values.
    pub(super) fn ask(&mut self, pending: Pending, method: &str, args: Vec<Value>) {
        self.try_ask(pending, method, args).expect("both encodings carry plain values");
    }

    /// Makes a call whose arguments may hold an application's values.
    pub(super) fn try_ask(
        &mut self,
        pending: Pending,
        method: &str,
        args: Vec<Value>,
    ) -> Result<(), Unwritable> {
        let id = self.last_id + 1;
        self.write(&Value::Int(id), Flag::Call, method, args)?;
        self.last_id = id;
        self.pending.insert(id, pending);
        Ok(())
    }

    /// Asks for a revision, under the id that makes equal loads one.
    pub(super) fn ask_load(&mut self, oid: Oid, before: Tid) {
        load::write_call(self.codec, &mut self.outgoing, oid, before);
    }

    /// Sends a one-way message, which the server does not answer.
    pub(super) fn send_oneway(&mut self, method: &str, args: Vec<Value>) -> Result<(), Unwritable> {
        self.write(&Value::Int(0), Flag::Oneway, method, args)
    }

    /// Sends a message that only shows that the client is alive.
    pub(super) fn send_heartbeat(&mut self) {
        let (id, nothing) = (Value::Int(-1), Value::None);
        let written = self.codec.write(&mut self.outgoing, &id, Flag::Reply, ".reply", &nothing);
        written.expect("both encodings carry None");
    }

    fn write(
        &mut self,
        id: &Value,
        flag: Flag,
        method: &str,
        args: Vec<Value>,
    ) -> Result<(), Unwritable> {
        self.codec.write(&mut self.outgoing, id, flag, method, &Value::Tuple(args))
    }

    /// The call that a reply answers.
    pub(super) fn take_pending(&mut self, id: i64) -> Option<Pending> {
        self.pending.remove(&id)
    }

    /// All calls that are not answered, in the order in which they were made.
    pub(super) fn into_pending(self) -> impl Iterator<Item = Pending> {
        self.pending.into_values()
    }

    /// A server does not answer the vote of a transaction that was aborted while it waited for locks.
    pub(super) fn forget_vote(&mut self, txn: TxnId) {
        self.pending.retain(|_, pending| !matches!(pending, Pending::Vote(of) if *of == txn));
    }

    /// The next bytes for the socket.
    pub(super) fn take_chunk(&mut self) -> Option<Bytes> {
        let chunk = self.outgoing.take_chunk()?;
        self.unsent += chunk.len();
        Some(chunk)
    }

    pub(super) const fn sent(&mut self, bytes: usize) {
        self.unsent = self.unsent.saturating_sub(bytes);
    }

    /// Number of bytes that the socket has not taken.
    pub(super) fn backlog(&self) -> usize {
        self.unsent + self.outgoing.len()
    }
}
