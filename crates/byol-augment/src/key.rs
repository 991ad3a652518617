//! Randomness: a view's numbers are a pure function of its key.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Names one view of one picture in one epoch of one run.
///
/// The generator is ChaCha with 8 rounds, its 32-byte seed the four fields as
/// little-endian `u64`. It is the same on every platform and pinned by a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ViewKey {
    /// The run's seed.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The picture's id.
    pub sample: u64,
    /// Which view of the picture: 0 for v, 1 for v′.
    pub view: u64,
}

/// How many numbers a view owns. ChaCha makes 32 at a time, so this is one call.
pub(crate) const N_DRAWS: usize = 32;

/// The numbers that a view owns, each operation reading its own places, so that
/// removing an operation from a policy changes no other operation's draws.
#[derive(Debug, Clone)]
pub(crate) struct Draws([u64; N_DRAWS]);

/// First place of each operation. Never renumbered: views would change.
pub(crate) mod place {
    pub const CROP: usize = 0; // area, aspect, x, y
    pub const HORIZONTAL_FLIP: usize = 4;
    pub const COLOR_JITTER: usize = 6; // apply, brightness, contrast, saturation, hue, order
    pub const GRAYSCALE: usize = 12;
    pub const BLUR: usize = 13; // apply, sigma
    pub const SOLARIZE: usize = 15;
}

impl ViewKey {
    pub(crate) fn draws(&self) -> Draws {
        let mut seed = [0u8; 32];
        for (slot, word) in seed.chunks_exact_mut(8).zip([self.seed, self.epoch, self.sample, self.view]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let mut generator = ChaCha8Rng::from_seed(seed);
        Draws(std::array::from_fn(|_| generator.next_u64()))
    }
}

impl Draws {
    /// Uniform in [0, 1), 53 bits.
    pub fn unit(&self, place: usize) -> f64 {
        (self.0[place] >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn uniform(&self, place: usize, [low, high]: [f64; 2]) -> f64 {
        low + (high - low) * self.unit(place)
    }

    /// True with probability `p`.
    pub fn happens(&self, place: usize, p: f64) -> bool {
        self.unit(place) < p
    }

    /// Uniform in 0..n.
    pub fn below(&self, place: usize, n: u64) -> u64 {
        ((u128::from(self.0[place]) * u128::from(n)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_pinned() {
        let draws = ViewKey { seed: 1, epoch: 2, sample: 3, view: 1 }.draws();
        // ChaCha8, key = [1, 2, 3, 1] as little-endian u64, nonce and counter 0.
        let expected = chacha8_block(&[1, 0, 2, 0, 3, 0, 1, 0], 0);
        let second = chacha8_block(&[1, 0, 2, 0, 3, 0, 1, 0], 1);
        for (i, pair) in expected.chunks(2).chain(second.chunks(2)).enumerate() {
            let word = u64::from(pair[0]) | (u64::from(pair[1]) << 32);
            assert_eq!(draws.0[i], word, "place {i}");
        }
    }

    /// ChaCha from its definition (Bernstein 2008), 8 rounds, zero nonce.
    fn chacha8_block(key: &[u32; 8], counter: u32) -> [u32; 16] {
        let mut start = [0u32; 16];
        start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
        start[4..12].copy_from_slice(key);
        start[12] = counter;
        let mut x = start;
        let mut quarter = |a: usize, b: usize, c: usize, d: usize| {
            x[a] = x[a].wrapping_add(x[b]);
            x[d] = (x[d] ^ x[a]).rotate_left(16);
            x[c] = x[c].wrapping_add(x[d]);
            x[b] = (x[b] ^ x[c]).rotate_left(12);
            x[a] = x[a].wrapping_add(x[b]);
            x[d] = (x[d] ^ x[a]).rotate_left(8);
            x[c] = x[c].wrapping_add(x[d]);
            x[b] = (x[b] ^ x[c]).rotate_left(7);
        };
        for _ in 0..4 {
            quarter(0, 4, 8, 12);
            quarter(1, 5, 9, 13);
            quarter(2, 6, 10, 14);
            quarter(3, 7, 11, 15);
            quarter(0, 5, 10, 15);
            quarter(1, 6, 11, 12);
            quarter(2, 7, 8, 13);
            quarter(3, 4, 9, 14);
        }
        std::array::from_fn(|i| x[i].wrapping_add(start[i]))
    }

    #[test]
    fn uniform_draws_stay_in_their_range() {
        for sample in 0..2000 {
            let draws = ViewKey { seed: 9, epoch: 0, sample, view: 0 }.draws();
            for place in 0..N_DRAWS {
                assert!((0.0..1.0).contains(&draws.unit(place)));
                assert!(draws.below(place, 24) < 24);
                assert_eq!(draws.below(place, 1), 0);
            }
        }
    }
}
