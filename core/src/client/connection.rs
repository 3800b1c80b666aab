//! One connection to one server, and how far it has come.
//!
//! ```text
//!   Connecting ─► Greeting ─► Registering ─► Verifying ─► Describing ─► Ready
//! ```

use core::time::Duration;

use super::channel::Channel;
use super::context::Context;
use super::ids::ServerId;
use super::verify::Verification;
use crate::time::Instant;

/// How often a client sends a heartbeat (`spec: zeo-protocol 3`).
const HEARTBEAT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) server: ServerId,
    pub(super) phase: Phase,
    /// Whether it is registered as one that only reads.
    pub(super) read_only: bool,
    pub(super) channel: Channel,
    pub(super) verification: Verification,
    /// When it has to be ready.
    pub(super) ready_by: Option<Instant>,
    heartbeat_at: Option<Instant>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Connecting,
    Greeting,
    Registering,
    /// Registered and chosen; the cache is being verified.
    Verifying,
    Describing,
    Ready,
}

impl Connection {
    pub(super) fn new(server: ServerId, cx: &Context) -> Self {
        Self {
            server,
            phase: Phase::Connecting,
            read_only: false,
            channel: Channel::new(cx.settings.frame_bytes_max),
            verification: Verification::default(),
            ready_by: Some(cx.now.after(cx.settings.connect_timeout)),
            heartbeat_at: None,
        }
    }

    pub(super) fn connected(&mut self, now: Instant) {
        self.phase = Phase::Greeting;
        self.heartbeat_at = Some(now.after(HEARTBEAT));
    }

    /// The next moment at which something has to be done.
    pub(super) fn timeout(&self) -> Option<Instant> {
        [self.ready_by, self.heartbeat_at].into_iter().flatten().min()
    }

    /// Sends a heartbeat, when it is time.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        if self.heartbeat_at.is_none_or(|at| at > now) {
            return;
        }
        self.heartbeat_at = Some(now.after(HEARTBEAT));
        if self.phase > Phase::Greeting {
            self.channel.send_heartbeat();
        }
    }
}
