//! Limits the number of connections, and the number of those that have not registered.
//!
//! A connection that has not registered costs its peer nothing but a socket, so there is a smaller limit
//! for those. Beyond a limit, new connections are closed at once. A flood of them must not fill the log,
//! so refused connections are counted, and a line is logged when refusals begin and from time to time
//! after that; each refused connection is part of the number in some line.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rzeo_core::Instant;
use rzeo_core::server::{LogLevel, LogLine};

/// Minimum time between two log lines about connections refused for the same reason.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Limits of the number of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of connections.
    pub connections_max: usize,
    /// Maximum number of connections that have not registered: in their TLS handshake, in their greeting, or silent.
    pub unfinished_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections_max: 10_000, unfinished_max: 1_000 }
    }
}

/// Numbers of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open now.
    pub open: usize,
    /// Those of them that have not registered.
    pub unfinished: usize,
    /// Refused since the start.
    pub refused: u64,
}

#[derive(Debug)]
pub(crate) struct Admission {
    state: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    limits: ConnectionLimits,
    counts: ConnectionCounts,
    connections: Report,
    unfinished: Report,
    descriptors: Report,
}

/// Refusals for one reason, and how many of them are not logged yet.
#[derive(Debug, Default)]
struct Report {
    unlogged: u64,
    logged: Option<Instant>,
}

