//! Who hears what others commit.
//!
//! There are two ways. An [`Observer`] is called at the very moment, before anybody can see that a
//! commit is known; what keeps objects in memory needs that, so that it never takes an old object for a
//! new one. A [`Subscription`] is told later, at its own pace.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use parking_lot::Mutex;
use rzeo_core::client::ServerInfo;
use rzeo_core::ids::{Oid, Tid};

use crate::wakers::{Wakers, keep_waker};

/// What wants to know at once.
///
/// All methods are called in the order in which things happened, with the client locked: what they
/// tell of can be seen by nobody before they return, in [`last_tid`](crate::Client::last_tid) nor by a
/// load. They must be quick and must not call the client, which would wait for itself for ever.
#[expect(unused_variables, reason = "who does not want to know does nothing")]
pub trait Observer: Send + Sync {
    /// Others changed these objects; there may be none.
    fn invalidated(&self, tid: Tid, oids: &Arc<[Oid]>) {}
    /// Anything may have changed up to this commit.
    fn invalidated_all(&self, tid: Tid) {}
    /// This client changed these objects. It stands in order with what others changed.
    fn committed(&self, tid: Tid, oids: &Arc<[Oid]>) {}
    /// A server is chosen and the cache is verified.
    fn connected(&self, info: &Arc<ServerInfo>, read_only: bool) {}
    /// The server is lost.
    fn disconnected(&self) {}
    /// The storage has so many objects and bytes now.
    fn info(&self, length: u64, size: u64) {}
}

/// Wants to know nothing.
impl Observer for () {}

/// What a [`Subscription`] is told; the words are those of [`Observer`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "see Observer")]
pub enum News {
    Invalidated { tid: Tid, oids: Arc<[Oid]> },
    InvalidatedAll { tid: Tid },
    Committed { tid: Tid, oids: Arc<[Oid]> },
    Connected { info: Arc<ServerInfo>, read_only: bool },
    Disconnected,
    Info { length: u64, size: u64 },
}

impl News {
    fn tell(&self, observer: &dyn Observer) {
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

/// All news since it was made, in order; a stream. It ends when the client is closed.
///
/// News are kept until they are taken, however many there are: drop a subscription that is of no
/// interest any more. Dropping the future of [`Self::next`] loses nothing.
#[derive(Debug)]
pub struct Subscription(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    news: VecDeque<News>,
    waker: Option<Waker>,
    has_ended: bool,
}

impl Subscription {
    /// The next news; `None` when the client is closed.
    pub async fn next(&mut self) -> Option<News> {
        poll_fn(|cx| self.poll_take(cx)).await
    }

    /// The next news, if there are any yet.
    pub fn try_next(&mut self) -> Option<News> {
        self.0.lock().news.pop_front()
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<News>> {
        let mut replaced = Wakers::new();
        let mut queue = self.0.lock();
        let next = queue.news.pop_front();
        if next.is_some() || queue.has_ended {
            return Poll::Ready(next);
        }
        keep_waker(&mut queue.waker, cx, &mut replaced);
        // What is replaced may be the last that holds a task; it goes when nothing is locked.
        drop(queue);
        Poll::Pending
    }
}

impl Stream for Subscription {
    type Item = News;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<News>> {
        self.poll_take(cx)
    }
}

/// Everybody who is to be told.
pub(crate) struct Audience {
    observer: Option<Arc<dyn Observer>>,
    subscriptions: Vec<Weak<Mutex<Queue>>>,
}

impl Audience {
    pub(crate) const fn new(observer: Option<Arc<dyn Observer>>) -> Self {
        Self { observer, subscriptions: Vec::new() }
    }

    pub(crate) fn subscribe(&mut self, has_ended: bool) -> Subscription {
        let queue = Queue { has_ended, ..Queue::default() };
        let subscription = Subscription(Arc::new(Mutex::new(queue)));
        self.subscriptions.push(Arc::downgrade(&subscription.0));
        subscription
    }

    pub(crate) fn tell(&mut self, news: &News, wakers: &mut Wakers) {
        if let Some(observer) = &self.observer {
            news.tell(&**observer);
        }
        self.each(wakers, |queue| queue.news.push_back(news.clone()));
    }

    /// There will be no more news.
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
