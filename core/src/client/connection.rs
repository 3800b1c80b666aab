//! One connection to one server: its frames, what was asked on it, and what it is good for so far.
//!
//! ```text
//!   Connecting ─► Greeting ─► Registering ─► Verifying ─► Describing ─► Ready
//! ```
//!
//! A connection knows how to say things and what is unanswered. What answers mean is the client's.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::blobs::Downloads;
use super::loads::Loads;
use super::{CallId, ConnId, LostBecause, Request, ServerId, TxnId};
use crate::ids::{Oid, Tid};
use crate::time::Instant;
use crate::value::{ReadLimits, Value};
use crate::wire::load::{self, Loaded};
use crate::wire::{Codec, Deframer, Envelope, Flag, Outgoing, Unwritable};

/// How often a client says that it is there (`spec: zeo-protocol 3`).
const HEARTBEAT: Duration = Duration::from_secs(60);

/// The version of the protocol that is spoken here.
const VERSION: &[u8] = b"5";

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) server: ServerId,
    pub(super) phase: Phase,
    /// Whether it is registered as one that only reads.
    pub(super) read_only: bool,
    /// What was asked and is not answered, but for loads.
    pub(super) pending: BTreeMap<i64, Pending>,
    pub(super) loads: Loads,
    pub(super) downloads: Downloads,
    /// News that came before the cache was verified, in order.
    pub(super) held_back: Vec<(Tid, Arc<[Oid]>)>,
    /// The newest commit when it was registered.
    pub(super) registered_at: Tid,
    /// When it has to be ready.
    pub(super) ready_by: Option<Instant>,
    heartbeat_at: Option<Instant>,
    deframer: Deframer,
    codec: Codec,
    outgoing: Outgoing,
    /// Bytes given to the adapter and not yet taken by the socket.
    unsent: usize,
    last_id: i64,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Connecting,
    Greeting,
    Registering,
    /// Registered; waits until it is chosen and its cache is verified.
    Verifying,
    Describing,
    Ready,
}

/// What an unanswered message was for.
#[derive(Debug)]
pub(super) enum Pending {
    Register,
    /// `lastTransaction`, of a server that registered without telling its tid.
    NewestTid,
    Changes,
    Describe,
    Call(CallId, Request),
    Download(Oid, Tid),
    NewOids,
    Vote(TxnId),
    /// One of the two records that a conflict is between.
    State(TxnId),
    Finish(TxnId),
    Abort(CallId, TxnId),
}

impl Pending {
    pub(super) const fn is_vote_of(&self, txn: TxnId) -> bool {
        matches!(self, Self::Vote(of) if of.0 == txn.0)
    }
}

impl Connection {
    pub(super) fn new(
        id: ConnId,
        server: ServerId,
        frame_bytes_max: u32,
        ready_by: Instant,
    ) -> Self {
        Self {
            id,
            server,
            phase: Phase::Connecting,
            read_only: false,
            pending: BTreeMap::new(),
            loads: Loads::default(),
            downloads: Downloads::default(),
            held_back: Vec::new(),
            registered_at: Tid::ZERO,
            ready_by: Some(ready_by),
            heartbeat_at: None,
            deframer: Deframer::new(frame_bytes_max),
            codec: Codec::Pickle,
            outgoing: Outgoing::new(),
            unsent: 0,
            last_id: 0,
        }
    }

    pub(super) fn connected(&mut self, now: Instant) {
        self.phase = Phase::Greeting;
        self.heartbeat_at = Some(now.after(HEARTBEAT));
    }

    /// Takes what has arrived.
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

    /// A reply that brings a record, which most are.
    pub(super) fn read_loaded(&self, frame: &Bytes) -> Option<Loaded> {
        load::read_reply(self.codec, frame)
    }

    /// Asks something that is answered, in plain values.
    pub(super) fn ask(&mut self, pending: Pending, method: &str, args: Vec<Value>) {
        self.try_ask(pending, method, args).expect("both encodings carry plain values");
    }

    /// Asks something that may hold an application's values.
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

    /// Says something that is not answered.
    pub(super) fn tell(&mut self, method: &str, args: Vec<Value>) -> Result<(), Unwritable> {
        self.write(&Value::Int(0), Flag::Oneway, method, args)
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

    /// The next bytes for the socket.
    pub(super) fn take_chunk(&mut self) -> Option<Bytes> {
        let chunk = self.outgoing.take_chunk()?;
        self.unsent += chunk.len();
        Some(chunk)
    }

    pub(super) const fn sent(&mut self, bytes: usize) {
        self.unsent = self.unsent.saturating_sub(bytes);
    }

    /// Bytes that the socket has not taken.
    pub(super) fn backlog(&self) -> usize {
        self.unsent + self.outgoing.len()
    }

    /// The next moment at which something has to be done.
    pub(super) fn timeout(&self) -> Option<Instant> {
        [self.ready_by, self.heartbeat_at].into_iter().flatten().min()
    }

    /// Says that the client is there, when it is time.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        if self.heartbeat_at.is_none_or(|at| at > now) {
            return;
        }
        self.heartbeat_at = Some(now.after(HEARTBEAT));
        if self.phase > Phase::Greeting {
            let written = self.codec.write(
                &mut self.outgoing,
                &Value::Int(-1),
                Flag::Reply,
                ".reply",
                &Value::None,
            );
            written.expect("both encodings carry None");
        }
    }
}
