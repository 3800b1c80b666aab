//! What the connections of one storage share: the list of peers, object locks and the queue of votes,
//! the group of finished transactions on its way to the disk, the invalidation queue, statistics, the
//! one pack.
//!
//! The hub decides the order of everything. An adapter calls it under one lock (or in one task) and
//! performs its outputs in their order; each call is short and touches no disk.
//!
//! # Life of a commit
//!
//! ```text
//!   Lock ──► queue ──► Locked ──► Finish ──► pending ──► writing ──► notices, locks released
//!                                 (gets its tid)  (one group at a time)
//! ```
//!
//! Locks are kept until the group is visible, so the next holder sees it.
//!
//! Each part owns its state: [`Votes`], [`CommitGroups`], [`Announcements`], [`ExternalCommits`],
//! [`Packing`], [`Peers`]. The hub routes inputs to them and keeps them in step.

mod announcements;
mod commit_groups;
mod external_commits;
mod locks;
mod outbox;
mod packing;
mod peers;
mod recent;
mod settings;
mod votes;

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use announcements::Announcements;
use commit_groups::{Commit, CommitGroups};
use external_commits::ExternalCommits;
use outbox::HubOutbox;
use packing::Packing;
use peers::Peers;
use recent::Recent;
pub use settings::{HubSettings, LockScope};
use votes::Votes;

use super::counters::count;
use super::figures::{CommitHistograms, Figures};
use super::hub_jobs::{HubJob, HubJobDone, PackCaller};
use super::ids::{ConnId, Ticket};
use super::log_line::LogLevel;
use super::messages::{Finish, HubInput, HubOutput, HubRequest, Notice};
use crate::ids::{Oid, Tid};
use crate::storage::{Committed, Info, PreparedPack, StorageError};
use crate::time::{Instant, Now};
use crate::wire::refusal::Refusal;
use crate::wire::reply::Status;

/// The machine. See the module's introduction.
#[derive(Debug)]
pub struct Hub {
    settings: HubSettings,
    peers: Peers,
    votes: Votes,
    groups: CommitGroups,
    external: ExternalCommits,
    announcements: Announcements,
    packing: Packing,
    out: HubOutbox,
}

impl Hub {
    /// A hub for a storage whose newest commit is `last_tid`. `recent` is what
    /// [`Storage::recent`](crate::storage::Storage::recent) returns for the newest
    /// `invalidation_queue_size` commits.
    #[must_use]
    pub fn new(settings: HubSettings, last_tid: Tid, recent: Option<Vec<(Tid, Vec<Oid>)>>) -> Self {
        let known = recent.unwrap_or_else(|| vec![(last_tid, Vec::new())]);
        let recent = Recent::new(settings.invalidation_queue_size, known);
        Self {
            peers: Peers::default(),
            votes: Votes::new(settings.lock_scope),
            groups: CommitGroups::new(last_tid),
            external: ExternalCommits::default(),
            announcements: Announcements::new(last_tid, recent, settings.invalidation_age),
            packing: Packing::default(),
            out: HubOutbox::new(settings.name.clone()),
            settings,
        }
    }

    /// Tells the hub what happened.
    pub fn handle_input(&mut self, now: Now, input: HubInput) {
        match input {
            HubInput::Request(conn, request) => self.request(now, conn, request),
            HubInput::Committed(result) => self.committed(now, result),
            HubInput::StorageEvent(event) => {
                self.external.push(event);
                if !self.groups.is_writing() {
                    self.announce_external(None);
                }
            }
            HubInput::Done(done) => self.job_done(now, done),
        }
    }

