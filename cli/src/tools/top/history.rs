//! The last answer of a server, and how its figures changed before it.
//!
//! A server reports totals since its start; the current activity is the difference between two answers. A
//! restart resets the totals, so no difference is taken across one.

use std::collections::VecDeque;
use std::time::Duration;

use rzeo_core::Tid;
use serde_json::{Map, Value};

/// As many differences as are kept: two minutes at one a second, and wider than most windows.
const HISTORY_MAX: usize = 120;

/// A figure out of several.
type Count = fn(&Figures) -> u64;

/// The totals that grow, and what they are called.
pub(super) const COUNTED: [(&str, Count); 6] = [
    ("loads", |figures| figures.loads),
    ("stores", |figures| figures.stores),
    ("commits", |figures| figures.commits),
    ("aborts", |figures| figures.aborts),
    ("conflicts", |figures| figures.conflicts),
    ("resolved", |figures| figures.resolved),
];

/// A storage's figures, as the server sends them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) connections: u64,
    pub(super) open: u64,
    pub(super) waiting: u64,
    pub(super) loads: u64,
    pub(super) stores: u64,
    pub(super) commits: u64,
    pub(super) aborts: u64,
    pub(super) conflicts: u64,
    pub(super) resolved: u64,
    /// Since when the lock that is held longest is held: seconds since 1970, by the server's clock.
    pub(super) locked_since: Option<f64>,
    pub(super) last: Option<Tid>,
}

impl Figures {
    fn read(status: &Value) -> Self {
        let count = |key: &str| status.get(key).and_then(Value::as_u64).unwrap_or_default();
        let last = status.get("last-transaction").and_then(Value::as_str);
        Self {
            connections: count("connections"),
            open: count("active_txns"),
            waiting: count("waiting"),
            loads: count("loads"),
            stores: count("stores"),
            commits: count("commits"),
            aborts: count("aborts"),
            conflicts: count("conflicts"),
            resolved: count("conflicts_resolved"),
            locked_since: status.get("lock_time").and_then(Value::as_f64),
            last: last.and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(Tid),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) name: String,
    pub(super) figures: Figures,
    /// How much there was of each of [`COUNTED`] per second, oldest first.
    pub(super) history: VecDeque<[f64; COUNTED.len()]>,
}

impl Storage {
    fn follow(&mut self, figures: Figures, time: Duration) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        let rate = |count: Count| per_second(count(&self.figures), count(&figures), time);
        self.history.push_back(COUNTED.map(|(_, count)| rate(count)));
        self.figures = figures;
    }
}

/// How the last attempt to ask ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Contact {
    /// It was not asked yet, or has not answered its first request.
    None,
    Good,
    /// It has not, for this reason, since that time.
    Lost {
        since: Duration,
        why: String,
    },
}

/// All that is known of a server. Times are those since the program began.
#[derive(Clone, Debug)]
pub(super) struct ServerHistory {
    pub(super) contact: Contact,
    /// When the server was started, as it sends it.
    pub(super) started: Option<String>,
    /// When a restart was noticed.
    pub(super) restarted: Option<Duration>,
    pub(super) storages: Vec<Storage>,
    /// When it has answered last.
    answered_at: Option<Duration>,
}

impl ServerHistory {
    pub(super) fn new() -> Self {
        Self {
            contact: Contact::None,
            started: None,
            restarted: None,
            storages: Vec::new(),
            answered_at: None,
        }
    }

