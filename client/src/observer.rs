//! Notifications of commits and connections.
//!
//! There are two ways. An [`Observer`] is called at once, before any handle shows that a commit is known; a
//! cache of objects in memory needs that, so that it never takes an old object for a new one. A
//! [`Subscription`] queues events, for a task that takes them at its own pace.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use parking_lot::Mutex;
use rzeo_core::client::ServerInfo;
use rzeo_core::{Oid, Tid};

use crate::wakers::{Wakers, keep_waker};

/// Is called at once for each event of a client.
///
/// All methods are called in the order of the events, with the client locked: neither
/// [`last_tid`](crate::Client::last_tid) nor a load shows an event before they return. They must be quick
/// and must not call the client, which would deadlock.
#[expect(unused_variables, reason = "by default, nothing is done")]
pub trait Observer: Send + Sync {
    /// Others changed these objects; there may be none. The tid may be less than that of an own commit before:
    /// Python's server with uvloop may answer a commit before it has sent the invalidations of earlier
    /// ones.
    fn invalidated(&self, tid: Tid, oids: &Arc<[Oid]>) {}
    /// Anything may have changed up to this commit.
    fn invalidated_all(&self, tid: Tid) {}
    /// This client changed these objects. The call is in order with those for the changes of other clients.
    fn committed(&self, tid: Tid, oids: &Arc<[Oid]>) {}
    /// A server is chosen and the cache is verified.
    fn connected(&self, info: &Arc<ServerInfo>, read_only: bool) {}
    /// The connection is lost.
    fn disconnected(&self) {}
    /// The storage has this number of objects and bytes now.
    fn info(&self, length: u64, size: u64) {}
}

/// Ignores all events.
impl Observer for () {}

/// An event of a [`Subscription`]; the variants are the methods of [`Observer`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "see Observer")]
pub enum ClientEvent {
    Invalidated { tid: Tid, oids: Arc<[Oid]> },
    InvalidatedAll { tid: Tid },
    Committed { tid: Tid, oids: Arc<[Oid]> },
    Connected { info: Arc<ServerInfo>, read_only: bool },
    Disconnected,
    Info { length: u64, size: u64 },
}

impl ClientEvent {
    fn notify(&self, observer: &dyn Observer) {
        match self {
            Self::Invalidated { tid, oids } => observer.invalidated(*tid, oids),
            Self::InvalidatedAll { tid } => observer.invalidated_all(*tid),
            Self::Committed { tid, oids } => observer.committed(*tid, oids),
            Self::Connected { info, read_only } => observer.connected(info, *read_only),
            Self::Disconnected => observer.disconnected(),
            Self::Info { length, size } => observer.info(*length, *size),
        }
    }
}

/// All events since the subscription was made, in order; a stream. It ends when the client is closed.
///
/// Events are queued until they are taken, without a limit: drop a subscription that is not used any
/// more. Dropping the future of [`Self::next`] loses nothing.
#[derive(Debug)]
pub struct Subscription(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<ClientEvent>,
    waker: Option<Waker>,
    has_ended: bool,
}

impl Subscription {
    /// The next event; `None` when the client is closed.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        poll_fn(|cx| self.poll_take(cx)).await
    }

    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<ClientEvent> {
        self.0.lock().events.pop_front()
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        let mut replaced = Wakers::new();
        let mut queue = self.0.lock();
        let next = queue.events.pop_front();
        if next.is_some() || queue.has_ended {
            return Poll::Ready(next);
        }
        keep_waker(&mut queue.waker, cx, &mut replaced);
        // The replaced waker may be the last that holds a task; it is dropped when nothing is locked.
        drop(queue);
        Poll::Pending
    }
}

impl Stream for Subscription {
    type Item = ClientEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        self.poll_take(cx)
    }
}

/// The observer and the subscriptions of a client.
pub(crate) struct Observers {
    observer: Option<Arc<dyn Observer>>,
    subscriptions: Vec<Weak<Mutex<Queue>>>,
}

impl Observers {
    pub(crate) const fn new(observer: Option<Arc<dyn Observer>>) -> Self {
        Self { observer, subscriptions: Vec::new() }
    }

    pub(crate) fn subscribe(&mut self, has_ended: bool) -> Subscription {
        let queue = Queue { has_ended, ..Queue::default() };
        let subscription = Subscription(Arc::new(Mutex::new(queue)));
        self.subscriptions.push(Arc::downgrade(&subscription.0));
        subscription
    }

    pub(crate) fn notify(&mut self, event: &ClientEvent, wakers: &mut Wakers) {
        if let Some(observer) = &self.observer {
            event.notify(&**observer);
        }
        self.each(wakers, |queue| queue.events.push_back(event.clone()));
    }

    /// No more events follow.
    pub(crate) fn end(&mut self, wakers: &mut Wakers) {
        self.each(wakers, |queue| queue.has_ended = true);
    }

    fn each(&mut self, wakers: &mut Wakers, change: impl Fn(&mut Queue)) {
        self.subscriptions.retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut queue = queue.lock();
            change(&mut queue);
            wakers.extend(queue.waker.take());
            true
        });
    }
}
