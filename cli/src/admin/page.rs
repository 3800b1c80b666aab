//! The status page, for any screen and without a script.
//!
//! `maud` escapes all text. That matters: labels come from clients, names and paths from configurations.

use jiff::{Timestamp, tz::TimeZone};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::report::{ClientReport, Latency, PackReport, Report, StorageReport};

/// Clients that are listed for a storage; `/status.json` has all.
const CLIENTS_SHOWN: usize = 200;

/// Seconds between two reloads, if the user asks for them.
const REFRESH: u32 = 5;
const REFRESH_MAX: u32 = 3600;

const STYLE: &str = include_str!("page.css");

/// How often the page reloads, in seconds, from its address: `?refresh=5`.
pub(super) fn refresh_of(query: &str) -> Option<u32> {
    let value = query.split('&').find_map(|part| part.strip_prefix("refresh="))?;
    value.parse().ok().filter(|seconds| (1..=REFRESH_MAX).contains(seconds))
}

/// The status page. With `refresh`, browsers load it again after this many seconds.
pub(super) fn html(report: &Report, refresh: Option<u32>) -> String {
    let address = report.addresses.first().map_or("", String::as_str);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = refresh {
                    meta http-equiv="refresh" content=(seconds);
                }
                link rel="icon" href="data:,";
                title { "rzeo " (address) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(report, refresh))
                main {
                    @for problem in &report.problems { p.problem { (problem) } }
                    @for storage in &report.storages { (storage_card(report, storage)) }
                }
                footer {
                    a href="/metrics" { "metrics" } " · " a href="/status.json" { "status.json" }
                    " · " a href="/ready" { "ready" } " · " a href="/live" { "live" }
                }
            }
        }
    };
    page.into_string()
}

fn header(report: &Report, refresh: Option<u32>) -> Markup {
    html! {
        header {
            div.title {
                h1 { "rzeo" }
                span.version { (report.version) }
                @if report.problems.is_empty() { span.badge.good { "ready" } }
                @else { span.badge.bad { "not ready" } }
                @if report.read_only { span.badge { "read-only" } }
            }
            p.refresh {
                span.when { (clock(report.time)) }
                " "
                @if refresh.is_some() { a href="/" { "stop refreshing" } }
                @else { a href={ "/?refresh=" (REFRESH) } { "refresh every " (REFRESH) " s" } }
            }
            dl.facts {
                (fact("address", report.addresses.join(", ")))
                (fact("uptime", duration(report.uptime)))
                (fact("runtime", report.runtime))
                (fact("process", report.pid.to_string()))
                (fact("connections", connections(report)))
                @if let Some(memory) = report.memory { (fact("memory", bytes(memory))) }
                @if let Some(files) = report.open_files { (fact("open files", grouped(files))) }
            }
        }
    }
}

fn connections(report: &Report) -> String {
    let (now, ever) = (report.connections as u64, report.connections_ever);
    let refused = match report.connections_refused {
        0 => String::new(),
        refused => format!(", {} refused", grouped(refused)),
    };
    format!("{} now, {} in total{refused}", grouped(now), grouped(ever))
}

fn fact(name: &str, value: impl AsRef<str>) -> Markup {
    html! { div { dt { (name) } dd { (value.as_ref()) } } }
}

