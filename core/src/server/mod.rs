//! The server: one [`Session`] per connection, one [`Hub`] per storage.
//!
//! ```text
//!   bytes ──► Session ──► Transmit ──► socket          Session: phase, transaction, iterators,
//!               │ ▲                                             the tid it reads at
//!       Perform │ │ Answer          (loads, votes)
//!               ▼ │
//!            Storage ◄────────────┐
//!                                 │ Commit(group)      Hub: peers, object locks,
//!   Ask ─► Hub ──► Deliver ─► inbox of a Session            groups on their way to the disk,
//!           ▲ └──► Commit, Perform ─► writer, workers       recent invalidations
//!           └───── Committed, Packed, StorageEvent
//! ```
//!
//! A session asks the storage for loads itself, so loads run on as many cores as there are
//! connections. What connections share goes through the hub, in messages that an adapter carries
//! (`messages`). The parts of a session and of the hub own their state: `session` and `hub` say which.
//!
//! # What an adapter must do
//!
//! * Drain `poll_output` after every other call on a machine, and perform its outputs in their order.
//! * Carry a session's [`HubRequest`]s to its storage's hub in the order in which they were emitted.
//! * Put a [`Notice`] into the session's inbox in the order in which the hub delivered it, and feed it
//!   in that order. Notices for different sessions may be late by any amount. Wake the session as the
//!   notice's [`Urgency`] says.
//! * Run [`StorageCall`]s with [`perform`], anywhere and in any order, and feed the answers.
//! * Give a group to [`Storage::commit`](crate::storage::Storage::commit), and when it returns, feed the
//!   result to the hub before the next group is given.
//! * Feed the events of a storage ([`Storage::subscribe`](crate::storage::Storage::subscribe)) at
//!   once and in its order: before the result of a group that was returned later.
//! * On [`Output::Close`], close the socket after what was transmitted; the session is finished.
//!
//! # Promises about order
//!
//! 1. A commit is visible to loads, then its invalidation is in the inbox of every other
//!    connection, then the committer's reply is in its own: [`Hub`] does both in one step after the
//!    storage has returned the group (`hub::Hub::committed`).
//! 2. Tids grow and every connection gets every invalidation once, in tid order, also empty ones; the
//!    committer gets none for its own: the same step, with one queue of groups. What others commit
//!    behind a proxy is in the same order (`hub::external_commits`).
//! 3. A connection reads at its own tid: a session bounds every load by the last tid it told its peer
//!    (`session::loads`), and performs a load again when an invalidation
//!    of its oid came in between.
//! 4. A connection joins the list of peers before the tid for its `register` reply is read: one step of
//!    the hub.
//! 5. `lastTransaction` and `ping` go through the hub and return through the inbox, behind all that
//!    was committed before (`session::hub_calls`).
//! 6. No invalidation is dropped: a peer that does not read is disconnected when its backlog exceeds the
//!    limit (`session::outbox`).
//! 7. A connection that ends tells the hub in the same step, and the hub releases all that it held
//!    (`hub::Hub::leave`).

mod caller;
mod close_reason;
mod counters;
mod figures;
mod hub;
mod hub_jobs;
mod ids;
mod invalidation;
mod limits;
mod lock_set;
mod log_line;
mod messages;
mod peer;
mod session;
mod settings;
mod storage_calls;
pub(crate) mod vote;

pub use caller::Caller;
pub use close_reason::CloseReason;
pub use counters::Counters;
pub use figures::{CommitHistograms, Figures, Histogram, Packs};
pub use hub::{Hub, HubSettings, LockScope};
pub use hub_jobs::{HubJob, HubJobDone, PackCaller, perform_hub_job};
pub use ids::{ConnId, StorageId, Ticket};
pub use invalidation::Invalidation;
pub use limits::Limits;
pub use lock_set::LockSet;
pub use log_line::{LogClient, LogLevel, LogLine};
pub use messages::{
    Barrier, Changes, Finish, HubInput, HubOutput, HubRequest, Input, Notice, Output, StatusReader,
    Urgency,
};
pub use peer::{ByteCounts, PeerInfo, Traffic};
pub use session::Session;
pub use settings::{ServerSettings, StorageEntry};
pub use storage_calls::{StorageCall, StorageReply, perform};
pub use vote::{ClientConflict, Operation, VoteError, VoteOutcome, VoteRequest, vote};
