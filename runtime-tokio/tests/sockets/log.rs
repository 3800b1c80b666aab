//! The server's log, collected for all tests of a process.

use std::fmt;
use std::sync::{Condvar, Mutex, Once};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// How long to wait for a line.
const LINE_TIMEOUT: Duration = Duration::from_secs(60);

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ADDED: Condvar = Condvar::new();

struct Collector;

/// Collects the log from now on.
pub(crate) fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Collector).unwrap());
}

/// Waits for a line that contains all the parts.
pub(crate) fn wait_for_line(parts: &[&str]) {
    let is_it = |line: &&String| parts.iter().all(|part| line.contains(part));
    let lines = LINES.lock().unwrap();
    let none = |lines: &mut Vec<String>| !lines.iter().any(|line| is_it(&line));
    let (lines, waited) = ADDED.wait_timeout_while(lines, LINE_TIMEOUT, none).unwrap();
    assert!(!waited.timed_out(), "no line with {parts:?} in {lines:#?}");
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ZEO") || metadata.target().starts_with("rzeo")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        event.record(&mut Message(&mut line));
        LINES.lock().unwrap().push(line);
        ADDED.notify_all();
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}
