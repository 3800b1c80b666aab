//! What the connections of one storage share, and nothing that they do not: who is there, object
//! locks and the queue of votes, the group of finished transactions on its way to the disk, the
//! invalidation queue, statistics, the one pack.
//!
//! The hub is where order is made. An adapter calls it under one lock (or in one task) and delivers
//! what comes out in that order; each call is short and touches no disk.
//!
//! # The way of a commit
//!
//! ```text
//!   Lock ──► queue ──► Locked ──► Finish ──► pending ──► writing ──► notices, locks released
//!                                 (gets its tid)  (one group at a time)
//! ```
//!
//! While a group is being written, finished transactions gather in `pending`; they are the next group.
//! Locks are kept until the group is visible, so whoever gets them next sees it.
//!
//! If the storage is a proxy, others commit behind its back, and what they change is announced too: see
//! `outside`.
//!
//! **Invariant**: a vote is in exactly one of the stages of [`Stage`], and holds locks in all of them
//! but the first. There is at most one per connection, for as long as `votes` knows it.

mod locks;
mod outside;
mod pack;
mod recent;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

pub use locks::LockSet;
use locks::Locks;
use pack::Packing;
use recent::Recent;

use super::counters::{Counters, count};
use super::figures::{Figures, Measured, Packs};
use super::hub_jobs::HubJobDone;
use super::ids::{ConnId, Ticket};
use super::invalidation::Invalidation;
use super::log_line::{LogLevel, LogLine};
use super::messages::{Changes, Finish, HubInput, HubOutput, HubRequest, Notice};
use super::peer::{Moved, PeerInfo};
use crate::ids::{Oid, Tid};
use crate::storage::{Committed, Description, Finishing, News, StorageError};
use crate::time::{Instant, Now};
use crate::wire::refusal::Refusal;
use crate::wire::reply::Status;

/// The settings of one storage.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// The name that clients register with, for the log.
    pub name: String,
    /// How many commits are remembered for returning clients; at least one.
    pub invalidation_queue_size: usize,
    /// Up to which age in seconds a returning client's tid is looked up in the storage when the
    /// queue does not reach back far enough.
    pub invalidation_age: Option<f64>,
    /// How long locks may be held between vote and finish.
    pub transaction_timeout: Option<Duration>,
    /// What a vote locks.
    pub lock_scope: LockScope,
    /// When the server started, as C's `ctime` writes it.
    pub start: Arc<str>,
    /// Shared with the sessions.
    pub counters: Arc<Counters>,
}

/// What a vote locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockScope {
    /// The objects that it writes or checks. Votes with nothing in common go side by side.
    Objects,
    /// The storage, as Python's server does: recorded conversations replay with it.
    Storage,
}

impl LockScope {
    /// What a vote locks in that storage: a proxy has one transaction at a time.
    #[must_use]
    pub const fn in_storage(self, description: &Description) -> Self {
        if description.is_proxy { Self::Storage } else { self }
    }
}

/// Who holds locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Connection(ConnId),
    Pack,
}

/// A transaction between vote and finish.
#[derive(Debug)]
struct Vote {
    ticket: Ticket,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    Locked { since: Now },
    Finishing { since: Now },
}

/// A transaction in the group that is gathering or being written.
#[derive(Debug)]
struct Commit {
    conn: ConnId,
    ticket: Ticket,
    changed: Arc<[Oid]>,
    /// When the client asked for it.
    asked: Instant,
}

/// A group on its way to the disk.
#[derive(Debug)]
struct Writing {
    commits: Vec<Commit>,
    since: Instant,
}

/// The machine. See the module's introduction.
#[derive(Debug)]
pub struct Hub {
    settings: HubSettings,
    /// Who is there, and as whom.
    connections: BTreeMap<ConnId, Option<PeerInfo>>,
    votes: BTreeMap<ConnId, Vote>,
    locks: Locks<Owner>,
    pending: Vec<(Commit, Finishing)>,
    writing: Option<Writing>,
    /// What happened behind the storage's back while a group is being written, oldest first.
    outside: VecDeque<News>,
    recent: Recent,
    /// The newest visible commit.
    last_tid: Tid,
    /// The newest tid given out, visible or not.
    last_issued: Tid,
    packing: Option<Packing>,
    packs: Packs,
    measured: Measured,
    /// Bytes of the connections that have gone.
    moved: Moved,
    outputs: VecDeque<HubOutput>,
}