    pub(super) fn record_answer(&mut self, now: Duration, statuses: &Map<String, Value>) {
        let started = statuses.values().find_map(|status| status.get("start")?.as_str());
        let started = started.map(str::to_owned);
        let all: Vec<(&String, Figures)> =
            statuses.iter().map(|(name, status)| (name, Figures::read(status))).collect();
        let fewer = |(name, figures): &(&String, Figures)| {
            let before = self.storages.iter().find(|storage| storage.name == **name);
            before.is_some_and(|before| {
                COUNTED.iter().any(|(_, count)| count(figures) < count(&before.figures))
            })
        };
        if self.answered_at.is_some() && (self.started != started || all.iter().any(fewer)) {
            self.restarted = Some(now);
            self.storages.clear();
        }
        let time = now.saturating_sub(self.answered_at.unwrap_or(now));
        let mut known = std::mem::take(&mut self.storages);
        for (name, figures) in all {
            let place = known.iter().position(|storage| storage.name == *name);
            let storage = match place.map(|place| known.swap_remove(place)) {
                Some(mut storage) => {
                    storage.follow(figures, time);
                    storage
                }
                None => Storage { name: name.clone(), figures, history: VecDeque::new() },
            };
            self.storages.push(storage);
        }
        self.started = started;
        self.contact = Contact::Good;
        self.answered_at = Some(now);
    }

    pub(super) fn record_failure(&mut self, now: Duration, why: String) {
        let since = match self.contact {
            Contact::Lost { since, .. } => since,
            Contact::None | Contact::Good => now,
        };
        self.contact = Contact::Lost { since, why };
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per_second(before: u64, after: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { after.saturating_sub(before) as f64 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn answer(started: &str, loads: u64) -> Map<String, Value> {
        let status = json!({"loads": loads, "commits": loads / 10, "start": started});
        Map::from_iter([("1".to_owned(), status)])
    }

    fn loads(history: &ServerHistory) -> Vec<f64> {
        history.storages[0].history.iter().map(|rates| rates[0]).collect()
    }

    #[test]
    fn what_happens_is_the_difference_between_answers() {
        let mut history = ServerHistory::new();
        history.record_answer(second(1), &answer("x", 100));
        assert!(loads(&history).is_empty());
        history.record_answer(second(3), &answer("x", 300));
        history.record_answer(second(4), &answer("x", 350));
        assert_eq!(loads(&history), [100.0, 50.0]);
        assert_eq!(history.storages[0].history[0], [100.0, 0.0, 10.0, 0.0, 0.0, 0.0]);
        for number in 5..500 {
            history.record_answer(second(number), &answer("x", 350));
        }
        assert_eq!(loads(&history).len(), HISTORY_MAX);
        assert_eq!(history.restarted, None);
    }

    #[test]
    fn a_server_that_is_lost_and_reachable_again_is_followed() {
        let mut history = ServerHistory::new();
        history.record_answer(second(1), &answer("x", 100));
        history.record_answer(second(2), &answer("x", 110));
        history.record_failure(second(3), "gone".to_owned());
        history.record_failure(second(4), "still gone".to_owned());
        assert_eq!(
            history.contact,
            Contact::Lost { since: second(3), why: "still gone".to_owned() }
        );
        assert_eq!(loads(&history), [10.0], "what was known stays");
        history.record_answer(second(6), &answer("x", 130));
        assert_eq!(loads(&history), [10.0, 5.0], "it was the network");
        assert_eq!((history.contact.clone(), history.restarted), (Contact::Good, None));
    }

    #[test]
    fn the_history_of_a_server_that_was_restarted_begins_again() {
        for (started, after) in [("y", 200), ("x", 50)] {
            let mut history = ServerHistory::new();
            history.record_failure(second(0), "not there yet".to_owned());
            history.record_answer(second(1), &answer("x", 100));
            assert_eq!(history.restarted, None);
            history.record_answer(second(2), &answer(started, after));
            assert_eq!(history.restarted, Some(second(2)));
            assert!(loads(&history).is_empty());
        }
    }

    #[test]
    fn storages_come_and_go() {
        let mut history = ServerHistory::new();
        history.record_answer(second(1), &answer("x", 100));
        let mut both = answer("x", 100);
        both.insert("2".to_owned(), json!({"loads": 5, "lock_time": 7.5, "start": "x"}));
        history.record_answer(second(2), &both);
        assert_eq!(history.storages.len(), 2);
        assert_eq!(history.storages[1].figures.locked_since, Some(7.5));
        both.remove("1");
        history.record_answer(second(3), &both);
        assert_eq!(history.storages.len(), 1);
        assert_eq!(loads(&history), [0.0]);
    }
}
