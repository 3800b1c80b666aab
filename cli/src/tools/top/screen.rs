//! The screen as lines of text, made from values alone.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rzeo_core::Tid;

use super::history::{COUNTED, Contact, Figures, ServerHistory, Storage};

/// What a curve is drawn with, from nothing to the most.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How a line is to style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// The head of something.
    Head,
    Alarm,
}

/// A line of text without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) style: Style,
    pub(super) text: String,
}

impl Line {
    fn new(style: Style, text: String) -> Self {
        Self { style, text }
    }
}

/// What else there is to know for showing a history.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) address: String,
    /// What the user can do; nothing in a snapshot.
    pub(super) hint: String,
    /// Since the program began.
    pub(super) now: Duration,
    /// Seconds since 1970.
    pub(super) wall: f64,
    pub(super) zone: TimeZone,
}

/// All that there is to show, from top to bottom; curves fill lines up to `width` characters.
pub(super) fn lines(history: &ServerHistory, view: &View, width: usize) -> Vec<Line> {
    let started = history.started.as_deref().map(|start| format!("started {start}"));
    let parts = [Some(view.address.clone()), started, Some(view.hint.clone())];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let mut lines = vec![Line::new(Style::Head, parts.join("   "))];
    match &history.contact {
        Contact::None => lines.push(Line::new(Style::Plain, "waiting for an answer".to_owned())),
        Contact::Good => {}
        Contact::Lost { since, why } => {
            let time = span(view.now.saturating_sub(*since));
            let text = format!("no answer for {time}: {why}; retrying");
            lines.push(Line::new(Style::Alarm, text));
        }
    }
    if let Some(restarted) = history.restarted {
        let time = span(view.now.saturating_sub(restarted));
        lines.push(Line::new(Style::Alarm, format!("the server was restarted {time} ago")));
    }
    if history.contact == Contact::Good && history.storages.is_empty() {
        lines.push(Line::new(Style::Plain, "the server has no storages".to_owned()));
    }
    for storage in &history.storages {
        lines.push(Line::new(Style::Plain, String::new()));
        show(storage, view, width, &mut lines);
    }
    for line in &mut lines {
        line.text.retain(|character| !character.is_control());
    }
    lines
}

/// As much of the lines as a window has room for.
pub(super) fn fitted(mut lines: Vec<Line>, width: usize, height: usize) -> Vec<Line> {
    if lines.len() > height {
        lines.truncate(height.saturating_sub(1));
        let text = "there is more: enlarge the window".to_owned();
        lines.push(Line::new(Style::Head, text));
    }
    for line in &mut lines {
        if let Some((end, _)) = line.text.char_indices().nth(width) {
            line.text.truncate(end);
        }
    }
    lines
}

fn show(storage: &Storage, view: &View, width: usize, lines: &mut Vec<Line>) {
    let figures = &storage.figures;
    lines.push(Line::new(Style::Head, format!("storage {}", storage.name)));
    let lock = match figures.locked_since {
        None => "no lock held".to_owned(),
        Some(since) => {
            format!("lock held for {:.1} s", (view.wall - since).max(0.0))
        }
    };
    let text = format!(
        "  connections {}   open {}   waiting votes {}   {lock}",
        figures.connections, figures.open, figures.waiting
    );
    lines.push(Line::new(Style::Plain, text));
    for (index, (title, count)) in COUNTED.iter().enumerate() {
        let rates: VecDeque<f64> = storage.history.iter().map(|rates| rates[index]).collect();
        let now = rates.back().map_or_else(|| "-".to_owned(), |rate| shown(*rate));
        let mut text = format!("  {title:<10}{now:>8}/s{:>13}", count(figures));
        let used = text.chars().count() + 1;
        if rates.len() > 1 && width > used {
            text = format!("{text:<used$}{}", curve(&rates, width - used));
        }
        lines.push(Line::new(Style::Plain, text));
    }
    lines.push(Line::new(Style::Plain, format!("  last commit  {}", last_commit(figures, view))));
}

fn last_commit(figures: &Figures, view: &View) -> String {
    match figures.last {
        None => "-".to_owned(),
        Some(Tid(0)) => "never".to_owned(),
        Some(tid) => {
            let seconds = tid.to_unix().0;
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
            let time = Timestamp::from_second(seconds as i64).unwrap_or_default();
            let time = time.to_zoned(view.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z");
            // Clocks differ.
            let age = Duration::try_from_secs_f64(view.wall - seconds).unwrap_or_default();
            format!("{time}, {} ago, tid {:016x}", span(age), tid.0)
        }
    }
}

/// The latest of these as a curve, the greatest of them as high as it gets.
fn curve(rates: &VecDeque<f64>, width: usize) -> String {
    let latest = rates.iter().skip(rates.len().saturating_sub(width));
    let most = latest.clone().copied().fold(0.0, f64::max);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "between nothing and the number of bars"
    )]
    let bar = |rate: f64| {
        // What is not nothing is seen.
        let height = if most > 0.0 { (rate / most * (BARS.len() - 1) as f64).ceil() } else { 0.0 };
        BARS[(height as usize).min(BARS.len() - 1)]
    };
    latest.map(|rate| bar(*rate)).collect()
}