impl Hub {
    /// A hub for a storage whose newest commit is `last_tid`. `recent` is what
    /// [`Storage::recent`](crate::storage::Storage::recent) says of the newest
    /// `invalidation_queue_size` commits.
    #[must_use]
    pub fn new(settings: HubSettings, last_tid: Tid, recent: Option<Vec<(Tid, Vec<Oid>)>>) -> Self {
        let known = recent.unwrap_or_else(|| alloc::vec![(last_tid, Vec::new())]);
        Self {
            recent: Recent::new(settings.invalidation_queue_size, known),
            settings,
            connections: BTreeMap::new(),
            votes: BTreeMap::new(),
            locks: Locks::new(),
            pending: Vec::new(),
            writing: None,
            outside: VecDeque::new(),
            last_tid,
            last_issued: last_tid,
            packing: None,
            packs: Packs::default(),
            measured: Measured::default(),
            moved: Moved::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Tells the hub what happened.
    pub fn handle_input(&mut self, now: Now, input: HubInput) {
        match input {
            HubInput::Request(conn, request) => self.request(now, conn, request),
            HubInput::Committed(result) => self.committed(now, result),
            HubInput::News(news) => self.news(news),
            HubInput::Done(HubJobDone::Packed(result, info)) => self.packed(now, result, info),
            HubInput::Done(HubJobDone::Switched(result, info)) => self.switched(now, result, info),
            HubInput::Done(HubJobDone::Untidy) => self.untidy(now),
            HubInput::Done(HubJobDone::CleanedUp(result, info)) => {
                self.cleaned_up(now, result, info);
            }
        }
    }

    /// The next thing to do. Drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<HubOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let limit = self.settings.transaction_timeout?;
        let locked = self.votes.values().filter_map(Vote::locked_since);
        locked.map(|since| since.instant.after(limit)).min()
    }

    /// Tells the hub that time has passed. Calling early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        let Some(limit) = self.settings.transaction_timeout else { return };
        let expired: Vec<ConnId> = self
            .votes
            .iter()
            .filter(|(_, vote)| {
                vote.locked_since().is_some_and(|since| since.instant.after(limit) <= now.instant)
            })
            .map(|(conn, _)| *conn)
            .collect();
        for conn in expired {
            self.release(now, conn);
            self.deliver(conn, Notice::TimedOut { after: limit });
        }
    }

    fn request(&mut self, now: Now, conn: ConnId, request: HubRequest) {
        match request {
            HubRequest::Register => {
                self.connections.insert(conn, None);
                self.deliver(conn, Notice::Registered { last_tid: self.last_tid });
            }
            HubRequest::Introduce(client) => {
                if let Some(known) = self.connections.get_mut(&conn) {
                    *known = Some(client);
                }
            }
            HubRequest::Leave => self.leave(now, conn),
            HubRequest::Barrier(barrier) => {
                self.deliver(conn, Notice::Barrier { barrier, last_tid: self.last_tid });
            }
            HubRequest::ChangesSince(caller, since) => {
                let changes = self.changes_since(now, since);
                self.deliver(conn, Notice::Changes { caller, changes });
            }
            HubRequest::Status(reader) => {
                let status = alloc::boxed::Box::new(self.status());
                self.deliver(conn, Notice::Status { reader, status });
            }
            HubRequest::Lock(ticket, locks) => self.lock(now, conn, ticket, locks),
            HubRequest::Unlock(ticket) => {
                if self.votes.get(&conn).is_some_and(|vote| vote.ticket == ticket) {
                    self.release(now, conn);
                }
            }
            HubRequest::Finish(ticket, finish) => self.finish(now, conn, ticket, finish),
            HubRequest::Pack(time, caller) => self.pack(now, conn, time, caller),
        }
    }

