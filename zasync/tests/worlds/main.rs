//! Workers, applications and a storage in memory, with crashes, lost connections, programs that pause and
//! clocks that jump. Everything follows from a seed.
//!
//! `TASK_WORLDS` is the number of worlds, `TASK_SEED` the first seed.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod functions;
mod judge;
mod program;
mod storage;
mod world;

use world::{Coverage, World};

/// Number of worlds, unless `TASK_WORLDS` is set.
const WORLDS: u64 = 40;

/// What must happen in some world, so that the run shows something.
const WANTED: [&str; 26] = [
    "abandoned",
    "cancel requested",
    "cancelled",
    "cancelled at once",
    "clock set",
    "conflicted",
    "crash",
    "done",
    "drain",
    "expire jobs",
    "failed",
    "follow-up",
    "forgotten",
    "frozen",
    "given back",
    "late commit",
    "late conflict",
    "note",
    "reaped",
    "reject malformed jobs",
    "reconnected",
    "retried",
    "settle jobs",
    "snoozed",
    "unknown, committed",
    "unknown, late",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_worker_ends_though_the_storage_cannot_be_reached() {
    use rzeo_core::{Instant, Tid};
    use rzeo_zasync::machine::{Input, Output, Worker};
    use std::time::Duration;

    let settings = world::settings(1);
    let (within, grace) = (Duration::from_secs(7), Duration::from_secs(8));
    let patience = within + grace;
    let mut worker = Worker::new(Instant::START, settings, 1);
    worker.handle_input(Instant::START, Input::Connected { tid: Tid(1) });
    assert!(matches!(worker.poll_output(), Some(Output::Keep(_))), "it registers");
    worker.handle_input(Instant::START, Input::Disconnected);
    worker.handle_input(Instant::START, Input::Drain { within, grace });
    assert!(worker.poll_output().is_none());
    assert_eq!(worker.poll_timeout(), Some(Instant(patience)));
    worker.handle_timeout(Instant(patience));
    assert!(matches!(worker.poll_output(), Some(Output::Ended)));
    assert_eq!(worker.poll_timeout(), None);
}

#[test]
fn without_faults_jobs_end_at_once_and_at_the_first_attempt() {
    for seed in 0..20 {
        match World::play_without_faults(seed) {
            // Much less than the time after which the audit mends what went wrong.
            Ok(seconds) => assert!(seconds < 20.0, "world {seed}: {seconds} seconds"),
            Err(error) => panic!("world {seed}: {error}"),
        }
    }
}

#[test]
fn a_worker_gives_back_a_job_that_it_does_not_know() {
    World::play_unknown_claim(1).unwrap();
}

#[test]
fn jobs_end_once_whatever_happens() {
    let first = number("TASK_SEED").unwrap_or(0);
    let worlds = number("TASK_WORLDS").unwrap_or(WORLDS);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let coverages = std::thread::scope(|scope| {
        let start =
            |at| scope.spawn(move || play_all((first..first + worlds).skip(at).step_by(threads)));
        let playing: Vec<_> = (0..threads).map(start).collect();
        playing.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let mut coverage = Coverage::new();
    for (what, count) in coverages.into_iter().flatten() {
        *coverage.entry(what).or_default() += count;
    }
    println!("{worlds} worlds: {coverage:?}");
    if worlds >= WORLDS {
        for what in WANTED {
            assert!(coverage.contains_key(what), "no world has {what:?}: {coverage:?}");
        }
    }
}

fn play_all(seeds: impl Iterator<Item = u64>) -> Coverage {
    let mut coverage = Coverage::new();
    for seed in seeds {
        match World::play(seed) {
            Ok(world) => {
                for (what, count) in world {
                    *coverage.entry(what).or_default() += count;
                }
            }
            Err(error) => panic!("world {seed} (TASK_SEED={seed} TASK_WORLDS=1): {error}"),
        }
    }
    coverage
}
