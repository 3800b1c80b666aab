//! What the server knows of a peer, and how much it has moved.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::time::UnixTime;

/// Bytes of one connection, counted by its session.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes received from the peer.
    pub received: AtomicU64,
    /// Bytes given to the adapter for the peer.
    pub queued: AtomicU64,
    /// Bytes of them that the socket has taken.
    pub sent: AtomicU64,
}

impl Traffic {
    /// Bytes in both directions so far.
    #[must_use]
    pub fn byte_counts(&self) -> ByteCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ByteCounts { received: read(&self.received), sent: read(&self.sent) }
    }

    /// Bytes that the socket has not taken yet.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        let sent = self.sent.load(Ordering::Relaxed);
        self.queued.load(Ordering::Relaxed).saturating_sub(sent)
    }
}

/// Bytes in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "said by the struct")]
pub struct ByteCounts {
    pub received: u64,
    pub sent: u64,
}

impl core::ops::AddAssign for ByteCounts {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
    }
}

/// A registered connection, as its session introduces it to the hub.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Address of the peer, as the log shows it.
    pub peer: Arc<str>,
    /// The label that it has chosen.
    pub label: Option<Arc<str>>,
    /// Whether it may not write.
    pub read_only: bool,
    /// Time of the connection's acceptance.
    pub since: UnixTime,
    /// Counters that its session keeps up to date.
    pub traffic: Arc<Traffic>,
}
