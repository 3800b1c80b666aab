//! Announcing commits to connections, and the invalidation queue.
//!
//! After the server behind a proxy storage was out of reach, all connections are closed, as Python's
//! server does: clients reconnect and verify their caches (`spec: zeo-protocol 12.1, O12`). If commits
//! may have been missed, the invalidation queue starts anew, because it cannot answer for them.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::outbox::HubOutbox;
use super::peers::Peers;
use super::recent::Recent;
use crate::ids::{Oid, Tid};
use crate::server::ids::ConnId;
use crate::server::invalidation::Invalidation;
use crate::server::log_line::LogLevel;
use crate::server::messages::{Changes, Notice};
use crate::storage::StorageEvent;
use crate::time::Now;

/// The newest visible commit, and the recent ones before it.
#[derive(Debug)]
pub(super) struct Announcements {
    last_tid: Tid,
    recent: Recent,
    /// Maximum age in seconds of a tid that is looked up in the storage if the queue does not reach back to
    /// it; none to look up no tid.
    look_up_age: Option<f64>,
}

impl Announcements {
    pub(super) const fn new(last_tid: Tid, recent: Recent, look_up_age: Option<f64>) -> Self {
        Self { last_tid, recent, look_up_age }
    }

    pub(super) const fn last_tid(&self) -> Tid {
        self.last_tid
    }

    pub(super) const fn recent(&self) -> &Recent {
        &self.recent
    }

    /// A commit is visible: adds it to the queue, and sends its invalidation to all connections except the
    /// one that made it, if one of them did.
    pub(super) fn announce(
        &mut self,
        peers: &Peers,
        out: &mut HubOutbox,
        (tid, changed): (Tid, &Arc<[Oid]>),
        committer: Option<ConnId>,
    ) {
        self.last_tid = self.last_tid.max(tid);
        self.recent.push(tid, changed.clone());
        let invalidation = Arc::new(Invalidation::new(tid, changed.clone()));
        for other in peers.ids().filter(|other| Some(*other) != committer) {
            out.deliver_later(other, Notice::Invalidated(invalidation.clone()));
        }
    }

    /// Something happened on the server behind a proxy storage.
    pub(super) fn announce_external(
        &mut self,
        peers: &Peers,
        out: &mut HubOutbox,
        event: StorageEvent,
    ) {
        match event {
            StorageEvent::Invalidated { tid, oids } if tid > self.last_tid => {
                self.announce(peers, out, (tid, &oids), None);
            }
            // Announced late, it would break the order of tids that clients rely on.
            StorageEvent::Invalidated { tid, .. } => {
                let text = format!(
                    "the storage announced commit {tid} after {}; \
                     all clients are disconnected to verify their caches",
                    self.last_tid
                );
                out.log(LogLevel::Error, &text);
                self.disconnect_all(peers, out, self.last_tid, true);
            }
            StorageEvent::Reconnected { tid, may_have_missed: missed } => {
                self.disconnect_all(peers, out, tid, missed)
            }
        }
    }

    fn disconnect_all(&mut self, peers: &Peers, out: &mut HubOutbox, tid: Tid, missed: bool) {
        let missed = missed || tid > self.last_tid;
        self.last_tid = self.last_tid.max(tid);
        if missed {
            let known = vec![(self.last_tid, Vec::new())];
            self.recent = Recent::new(self.recent.len_max(), known);
        }
        for conn in peers.ids() {
            out.deliver(conn, Notice::StorageReconnected);
        }
    }

    /// What changed after a tid.
    pub(super) fn changes_since(&self, now: Now, since: Tid) -> Changes {
        if let Some((tid, commits)) = self.recent.since(since) {
            return Changes::Known { tid, commits };
        }
        match self.look_up_age {
            Some(age) if now.wall.0 - since.to_unix().0 < age => {
                Changes::LookUp { after: since, up_to: self.last_tid }
            }
            _ => Changes::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::messages::{HubOutput, Urgency};

    #[test]
    fn all_connections_share_one_invalidation_that_may_be_delivered_later() {
        let mut out = HubOutbox::new("1".into());
        let mut peers = Peers::default();
        for conn in 1..=3 {
            peers.register(ConnId(conn));
        }
        let recent = Recent::new(10, vec![(Tid::ZERO, vec![])]);
        let mut announcements = Announcements::new(Tid::ZERO, recent, None);
        let changed = Arc::from([Oid(1)]);
        announcements.announce(&peers, &mut out, (Tid(5), &changed), Some(ConnId(2)));
        let mut announced = Vec::new();
        while let Some(output) = out.pop() {
            match output {
                HubOutput::Deliver {
                    conn,
                    notice: Notice::Invalidated(invalidation),
                    urgency: Urgency::Later,
                } => announced.push((conn, invalidation)),
                other => panic!("an invalidation expected, not {other:?}"),
            }
        }
        let [(ConnId(1), first), (ConnId(3), second)] = &announced[..] else {
            panic!("{announced:?}")
        };
        assert!(Arc::ptr_eq(first, second));
        assert_eq!(announcements.last_tid(), Tid(5));
    }
}
