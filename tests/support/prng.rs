//! A small random number generator, so that a seed gives the same capture in every version.

/// The finaliser of `SplitMix64`: a bijection that spreads every input bit over all output bits.
pub const fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `xoshiro256**`, written from its published description (Blackman and Vigna, 2018).
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// The generator of this seed; the state is filled by `SplitMix64`, as its authors advise.
    pub fn new(seed: u64) -> Prng {
        let mut state = [0; 4];
        let mut counter = seed;
        for word in &mut state {
            *word = mix(counter);
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        Prng { state }
    }

    /// The next 64 random bits.
    pub fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number less than `bound`; 0 where the bound is 0. The bias is below 2⁻³² for the bounds
    /// used here, and nothing rests on it.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// One of these. Panics where there is none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len() as u64) as usize]
    }

    /// Puts `all` in any order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.fraction() < probability
    }

    /// A number from 0 up to 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 32 random bits.
    pub fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_its_published_numbers() {
        // The first outputs of SplitMix64 seeded with 1234567.
        let mut counter = 1_234_567u64;
        let mut next = || {
            let value = mix(counter);
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            value
        };
        assert_eq!(next(), 6_457_827_717_110_365_317);
        assert_eq!(next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn bounds_hold() {
        let mut prng = Prng::new(7);
        for _ in 0..10_000 {
            assert!(prng.below(10) < 10);
            assert!((3..=5).contains(&prng.between(3, 5)));
            assert!(prng.fraction() < 1.0);
        }
        assert_eq!(prng.below(0), 0);
    }
}
