//! Delivery of records over a network: a queue, and a thread that sends them.
//!
//! A network can be slow or down. The program must neither wait for it nor fill its memory with records
//! that cannot be sent, so the queue has a maximum length. Records that do not fit or cannot be delivered
//! are lost and counted. The count is reported on standard error and in the log when it reaches 1, 2, 4,
//! 8 and so on.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::level::Level;

/// Maximum number of records in a queue.
pub(crate) const QUEUE_MAX: usize = 1000;

/// Maximum time of each step of a delivery.
pub(crate) const DELIVERY_TIME_MAX: Duration = Duration::from_secs(5);

/// A record, ready to be delivered.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) level: Level,
    /// The record in the handler's format, or as a form for a web server.
    pub(crate) text: String,
}

/// A transport that delivers log records.
pub(crate) trait Transport: Send {
    /// Delivers one record. Each step takes at most [`DELIVERY_TIME_MAX`].
    fn deliver(&mut self, message: &Message) -> io::Result<()>;
}

/// The queue of a transport.
pub(crate) struct DeliveryQueue {
    /// `None` after the queue was closed.
    queue: Mutex<Option<SyncSender<Message>>>,
    lost: Arc<AtomicU64>,
    /// Receives nothing; disconnected when the thread ends.
    done: Mutex<Receiver<()>>,
}

impl DeliveryQueue {
    /// Starts the thread of a transport.
    pub(crate) fn start(
        destination: String,
        mut transport: Box<dyn Transport>,
        queue_max: usize,
    ) -> io::Result<Self> {
        let (queue, messages) = mpsc::sync_channel::<Message>(queue_max);
        let (alive, done) = mpsc::channel::<()>();
        let lost = Arc::new(AtomicU64::new(0));
        let mut losses = Losses { destination, lost: Arc::clone(&lost), reported: 0 };
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            let _alive = alive;
            for message in messages {
                let delivered = transport.deliver(&message);
                losses.report(delivered.err());
            }
        })?;
        Ok(Self { queue: Mutex::new(Some(queue)), lost, done: Mutex::new(done) })
    }

    /// Puts a record into the queue, if there is room.
    pub(crate) fn send(&self, message: Message) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = queue.as_ref().is_some_and(|queue| queue.try_send(message).is_ok());
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Closes the queue and waits until its records are delivered, for at most `time_max`.
    pub(crate) fn close(&self, time_max: Duration) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // A timeout and the end of the thread both end the wait.
        let _ = done.recv_timeout(time_max);
    }
}

impl fmt::Debug for DeliveryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryQueue").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// The number of lost records, and the last number that was reported.
struct Losses {
    destination: String,
    lost: Arc<AtomicU64>,
    reported: u64,
}

impl Losses {
    fn report(&mut self, failure: Option<io::Error>) {
        if failure.is_some() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost == 0 || (self.reported > 0 && lost < self.reported * 2) {
            return;
        }
        self.reported = lost;
        let why =
            failure.map_or_else(|| "the queue was full".to_owned(), |error| error.to_string());
        let destination = &self.destination;
        let message = format!("cannot log to {destination}: {why}; records lost so far: {lost}");
        // This handler can receive the event too: one more record, which never blocks.
        warn!("({}) {message}", std::process::id());
        let _ = writeln!(io::stderr(), "{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers to a test when the test allows it.
    struct Gate {
        open: Receiver<bool>,
        delivered: mpsc::Sender<String>,
    }

    impl Transport for Gate {
        fn deliver(&mut self, message: &Message) -> io::Result<()> {
            if !self.open.recv().unwrap_or(false) {
                return Err(io::Error::other("closed"));
            }
            let _ = self.delivered.send(message.text.clone());
            Ok(())
        }
    }

    fn message(text: &str) -> Message {
        Message { level: Level::INFO, text: text.to_owned() }
    }

    #[test]
    fn a_full_queue_loses_records_and_never_blocks() {
        let (gate, open) = mpsc::channel();
        let (delivered, received) = mpsc::channel();
        let gated = Box::new(Gate { open, delivered });
        let queue = DeliveryQueue::start("a test".to_owned(), gated, 2).unwrap();
        for number in 0..10 {
            queue.send(message(&number.to_string()));
        }
        let lost = queue.lost.load(Ordering::Relaxed);
        // Two are queued, and a third can be in delivery already.
        assert!(lost == 7 || lost == 8, "{lost}");
        for _ in 0..10 {
            gate.send(true).unwrap();
        }
        queue.close(Duration::from_secs(60));
        queue.send(message("too late"));
        assert_eq!(queue.lost.load(Ordering::Relaxed), lost + 1);
        let texts: Vec<String> = received.into_iter().collect();
        assert_eq!(u64::try_from(texts.len()).unwrap(), 10 - lost);
        assert_eq!(texts[..2], ["0", "1"]);
    }

    #[test]
    fn records_that_cannot_be_delivered_are_lost() {
        let (gate, open) = mpsc::channel();
        let (delivered, received) = mpsc::channel();
        let queue =
            DeliveryQueue::start("a test".to_owned(), Box::new(Gate { open, delivered }), 9)
                .unwrap();
        for (text, may) in [("1", false), ("2", true)] {
            queue.send(message(text));
            gate.send(may).unwrap();
        }
        queue.close(Duration::from_secs(60));
        assert_eq!(received.into_iter().collect::<Vec<_>>(), ["2"]);
        assert_eq!(queue.lost.load(Ordering::Relaxed), 1);
    }
}