/// A rate in few characters.
fn shown(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// A time in few characters.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn view(now: u64) -> View {
        View {
            address: "127.0.0.1:8100".to_owned(),
            hint: String::new(),
            now: Duration::from_secs(now),
            wall: 1_795_552_450.0,
            zone: TimeZone::UTC,
        }
    }

    fn answer(loads: u64) -> Map<String, Value> {
        let status = json!({
            "connections": 4, "loads": loads, "stores": 1713, "commits": 820, "aborts": 0,
            "conflicts": 3, "conflicts_resolved": 6, "active_txns": 1, "waiting": 2,
            "lock_time": 1_795_552_449.7, "last-transaction": "040d3cf21ddddddd",
            "start": "Tue Nov 24 20:33:39 2026",
        });
        Map::from_iter([("1".to_owned(), status)])
    }

    fn text(history: &ServerHistory, now: u64, width: usize) -> String {
        let lines = lines(history, &view(now), width);
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    #[test]
    fn a_server_on_a_screen() {
        let mut history = ServerHistory::new();
        assert_eq!(text(&history, 0, 80), "127.0.0.1:8100\nwaiting for an answer\n");
        for (second, loads) in [0, 0, 700, 1_400, 1_500, 1_503].into_iter().enumerate() {
            let second = u64::try_from(second).unwrap();
            history.record_answer(Duration::from_secs(second), &answer(loads));
        }
        let expected = "\
127.0.0.1:8100   started Tue Nov 24 20:33:39 2026

storage 1
  connections 4   open 1   waiting votes 2   lock held for 0.3 s
  loads          3.0/s         1503 ▁██▂▂
  stores           0/s         1713 ▁▁▁▁▁
  commits          0/s          820 ▁▁▁▁▁
  aborts           0/s            0 ▁▁▁▁▁
  conflicts        0/s            3 ▁▁▁▁▁
  resolved         0/s            6 ▁▁▁▁▁
  last commit  2026-11-24 20:34:07 UTC, 3 s ago, tid 040d3cf21ddddddd
";
        assert_eq!(text(&history, 6, 80), expected);
        assert!(text(&history, 6, 39).contains("1503 █▂▂\n"), "{}", text(&history, 6, 39));
        assert!(text(&history, 6, 0).contains("1503\n"), "{}", text(&history, 6, 0));
    }

    #[test]
    fn a_server_that_is_gone_and_one_that_came_back() {
        let mut history = ServerHistory::new();
        history.record_answer(Duration::from_secs(1), &answer(100));
        history.record_failure(
            Duration::from_secs(2),
            "[Errno 111] Connection\x1b[2J refused".to_owned(),
        );
        let shown = lines(&history, &view(7), 80);
        assert_eq!(shown[1].style, Style::Alarm);
        let expected = "no answer for 5 s: [Errno 111] Connection[2J refused; retrying";
        assert_eq!(shown[1].text, expected);
        assert!(shown.iter().any(|line| line.text == "storage 1"), "what was known stays");

        history.record_answer(Duration::from_secs(8), &answer(5));
        let shown = text(&history, 300, 80);
        assert!(shown.contains("\nthe server was restarted 4 min ago\n"), "{shown}");
        assert!(shown.contains("loads            -/s            5\n"), "{shown}");
        assert!(!shown.contains("no answer"), "{shown}");
    }

    #[test]
    fn figures_that_a_server_does_not_send_are_not_shown() {
        let mut history = ServerHistory::new();
        history.record_answer(Duration::ZERO, &Map::from_iter([("a\nb".to_owned(), json!({}))]));
        let shown = text(&history, 0, 80);
        assert!(shown.contains("storage ab\n"), "{shown}");
        assert!(shown.contains("no lock held"), "{shown}");
        assert!(shown.ends_with("last commit  -\n"), "{shown}");
        let mut history = ServerHistory::new();
        history.record_answer(Duration::ZERO, &Map::new());
        assert_eq!(text(&history, 0, 80), "127.0.0.1:8100\nthe server has no storages\n");
        let last = json!({"last-transaction": "0000000000000000"});
        history.record_answer(Duration::ZERO, &Map::from_iter([("1".to_owned(), last)]));
        assert!(text(&history, 0, 80).ends_with("last commit  never\n"));
    }

    #[test]
    fn a_small_window_has_what_fits() {
        let mut history = ServerHistory::new();
        history.record_answer(Duration::ZERO, &answer(0));
        let all = lines(&history, &view(0), 20);
        assert_eq!(fitted(all.clone(), 200, 50), all);
        let some = fitted(all.clone(), 9, 4);
        let texts: Vec<&str> = some.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["127.0.0.1", "", "storage 1", "there is "]);
        assert_eq!(fitted(all.clone(), 0, 1).len(), 1);
        assert_eq!(fitted(vec![Line::new(Style::Plain, "▁▂▃".to_owned())], 2, 1)[0].text, "▁▂");
    }

    #[test]
    fn rates_and_times_are_short() {
        for (rate, expected) in [(0.0, "0"), (0.04, "0.0"), (2.5, "2.5"), (12_345.6, "12346")] {
            assert_eq!(shown(rate), expected);
        }
        for (seconds, expected) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 days")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }
}
