//! Records on their way to somewhere else: a queue, and a thread that carries them.
//!
//! A network may be slow or gone, and the server is neither to wait for it nor to fill its memory with
//! what it wants to say. So the queue has an end, and what does not fit, or cannot be delivered, is
//! lost. That is counted, and told in the other logs and on standard error: with the first record
//! that is lost, the second, the fourth, and so on.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::warn;

use super::level::Level;

/// How many records may wait.
pub(super) const QUEUE_MAX: usize = 1000;

/// How long one delivery may take, wherever it goes.
pub(super) const DELIVERY_TIME_MAX: Duration = Duration::from_secs(5);

/// A record, ready to be delivered.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) level: Level,
    /// The record as its format has it, or what else is sent instead.
    pub(super) text: String,
}

/// Somebody who delivers.
pub(super) trait Carrier: Send {
    /// Takes at most about [`DELIVERY_TIME_MAX`].
    fn carry(&mut self, parcel: &Parcel) -> io::Result<()>;
}

/// The queue of one carrier.
pub(super) struct Courier {
    /// `None` once nothing is accepted any more.
    queue: Mutex<Option<SyncSender<Parcel>>>,
    lost: Arc<AtomicU64>,
    /// Hears nothing until the thread is done, and an error then.
    done: Mutex<Receiver<()>>,
}

impl Courier {
    /// Starts the thread for a destination.
    pub(super) fn start(
        destination: String,
        mut carrier: Box<dyn Carrier>,
        queue_max: usize,
    ) -> io::Result<Self> {
        let (queue, parcels) = mpsc::sync_channel::<Parcel>(queue_max);
        let (alive, done) = mpsc::channel::<()>();
        let lost = Arc::new(AtomicU64::new(0));
        let mut losses = Losses { destination, lost: Arc::clone(&lost), told: 0 };
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            let _alive = alive;
            for parcel in parcels {
                let delivered = carrier.carry(&parcel);
                losses.tell(delivered.err());
            }
        })?;
        Ok(Self { queue: Mutex::new(Some(queue)), lost, done: Mutex::new(done) })
    }

    /// Puts a record into the queue, if there is room.
    pub(super) fn send(&self, parcel: Parcel) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = queue.as_ref().is_some_and(|queue| queue.try_send(parcel).is_ok());
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Accepts nothing more, and waits for what is in the queue, but not for ever.
    pub(super) fn close(&self, patience: Duration) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // Both a passed time and the end of the thread are the end of waiting.
        let _ = done.recv_timeout(patience);
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// What was lost, and how much of it was told.
struct Losses {
    destination: String,
    lost: Arc<AtomicU64>,
    told: u64,
}

impl Losses {
    fn tell(&mut self, failure: Option<io::Error>) {
        if failure.is_some() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost == 0 || (self.told > 0 && lost < self.told * 2) {
            return;
        }
        self.told = lost;
        let why =
            failure.map_or_else(|| "the queue was full".to_owned(), |error| error.to_string());
        let destination = &self.destination;
        let message = format!("cannot log to {destination}: {why}; {lost} records lost so far");
        // This very handler may get the event too; that is one record, and never waits.
        warn!(target: "ZEO.runzeo", "({}) {message}", std::process::id());
        let _ = writeln!(io::stderr(), "{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers to a test, and only when the test lets it.
    struct Gate {
        open: Receiver<bool>,
        delivered: mpsc::Sender<String>,
    }

    impl Carrier for Gate {
        fn carry(&mut self, parcel: &Parcel) -> io::Result<()> {
            if !self.open.recv().unwrap_or(false) {
                return Err(io::Error::other("closed"));
            }
            let _ = self.delivered.send(parcel.text.clone());
            Ok(())
        }
    }

    fn parcel(text: &str) -> Parcel {
        Parcel { level: Level::INFO, text: text.to_owned() }
    }

    #[test]
    fn a_full_queue_loses_records_and_nobody_waits() {
        let (gate, open) = mpsc::channel();
        let (delivered, received) = mpsc::channel();
        let carrier = Box::new(Gate { open, delivered });
        let courier = Courier::start("a test".to_owned(), carrier, 2).unwrap();
        for number in 0..10 {
            courier.send(parcel(&number.to_string()));
        }
        let lost = courier.lost.load(Ordering::Relaxed);
        // Two wait, and a third may be with the carrier already.
        assert!(lost == 7 || lost == 8, "{lost}");
        for _ in 0..10 {
            gate.send(true).unwrap();
        }
        courier.close(Duration::from_secs(60));
        courier.send(parcel("too late"));
        assert_eq!(courier.lost.load(Ordering::Relaxed), lost + 1);
        let texts: Vec<String> = received.into_iter().collect();
        assert_eq!(u64::try_from(texts.len()).unwrap(), 10 - lost);
        assert_eq!(texts[..2], ["0", "1"]);
    }

    #[test]
    fn what_cannot_be_delivered_is_lost() {
        let (gate, open) = mpsc::channel();
        let (delivered, received) = mpsc::channel();
        let courier =
            Courier::start("a test".to_owned(), Box::new(Gate { open, delivered }), 9).unwrap();
        for (text, may) in [("1", false), ("2", true)] {
            courier.send(parcel(text));
            gate.send(may).unwrap();
        }
        courier.close(Duration::from_secs(60));
        assert_eq!(received.into_iter().collect::<Vec<_>>(), ["2"]);
        assert_eq!(courier.lost.load(Ordering::Relaxed), 1);
    }
}
