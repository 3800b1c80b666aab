//! Everything that the admin listener shows: `/status.json` is a report as JSON, and the page draws it.

use std::time::{Instant, SystemTime};

use rzeo_core::UnixTime;
use rzeo_core::server::{Histogram, PeerInfo};
use rzeo_core::storage::{PackProgress, PackStep};
use rzeo_host::{Host, Overview, Sample};
use serde::Serialize;

use super::about::About;
use super::history::{History, Recent};
use super::process_figures::ProcessFigures;

/// A server at one moment. Times are seconds since 1970, durations are in seconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: &'static str,
    pub(super) time: f64,
    pub(super) started: f64,
    pub(super) uptime: f64,
    pub(super) pid: u32,
    pub(super) addresses: Vec<String>,
    pub(super) runtime: &'static str,
    pub(super) read_only: bool,
    /// Why it cannot serve commits; empty if all is well.
    pub(super) problems: Vec<String>,
    /// Open connections, registered or not.
    pub(super) connections: usize,
    /// Open connections that have not registered.
    pub(super) connections_unfinished: usize,
    pub(super) connections_refused: u64,
    pub(super) connections_ever: u64,
    pub(super) memory: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) storages: Vec<StorageReport>,
}

/// A storage at one moment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StorageReport {
    pub(super) name: String,
    /// The path of a file, or the kind of a storage that has none.
    pub(super) description: String,
    pub(super) read_only: bool,
    pub(super) broken: Option<String>,
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// Sixteen hexadecimal digits.
    pub(super) last_tid: String,
    /// None for a storage without any.
    pub(super) last_commit: Option<f64>,
    pub(super) connections: u64,
    pub(super) loads: u64,
    pub(super) stores: u64,
    pub(super) commits: u64,
    pub(super) aborts: u64,
    pub(super) conflicts: u64,
    pub(super) conflicts_resolved: u64,
    pub(super) active_transactions: u64,
    pub(super) votes_waiting: u64,
    /// Age of the oldest lock.
    pub(super) lock_held: Option<f64>,
    pub(super) loads_per_second: f64,
    pub(super) stores_per_second: f64,
    pub(super) commits_per_second: f64,
    pub(super) loads_per_second_curve: Vec<f64>,
    pub(super) commits_per_second_curve: Vec<f64>,
    pub(super) commit_latency: Option<Latency>,
    pub(super) sync_latency: Option<Latency>,
    pub(super) commits_per_sync: Option<f64>,
    pub(super) invalidation_queue: usize,
    pub(super) invalidation_queue_size: usize,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) pack: PackReport,
    pub(super) clients: Vec<ClientReport>,
}

/// How long something took in the last minutes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) median: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
}

/// The packs of a storage.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PackReport {
    pub(super) running_since: Option<f64>,
    pub(super) step: Option<&'static str>,
    /// How much of the step is done, from 0 to 1.
    pub(super) step_done: Option<f64>,
    pub(super) done: u64,
    pub(super) failed: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ClientReport {
    pub(super) label: Option<String>,
    pub(super) address: String,
    pub(super) read_only: bool,
    pub(super) since: f64,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    /// Bytes queued that it has not read.
    pub(super) backlog: u64,
}

impl Report {
    pub(super) fn new(about: &About, host: &Host, history: &History) -> Self {
        let time = unix(SystemTime::now());
        let now = Instant::now();
        let process = ProcessFigures::read();
        let (overviews, samples) = (host.overview(), host.samples());
        let counts = host.connection_counts();
        let problems = problems(host.is_stopping(), &overviews);
        let storages = overviews.iter().zip(&samples).enumerate();
        let storages = storages
            .map(|(index, (overview, sample))| {
                StorageReport::new(time, overview, &history.recent(index, now, sample), sample)
            })
            .collect();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            time,
            started: unix(about.started),
            uptime: about.began.elapsed().as_secs_f64(),
            pid: std::process::id(),
            addresses: about.addresses.clone(),
            runtime: about.runtime,
            read_only: about.read_only,
            problems,
            connections: counts.open,
            connections_unfinished: counts.unfinished,
            connections_refused: counts.refused,
            connections_ever: host.connections_admitted(),
            memory: process.memory,
            open_files: process.files,
            storages,
        }
    }
}