impl Admission {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let state = Counted {
            limits,
            counts: ConnectionCounts::default(),
            connections: Report::default(),
            unfinished: Report::default(),
            descriptors: Report::default(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Whether one more connection is admitted; and what to log.
    pub(crate) fn enter(&self, now: Instant) -> (bool, Option<LogLine>) {
        let Counted { limits, counts, connections, unfinished, .. } = &mut *self.lock();
        let (report, count, limit, setting, what) = if counts.open >= limits.connections_max {
            (connections, counts.open, limits.connections_max, "connections", "")
        } else if counts.unfinished >= limits.unfinished_max {
            let (setting, what) = ("unfinished-handshakes", " that have not registered");
            (unfinished, counts.unfinished, limits.unfinished_max, setting, what)
        } else {
            counts.open += 1;
            counts.unfinished += 1;
            let unsaid =
                connections.take_unlogged(now).into_iter().chain(unfinished.take_unlogged(now));
            let ended = unsaid.reduce(|some, more| some + more).map(|refused| {
                warning(format!("there is room for new connections again; refused: {refused}"))
            });
            return (true, ended);
        };
        counts.refused += 1;
        let line = report.happened(now).map(|refused| {
            warning(format!(
                "new connections refused: {refused}; there are {count}{what}, \
                 the limit is {limit} (max-{setting} in <rzeo>)"
            ))
        });
        (false, line)
    }

    /// One of the admitted connections has registered.
    pub(crate) fn registered(&self) {
        self.lock().counts.unfinished -= 1;
    }

    /// One of the admitted connections has ended.
    pub(crate) fn leave(&self, has_registered: bool) {
        let counts = &mut self.lock().counts;
        counts.open -= 1;
        if !has_registered {
            counts.unfinished -= 1;
        }
    }

    /// The system cannot provide one more connection. Returns what to log.
    pub(crate) fn accept_failed(&self, now: Instant, error: &std::io::Error) -> Option<LogLine> {
        let failed = self.lock().descriptors.happened(now)?;
        let text = format!("cannot accept connections: {error}; times: {failed}");
        Some(LogLine { level: LogLevel::Error, text, client: None })
    }

    pub(crate) fn counts(&self) -> ConnectionCounts {
        self.lock().counts
    }

    /// Nothing is done under the lock that could panic half way.
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a connection as open for as long as it exists.
#[derive(Debug)]
pub(crate) struct AdmissionGuard {
    admission: Arc<Admission>,
    has_registered: AtomicBool,
}

impl AdmissionGuard {
    /// For a connection that has entered.
    pub(crate) fn new(admission: Arc<Admission>) -> Self {
        Self { admission, has_registered: AtomicBool::new(false) }
    }

    /// The connection has registered. Further calls change nothing.
    pub(crate) fn registered(&self) {
        if !self.has_registered.swap(true, Ordering::SeqCst) {
            self.admission.registered();
        }
    }
}

impl Drop for AdmissionGuard {
    fn drop(&mut self) {
        self.admission.leave(*self.has_registered.get_mut());
    }
}

impl Report {
    /// Counts one more. Returns the number since the last line, if a line is due.
    fn happened(&mut self, now: Instant) -> Option<u64> {
        self.unlogged += 1;
        self.take_unlogged(now)
    }

    /// The number that no line has reported yet, if a line is due.
    fn take_unlogged(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.logged.is_none_or(|logged| logged.after(LOG_EVERY) <= now);
        if self.unlogged == 0 || !is_due {
            return None;
        }
        self.logged = Some(now);
        Some(core::mem::take(&mut self.unlogged))
    }
}

fn warning(text: String) -> LogLine {
    LogLine { level: LogLevel::Warning, text, client: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    fn admission(connections_max: usize, unfinished_max: usize) -> Admission {
        Admission::new(ConnectionLimits { connections_max, unfinished_max })
    }

    #[test]
    fn beyond_a_limit_no_connection_is_admitted_until_one_ends() {
        let admission = admission(3, 2);
        assert_eq!(admission.enter(at(0)), (true, None));
        assert_eq!(admission.enter(at(0)), (true, None));
        let (let_in, line) = admission.enter(at(0));
        assert!(!let_in);
        assert_eq!(
            line.unwrap().text,
            "new connections refused: 1; there are 2 that have not registered, \
             the limit is 2 (max-unfinished-handshakes in <rzeo>)"
        );
        admission.registered();
        assert_eq!(admission.enter(at(0)), (true, None));
        let (let_in, line) = admission.enter(at(0));
        assert!(!let_in);
        assert_eq!(
            line.unwrap().text,
            "new connections refused: 1; there are 3, the limit is 3 (max-connections in <rzeo>)"
        );
        let counts = ConnectionCounts { open: 3, unfinished: 2, refused: 2 };
        assert_eq!(admission.counts(), counts);
        admission.leave(true);
        assert!(!admission.enter(at(0)).0, "there are two strangers still");
        admission.leave(false);
        assert_eq!(admission.enter(at(0)), (true, None));
        let counts = ConnectionCounts { open: 2, unfinished: 2, refused: 3 };
        assert_eq!(admission.counts(), counts);
    }

    #[test]
    fn a_flood_is_a_few_lines_that_count_all() {
        let admission = admission(1, 10);
        assert_eq!(admission.enter(at(0)), (true, None));
        let mut lines = Vec::new();
        for moment in 0..30_000 {
            let (let_in, line) = admission.enter(Instant(Duration::from_millis(moment)));
            assert!(!let_in);
            lines.extend(line);
        }
        admission.leave(false);
        assert_eq!(admission.enter(at(29)), (true, None), "too early for another line");
        admission.leave(false);
        lines.extend(admission.enter(at(40)).1);
        let counts: Vec<u64> = lines
            .iter()
            .map(|line| line.text.split([' ', ';']).find_map(|word| word.parse().ok()).unwrap())
            .collect();
        assert_eq!(counts, [1, 10_000, 10_000, 9_999]);
        assert_eq!(lines[3].text, "there is room for new connections again; refused: 9999");
        assert!(lines.iter().all(|line| line.level == LogLevel::Warning));
    }

    #[test]
    fn a_lack_of_descriptors_is_not_logged_every_time() {
        let admission = admission(1, 1);
        let error = std::io::Error::from_raw_os_error(24);
        let said: Vec<LogLine> =
            (0..25).filter_map(|second| admission.accept_failed(at(second), &error)).collect();
        assert_eq!(said.len(), 3);
        assert!(said[1].text.ends_with("; times: 10"));
    }
}
