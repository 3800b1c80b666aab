//! The connections of a host, where its storages find their inboxes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rzeo_core::server::ConnId;

use crate::admission::AdmissionGuard;
use crate::inbox::Inbox;

/// What the host keeps of one connection.
pub(crate) struct ConnectionSlot {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) admission: Arc<AdmissionGuard>,
}

/// All connections, by number.
#[derive(Default)]
pub(crate) struct ConnectionSlots {
    slots: RwLock<BTreeMap<ConnId, ConnectionSlot>>,
}

/// A thread that panics while it holds the lock leaves whole messages behind: the map is usable.
impl ConnectionSlots {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, BTreeMap<ConnId, ConnectionSlot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<ConnId, ConnectionSlot>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}
