//! Worlds of clients, servers, networks and disks that fail (`rzeo_sim`), a few of each kind.
//!
//! `rzeo-sim` runs more of them, and explains one that fails. `RZEO_SEEDS` sets the number of seeds here.

use rzeo_sim::coverage::Coverage;
use rzeo_sim::{Plan, STEPS, Workload};

/// Number of seeds of each workload; they take some seconds.
const SEEDS: u64 = 60;

fn seeds() -> u64 {
    std::env::var("RZEO_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn all_worlds_pass() {
    let mut total = Coverage::default();
    for workload in Workload::ALL {
        for seed in 0..seeds() {
            let plan = Plan { seed, steps: STEPS, workload };
            match rzeo_sim::run(plan) {
                Ok(report) => total += &report.coverage,
                Err(failure) => {
                    let trace = rzeo_sim::explain(plan).expect_err("a world fails again").trace;
                    panic!(
                        "{}\n{} at {}, {plan:?}",
                        trace.join("\n"),
                        failure.problem,
                        failure.location
                    );
                }
            }
        }
    }
    println!("{total}");
    let missing: Vec<_> = Workload::ALL.map(|it| total.missing(&it.expected())).concat();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn a_world_repeats_itself() {
    for workload in Workload::ALL {
        let plan = Plan { seed: 7, steps: 200, workload };
        let [first, second] =
            [rzeo_sim::run(plan), rzeo_sim::run(plan)].map(|it| it.expect("these worlds pass"));
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(first.coverage, second.coverage);
    }
}
