//! The messages between an adapter, a session and a hub.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::caller::Caller;
use super::close_reason::CloseReason;
use super::hub_jobs::{HubJob, HubJobDone};
use super::ids::{ConnId, StorageId, Ticket};
use super::invalidation::Invalidation;
use super::lock_set::LockSet;
use super::log_line::LogLine;
use super::peer::PeerInfo;
use super::storage_calls::{StorageCall, StorageReply};
use crate::ids::{Oid, Tid};
use crate::storage::{Committed, Finishing, Info, StorageError, StorageEvent, Voted};
use crate::time::UnixTime;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Status;

/// What happened to a connection.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes from the peer.
    Bytes(&'a [u8]),
    /// The socket has taken this many transmitted bytes.
    Sent(usize),
    /// The hub has delivered a notice.
    Notice(Notice),
    /// The answer to a storage call.
    Answer(StorageReply),
    /// The peer has disconnected.
    Gone,
    /// The server stops: a commit that is on its way to the disk is answered, then the connection ends.
    Stop,
}

/// What to do for a connection.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes to the peer, after those of earlier outputs.
    Transmit(Bytes),
    /// Call the storage and feed the answer.
    Perform(StorageId, StorageCall),
    /// Tell the storage's hub.
    Ask(StorageId, HubRequest),
    /// Write a line to the log.
    Log(LogLine),
    /// Close the connection after what was transmitted.
    Close(CloseReason),
}

/// A message from a connection to the hub of its storage.
#[derive(Debug)]
pub enum HubRequest {
    /// Join the list of peers, which get every invalidation. Answered by [`Notice::Registered`].
    Register,
    /// Describe the peer, for monitoring; again if that has changed. Not answered.
    Introduce(PeerInfo),
    /// Leave the list, and release everything. Not answered.
    Leave,
    /// Answered by [`Notice::Barrier`], behind everything committed before.
    Barrier(Barrier),
    /// Look up what changed since a tid. Answered by [`Notice::Changes`].
    ChangesSince(Caller, Tid),
    /// Read the figures. Answered by [`Notice::Status`]; needs no registration.
    Status(StatusReader),
    /// Lock these objects. Answered by [`Notice::Locked`], or first by [`Notice::Waiting`].
    Lock(Ticket, LockSet),
    /// Release the locks, or stop waiting for them. Not answered.
    Unlock(Ticket),
    /// Commit what was voted under this ticket. Answered by [`Notice::Finished`].
    Finish(Ticket, Finish),
    /// Pack. If there is a caller, [`Notice::Packed`] reports the end to it.
    Pack(UnixTime, Option<Caller>),
}

/// A call that is answered behind everything committed before it.
#[derive(Clone, Debug)]
pub enum Barrier {
    /// `ping`, which is answered with `None`.
    Ping(Caller),
    /// `lastTransaction`, which is answered with the newest commit.
    LastTransaction(Caller),
}

/// A reader of a storage's figures.
#[derive(Clone, Debug)]
pub enum StatusReader {
    /// `server_status`.
    Caller(Caller),
    /// The report to a monitoring peer, about the storage with this id.
    Report(StorageId),
}

/// A voted transaction on its way to the disk.
#[derive(Debug)]
pub struct Finish {
    /// The vote of the storage.
    pub voted: Voted,
    /// The objects that other clients have to invalidate, in the order of the stores.
    pub changed: Vec<Oid>,
    /// The tid to use, for copied transactions.
    pub tid: Option<Tid>,
}

/// A message from the hub to a connection.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The connection is on the list; `last_tid` is the newest commit.
    Registered {
        /// Tid of the newest commit.
        last_tid: Tid,
    },
    /// Everything up to `last_tid` has been delivered.
    Barrier {
        /// The call that waits for that.
        barrier: Barrier,
        /// Tid of the newest commit.
        last_tid: Tid,
    },
    /// The answer to [`HubRequest::ChangesSince`].
    Changes {
        /// The caller of `getInvalidations`.
        caller: Caller,
        /// Oids that changed, if the hub still knows them.
        changes: Changes,
    },
    /// Figures of a storage.
    Status {
        /// The call that waits for the answer.
        reader: StatusReader,
        /// Figures of the storage at the time of the request.
        status: Box<Status>,
    },
    /// Another connection committed.
    Invalidated(Arc<Invalidation>),
    /// The locks are held.
    Locked {
        /// Ticket of the vote that asked for the locks.
        ticket: Ticket,
    },
    /// Other votes hold some of the locks; this one is in the queue.
    Waiting {
        /// Ticket of the vote that asked for the locks.
        ticket: Ticket,
        /// Number of votes before it.
        ahead: usize,
    },
    /// The commit is done, or failed.
    Finished {
        /// Ticket of the vote that asked for the locks.
        ticket: Ticket,
        /// The tid and the storage's figures after it.
        result: Result<(Tid, Info), Refusal>,
        /// Objects that other clients have to invalidate, in the order of the stores.
        oids: Arc<[Oid]>,
    },
    /// The storage was packed.
    Info(Info),
    /// The server behind the storage was out of reach: the peer has to verify its cache.
    StorageReconnected,
    /// The pack that this connection asked for is done.
    Packed {
        /// The caller of `pack`.
        caller: Caller,
        /// Why the pack failed, if it did.
        result: Result<(), Refusal>,
    },
    /// The transaction held its locks for too long; they are gone.
    TimedOut {
        /// The transaction timeout of the storage.
        after: Duration,
    },
}

/// The answer to [`HubRequest::ChangesSince`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The queue reaches back far enough.
    Known {
        /// Tid of the newest commit.
        tid: Tid,
        /// What changed up to it, commit by commit. The session puts it together, because it may be
        /// much and the hub serves all connections.
        commits: Vec<Arc<[Oid]>>,
    },
    /// The queue does not, but the tid is young enough to look into the storage.
    LookUp {
        /// What the client knows.
        after: Tid,
        /// The newest commit; later ones are in the inbox.
        up_to: Tid,
    },
    /// The tid is too old.
    Unknown,
}

/// What happened to the hub.
#[derive(Debug)]
pub enum HubInput {
    /// A request of a connection.
    Request(ConnId, HubRequest),
    /// The group is durable and visible; or none of it is.
    Committed(Result<Vec<Committed>, StorageError>),
    /// A change at the server behind the storage. Events before a transaction of a group are fed
    /// before the result of the group.
    StorageEvent(StorageEvent),
    /// The answer to a job.
    Done(HubJobDone),
}

/// When a connection is woken for a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Immediately, even if the connection is idle.
    Now,
    /// When convenient: an idle connection may be woken later, together with others.
    Later,
}

/// What to do for the hub.
#[derive(Debug)]
pub enum HubOutput {
    /// This connection has registered: it is not a stranger any more.
    Registered(ConnId),
    /// Put a notice into a connection's inbox; nothing happens if the connection is gone.
    Deliver {
        /// Recipient of the notice.
        conn: ConnId,
        /// The notice. It keeps its place in the inbox, whatever its urgency.
        notice: Notice,
        /// When to wake the connection.
        urgency: Urgency,
    },
    /// Commit this group and feed the result. At most one at a time.
    Commit(Vec<Finishing>),
    /// Run this and feed the result. At most one at a time.
    Perform(HubJob),
    /// Write a line to the log.
    Log(LogLine),
}
