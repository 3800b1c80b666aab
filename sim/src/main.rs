//! `rzeo-sim`: runs simulated worlds of clients, servers, networks and disks that fail, for developers of rzeo.

use std::fmt;
use std::io::{self, Write as _};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rzeo_sim::coverage::Coverage;
use rzeo_sim::{Failure, Plan, Report, Workload};

/// Simulate whole systems in memory and check every promise
///
/// Real clients and a real server run over a simulated network and disk that fail, on virtual time. A world
/// follows from its seed. If a promise breaks, the world runs again with fewer steps, and its steps are
/// printed. The exit status is 0 if all worlds passed and every expected event happened, else 1.
#[derive(Debug, Parser)]
#[command(name = "rzeo-sim", version)]
struct Options {
    /// Run only the world of this seed, and print its steps if it fails
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from", "hours"])]
    seed: Option<u64>,

    /// Number of worlds to run of each workload
    #[arg(long, value_name = "N", default_value_t = 200)]
    seeds: u64,

    /// First seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,

    /// Run worlds of further seeds for this many hours
    #[arg(long, value_name = "H", conflicts_with = "seeds")]
    hours: Option<f64>,

    /// Number of actions in a world before the faults stop
    #[arg(long, value_name = "M", default_value_t = rzeo_sim::STEPS)]
    steps: usize,

    /// Run only worlds of this workload
    #[arg(long, value_name = "NAME")]
    #[arg(help = format!("Run only worlds of this workload: {}", Workload::ALL.map(|it| it.to_string()).join(", ")))]
    workload: Option<Workload>,
}

/// Minimum number of worlds of each workload for which a missing event is a failure.
const SEEDS_FOR_COVERAGE: u64 = 200;
/// Maximum number of failures whose steps are printed.
const EXPLAINED_MAX: usize = 3;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write the results: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the worlds on all cores; returns whether all passed and every expected event happened.
fn run(options: &Options) -> io::Result<bool> {
    let workloads = options.workload.map_or(Workload::ALL.to_vec(), |it| vec![it]);
    let queue = Queue::new(options, workloads);
    let (sender, results) = channel();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || queue.work(&sender));
        }
        drop(sender);
        queue.collect(&results)
    })
}

/// The worlds to run: one seed of every workload, then the next seed.
struct Queue {
    workloads: Vec<Workload>,
    steps: usize,
    from: u64,
    /// Number of worlds; `None` if time decides.
    worlds: Option<u64>,
    until: Option<Instant>,
    next: AtomicU64,
}

/// A world that has run, and how long it took.
type Done = (Plan, Result<Report, Box<Failure>>, Duration);

impl Queue {
    fn new(options: &Options, workloads: Vec<Workload>) -> Self {
        let seeds = if options.seed.is_some() { 1 } else { options.seeds };
        let until =
            options.hours.map(|hours| Instant::now() + Duration::from_secs_f64(hours * 3600.0));
        Self {
            steps: options.steps,
            from: options.seed.unwrap_or(options.from),
            worlds: until.is_none().then_some(seeds * workloads.len() as u64),
            workloads,
            until,
            next: AtomicU64::new(0),
        }
    }

