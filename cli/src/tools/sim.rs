//! `rzeo sim`: worlds of clients, servers, networks and disks that fail, for those who change rzeo.

use std::io::{self, Write as _};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rzeo_fixtures::sim::coverage::Coverage;
use rzeo_fixtures::sim::{self, Failure, Plan, Report, Workload};

use super::ToolError;
use super::progress::Progress;

/// Simulate whole systems that fail, and check every promise
///
/// Clients and a server with their real machines, over a network and a disk that fail, on a time that
/// passes as fast as it can. What a world does follows from its seed; one in which something goes wrong
/// is played again with fewer steps, and told step by step. The status is 0 if all is well and 1 if not.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Simulate only this world, and explain a failure
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from", "hours"])]
    seed: Option<u64>,

    /// How many worlds to play of each workload
    #[arg(long, value_name = "N", default_value_t = 200)]
    seeds: u64,

    /// The seed of the first of them
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,

    /// Go on with further seeds for so long
    #[arg(long, value_name = "H", conflicts_with = "seeds")]
    hours: Option<f64>,

    /// How many times something is done before the faults stop
    #[arg(long, value_name = "M", default_value_t = sim::STEPS)]
    steps: usize,

    /// Only worlds of this kind
    #[arg(long, value_name = "NAME")]
    #[arg(long_help = format!("Only worlds of this kind: {}", Workload::ALL.map(|it| it.to_string()).join(", ")))]
    workload: Option<Workload>,
}

/// With fewer worlds of a kind, something may well never happen.
const SEEDS_FOR_COVERAGE: u64 = 200;
/// How many failures are explained.
const EXPLAINED_MAX: usize = 3;

/// Plays the worlds that were asked for.
pub(crate) fn run(options: &Options) -> Result<bool, ToolError> {
    let workloads = options.workload.map_or(Workload::ALL.to_vec(), |it| vec![it]);
    let tour = Tour::new(options, workloads);
    let (sender, results) = channel();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (tour, sender) = (&tour, sender.clone());
            scope.spawn(move || tour.travel(&sender));
        }
        drop(sender);
        tour.listen(&results)
    })
}

/// Worlds to be played: one seed of every workload, then the next.
struct Tour {
    workloads: Vec<Workload>,
    steps: usize,
    from: u64,
    /// How many there are, if that is known.
    worlds: Option<u64>,
    until: Option<Instant>,
    next: AtomicU64,
}

/// A world that was played, and how long that took.
type Played = (Plan, Result<Report, Box<Failure>>, Duration);

impl Tour {
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
        let kinds = self.workloads.len() as u64;
        let workload = self.workloads[usize::try_from(number % kinds).unwrap_or_default()];
        let seed = self.from + number / kinds;
        (!is_over).then_some(Plan { seed, steps: self.steps, workload })
    }

    fn travel(&self, results: &Sender<Played>) {
        while let Some(plan) = self.next_plan() {
            let began = Instant::now();
            let result = sim::play(plan);
            if results.send((plan, result, began.elapsed())).is_err() {
                return;
            }
        }
    }

    fn listen(&self, results: &Receiver<Played>) -> Result<bool, ToolError> {
        let mut totals =
            self.workloads.iter().map(|it| (*it, Total::default())).collect::<Vec<_>>();
        let mut failures = Vec::new();
        let mut worlds = 0;
        let progress = Progress::counting("playing worlds");
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
        writeln!(out, "{} of {worlds} worlds went wrong", failures.len())?;
        Ok(failures.is_empty() && missing.is_empty())
    }

    /// Prints what happened. Gives what never did and should have.
    fn print(&self, worlds: u64, totals: &[(Workload, Total)]) -> Result<Vec<&str>, ToolError> {
        let mut out = io::stdout().lock();
        let mut all = Total::default();
        let mut missing = Vec::new();
        for (workload, total) in totals {
            writeln!(out, "{workload:<18} {total}")?;
            if worlds >= SEEDS_FOR_COVERAGE * self.workloads.len() as u64 {
                let never = total.coverage.missing(&workload.expected());
                never.iter().try_for_each(|what| writeln!(out, "    NEVER HAPPENED: {what}"))?;
                missing.extend(never);
            }
            all.merge(total);
        }
        writeln!(out, "{:<18} {all}\n{}", "all", all.coverage)?;
        Ok(missing)
    }
}

/// What happened in several worlds.
#[derive(Default)]
struct Total {
    worlds: u64,
    coverage: Coverage,
    /// In the worlds, and on a core.
    time: Duration,
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

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// Tells what happened in a world until something went wrong.
fn explain(out: &mut impl io::Write, failure: &Failure) -> io::Result<()> {
    let Failure { plan, problem, place, step, trace } = *sim::shrink(failure);
    let Plan { seed, steps, workload } = plan;
    writeln!(out, "\nseed {seed} of {workload} goes wrong:")?;
    trace.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
    writeln!(out, "{problem}\n    (step {step}, noticed at {place})")?;
    writeln!(out, "again with: rzeo sim --seed {seed} --workload {workload} --steps {steps}\n")
}