    /// Releases everything of a connection, except a transaction that is already on its way to the
    /// disk: that is committed, and its locks are released then.
    fn leave(&mut self, now: Now, conn: ConnId) {
        if let Some(Some(client)) = self.connections.remove(&conn) {
            self.moved += client.traffic.moved();
        }
        self.release(now, conn);
    }

    fn changes_since(&self, now: Now, since: Tid) -> Changes {
        if let Some((tid, commits)) = self.recent.since(since) {
            return Changes::Known { tid, commits };
        }
        match self.settings.invalidation_age {
            Some(age) if now.wall.0 - since.to_unix().0 < age => {
                Changes::LookUp { after: since, up_to: self.last_tid }
            }
            _ => Changes::Unknown,
        }
    }

    fn lock(&mut self, now: Now, conn: ConnId, ticket: Ticket, locks: LockSet) {
        let locks = match self.settings.lock_scope {
            LockScope::Objects => locks,
            LockScope::Storage => LockSet::whole(),
        };
        let stage = match self.locks.lock(Owner::Connection(conn), locks) {
            Ok(()) => {
                self.deliver(conn, Notice::Locked { ticket });
                Stage::Locked { since: now }
            }
            Err(ahead) => {
                self.deliver(conn, Notice::Waiting { ticket, ahead });
                Stage::Waiting
            }
        };
        self.votes.insert(conn, Vote { ticket, stage });
    }

    /// Gives back what a vote holds, unless it is finishing, and serves those who wait for it.
    fn release(&mut self, now: Now, conn: ConnId) {
        let finishing = |vote: &Vote| matches!(vote.stage, Stage::Finishing { .. });
        if self.votes.get(&conn).is_none_or(finishing) {
            return;
        }
        self.votes.remove(&conn);
        self.locks.unlock(Owner::Connection(conn));
        self.grant(now);
    }

    fn grant(&mut self, now: Now) {
        for owner in self.locks.grant() {
            match owner {
                Owner::Connection(conn) => {
                    let vote = self.votes.get_mut(&conn).expect("whoever waits has a vote");
                    vote.stage = Stage::Locked { since: now };
                    let ticket = vote.ticket;
                    self.deliver(conn, Notice::Locked { ticket });
                }
                Owner::Pack => self.switch(),
            }
        }
    }

    /// Gives a voted transaction its tid, in the order in which these requests arrive.
    fn finish(&mut self, now: Now, conn: ConnId, ticket: Ticket, finish: Finish) {
        let since = match self.votes.get(&conn) {
            Some(Vote { ticket: known, stage: Stage::Locked { since } }) if *known == ticket => {
                *since
            }
            _ => {
                let result = Err(Refusal::Transaction("the locks of this transaction are gone"));
                self.deliver(conn, Notice::Finished { ticket, result, oids: Arc::default() });
                return;
            }
        };
        self.votes.insert(conn, Vote { ticket, stage: Stage::Finishing { since } });
        let tid =
            finish.tid.unwrap_or_else(|| Tid::from_unix(now.wall).later_than(self.last_issued));
        self.last_issued = self.last_issued.max(tid);
        let changed = finish.changed.into();
        let commit = Commit { conn, ticket, changed, asked: now.instant };
        self.pending.push((commit, Finishing { tid, voted: finish.voted }));
        self.write(now);
    }

    /// Starts the next group if none is being written.
    fn write(&mut self, now: Now) {
        if self.writing.is_some() || self.pending.is_empty() {
            return;
        }
        let (commits, group): (Vec<_>, Vec<_>) =
            core::mem::take(&mut self.pending).into_iter().unzip();
        self.measured.group.add(group.len() as u64);
        self.writing = Some(Writing { commits, since: now.instant });
        self.outputs.push_back(HubOutput::Commit(group));
    }

    /// A group is visible, or failed: the others hear of it, then the committers, then those who
    /// wait for its locks.
    fn committed(&mut self, now: Now, result: Result<Vec<Committed>, StorageError>) {
        let Writing { commits, since } =
            self.writing.take().expect("a result is fed for a group that was given");
        match result {
            Ok(group) => {
                self.measured.sync.add_duration(now.instant.since(since));
                for (commit, committed) in commits.into_iter().zip(group) {
                    self.measured.commit.add_duration(now.instant.since(commit.asked));
                    self.tell_outside(Some(committed.tid));
                    self.announce(commit, committed);
                }
            }
            Err(error) => self.commit_failed(commits, error),
        }
        self.tell_outside(None);
        self.grant(now);
        self.write(now);
    }