fn storage_card(report: &Report, storage: &StorageReport) -> Markup {
    html! {
        section {
            div.title {
                h2 { span.kind { "storage " } (storage.name) }
                span.path { (storage.description) }
                @if storage.broken.is_some() { span.badge.bad { "broken" } }
                @if storage.read_only { span.badge { "read-only" } }
                @if storage.pack.running_since.is_some() { span.badge.busy { "packing" } }
            }
            @if storage.pack.running_since.is_some() { (pack_bar(report.time, &storage.pack)) }
            div.curves {
                (curve("loads", storage.loads_per_second, &storage.loads_per_second_curve))
                (curve("commits", storage.commits_per_second, &storage.commits_per_second_curve))
            }
            dl.tiles {
                (tile("objects", grouped(storage.objects), ""))
                (tile("size", bytes(storage.bytes), &size_note(storage)))
                (last_commit(report.time, storage))
                (tile("clients", grouped(storage.connections), &traffic(storage)))
                (tile("loads", grouped(storage.loads), "since the start"))
                (tile("commits", grouped(storage.commits), &commits_note(storage)))
                (tile("conflicts", grouped(storage.conflicts), &resolved_note(storage)))
                (tile("votes waiting", grouped(storage.votes_waiting), &locks(storage)))
                (latency("commit time", storage.commit_latency))
                (latency("sync time", storage.sync_latency))
                (tile("commits per sync", mean(storage.commits_per_sync), "in 5 minutes"))
                (tile("invalidation queue", queue(storage), "commits for clients that reconnect"))
            }
            @if let Some(why) = &storage.broken { p.problem { (why) } }
            @if !storage.clients.is_empty() { (clients(report.time, &storage.clients)) }
        }
    }
}

fn tile(name: &str, value: impl AsRef<str>, note: &str) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { (value.as_ref()) @if !note.is_empty() { small { (note) } } }
        }
    }
}

fn last_commit(now: f64, storage: &StorageReport) -> Markup {
    match storage.last_commit {
        Some(time) => {
            let ago = match now - time {
                past if past < 1.0 => "now".to_owned(),
                past => format!("{} ago", duration(past)),
            };
            html! {
                div title={ "tid " (storage.last_tid) } {
                    dt { "last commit" }
                    dd { (ago) small { (clock(time)) } }
                }
            }
        }
        None => tile("last commit", "never", "the database is empty"),
    }
}

fn traffic(storage: &StorageReport) -> String {
    format!("{} in, {} out", bytes(storage.bytes_received), bytes(storage.bytes_sent))
}

fn size_note(storage: &StorageReport) -> String {
    let packs = match (storage.pack.done, storage.pack.failed) {
        (0, 0) => String::new(),
        (done, 0) => format!(", {}", times("pack", done)),
        (done, failed) => format!(", {}, {failed} failed", times("pack", done)),
    };
    format!("{} bytes{packs}", grouped(storage.bytes))
}

fn commits_note(storage: &StorageReport) -> String {
    format!("{}, {}", times("record", storage.stores), times("abort", storage.aborts))
}

fn resolved_note(storage: &StorageReport) -> String {
    format!("{} resolved", grouped(storage.conflicts_resolved))
}

fn locks(storage: &StorageReport) -> String {
    let open = format!("{} open", times("transaction", storage.active_transactions));
    match storage.lock_held {
        Some(held) if held >= 1.0 => format!("{open}, oldest lock {}", duration(held)),
        Some(_) | None => open,
    }
}

fn queue(storage: &StorageReport) -> String {
    let (length, size) = (storage.invalidation_queue, storage.invalidation_queue_size);
    format!("{} of {}", grouped(length as u64), grouped(size as u64))
}

