//! Figures for Prometheus, in its text format 0.0.4, which all that scrape understand.
//!
//! The families are put together anew for each scrape from the figures of the host: there is no registry,
//! and nothing to forget when a storage is not there.

use std::time::SystemTime;

use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};
use rzeo_core::server::Histogram;
use rzeo_core::storage::PackStep;
use rzeo_host::{Host, Overview};

use super::about::About;
use super::process_figures::ProcessFigures;
use super::report::{problems, step_name, unix};

/// For `Content-Type`.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures in Prometheus' text format.
pub(super) fn text(about: &About, host: &Host) -> String {
    let overviews = host.overview();
    let mut families = server(about, host, &overviews);
    families.extend(process(about, ProcessFigures::read()));
    families.extend(storages(&overviews));
    // A family without a metric is an error of the encoder's.
    families.retain(|family| !family.get_metric().is_empty());
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
        tracing::error!("the metrics cannot be written: {error}");
    }
    String::from_utf8(text).unwrap_or_default()
}

fn server(about: &About, host: &Host, overviews: &[Overview]) -> Vec<MetricFamily> {
    let build = [("version", env!("CARGO_PKG_VERSION")), ("runtime", about.runtime)];
    let ready = problems(host.is_stopping(), overviews).is_empty();
    let counts = host.connection_counts();
    let one = |name, help, count| counters(name, help, [(Vec::new(), number(count))]);
    vec![
        gauges("rzeo_build_info", "The version that runs; always 1.", [(labels(&build), 1.0)]),
        gauge("rzeo_ready", "1 if it serves and every storage takes commits.", flag(ready)),
        gauge("rzeo_uptime_seconds", "Since the start.", about.began.elapsed().as_secs_f64()),
        gauge(
            "rzeo_open_connections",
            "Connections, also those that have not registered.",
            number(counts.open as u64),
        ),
        gauge(
            "rzeo_unfinished_handshakes",
            "Connections that have not registered.",
            number(counts.unfinished as u64),
        ),
        one(
            "rzeo_accepted_connections_total",
            "Connections since the start.",
            host.connections_admitted(),
        ),
        one(
            "rzeo_refused_connections_total",
            "Connections closed at once because of a limit.",
            counts.refused,
        ),
    ]
}

/// Under the names that all exporters use.
fn process(about: &About, process: ProcessFigures) -> Vec<MetricFamily> {
    let some = |name, help, value: Option<u64>| {
        gauges(name, help, value.map(|value| (Vec::new(), number(value))))
    };
    vec![
        gauge(
            "process_start_time_seconds",
            "Start time of the process, in seconds since 1970.",
            unix(about.started),
        ),
        some("process_resident_memory_bytes", "Memory in use.", process.memory),
        some("process_open_fds", "Open files and sockets.", process.files),
        some("process_max_fds", "Maximum number of open files and sockets.", process.files_max),
        counters(
            "process_cpu_seconds_total",
            "Processor time.",
            process.cpu.map(|seconds| (Vec::new(), seconds)),
        ),
    ]
}