/// Why a server cannot serve commits.
pub(super) fn problems(is_stopping: bool, overviews: &[Overview]) -> Vec<String> {
    let stopping = is_stopping.then(|| "the server is stopping".to_owned());
    let broken = overviews.iter().filter_map(|overview| {
        let why = overview.broken.as_ref()?;
        Some(format!(
            "storage {:?} refuses commits until the server is restarted: {why}",
            overview.name
        ))
    });
    stopping.into_iter().chain(broken).collect()
}

impl StorageReport {
    fn new(time: f64, overview: &Overview, recent: &Recent, sample: &Sample) -> Self {
        let Overview { name, description, info, last_tid, figures, pack, broken } = overview;
        let status = &figures.status;
        let is_empty = last_tid.0 == 0;
        Self {
            name: name.clone(),
            description: description.name.clone(),
            read_only: description.read_only,
            broken: broken.clone(),
            objects: info.length,
            bytes: info.size,
            last_tid: format!("{:016x}", last_tid.0),
            last_commit: (!is_empty).then(|| last_tid.to_unix().0),
            connections: status.connections,
            loads: sample.loads,
            stores: sample.stores,
            commits: sample.commits,
            aborts: status.aborts,
            conflicts: status.conflicts,
            conflicts_resolved: status.conflicts_resolved,
            active_transactions: status.active_txns,
            votes_waiting: status.waiting,
            lock_held: status.lock_time.map(|since| (time - since).max(0.0)),
            loads_per_second: recent.loads,
            stores_per_second: recent.stores,
            commits_per_second: recent.commits,
            loads_per_second_curve: recent.load_curve.clone(),
            commits_per_second_curve: recent.commit_curve.clone(),
            commit_latency: Latency::of(&recent.commit),
            sync_latency: Latency::of(&recent.sync),
            commits_per_sync: mean(&recent.group),
            invalidation_queue: figures.recent,
            invalidation_queue_size: figures.recent_max,
            bytes_received: figures.bytes.received,
            bytes_sent: figures.bytes.sent,
            pack: PackReport {
                running_since: figures.packs.running_since.map(|UnixTime(since)| since),
                step: pack.map(|progress| step_name(progress.step)),
                step_done: pack.map(|progress: PackProgress| progress.done),
                done: figures.packs.done,
                failed: figures.packs.failed,
            },
            clients: figures.clients.iter().map(ClientReport::new).collect(),
        }
    }
}

impl Latency {
    fn of(histogram: &Histogram) -> Option<Self> {
        let seconds = |share| histogram.quantile(share).map(|microseconds| microseconds / 1e6);
        Some(Self { median: seconds(0.5)?, p95: seconds(0.95)?, p99: seconds(0.99)? })
    }
}

impl ClientReport {
    fn new(client: &PeerInfo) -> Self {
        let bytes = client.traffic.byte_counts();
        Self {
            label: client.label.as_deref().map(str::to_owned),
            address: client.peer.to_string(),
            read_only: client.read_only,
            since: client.since.0,
            bytes_received: bytes.received,
            bytes_sent: bytes.sent,
            backlog: client.traffic.backlog(),
        }
    }
}

/// As it is called wherever it is shown.
pub(super) fn step_name(step: PackStep) -> &'static str {
    match step {
        PackStep::Survey => "survey",
        PackStep::Mark => "mark",
        PackStep::Copy => "copy",
        PackStep::Switch => "switch",
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mean(histogram: &Histogram) -> Option<f64> {
    let count = histogram.count();
    (count > 0).then(|| histogram.sum() as f64 / count as f64)
}

/// Seconds since 1970.
pub(super) fn unix(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
