//! A little randomness from a seed, so that clients that lost a server together do not come back
//! together. Splitmix64: as good as this needs, and a few lines.

use core::time::Duration;

#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From `least` to twice that.
    pub(super) fn stretch(&mut self, least: Duration) -> Duration {
        least + self.below(least)
    }

    /// From nothing up to `most`.
    pub(super) fn below(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let thousandths = u32::try_from(mixed % 1000).expect("below a thousand");
        most * thousandths / 1000
    }
}
