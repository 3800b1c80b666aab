//! The connections that have registered.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::server::ids::ConnId;
use crate::server::peer::{ByteCounts, PeerInfo};

/// The list of those that get every invalidation.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// The registered connections, each with the information that its session has sent since.
    registered: BTreeMap<ConnId, Option<PeerInfo>>,
    /// Bytes of the connections that have left.
    departed: ByteCounts,
}

impl Peers {
    pub(super) fn register(&mut self, conn: ConnId) {
        self.registered.insert(conn, None);
    }

    pub(super) fn introduce(&mut self, conn: ConnId, info: PeerInfo) {
        if let Some(known) = self.registered.get_mut(&conn) {
            *known = Some(info);
        }
    }

    pub(super) fn leave(&mut self, conn: ConnId) {
        if let Some(Some(info)) = self.registered.remove(&conn) {
            self.departed += info.traffic.byte_counts();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.registered.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.registered.keys().copied()
    }

    /// The peers that have introduced themselves, in the order in which they connected.
    pub(super) fn infos(&self) -> Vec<PeerInfo> {
        self.registered.values().flatten().cloned().collect()
    }

    /// Bytes of all peers, including those that have left.
    pub(super) fn byte_counts(&self) -> ByteCounts {
        let mut bytes = self.departed;
        for info in self.registered.values().flatten() {
            bytes += info.traffic.byte_counts();
        }
        bytes
    }
}
