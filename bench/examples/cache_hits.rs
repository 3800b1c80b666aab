//! The time of a hit in the client's cache, of a miss, and of a new record that evicts another.
//!
//!     cargo run --release -p rzeo-bench --example cache_hits

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use rzeo_core::client::cache::{Cache, ENTRY_BYTES};
use rzeo_core::storage::Revision;
use rzeo_core::{Oid, Tid};

const RECORD: usize = 400;
const TIMES: u32 = 100_000;
const ROUNDS: u32 = 30;

fn main() {
    for objects in [1_000_u64, 20_000, 500_000] {
        let room = usize::try_from(objects).expect("it is small") * (RECORD + ENTRY_BYTES);
        let mut cache = Cache::new(room);
        for oid in 0..objects {
            store(&mut cache, oid);
        }
        let hit = measure(|n| {
            black_box(cache.load_before(Oid(somewhere(n) % objects), Tid::MAX));
        });
        let miss = measure(|n| {
            black_box(cache.load_before(Oid(objects + somewhere(n) % objects), Tid::MAX));
        });
        assert_eq!(cache.statistics().hits, u64::from(TIMES * ROUNDS));
        let replace = measure(|n| store(&mut cache, objects + u64::from(n)));
        assert!(cache.statistics().evictions > 0);
        println!(
            "{objects:>7} objects: a hit {hit:>4.0} ns, a miss {miss:>4.0} ns, \
             a store that evicts {replace:>5.0} ns"
        );
    }
}

fn store(cache: &mut Cache, oid: u64) {
    let data = Bytes::from_static(&[7; RECORD]);
    cache.store(Oid(oid), Revision { data, serial: Tid(1), end: None });
}

/// A pseudo-random number, so that the processor cannot predict the access.
fn somewhere(n: u32) -> u64 {
    let mixed = (u64::from(n) ^ 0x5bd1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20
}

/// Nanoseconds for one step, in the best of all rounds, because other programs use the machine too.
fn measure(mut step: impl FnMut(u32)) -> f64 {
    let round = |round| {
        let start = Instant::now();
        for n in round * TIMES..(round + 1) * TIMES {
            step(n);
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
