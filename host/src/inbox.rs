//! The queue of messages to a connection: notices of the hub, and answers of the storage.
//!
//! It is a queue behind a short lock, with the waker of the one task that empties it. It depends on no
//! runtime.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rzeo_core::server::{Notice, StorageReply};

/// A message in a connection's inbox.
#[derive(Debug)]
pub enum InboxMessage {
    /// A notice of the hub.
    Notice(Notice),
    /// The answer to a storage call that ran on a thread that may wait.
    Answer(StorageReply),
    /// The server stops: send pending replies, then close.
    Stop,
}

/// The messages to one connection. Pushing never waits for the task, so it is allowed under the hub's
/// lock.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<InboxState>,
}

#[derive(Debug, Default)]
struct InboxState {
    messages: VecDeque<InboxMessage>,
    waker: Option<Waker>,
    /// Whether a wake list has this inbox and will call [`Inbox::wake`].
    is_listed: bool,
}

impl Inbox {
    /// Adds to the end and wakes the task. If the connection is gone, the item stays.
    pub(crate) fn push(&self, message: InboxMessage) {
        let waker = {
            let mut state = self.lock();
            state.messages.push_back(message);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Adds to the end without waking the task. Returns whether the caller must arrange a call of
    /// [`Self::wake`]: that is, if the task waits, and no earlier caller was asked to.
    #[must_use]
    pub(crate) fn push_quietly(&self, message: InboxMessage) -> bool {
        let mut state = self.lock();
        state.messages.push_back(message);
        // A task that does not wait now looks into the queue before it does.
        let lists = state.waker.is_some() && !state.is_listed;
        state.is_listed |= lists;
        lists
    }

    /// Wakes the task that waits, if the queue is not empty.
    pub(crate) fn wake(&self) {
        let waker = {
            let mut state = self.lock();
            state.is_listed = false;
            if state.messages.is_empty() { None } else { state.waker.take() }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Removes and returns the first message.
    pub(crate) fn try_recv(&self) -> Option<InboxMessage> {
        self.lock().messages.pop_front()
    }

    /// Removes and returns the first message; without one, the task is woken when one arrives.
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<InboxMessage> {
        let mut state = self.lock();
        if let Some(message) = state.messages.pop_front() {
            return Poll::Ready(message);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Poison is ignored: no operation under the lock can panic half way.
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use rzeo_core::storage::Info;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_waiting_task_is_woken_once_and_finds_everything_in_order() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let inbox = Inbox::default();
        assert!(inbox.poll_recv(&mut cx).is_pending());
        let info = |length| InboxMessage::Notice(Notice::Info(Info { length, size: 0 }));
        let is = |message: Option<InboxMessage>, length| matches!(message, Some(InboxMessage::Notice(Notice::Info(info))) if info.length == length);
        inbox.push(info(1));
        inbox.push(info(2));
        inbox.push(InboxMessage::Stop);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(is(inbox.try_recv(), 1) && is(inbox.try_recv(), 2));
        assert!(matches!(inbox.poll_recv(&mut cx), Poll::Ready(InboxMessage::Stop)));
        assert!(inbox.try_recv().is_none());
        assert!(inbox.poll_recv(&mut cx).is_pending());
        inbox.push(InboxMessage::Stop);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_quiet_item_wakes_no_task_until_wake_is_called() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let inbox = Inbox::default();
        assert!(!inbox.push_quietly(InboxMessage::Stop), "no task waits");
        assert!(matches!(inbox.poll_recv(&mut cx), Poll::Ready(InboxMessage::Stop)));
        assert!(inbox.poll_recv(&mut cx).is_pending());
        assert!(inbox.push_quietly(InboxMessage::Stop));
        assert!(!inbox.push_quietly(InboxMessage::Stop), "the inbox is listed already");
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        inbox.wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(inbox.try_recv().is_some() && inbox.try_recv().is_some());
        assert!(inbox.poll_recv(&mut cx).is_pending());
        assert!(inbox.push_quietly(InboxMessage::Stop), "the next message lists the inbox again");
        assert!(
            matches!(inbox.poll_recv(&mut cx), Poll::Ready(InboxMessage::Stop)),
            "the task finds it before it is woken"
        );
        assert!(inbox.poll_recv(&mut cx).is_pending());
        inbox.wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "the queue was empty");
        inbox.push(InboxMessage::Stop);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }
}