    fn next_plan(&self) -> Option<Plan> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let is_over = self.worlds.is_some_and(|worlds| number >= worlds)
            || self.until.is_some_and(|until| Instant::now() >= until);
        let workloads = self.workloads.len() as u64;
        let workload = self.workloads[usize::try_from(number % workloads).unwrap_or_default()];
        let seed = self.from + number / workloads;
        (!is_over).then_some(Plan { seed, steps: self.steps, workload })
    }

    /// Runs worlds until there are no more; one of these calls runs on each core.
    fn work(&self, results: &Sender<Done>) {
        while let Some(plan) = self.next_plan() {
            let began = Instant::now();
            let result = rzeo_sim::run(plan);
            if results.send((plan, result, began.elapsed())).is_err() {
                return;
            }
        }
    }

    fn collect(&self, results: &Receiver<Done>) -> io::Result<bool> {
        let mut totals =
            self.workloads.iter().map(|it| (*it, Total::default())).collect::<Vec<_>>();
        let mut failures = Vec::new();
        let mut worlds = 0;
        let progress = Progress::new();
        for (plan, result, took) in results {
            worlds += 1;
            progress.set(worlds, self.worlds.unwrap_or(worlds));
            let Some((_, total)) = totals.iter_mut().find(|(it, _)| *it == plan.workload) else {
                continue;
            };
            match result {
                Ok(report) => total.add(&report, took),
                Err(failure) => failures.push(failure),
            }
        }
        drop(progress);
        let missing = self.print(worlds, &totals)?;
        let mut out = io::stdout().lock();
        for failure in failures.iter().take(EXPLAINED_MAX) {
            explain(&mut out, failure)?;
        }
        writeln!(out, "{}", verdict(worlds, failures.len(), missing))?;
        Ok(failures.is_empty() && missing == 0)
    }

    /// Prints what happened, and returns the number of expected events that did not.
    fn print(&self, worlds: u64, totals: &[(Workload, Total)]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        let mut all = Total::default();
        let mut missing = 0;
        for (workload, total) in totals {
            writeln!(out, "{workload:<18} {total}")?;
            if worlds >= SEEDS_FOR_COVERAGE * self.workloads.len() as u64 {
                let never = total.coverage.missing(&workload.expected());
                never.iter().try_for_each(|event| writeln!(out, "    NEVER HAPPENED: {event}"))?;
                missing += never.len();
            }
            all.merge(total);
        }
        writeln!(out, "{:<18} {all}\n{}", "all", all.coverage)?;
        Ok(missing)
    }
}

/// The last line: what the exit status means.
fn verdict(worlds: u64, failures: usize, missing: usize) -> String {
    let worlds = plural(worlds, "world");
    let missing = plural(missing as u64, "expected event");
    match (failures, missing.starts_with("0 ")) {
        (0, true) => format!("{worlds} passed"),
        (0, false) => format!("failed: {worlds} passed, but {missing} NEVER HAPPENED, see above"),
        (_, true) => format!("failed: {failures} of {worlds} went wrong, see above"),
        (_, false) => {
            format!(
                "failed: {failures} of {worlds} went wrong, and {missing} NEVER HAPPENED, see above"
            )
        }
    }
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A progress bar on standard error, if that is a terminal.
struct Progress(ProgressBar);

impl Progress {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(5));
        let style = "running worlds {wide_bar} {pos} of {len}, {per_sec}, {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is well formed"));
        Self(bar)
    }

    fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Totals of several worlds.
#[derive(Default)]
struct Total {
    worlds: u64,
    coverage: Coverage,
    /// Virtual time.
    time: Duration,
    /// Time on a core.
    took: Duration,
}

impl Total {
    fn add(&mut self, report: &Report, took: Duration) {
        self.worlds += 1;
        self.coverage += &report.coverage;
        self.time += report.time;
        self.took += took;
    }

    fn merge(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.coverage += &other.coverage;
        self.time += other.time;
        self.took += other.took;
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, took) = (self.time.as_secs_f64(), self.took.as_secs_f64());
        write!(
            f,
            "{:>6} worlds, {:>8} commits, {time:>9.0} s in {took:>6.1} s of a core: {:.0} x",
            self.worlds,
            self.coverage.of("commits"),
            time / took.max(0.001)
        )
    }
}

/// Prints the steps of a world up to its failure.
fn explain(out: &mut impl io::Write, failure: &Failure) -> io::Result<()> {
    let Failure { plan, problem, location, step, trace } = *rzeo_sim::shrink(failure);
    let Plan { seed, steps, workload } = plan;
    writeln!(out, "\nseed {seed} of {workload} fails:")?;
    trace.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
    writeln!(out, "{problem}\n    (step {step}, noticed at {location})")?;
    writeln!(out, "run it again: rzeo-sim --seed {seed} --workload {workload} --steps {steps}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_states_why_the_status_is_1() {
        assert_eq!(verdict(1, 0, 0), "1 world passed");
        assert_eq!(
            verdict(2700, 0, 1),
            "failed: 2700 worlds passed, but 1 expected event NEVER HAPPENED, see above"
        );
        assert_eq!(verdict(9, 1, 0), "failed: 1 of 9 worlds went wrong, see above");
        assert!(verdict(9, 2, 3).contains("2 of 9 worlds went wrong, and 3 expected events"));
    }
}