/// The figures of each storage, under its name.
#[expect(clippy::too_many_lines, reason = "a list")]
fn storages(all: &[Overview]) -> Vec<MetricFamily> {
    let now = unix(SystemTime::now());
    let gauge = |name, help, value: &dyn Fn(&Overview) -> f64| {
        gauges(name, help, all.iter().map(|storage| (label(storage), value(storage))))
    };
    let counter = |name, help, value: &dyn Fn(&Overview) -> u64| {
        counters(name, help, all.iter().map(|storage| (label(storage), number(value(storage)))))
    };
    let histogram = |name, help, per_unit, value: &dyn Fn(&Overview) -> &Histogram| {
        let metrics = all.iter().map(|storage| histogram(label(storage), value(storage), per_unit));
        family(name, help, MetricType::HISTOGRAM, metrics.collect())
    };
    vec![
        gauge("rzeo_connections", "Registered clients.", &|s| number(s.figures.status.connections)),
        counter("rzeo_loads_total", "Loads.", &|s| s.figures.status.loads),
        counter("rzeo_stores_total", "Stored records.", &|s| s.figures.status.stores),
        counter("rzeo_commits_total", "Committed transactions.", &|s| s.figures.status.commits),
        counter("rzeo_aborts_total", "Transactions aborted by their clients.", &|s| {
            s.figures.status.aborts
        }),
        counter("rzeo_conflicts_total", "Transactions refused because of a conflict.", &|s| {
            s.figures.status.conflicts
        }),
        counter("rzeo_conflicts_resolved_total", "Conflicts resolved by the server.", &|s| {
            s.figures.status.conflicts_resolved
        }),
        gauge("rzeo_active_transactions", "Transactions in progress.", &|s| {
            number(s.figures.status.active_txns)
        }),
        gauge("rzeo_votes_waiting", "Votes that wait for a lock.", &|s| {
            number(s.figures.status.waiting)
        }),
        gauge("rzeo_lock_held_seconds", "Age of the oldest lock.", &|s| {
            s.figures.status.lock_time.map_or(0.0, |since| (now - since).max(0.0))
        }),
        histogram(
            "rzeo_commit_duration_seconds",
            "Time from tpc_finish of a client to the answer.",
            1e6,
            &|s| &s.figures.histograms.commit,
        ),
        histogram(
            "rzeo_sync_duration_seconds",
            "Time to write and sync a group of transactions.",
            1e6,
            &|s| &s.figures.histograms.sync,
        ),
        histogram(
            "rzeo_commit_group_size",
            "Transactions written and synced together.",
            1.0,
            &|s| &s.figures.histograms.group,
        ),
        gauge("rzeo_invalidation_queue_length", "Commits kept for clients that reconnect.", &|s| {
            number(s.figures.recent as u64)
        }),
        gauge("rzeo_invalidation_queue_size", "Maximum number of commits kept.", &|s| {
            number(s.figures.recent_max as u64)
        }),
        counter("rzeo_received_bytes_total", "Bytes from clients.", &|s| s.figures.bytes.received),
        counter("rzeo_sent_bytes_total", "Bytes to clients.", &|s| s.figures.bytes.sent),
        gauge("rzeo_backlog_bytes", "Bytes queued for clients that have not read them.", &|s| {
            number(backlogs(s).sum())
        }),
        gauge("rzeo_largest_backlog_bytes", "Largest backlog of one client.", &|s| {
            number(backlogs(s).max().unwrap_or(0))
        }),
        gauge("rzeo_objects", "Objects, including deleted ones until a pack.", &|s| {
            number(s.info.length)
        }),
        gauge("rzeo_storage_bytes", "Size of the database.", &|s| number(s.info.size)),
        gauge("rzeo_last_transaction_timestamp_seconds", "Time of the last commit.", &|s| {
            if s.last_tid.0 == 0 { 0.0 } else { s.last_tid.to_unix().0 }
        }),
        gauge("rzeo_storage_broken", "1 if commits are refused until a restart.", &|s| {
            flag(s.broken.is_some())
        }),
        gauge("rzeo_pack_running", "1 while a pack runs.", &|s| {
            flag(s.figures.packs.running_since.is_some())
        }),
        gauges(
            "rzeo_pack_progress_ratio",
            "Completed part of a step of the pack.",
            pack_steps(all),
        ),
        counters("rzeo_packs_total", "Finished packs.", packs(all)),
    ]
}

fn backlogs(storage: &Overview) -> impl Iterator<Item = u64> + '_ {
    storage.figures.clients.iter().map(|client| client.traffic.backlog())
}

/// A metric for each step, so that a graph shows where a pack is: steps that are over are at 1.
fn pack_steps(all: &[Overview]) -> Vec<(Vec<LabelPair>, f64)> {
    let steps = [PackStep::Survey, PackStep::Mark, PackStep::Copy, PackStep::Switch];
    let place = |wanted| steps.iter().position(|step| *step == wanted);
    let mut metrics = Vec::new();
    for storage in all {
        for step in steps {
            let done = match storage.pack {
                Some(progress) if place(progress.step) == place(step) => progress.done,
                Some(progress) if place(progress.step) > place(step) => 1.0,
                Some(_) | None => 0.0,
            };
            metrics.push((labels(&[("storage", &storage.name), ("step", step_name(step))]), done));
        }
    }
    metrics
}

fn packs(all: &[Overview]) -> Vec<(Vec<LabelPair>, f64)> {
    let packs = all.iter().flat_map(|storage| {
        let packs = storage.figures.packs;
        [("done", packs.done), ("failed", packs.failed)].map(|(result, count)| {
            (labels(&[("storage", &storage.name), ("result", result)]), number(count))
        })
    });
    packs.collect()
}

fn label(storage: &Overview) -> Vec<LabelPair> {
    labels(&[("storage", &storage.name)])
}

fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    let pairs = pairs.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    pairs.collect()
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    gauges(name, help, [(Vec::new(), value)])
}

fn gauges(
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Vec<LabelPair>, f64)>,
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(labels);
        metric.set_gauge(gauge);
        metric
    });
    family(name, help, MetricType::GAUGE, metrics.collect())
}