    fn announce(&mut self, commit: Commit, committed: Committed) {
        let Commit { conn, ticket, changed, .. } = commit;
        let Committed { tid, info } = committed;
        count(&self.settings.counters.commits);
        self.invalidate(tid, &changed, Some(conn));
        self.finished(conn, Notice::Finished { ticket, result: Ok((tid, info)), oids: changed });
    }

    /// A commit is visible: it is remembered, and all hear of it but the one who made it, if it is one
    /// of them.
    fn invalidate(&mut self, tid: Tid, changed: &Arc<[Oid]>, committer: Option<ConnId>) {
        self.last_tid = self.last_tid.max(tid);
        self.recent.push(tid, changed.clone());
        let invalidation = Arc::new(Invalidation::new(tid, changed.clone()));
        for other in self.connections.keys().filter(|other| Some(**other) != committer) {
            let notice = Notice::Invalidated(invalidation.clone());
            self.outputs.push_back(HubOutput::Deliver(*other, notice));
        }
    }

    fn commit_failed(&mut self, commits: Vec<Commit>, error: StorageError) {
        self.log(LogLevel::Critical, format!("commit failed: {error}"));
        let refusal = Refusal::from(error);
        for Commit { conn, ticket, changed, .. } in commits {
            let result = Err(refusal.clone());
            self.finished(conn, Notice::Finished { ticket, result, oids: changed });
        }
    }

    fn finished(&mut self, conn: ConnId, notice: Notice) {
        self.deliver(conn, notice);
        self.votes.remove(&conn);
        self.locks.unlock(Owner::Connection(conn));
    }

    /// `server_status` (`spec: zeo-protocol 14.3`).
    #[must_use]
    pub fn status(&self) -> Status {
        let counters = &self.settings.counters;
        let read = |counter: &core::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let held = self.votes.values().filter_map(Vote::held_since);
        Status {
            connections: self.connections.len() as u64,
            loads: read(&counters.loads),
            stores: read(&counters.stores),
            commits: read(&counters.commits),
            aborts: read(&counters.aborts),
            active_txns: read(&counters.active_txns),
            lock_time: held.map(|since| since.wall.0).reduce(f64::min),
            conflicts: read(&counters.conflicts),
            conflicts_resolved: read(&counters.conflicts_resolved),
            start: self.settings.start.clone(),
            waiting: self.locks.waiting() as u64,
            timeout: self.settings.transaction_timeout.is_some(),
            last_transaction: self.last_tid,
        }
    }

    /// What was measured of commits.
    #[must_use]
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// All that there is to tell. Costs a little for each connection.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let clients: Vec<PeerInfo> = self.connections.values().flatten().cloned().collect();
        let mut moved = self.moved;
        for client in &clients {
            moved += client.traffic.moved();
        }
        Figures {
            status: self.status(),
            measured: self.measured.clone(),
            recent: self.recent.len(),
            recent_max: self.recent.len_max(),
            packs: self.packs,
            moved,
            clients,
        }
    }

    fn deliver(&mut self, conn: ConnId, notice: Notice) {
        self.outputs.push_back(HubOutput::Deliver(conn, notice));
    }

    fn log(&mut self, level: LogLevel, text: String) {
        let text = format!("storage {:?}: {text}", self.settings.name);
        self.outputs.push_back(HubOutput::Log(LogLine { level, text, client: None }));
    }
}

impl Vote {
    /// Since when the client has kept others waiting.
    fn locked_since(&self) -> Option<Now> {
        match self.stage {
            Stage::Locked { since } => Some(since),
            Stage::Waiting | Stage::Finishing { .. } => None,
        }
    }

    fn held_since(&self) -> Option<Now> {
        match self.stage {
            Stage::Locked { since } | Stage::Finishing { since } => Some(since),
            Stage::Waiting => None,
        }
    }
}
