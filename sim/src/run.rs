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

/// A world to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything that is not said here.
    pub seed: u64,
    /// How many times something is done before the faults stop.
    pub steps: usize,
    /// What is done.
    pub workload: Workload,
}

/// A world in which all went well.
#[derive(Clone, Debug)]
pub struct Report {
    /// What happened.
    pub coverage: Coverage,
    /// How much time went by in the world.
    pub time: Duration,
    /// The same for every run of the same plan.
    pub fingerprint: u64,
}

/// A world in which something is wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The plan.
    pub plan: Plan,
    /// What is wrong.
    pub problem: String,
    /// Where it was noticed, in the source.
    pub place: String,
    /// In which step; the number of steps if the faults had stopped.
    pub step: usize,
    /// What happened before it, as far as it was asked for.
    pub trace: Vec<String>,
}

/// Plays a world.
///
/// # Errors
/// If something is wrong in it.
pub fn run(plan: Plan) -> Result<Report, Box<Failure>> {
    run_once(plan, false)
}

/// Plays a world again and tells what happened in it.
///
/// # Errors
/// If something is wrong in it.
pub fn explain(plan: Plan) -> Result<Report, Box<Failure>> {
    run_once(plan, true)
}

/// A world that fails, with as few steps as bisecting finds, and with a trace.
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
    // What was result until then outlives a panic.
    let trace = world.map(|world| world.shared.trace).unwrap_or_default();
    match result {
        Ok(coverage) => {
            let (time, fingerprint) = (trace.time, trace.fingerprint());
            Ok(Report { coverage, time, fingerprint })
        }
        Err((problem, place)) => {
            let (step, trace) = (trace.step, trace.lines());
            Err(Box::new(Failure { plan, problem, place, step, trace }))
        }
    }
}

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What a closure gives, or what it panicked with and where; nothing is printed.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, (String, String)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_WATCHED.get() {
                let place = info.location().map(ToString::to_string);
                PLACE.set(place.unwrap_or_default());
            } else {
                before(info);
            }
        }));
    });
    IS_WATCHED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    IS_WATCHED.set(false);
    result.map_err(|panicked| (text(&*panicked), PLACE.take()))
}

fn text(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panicked.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic".to_owned())
}
