//! What the client observes of the server behind, passed on to the hub of this one.
//!
//! ```text
//!   invalidated ──────► Invalidated      in the client's order, while the client is locked: no call sees
//!   invalidated_all ──► Reconnected      a commit before the hub has its event
//!   connected ────────► Reconnected      once for each time that the server was out of reach
//! ```
//!
//! Own commits are not passed on: their tid goes to the hub with the result of
//! [`commit`](rzeo_core::storage::Storage::commit). Python's server may answer a commit before it has told
//! what was committed before it, so the result is held back until a ping was answered.
//!
//! After `invalidated_all` no change is passed on before the reset: clients would take all up to it for
//! known.
//!
//! Python's proxy closes all connections whenever its server is back, whether anything was missed or
//! not, and so does this one: an application that is connected to a proxy has no other way to learn that
//! it may be behind another server now.

use std::sync::Arc;

use parking_lot::Mutex;
use rzeo_client::{Observer, ServerInfo};
use rzeo_core::storage::{Info, StorageEvent, Subscriber};
use rzeo_core::{Oid, Tid};

/// Passes on to the hub what the client observes.
#[derive(Default)]
pub(crate) struct InvalidationRelay(Mutex<RelayState>);

#[derive(Default)]
struct RelayState {
    subscriber: Option<Subscriber>,
    /// The newest commit that is known, ours among them.
    told: Tid,
    /// The newest commit of others.
    others: Tid,
    info: Info,
    /// Whether the server was lost and the subscriber has not been told yet that it is back.
    was_lost: bool,
}

impl InvalidationRelay {
    /// What was passed on before is known to a subscriber that begins now.
    pub(crate) fn begin_at(&self, tid: Tid) {
        let mut state = self.0.lock();
        state.told = state.told.max(tid);
        state.others = state.others.max(tid);
    }

    pub(crate) fn subscribe(&self, since: Tid, subscriber: Subscriber) {
        let mut state = self.0.lock();
        if state.told != since {
            subscriber.notify(StorageEvent::Reconnected { tid: state.told, may_have_missed: true });
        }
        state.subscriber = Some(subscriber);
    }

    pub(crate) fn told(&self) -> Tid {
        self.0.lock().told
    }

    pub(crate) fn info(&self) -> Info {
        self.0.lock().info
    }
}

impl RelayState {
    fn tell(&self, event: StorageEvent) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.notify(event);
        }
    }

    fn reset(&mut self, tid: Tid, missed: bool) {
        self.told = self.told.max(tid);
        self.others = self.others.max(tid);
        self.was_lost = false;
        self.tell(StorageEvent::Reconnected { tid: self.told, may_have_missed: missed });
    }
}

impl Observer for InvalidationRelay {
    /// A commit that was copied under an old tid has no place in the order of tids.
    fn invalidated(&self, tid: Tid, oids: &Arc<[Oid]>) {
        let mut state = self.0.lock();
        if tid > state.others {
            state.others = tid;
            state.told = state.told.max(tid);
            state.tell(StorageEvent::Invalidated { tid, oids: oids.clone() });
        } else if !oids.is_empty() {
            state.reset(tid, true);
        }
    }

    fn invalidated_all(&self, tid: Tid) {
        self.0.lock().reset(tid, true);
    }

    fn committed(&self, tid: Tid, _: &Arc<[Oid]>) {
        let mut state = self.0.lock();
        state.told = state.told.max(tid);
    }

    fn connected(&self, info: &Arc<ServerInfo>, _: bool) {
        let mut state = self.0.lock();
        state.info = Info { length: info.length, size: info.size };
        if state.was_lost {
            let told = state.told;
            state.reset(told, false);
        }
    }

    fn disconnected(&self) {
        self.0.lock().was_lost = true;
    }

    fn info(&self, length: u64, size: u64) {
        self.0.lock().info = Info { length, size };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay, and what it passes on, in short.
    fn listening() -> (InvalidationRelay, Arc<Mutex<Vec<String>>>) {
        let (relay, heard) = (InvalidationRelay::default(), Arc::new(Mutex::new(Vec::new())));
        relay.begin_at(Tid(5));
        let told = heard.clone();
        relay.subscribe(Tid(5), Subscriber::new(move |event| told.lock().push(brief(&event))));
        (relay, heard)
    }

    fn brief(event: &StorageEvent) -> String {
        match event {
            StorageEvent::Invalidated { tid, oids } => format!("{} changed {}", tid.0, oids.len()),
            StorageEvent::Reconnected { tid, may_have_missed: true } => format!("{} missed", tid.0),
            StorageEvent::Reconnected { tid, may_have_missed: false } => format!("{} back", tid.0),
        }
    }

    fn server() -> Arc<ServerInfo> {
        Arc::new(ServerInfo {
            name: "Data.fs".into(),
            length: 3,
            size: 100,
            supports_undo: true,
            supports_record_iternext: true,
            interfaces: Vec::new(),
        })
    }

    fn oids(count: u64) -> Arc<[Oid]> {
        (1..=count).map(Oid).collect()
    }

    #[test]
    fn changes_are_told_and_own_commits_are_not() {
        let (relay, heard) = listening();
        relay.invalidated(Tid(6), &oids(2));
        relay.committed(Tid(7), &oids(1));
        relay.invalidated(Tid(8), &oids(0));
        assert_eq!(*heard.lock(), ["6 changed 2", "8 changed 0"]);
        assert_eq!(relay.told(), Tid(8));
    }

    #[test]
    fn a_change_may_be_later_than_an_own_commit_after_it() {
        let (relay, heard) = listening();
        relay.committed(Tid(7), &oids(1));
        relay.invalidated(Tid(6), &oids(2));
        relay.invalidated(Tid(8), &oids(1));
        assert_eq!(*heard.lock(), ["6 changed 2", "8 changed 1"]);
        assert_eq!(relay.told(), Tid(8));
    }

    #[test]
    fn what_came_before_anybody_listened_is_missed() {
        let relay = InvalidationRelay::default();
        relay.invalidated(Tid(6), &oids(2));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = heard.clone();
        relay.subscribe(Tid(5), Subscriber::new(move |event| told.lock().push(brief(&event))));
        assert_eq!(*heard.lock(), ["6 missed"]);
    }

    #[test]
    fn a_server_that_is_back_is_told_once_after_its_changes() {
        let (relay, heard) = listening();
        relay.disconnected();
        relay.invalidated(Tid(9), &oids(2));
        relay.connected(&server(), false);
        relay.connected(&server(), false);
        assert_eq!(*heard.lock(), ["9 changed 2", "9 back"]);
        assert_eq!(relay.info(), Info { length: 3, size: 100 });
    }

    #[test]
    fn what_was_missed_is_told_before_anything_newer() {
        let (relay, heard) = listening();
        relay.disconnected();
        relay.invalidated_all(Tid(9));
        relay.invalidated(Tid(10), &oids(1));
        relay.connected(&server(), false);
        assert_eq!(*heard.lock(), ["9 missed", "10 changed 1"], "and all are closed once");
    }

    #[test]
    fn a_copied_commit_is_told_as_missed() {
        let (relay, heard) = listening();
        relay.invalidated(Tid(3), &oids(1));
        relay.invalidated(Tid(5), &oids(0));
        assert_eq!(*heard.lock(), ["5 missed"]);
        assert_eq!(relay.told(), Tid(5));
    }
}
