//! Runs a world from its plan, again with a trace, and with as few steps as still fail.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::Duration;

use crate::application::Shared;
use crate::coverage::Coverage;
use crate::trace::Trace;
use crate::workload::Workload;
use crate::world::World;

/// The plan of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides every choice in the world.
    pub seed: u64,
    /// Number of actions before the faults stop.
    pub steps: usize,
    /// Decides which actions and faults are frequent.
    pub workload: Workload,
}

/// The result of a world that passed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Counts of events.
    pub coverage: Coverage,
    /// Virtual time that passed.
    pub time: Duration,
    /// The same for every run of the same plan.
    pub fingerprint: u64,
}

/// The result of a world that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The plan; running it again fails again.
    pub plan: Plan,
    /// The message of the check that failed.
    pub problem: String,
    /// Source location of the check.
    pub location: String,
    /// The step; the number of steps if the faults had stopped.
    pub step: usize,
    /// The trace; empty unless it was requested.
    pub trace: Vec<String>,
}

/// Runs a world.
///
/// # Errors
/// If a check fails.
pub fn run(plan: Plan) -> Result<Report, Box<Failure>> {
    run_once(plan, false)
}

/// Runs a world with a trace.
///
/// # Errors
/// If a check fails.
pub fn explain(plan: Plan) -> Result<Report, Box<Failure>> {
    run_once(plan, true)
}

/// Runs a failed world with as few steps as bisecting finds, with a trace.
#[must_use]
pub fn shrink(failure: &Failure) -> Box<Failure> {
    let with = |steps| Plan { steps, ..failure.plan };
    let (mut good, mut bad) = (0, failure.plan.steps.min(failure.step + 1));
    if run(with(bad)).is_ok() {
        bad = failure.plan.steps;
    }
    while good + 1 < bad {
        let middle = usize::midpoint(good, bad);
        if run(with(middle)).is_err() {
            bad = middle;
        } else {
            good = middle;
        }
    }
    explain(with(bad)).err().unwrap_or_else(|| Box::new(failure.clone()))
}

fn run_once(plan: Plan, is_traced: bool) -> Result<Report, Box<Failure>> {
    let Plan { seed, steps, workload } = plan;
    let shared = Shared::new(Trace::new(is_traced));
    let mut world = None;
    let result = catch(|| {
        let world = world.insert(World::new(seed, workload, shared));
        world.run(steps);
        world.shared.trace.step = steps;
        world.finish()
    });
    // The trace outlives a panic.
    let trace = world.map(|world| world.shared.trace).unwrap_or_default();
    match result {
        Ok(coverage) => {
            let (time, fingerprint) = (trace.time, trace.fingerprint());
            Ok(Report { coverage, time, fingerprint })
        }
        Err((problem, location)) => {
            let (step, trace) = (trace.step, trace.lines());
            Err(Box::new(Failure { plan, problem, location, step, trace }))
        }
    }
}

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static LOCATION: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Calls a closure and returns its panic with the source location, without printing it.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, (String, String)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_WATCHED.get() {
                let location = info.location().map(ToString::to_string);
                LOCATION.set(location.unwrap_or_default());
            } else {
                before(info);
            }
        }));
    });
    IS_WATCHED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    IS_WATCHED.set(false);
    result.map_err(|panicked| (text(&*panicked), LOCATION.take()))
}

fn text(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panicked.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic".to_owned())
}