    /// The next thing to do. Drain until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<HubOutput> {
        self.out.pop()
    }

    /// When to call [`Self::handle_timeout`], if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.votes.next_timeout(self.settings.transaction_timeout?)
    }

    /// Tells the hub that time has passed. Calling early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        let Some(limit) = self.settings.transaction_timeout else { return };
        for conn in self.votes.timed_out(now, limit) {
            self.release(now, conn);
            self.out.deliver(conn, Notice::TimedOut { after: limit });
        }
    }

    fn request(&mut self, now: Now, conn: ConnId, request: HubRequest) {
        match request {
            HubRequest::Register => {
                self.peers.register(conn);
                self.out.registered(conn);
                let last_tid = self.announcements.last_tid();
                self.out.deliver(conn, Notice::Registered { last_tid });
            }
            HubRequest::Introduce(info) => self.peers.introduce(conn, info),
            HubRequest::Leave => self.leave(now, conn),
            HubRequest::Barrier(barrier) => {
                let last_tid = self.announcements.last_tid();
                self.out.deliver(conn, Notice::Barrier { barrier, last_tid });
            }
            HubRequest::ChangesSince(caller, since) => {
                let changes = self.announcements.changes_since(now, since);
                self.out.deliver(conn, Notice::Changes { caller, changes });
            }
            HubRequest::Status(reader) => {
                let status = Box::new(self.status());
                self.out.deliver(conn, Notice::Status { reader, status });
            }
            HubRequest::Lock(ticket, locks) => {
                self.votes.lock(now, &mut self.out, conn, ticket, locks);
            }
            HubRequest::Unlock(ticket) => {
                if self.votes.release_ticket(conn, ticket) {
                    self.grant(now);
                }
            }
            HubRequest::Finish(ticket, finish) => self.finish(now, conn, ticket, finish),
            HubRequest::Pack(time, caller) => {
                self.packing.start(now, &mut self.out, conn, time, caller);
            }
        }
    }

    /// Releases everything of a connection, except a transaction that is already on its way to the
    /// disk: that is committed, and its locks are released then.
    fn leave(&mut self, now: Now, conn: ConnId) {
        self.peers.leave(conn);
        self.release(now, conn);
    }

    /// Releases what a vote holds, unless it is finishing, and grants it to others.
    fn release(&mut self, now: Now, conn: ConnId) {
        if self.votes.release(conn) {
            self.grant(now);
        }
    }

    fn grant(&mut self, now: Now) {
        if self.votes.grant(now, &mut self.out) {
            self.packing.switch(&mut self.out);
        }
    }

    /// Gives a voted transaction its tid, in the order in which these requests arrive.
    fn finish(&mut self, now: Now, conn: ConnId, ticket: Ticket, finish: Finish) {
        if !self.votes.finish(conn, ticket) {
            let result = Err(Refusal::Transaction("the locks of this transaction are gone"));
            let oids = Arc::default();
            return self.out.deliver(conn, Notice::Finished { ticket, result, oids });
        }
        let Finish { voted, changed, tid } = finish;
        let tid = self.groups.issue(now, tid);
        let commit = Commit { conn, ticket, changed: changed.into(), asked: now.instant };
        self.groups.add(commit, tid, voted);
        self.groups.start(now, &mut self.out);
    }

    /// A group is visible, or failed: first the other connections receive its invalidations, then the
    /// committers their results, then the votes in the queue its locks.
    fn committed(&mut self, now: Now, result: Result<Vec<Committed>, StorageError>) {
        match self.groups.written(now, result) {
            Ok(group) => {
                for (commit, committed) in group {
                    self.announce_external(Some(committed.tid));
                    self.announce(commit, committed);
                }
            }
            Err((commits, error)) => self.commit_failed(commits, error),
        }
        self.announce_external(None);
        self.grant(now);
        self.groups.start(now, &mut self.out);
    }

    fn announce(&mut self, commit: Commit, Committed { tid, info }: Committed) {
        count(&self.settings.counters.commits);
        let committer = Some(commit.conn);
        let changes = (tid, &commit.changed);
        self.announcements.announce(&self.peers, &mut self.out, changes, committer);
        self.finished(commit, Ok((tid, info)));
    }

    /// Announces what others have committed on the server behind: before this commit, or all.
    fn announce_external(&mut self, before: Option<Tid>) {
        while let Some(event) = self.external.pop_before(before) {
            self.announcements.announce_external(&self.peers, &mut self.out, event);
        }
    }

    fn commit_failed(&mut self, commits: Vec<Commit>, error: StorageError) {
        self.out.log(LogLevel::Critical, &format!("commit failed: {error}"));
        let refusal = Refusal::from(error);
        for commit in commits {
            self.finished(commit, Err(refusal.clone()));
        }
    }

    fn finished(&mut self, commit: Commit, result: Result<(Tid, Info), Refusal>) {
        let Commit { conn, ticket, changed: oids, .. } = commit;
        self.out.deliver(conn, Notice::Finished { ticket, result, oids });
        self.votes.finished(conn);
    }

    fn job_done(&mut self, now: Now, done: HubJobDone) {
        match done {
            HubJobDone::Packed(caller, Ok(Some(prepared)), _) => {
                self.pack_prepared(caller, prepared);
            }
            HubJobDone::Packed(caller, Ok(None), info) => {
                self.pack_ended(now, caller, Ok(()), info)
            }
            HubJobDone::Packed(caller, Err(error), info) => {
                self.pack_ended(now, caller, Err(error), info);
            }
            HubJobDone::Switched(caller, result, info) => {
                self.votes.unlock_storage();
                self.pack_ended(now, caller, result, info);
            }
            // Writers need not wait for the removal of files, the caller of the pack does.
            HubJobDone::CleanUpDue(caller) => {
                self.votes.unlock_storage();
                self.out.perform(HubJob::CleanUp(caller));
                self.grant(now);
            }
            HubJobDone::CleanedUp(caller, result, info) => {
                if let Err(error) = result {
                    let text = format!(
                        "pack: not all could be removed, the next start tries again: {error}"
                    );
                    self.out.log(LogLevel::Error, &text);
                }
                self.pack_ended(now, caller, Ok(()), info);
            }
        }
    }

    fn pack_prepared(&mut self, caller: PackCaller, prepared: Box<dyn PreparedPack>) {
        self.packing.prepared(caller, prepared);
        if self.votes.lock_storage() {
            self.packing.switch(&mut self.out);
        }
    }

    fn pack_ended(
        &mut self,
        now: Now,
        caller: PackCaller,
        result: Result<(), StorageError>,
        info: Info,
    ) {
        self.packing.end(&mut self.out, &self.peers, caller, result, info);
        self.grant(now);
    }

    /// `server_status` (`spec: zeo-protocol 14.3`).
    #[must_use]
    pub fn status(&self) -> Status {
        let counters = &self.settings.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let held = self.votes.held_since();
        Status {
            connections: self.peers.len() as u64,
            loads: read(&counters.loads),
            stores: read(&counters.stores),
            commits: read(&counters.commits),
            aborts: read(&counters.aborts),
            active_txns: read(&counters.active_txns),
            lock_time: held.map(|since| since.wall.0).reduce(f64::min),
            conflicts: read(&counters.conflicts),
            conflicts_resolved: read(&counters.conflicts_resolved),
            start: self.settings.start.clone(),
            waiting: self.votes.waiting() as u64,
            timeout: self.settings.transaction_timeout.is_some(),
            last_transaction: self.announcements.last_tid(),
        }
    }

    /// Durations and sizes of commits since the hub was made.
    #[must_use]
    pub const fn histograms(&self) -> &CommitHistograms {
        self.groups.histograms()
    }

    /// All figures. Costs a little for each connection.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let recent = self.announcements.recent();
        Figures {
            status: self.status(),
            histograms: self.histograms().clone(),
            recent: recent.len(),
            recent_max: recent.len_max(),
            packs: self.packing.figures(),
            bytes: self.peers.byte_counts(),
            clients: self.peers.infos(),
        }
    }
}
