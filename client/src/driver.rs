//! What an adapter runs: where to connect, what to send, when to call `handle_timeout`.
//!
//! ```text
//!   Driver ── poll_order ──► Connect(Link) ──► a task: connect, then bytes to and fro
//!      │                     End                │ connected, received, sent, gone
//!      └─ wait, handle_timeout                  └ take_outbox, wants_input
//! ```
//!
//! An adapter makes no decisions. It runs the [`Driver`] in one task and each [`Link`] in another, until the
//! driver orders [`Order::End`]. Either may be dropped at any time: a dropped driver closes the client, a
//! dropped link is a lost connection.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rzeo_core::client::{Conflict, ConnId, Input};
use rzeo_net::Address;
use rzeo_tls::client::ClientTls;

use crate::resolver::Resolver;
use crate::shared::Shared;
use crate::wakers::keep_waker;

/// What an adapter runs for a client, in one task.
pub struct Driver {
    shared: Arc<Shared>,
    resolver: Arc<dyn Resolver>,
    tls: Option<ClientTls>,
}

/// What to do next.
pub enum Order {
    /// Make this connection, in a task of its own.
    Connect(Link),
    /// All connections have ended, and there will be no more: end the task.
    End,
}

/// What the driver does next.
enum Step {
    Resolve(Conflict),
    Connect(ConnId, Address),
    End,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        resolver: Arc<dyn Resolver>,
        tls: Option<ClientTls>,
    ) -> Self {
        Self { shared, resolver, tls }
    }

    /// The next order. If there is none yet, the task is woken when there is one, or when [`Self::wait`] has
    /// become shorter. Conflicts are resolved in here.
    pub fn poll_order(&mut self, cx: &mut Context<'_>) -> Poll<Order> {
        loop {
            match self.step(cx) {
                None => return Poll::Pending,
                Some(Step::End) => return Poll::Ready(Order::End),
                Some(Step::Resolve(conflict)) => self.resolve(conflict),
                Some(Step::Connect(conn, address)) => {
                    let (shared, tls) = (self.shared.clone(), self.tls.clone());
                    let link = Link { shared, conn, address, tls, is_over: false };
                    return Poll::Ready(Order::Connect(link));
                }
            }
        }
    }

    fn step(&self, cx: &mut Context<'_>) -> Option<Step> {
        self.shared.with(|state, _| {
            if let Some(conflict) = state.conflicts.pop_front() {
                return Some(Step::Resolve(conflict));
            }
            if let Some((conn, address)) = state.orders.pop_front() {
                return Some(Step::Connect(conn, address));
            }
            if state.is_closed && state.links.is_empty() {
                return Some(Step::End);
            }
            keep_waker(&mut state.driver.waker, cx, &mut state.wakers);
            None
        })
    }

    fn resolve(&self, conflict: Conflict) {
        let Conflict { txn, new, states, .. } = conflict;
        match states {
            None if self.resolver.knows(&new) => {
                self.shared.with(|state, _| state.machine.conflict_states(txn));
            }
            None => self.shared.with(|state, _| state.machine.conflict_resolved(txn, None)),
            Some((old, committed)) => {
                let merged = self.resolver.resolve(&old, &committed, &new);
                self.shared.with(|state, _| state.machine.conflict_resolved(txn, merged));
            }
        }
    }

    /// How long to wait before calling [`Self::handle_timeout`], if at all; at most a day, because some
    /// timers are limited to a few years. To be called after each pending [`Self::poll_order`].
    pub fn wait(&mut self) -> Option<Duration> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        self.shared.with(|state, now| {
            state.driver.deadline = state.machine.poll_timeout();
            let deadline = state.driver.deadline?;
            Some(deadline.0.saturating_sub(now.instant.0).min(DAY))
        })
    }

    /// Tells the client that time has passed. Calling early or twice does nothing.
    pub fn handle_timeout(&mut self) {
        self.shared.with(|state, now| state.machine.handle_timeout(now));
    }
}

/// A client without its driver is closed.
impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.with(|state, _| {
            state.driver.is_gone = true;
            state.disk = None;
            state.observers.end(&mut state.wakers);
            state.wakers.append(&mut state.waits_for_end);
        });
    }
}

/// A connection to make, and then the connection.
pub struct Link {
    shared: Arc<Shared>,
    conn: ConnId,
    address: Address,
    tls: Option<ClientTls>,
    /// Whether its end was reported.
    is_over: bool,
}

impl Link {
    /// The address of the server to connect to.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The TLS configuration, and the host name expected in the server's certificate.
    #[must_use]
    pub fn tls(&self) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        let tls = self.tls.as_ref()?;
        let name = tls.server_name(self.address.host_to_connect());
        Some((tls.config().clone(), name.expect("addresses are checked for names with TLS")))
    }

    /// Ready when the connection is no longer needed. Poll it while the connection is being made.
    pub fn poll_given_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.with(|state, _| match state.links.get_mut(&self.conn) {
            Some(outbox) if !outbox.is_closing => {
                keep_waker(&mut outbox.waker, cx, &mut state.wakers);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
    }

    /// The connection is made, with the layers below the protocol (TLS).
    pub fn connected(&mut self) {
        self.handle_input(Input::Connected(self.conn));
    }

    /// The connection cannot be made.
    pub fn failed(mut self, why: &dyn Display) {
        self.end(Input::Failed(self.conn, format!("{}: {why}", self.address)));
    }

    /// Bytes have arrived from the server.
    pub fn received(&mut self, bytes: &[u8]) {
        self.handle_input(Input::Bytes(self.conn, bytes));
    }

    /// The socket has taken this many bytes.
    pub fn sent(&mut self, bytes: usize) {
        self.handle_input(Input::Sent(self.conn, bytes));
    }

    /// Moves the bytes to send to the end of `chunks`; the task is woken when there are more, or when
    /// [`Self::wants_input`] has become true. `false` means: close the connection after sending them, and
    /// read nothing more.
    pub fn take_outbox(&mut self, cx: &mut Context<'_>, chunks: &mut VecDeque<Bytes>) -> bool {
        self.shared.with_idle_machine(|state| {
            let Some(outbox) = state.links.get_mut(&self.conn) else { return false };
            chunks.append(&mut outbox.chunks);
            keep_waker(&mut outbox.waker, cx, &mut state.wakers);
            !outbox.is_closing
        })
    }

    /// Whether to read from the socket: not while blobs arrive faster than they are written.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.shared.look(|state| state.has_room())
    }

    /// Passes input to the machine, except for a connection that the machine is closing.
    fn handle_input(&self, input: Input<'_>) {
        self.shared.with(|state, now| {
            if state.links.get(&self.conn).is_some_and(|outbox| !outbox.is_closing) {
                state.machine.handle_input(now, input);
            }
        });
    }

    /// It was lost, by the fault of the stream or of the server.
    pub(crate) fn lost(&mut self, why: &dyn Display) {
        self.end(Input::Gone(self.conn, format!("{}: {why}", self.address)));
    }

    /// Whether it was lost.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    fn end(&mut self, input: Input<'_>) {
        self.is_over = true;
        self.handle_input(input);
        self.shared.with(|state, _| state.forget_link(self.conn));
    }
}

/// However its task ended, the connection counts as lost.
impl Drop for Link {
    fn drop(&mut self) {
        if !self.is_over {
            let why = format!("{}: its task has ended", self.address);
            self.end(Input::Gone(self.conn, why));
        }
    }
}