fn mean(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

/// `1 record`, `2 records`
fn times(what: &str, count: u64) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

fn latency(name: &str, latency: Option<Latency>) -> Markup {
    match latency {
        Some(Latency { median, p95, p99 }) => {
            let note = format!("95 %: {} · 99 %: {}", seconds(p95), seconds(p99));
            tile(name, seconds(median), &note)
        }
        None => tile(name, "–", "no commit for 5 minutes"),
    }
}

fn pack_bar(now: f64, pack: &PackReport) -> Markup {
    let step = pack.step.unwrap_or("starting");
    let done = pack.step_done.unwrap_or(0.0);
    let since = pack.running_since.map_or(0.0, |since| (now - since).max(0.0));
    html! {
        p.pack {
            "packing for " (duration(since)) ": " (step) " " (format!("{:.0} %", done * 100.0))
            progress max="1" value=(format!("{done:.4}")) {}
        }
    }
}

/// A curve of the last minutes, drawn to the height of its highest point.
fn curve(name: &str, rate: f64, points: &[f64]) -> Markup {
    const WIDTH: f64 = 300.0;
    const HEIGHT: f64 = 48.0;
    /// Points of a curve that covers all of the time.
    const STEPS: usize = 60;
    let highest = points.iter().copied().fold(0.0, f64::max);
    let x = |index: usize| WIDTH - WIDTH * small(points.len() - 1 - index) / small(STEPS - 1);
    let y = |value: f64| HEIGHT - (HEIGHT - 2.0) * value / highest.max(f64::MIN_POSITIVE) - 1.0;
    let place = |(index, value): (usize, &f64)| format!("{:.1},{:.1} ", x(index), y(*value));
    let line: String = points.iter().enumerate().map(place).collect();
    let area = if points.len() > 1 {
        format!("{:.1},{HEIGHT} {line}{WIDTH},{HEIGHT}", x(0))
    } else {
        String::new()
    };
    html! {
        figure class=(name) {
            figcaption {
                span.now { (rate_text(rate)) } " " (name) " per second"
                span.peak { "5 min, peak " (rate_text(highest)) }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
                polygon points=(area) {}
                polyline points=(line) {}
            }
        }
    }
}

fn clients(now: f64, clients: &[ClientReport]) -> Markup {
    let more = clients.len().saturating_sub(CLIENTS_SHOWN);
    html! {
        details open[clients.len() <= 20] {
            summary { (times("client", clients.len() as u64)) }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "label" } th { "address" } th { "connected" }
                            th.number { "received" } th.number { "sent" } th.number { "unread" }
                        }
                    }
                    tbody {
                        @for client in clients.iter().take(CLIENTS_SHOWN) {
                            tr {
                                td { @if let Some(label) = &client.label { (label) } @else { span.none { "–" } } }
                                td.address { (client.address) @if client.read_only { " " span.badge { "read-only" } } }
                                td title=(clock(client.since)) { (duration((now - client.since).max(0.0))) " ago" }
                                td.number { (bytes(client.bytes_received)) }
                                td.number { (bytes(client.bytes_sent)) }
                                td.number { @if client.backlog == 0 { span.none { "0" } } @else { (bytes(client.backlog)) } }
                            }
                        }
                    }
                }
            }
            @if more > 0 {
                p.more { "and " (grouped(more as u64)) " more, see " a href="/status.json" { "status.json" } }
            }
        }
    }
}

/// A date and a time where the server is.
fn clock(time: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    let timestamp = Timestamp::from_second(time as i64).unwrap_or_default();
    timestamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// `3 d 4 h`: the two largest units.
fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    let whole = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{} s", whole % 60),
        (0, 0, _) => format!("{minutes} min {} s", whole % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        (1.., ..) => format!("{days} d {hours} h"),
    }
}

/// A short time, in the unit that suits it.
fn seconds(time: f64) -> String {
    match time {
        _ if time < 0.001 => format!("{:.0} µs", time * 1e6),
        _ if time < 0.01 => format!("{:.1} ms", time * 1e3),
        _ if time < 1.0 => format!("{:.0} ms", time * 1e3),
        _ => format!("{time:.1} s"),
    }
}

