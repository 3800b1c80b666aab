//! A little randomness from a seed, so that clients that lost a server together do not reconnect
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of Splitmix64 from zero are e220a8397b1dcdaf, 6e789e6aa1b965f4,
    /// 06c45d188009454f, f88bb8a8724c81ec.
    #[test]
    fn it_is_splitmix64() {
        let mut jitter = Jitter::new(0);
        let thousandths = [0xe220_a839_7b1d_cdaf_u64, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]
            .map(|number| Duration::from_millis(number % 1000));
        assert_eq!([0; 3].map(|_: i32| jitter.below(Duration::from_secs(1))), thousandths);
        let fourth = Duration::from_millis(2000 + 2 * (0xf88b_b8a8_724c_81ec_u64 % 1000));
        assert_eq!(jitter.stretch(Duration::from_secs(2)), fourth);
    }
}