fn counters(
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Vec<LabelPair>, f64)>,
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::from_label(labels);
        metric.set_counter(counter);
        metric
    });
    family(name, help, MetricType::COUNTER, metrics.collect())
}

/// The histogram counts in fractions of a unit; `per_unit` of them are one unit.
fn histogram(labels: Vec<LabelPair>, values: &Histogram, per_unit: f64) -> Metric {
    let mut below = 0;
    let mut buckets = Vec::new();
    for (bound, count) in values.classes() {
        below += count;
        if let Some(bound) = bound {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(number(bound) / per_unit);
            bucket.set_cumulative_count(below);
            buckets.push(bucket);
        }
    }
    let mut histogram = prometheus::proto::Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(below);
    histogram.set_sample_sum(number(values.sum()) / per_unit);
    let mut metric = Metric::from_label(labels);
    metric.set_histogram(histogram);
    metric
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rzeo_host::{Settings, StorageSpec};
    use rzeo_storage::MappingStorage;

    use super::*;
    use crate::config::Runtime;

    const HOSTILE: &str = "a\"b\\c\nd{e=\"f\"} 1";

    fn host(names: &[&str]) -> std::sync::Arc<Host> {
        let storages = names.iter().map(|name| StorageSpec {
            name: (*name).to_owned(),
            storage: std::sync::Arc::new(MappingStorage::new()),
        });
        Host::new(&Settings::default(), storages.collect()).unwrap()
    }

    fn about() -> About {
        About::new(vec![], Runtime::Tokio, false)
    }

    /// A sample as the format has it: name, labels unescaped, value.
    fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"")?;
                let mut value = String::new();
                let mut chars = after.char_indices();
                let end = loop {
                    match chars.next()? {
                        (at, '"') => break at + 1,
                        (_, '\\') => value.push(match chars.next()?.1 {
                            'n' => '\n',
                            plain @ ('\\' | '"') => plain,
                            _ => return None,
                        }),
                        (_, plain) => value.push(plain),
                    }
                };
                labels.insert(label.to_owned(), value);
                rest = after[end..].strip_prefix(',').unwrap_or(&after[end..]);
            }
            rest = &rest[1..];
        }
        let value = rest.strip_prefix(' ')?.parse().ok()?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.chars().all(is_name).then(|| (name.to_owned(), labels, value))
    }

    #[test]
    fn every_line_is_of_the_format() {
        let text = text(&about(), &host(&["1", HOSTILE]));
        let mut family = String::new();
        let mut seen = BTreeMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert_eq!(seen.insert(name.to_owned(), ()), None, "{name} is there twice");
                family = name.to_owned();
            } else if !line.starts_with("# HELP ") {
                let (name, ..) = sample(line).unwrap_or_else(|| panic!("{line}"));
                assert!(name.starts_with(&family), "{line}");
            }
        }
        assert!(seen.contains_key("rzeo_commit_duration_seconds"), "{text}");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn a_storages_name_is_a_label_whatever_it_holds() {
        let text = text(&about(), &host(&["1", HOSTILE]));
        let storages: Vec<String> = text
            .lines()
            .filter_map(sample)
            .filter(|(name, ..)| name == "rzeo_objects")
            .filter_map(|(_, mut labels, _)| labels.remove("storage"))
            .collect();
        assert_eq!(storages, ["1", HOSTILE]);
    }

    #[test]
    fn a_histogram_counts_what_is_below() {
        let host = host(&["1"]);
        let empty = host.overview().remove(0).figures.histograms.commit;
        let metric = histogram(vec![], &empty, 1e6);
        let bounds: Vec<f64> =
            metric.get_histogram().get_bucket().iter().map(Bucket::upper_bound).collect();
        assert_eq!(bounds[..3], [0.0001, 0.00025, 0.0005]);
        assert_eq!(metric.get_histogram().get_sample_count(), 0);
    }

    #[test]
    fn a_broken_storage_is_reported_and_makes_the_server_not_ready() {
        let mut overviews = host(&["1", "2"]).overview();
        assert_eq!(problems(false, &overviews), [""; 0]);
        assert_eq!(problems(true, &overviews), ["the server is stopping"]);
        overviews[1].broken = Some("the disk is gone".to_owned());
        let problems = problems(false, &overviews);
        assert_eq!(
            problems,
            ["storage \"2\" refuses commits until the server is restarted: the disk is gone"]
        );
        let broken = storages(&overviews);
        let broken = broken.iter().find(|family| family.name() == "rzeo_storage_broken").unwrap();
        let values: Vec<f64> =
            broken.get_metric().iter().map(|metric| metric.get_gauge().get_value()).collect();
        assert_eq!(values, [0.0, 1.0]);
    }
}
