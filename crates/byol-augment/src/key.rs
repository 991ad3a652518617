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
    pub const VERTICAL_FLIP: usize = 5;
    pub const COLOR_JITTER: usize = 6; // apply, brightness, contrast, saturation, hue, order
    pub const GRAYSCALE: usize = 12;
    pub const BLUR: usize = 13; // apply, sigma
    pub const SOLARIZE: usize = 15;
    pub const RIGHT_ANGLE: usize = 16; // apply, which
    pub const ROTATE: usize = 18; // apply, degrees
    pub const POSTERIZE: usize = 20;
    pub const NOISE: usize = 21; // apply, sigma, seed
    pub const ERASE: usize = 24; // apply; the box has a stream
    pub const CHANNEL_GAIN: usize = 25; // apply; gains and offsets have a stream
}

/// Streams of further numbers, for what needs more than its places.
pub(crate) mod stream {
    pub const CROP: u64 = 1; // the second and later tries: area, aspect each
    pub const ERASE: u64 = 2; // tries: area, aspect each; then x, y
    pub const CHANNEL_GAIN: u64 = 3; // gain, offset of each channel
}

impl ViewKey {
    fn generator(&self) -> ChaCha8Rng {
        let mut seed = [0u8; 32];
        for (slot, word) in seed.chunks_exact_mut(8).zip([self.seed, self.epoch, self.sample, self.view]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }

    pub(crate) fn draws(&self) -> Draws {
        let mut generator = self.generator();
        Draws(std::array::from_fn(|_| generator.next_u64()))
    }

    /// Further numbers, as many as are wanted: another stream (nonce) of the same
    /// key.
    pub(crate) fn stream(&self, stream: u64) -> Stream {
        let mut generator = self.generator();
        generator.set_stream(stream);
        Stream(generator)
    }
}

/// Numbers one after the other.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// Uniform in [low, high).
    pub fn uniform(&mut self, range: [f64; 2]) -> f64 {
        within(self.0.next_u64(), range)
    }

    /// Uniform in 0..n.
    pub fn below(&mut self, n: u64) -> u64 {
        scaled(self.0.next_u64(), n)
    }
}

fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

fn within(word: u64, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * unit(word)
}

fn scaled(word: u64, n: u64) -> u64 {
    ((u128::from(word) * u128::from(n)) >> 64) as u64
}

impl Draws {
    /// Uniform in [0, 1), 53 bits.
    pub fn unit(&self, place: usize) -> f64 {
        unit(self.0[place])
    }

    /// Uniform in [low, high).
    pub fn uniform(&self, place: usize, range: [f64; 2]) -> f64 {
        within(self.0[place], range)
    }

    /// True with probability `p`.
    pub fn happens(&self, place: usize, p: f64) -> bool {
        self.unit(place) < p
    }

    /// Uniform in 0..n.
    pub fn below(&self, place: usize, n: u64) -> u64 {
        scaled(self.0[place], n)
    }

    /// All 64 bits.
    pub fn word(&self, place: usize) -> u64 {
        self.0[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_pinned() {
        let draws = ViewKey { seed: 1, epoch: 2, sample: 3, view: 1 }.draws();
        // ChaCha8, key = [1, 2, 3, 1] as little-endian u64, nonce and counter 0.
        let expected = chacha8_block(&[1, 0, 2, 0, 3, 0, 1, 0], 0, 0);
        let second = chacha8_block(&[1, 0, 2, 0, 3, 0, 1, 0], 1, 0);
        for (i, pair) in expected.chunks(2).chain(second.chunks(2)).enumerate() {
            let word = u64::from(pair[0]) | (u64::from(pair[1]) << 32);
            assert_eq!(draws.0[i], word, "place {i}");
        }
    }

    #[test]
    fn streams_are_other_nonces() {
        let mut stream = ViewKey { seed: 1, epoch: 2, sample: 3, view: 1 }.stream(stream::ERASE);
        let expected = chacha8_block(&[1, 0, 2, 0, 3, 0, 1, 0], 0, 2);
        let word = u64::from(expected[0]) | (u64::from(expected[1]) << 32);
        assert_eq!(stream.uniform([0.0, 1.0]), unit(word));
    }

    /// ChaCha from its definition (Bernstein 2008), 8 rounds, 64-bit nonce.
    fn chacha8_block(key: &[u32; 8], counter: u32, nonce: u32) -> [u32; 16] {
        let mut start = [0u32; 16];
        start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
        start[4..12].copy_from_slice(key);
        start[12] = counter;
        start[14] = nonce;
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
