//! Who may come in: how many connections there may be, and how many of them may be strangers, which
//! have not registered yet.
//!
//! A stranger costs nothing but opening a socket, so there is a smaller limit for those. Beyond a
//! limit a new connection is closed at once. A flood of them must not fill the log, so what was
//! refused is counted, and a line says so when it begins and from time to time after that; each
//! refused connection is part of the number in some line.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rzeo_core::server::{LogLevel, LogLine};
use rzeo_core::time::Instant;

/// How often the log may say that connections are refused for one and the same reason.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How many connections there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// Connections that have not registered: in their TLS handshake, in their greeting, or silent.
    pub unfinished_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections_max: 10_000, unfinished_max: 1_000 }
    }
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Now.
    pub open: usize,
    /// Those of them that have not registered.
    pub unfinished: usize,
    /// Refused since the start.
    pub refused: u64,
}

/// Counts those who come and go.
#[derive(Debug)]
pub(crate) struct Admission {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: ConnectionLimits,
    counts: ConnectionCounts,
    connections: Report,
    unfinished: Report,
    descriptors: Report,
}

/// What has happened for one reason, and what of it stands in the log.
#[derive(Debug, Default)]
struct Report {
    unlogged: u64,
    logged: Option<Instant>,
}

impl Admission {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let state = State {
            limits,
            counts: ConnectionCounts::default(),
            connections: Report::default(),
            unfinished: Report::default(),
            descriptors: Report::default(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Whether one more may come in, as a stranger; and what is to be logged.
    pub(crate) fn enter(&self, now: Instant) -> (bool, Option<LogLine>) {
        let State { limits, counts, connections, unfinished, .. } = &mut *self.lock();
        let (report, count, limit, setting, what) = if counts.open >= limits.connections_max {
            (connections, counts.open, limits.connections_max, "connections", "")
        } else if counts.unfinished >= limits.unfinished_max {
            let (setting, what) = ("unfinished-handshakes", " that have not registered");
            (unfinished, counts.unfinished, limits.unfinished_max, setting, what)
        } else {
            counts.open += 1;
            counts.unfinished += 1;
            let unsaid = connections.take_rest(now).into_iter().chain(unfinished.take_rest(now));
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

    /// One of those that came in has registered.
    pub(crate) fn registered(&self) {
        self.lock().counts.unfinished -= 1;
    }

    /// One of those that came in is gone.
    pub(crate) fn leave(&self, has_registered: bool) {
        let counts = &mut self.lock().counts;
        counts.open -= 1;
        if !has_registered {
            counts.unfinished -= 1;
        }
    }

    /// The system has nothing left for one more; what is to be logged.
    pub(crate) fn accept_failed(&self, now: Instant, error: &std::io::Error) -> Option<LogLine> {
        let failed = self.lock().descriptors.happened(now)?;
        let text = format!("cannot accept connections: {error}; times: {failed}");
        Some(LogLine { level: LogLevel::Error, text, client: None })
    }

    pub(crate) fn counts(&self) -> ConnectionCounts {
        self.lock().counts
    }

    /// Nothing is done under the lock that could panic half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    /// It has happened once more; how often since the last line, if a line is due.
    fn happened(&mut self, now: Instant) -> Option<u64> {
        self.unlogged += 1;
        self.take_rest(now)
    }

    /// What no line has said yet, if a line is due.
    fn take_rest(&mut self, now: Instant) -> Option<u64> {
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
    fn beyond_a_limit_nobody_comes_in_until_somebody_goes() {
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
    fn a_flood_is_a_few_lines_that_count_everybody() {
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
    fn a_system_without_descriptors_is_not_mourned_every_time() {
        let admission = admission(1, 1);
        let error = std::io::Error::from_raw_os_error(24);
        let said: Vec<LogLine> =
            (0..25).filter_map(|second| admission.accept_failed(at(second), &error)).collect();
        assert_eq!(said.len(), 3);
        assert!(said[1].text.ends_with("; times: 10"));
    }
}