fn rate_text(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 {
        return format!("{rate:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    grouped(rate.round().max(0.0) as u64)
}

/// `1.5 GiB`
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count as f64 / 1024.0, 0);
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Thousands apart: `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An index of a list that is drawn.
#[expect(clippy::cast_precision_loss, reason = "a few points")]
fn small(index: usize) -> f64 {
    index as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(label: &str, backlog: u64) -> ClientReport {
        ClientReport {
            label: Some(label.to_owned()),
            address: "<10.0.0.1>:5".to_owned(),
            read_only: true,
            since: 1_800_000_000.0,
            bytes_received: 10,
            bytes_sent: 2_000,
            backlog,
        }
    }

    fn report() -> Report {
        let pack = PackReport {
            running_since: Some(1_800_000_000.0),
            step: Some("mark"),
            step_done: Some(0.25),
            done: 1,
            failed: 2,
        };
        let storage = StorageReport {
            name: "<b>".to_owned(),
            description: "/data/\"&'.fs".to_owned(),
            read_only: false,
            broken: Some("disk <gone>".to_owned()),
            objects: 1_234_567,
            bytes: 5 << 30,
            last_tid: "03f0".to_owned(),
            last_commit: Some(1_800_000_000.0),
            connections: 2,
            loads: 1,
            stores: 2,
            commits: 3,
            aborts: 1,
            conflicts: 5,
            conflicts_resolved: 6,
            active_transactions: 1,
            votes_waiting: 7,
            lock_held: Some(100.0),
            loads_per_second: 1_000.4,
            stores_per_second: 0.0,
            commits_per_second: 0.25,
            loads_per_second_curve: vec![1.0, 3.0, 2.0],
            commits_per_second_curve: vec![],
            commit_latency: Some(Latency { median: 0.0005, p95: 0.005, p99: 2.0 }),
            sync_latency: None,
            commits_per_sync: Some(2.5),
            invalidation_queue: 10,
            invalidation_queue_size: 100,
            bytes_received: 0,
            bytes_sent: 1_023,
            pack,
            clients: vec![client("<script>alert(1)</script>", 4_096), client("x", 0)],
        };
        Report {
            version: "1.2.3",
            time: 1_800_000_090.0,
            started: 1_799_000_000.0,
            uptime: 200_000.0,
            pid: 7,
            addresses: vec!["[::1]:8100".to_owned()],
            runtime: "tokio",
            read_only: false,
            problems: vec!["storage \"<b>\" is broken".to_owned()],
            connections: 3,
            connections_unfinished: 1,
            connections_refused: 12_345,
            connections_ever: 4_000,
            memory: Some(1 << 20),
            open_files: None,
            storages: vec![storage],
        }
    }

    /// Labels come from clients and are not trusted.
    #[test]
    fn nothing_is_markup_that_comes_from_elsewhere() {
        let page = html(&report(), None);
        for hostile in ["<script", "<b>", "<gone>", "<10.0.0.1>", "\"&'"] {
            assert!(!page.contains(hostile), "{hostile} in {page}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    }

    #[test]
    fn everything_is_on_the_page() {
        let page = html(&report(), Some(7));
        for text in [
            "not ready",
            "content=\"7\"",
            "[::1]:8100",
            "3 now, 4,000 in total, 12,345 refused",
            "2 d 7 h",
            "1,234,567",
            "5.0 GiB",
            "5,368,709,120 bytes, 1 pack, 2 failed",
            "1 min 30 s ago",
            "1,000",
            "1 transaction open, oldest lock 1 min 40 s",
            "500 µs",
            "95 %: 5.0 ms · 99 %: 2.0 s",
            "no commit for 5 minutes",
            "10 of 100",
            "packing for 1 min 30 s: mark 25 %",
            "4.0 KiB",
            "stop refreshing",
        ] {
            assert!(page.contains(text), "{text} in {page}");
        }
    }

    #[test]
    fn a_long_list_of_clients_is_cut_and_shows_how_many_are_left_out() {
        let mut report = report();
        report.storages[0].clients = (0..1_500).map(|n| client(&n.to_string(), 0)).collect();
        let page = html(&report, None);
        assert_eq!(page.matches("&lt;10.0.0.1").count(), CLIENTS_SHOWN);
        assert!(page.contains("and 1,300 more"));
    }

    #[test]
    fn a_page_reloads_at_the_requested_interval_within_limits() {
        let cases = [
            ("refresh=5", Some(5)),
            ("x=1&refresh=60", Some(60)),
            ("refresh=0", None),
            ("refresh=3601", None),
            ("refresh=5;url=http://elsewhere", None),
            ("", None),
        ];
        for (query, expected) in cases {
            assert_eq!(refresh_of(query), expected, "{query}");
        }
    }

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        let cases = [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), ((1 << 20) - 1, "1.0 MiB")];
        for (count, expected) in cases {
            assert_eq!(bytes(count), expected);
        }
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
    }
}
