//! Events of the server behind the proxy, passed on from the client to the hub.
//!
//! ```text
//!   invalidated ──────► Invalidated      in the client's order, while the client is locked: no call sees
//!   invalidated_all ──► Reconnected      a commit before the hub has its event
//!   connected ────────► Reconnected      once for each time that the server was out of reach
//! ```
//!
//! Own commits are not passed on: their tid goes to the hub with the result of
//! [`commit`](rzeo_core::storage::Storage::commit). Python's server may answer a commit before it has sent
//! the invalidations of earlier commits, so the result is held back until a ping was answered.
//!
//! After `invalidated_all`, `Reconnected` is passed on before any further change: otherwise clients would
//! take their caches for valid up to that change.
//!
//! Python's proxy closes all connections whenever its server is back, whether anything was missed or
//! not, and so does this one: an application that is connected to a proxy has no other way to learn that
//! the proxy may now be connected to another server.

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
    /// The newest commit that the subscriber has, own commits included.
    last_tid: Tid,
    /// The newest commit of other clients.
    others: Tid,
    info: Info,
    /// Whether the connection was lost, and [`StorageEvent::Reconnected`] was not passed on since.
    was_lost: bool,
}

impl InvalidationRelay {
    /// Commits up to this tid are not passed on: the subscriber reads them from the storage.
    pub(crate) fn begin_at(&self, tid: Tid) {
        let mut state = self.0.lock();
        state.last_tid = state.last_tid.max(tid);
        state.others = state.others.max(tid);
    }

    pub(crate) fn subscribe(&self, since: Tid, subscriber: Subscriber) {
        let mut state = self.0.lock();
        if state.last_tid != since {
            subscriber
                .notify(StorageEvent::Reconnected { tid: state.last_tid, may_have_missed: true });
        }
        state.subscriber = Some(subscriber);
    }

    pub(crate) fn last_tid(&self) -> Tid {
        self.0.lock().last_tid
    }

    pub(crate) fn info(&self) -> Info {
        self.0.lock().info
    }
}

impl RelayState {
    fn notify(&self, event: StorageEvent) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.notify(event);
        }
    }

    fn reconnected(&mut self, tid: Tid, missed: bool) {
        self.last_tid = self.last_tid.max(tid);
        self.others = self.others.max(tid);
        self.was_lost = false;
        self.notify(StorageEvent::Reconnected { tid: self.last_tid, may_have_missed: missed });
    }
}

impl Observer for InvalidationRelay {
    /// A commit that was copied under an old tid has no place in the order of tids.
    fn invalidated(&self, tid: Tid, oids: &Arc<[Oid]>) {
        let mut state = self.0.lock();
        if tid > state.others {
            state.others = tid;
            state.last_tid = state.last_tid.max(tid);
            state.notify(StorageEvent::Invalidated { tid, oids: oids.clone() });
        } else if !oids.is_empty() {
            state.reconnected(tid, true);
        }
    }

    fn invalidated_all(&self, tid: Tid) {
        self.0.lock().reconnected(tid, true);
    }

    fn committed(&self, tid: Tid, _: &Arc<[Oid]>) {
        let mut state = self.0.lock();
        state.last_tid = state.last_tid.max(tid);
    }

    fn connected(&self, info: &Arc<ServerInfo>, _: bool) {
        let mut state = self.0.lock();
        state.info = Info { length: info.length, size: info.size };
        if state.was_lost {
            let last_tid = state.last_tid;
            state.reconnected(last_tid, false);
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

    /// A relay, and the events that it passes on, as short texts.
    fn subscribed() -> (InvalidationRelay, Arc<Mutex<Vec<String>>>) {
        let (relay, events) = (InvalidationRelay::default(), Arc::new(Mutex::new(Vec::new())));
        relay.begin_at(Tid(5));
        let sink = events.clone();
        relay.subscribe(Tid(5), Subscriber::new(move |event| sink.lock().push(brief(&event))));
        (relay, events)
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
    fn changes_are_passed_on_and_own_commits_are_not() {
        let (relay, events) = subscribed();
        relay.invalidated(Tid(6), &oids(2));
        relay.committed(Tid(7), &oids(1));
        relay.invalidated(Tid(8), &oids(0));
        assert_eq!(*events.lock(), ["6 changed 2", "8 changed 0"]);
        assert_eq!(relay.last_tid(), Tid(8));
    }

    #[test]
    fn a_change_may_be_later_than_an_own_commit_after_it() {
        let (relay, events) = subscribed();
        relay.committed(Tid(7), &oids(1));
        relay.invalidated(Tid(6), &oids(2));
        relay.invalidated(Tid(8), &oids(1));
        assert_eq!(*events.lock(), ["6 changed 2", "8 changed 1"]);
        assert_eq!(relay.last_tid(), Tid(8));
    }

    #[test]
    fn changes_before_the_subscription_count_as_missed() {
        let relay = InvalidationRelay::default();
        relay.invalidated(Tid(6), &oids(2));
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        relay.subscribe(Tid(5), Subscriber::new(move |event| sink.lock().push(brief(&event))));
        assert_eq!(*events.lock(), ["6 missed"]);
    }

    #[test]
    fn a_reconnection_is_passed_on_once_after_earlier_changes() {
        let (relay, events) = subscribed();
        relay.disconnected();
        relay.invalidated(Tid(9), &oids(2));
        relay.connected(&server(), false);
        relay.connected(&server(), false);
        assert_eq!(*events.lock(), ["9 changed 2", "9 back"]);
        assert_eq!(relay.info(), Info { length: 3, size: 100 });
    }

    #[test]
    fn missed_changes_are_passed_on_before_newer_ones() {
        let (relay, events) = subscribed();
        relay.disconnected();
        relay.invalidated_all(Tid(9));
        relay.invalidated(Tid(10), &oids(1));
        relay.connected(&server(), false);
        assert_eq!(
            *events.lock(),
            ["9 missed", "10 changed 1"],
            "connections are closed only once"
        );
    }

    #[test]
    fn a_copied_commit_counts_as_missed() {
        let (relay, events) = subscribed();
        relay.invalidated(Tid(3), &oids(1));
        relay.invalidated(Tid(5), &oids(0));
        assert_eq!(*events.lock(), ["5 missed"]);
        assert_eq!(relay.last_tid(), Tid(5));
    }
}
