//! Values next to those of f32 that bf16 has: rounded to the nearest, to the even one of two.
//!
//! With an instruction for pairs of bf16 values, the tiles take two channels at once (where there are few,
//! two neighbours in a row; in the weight gradient, two pixels or images), in the 32 bits of one f32
//! value. Without one, they take the rounded values: the same products, each exact, at the speed of f32.
//! Where a window is filtered with fewer products (`winograd`), what is rounded are the transformed values.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel, Way, load, run, store};

/// Values of a task.
const TASK: usize = 1 << 14;

/// The nearest bf16 value in the upper half, zeros below.
#[inline(always)]
pub(crate) fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1));
    // Nothing is carried into what is no number.
    (if x.is_nan() { bits | 0x0040_0000 } else { nearest }) & 0xFFFF_0000
}

/// Both in the bits of one, the first below.
#[inline(always)]
pub(crate) fn pair(first: f32, second: f32) -> f32 {
    f32::from_bits(round(first) >> 16 | round(second))
}

/// The bf16 values next to `values`, as f32 ones.
pub(crate) fn rounded(values: &[f32]) -> Vec<f32> {
    let mut to = vec![0.0; values.len()];
    to.par_chunks_mut(TASK).zip(values.par_chunks(TASK)).for_each(|(to, from)| {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(round(*from));
        }
    });
    to
}

/// Pairs of neighbouring channels of pixels of `channels` each; the last may be alone.
pub(super) fn halve(way: Way, to: &mut [f32], from: &[f32], channels: usize) {
    // SAFETY: the lengths are checked there.
    unsafe { run(way, Halve { to, from, channels }) };
}

struct Halve<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
    channels: usize,
}

impl Kernel for Halve<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // Of an even number the pixels can be taken as one.
        let all = if self.channels.is_multiple_of(2) { self.from.len() } else { self.channels };
        if all == 0 {
            return;
        }
        for (to, from) in self.to.chunks_exact_mut(all.div_ceil(2)).zip(self.from.chunks_exact(all)) {
            for (to, from) in to.chunks_mut(I::LANES).zip(from.chunks(2 * I::LANES)) {
                let n = from.len().min(I::LANES);
                // SAFETY: both parts are in the chunk, and half of them is written.
                unsafe {
                    let second = I::load_some(from.as_ptr().add(n), from.len() - n);
                    let halves = I::halves(load::<I>(from.as_ptr(), n), second);
                    store::<I>(to.as_mut_ptr(), halves, to.len());
                }
            }
        }
    }
}

/// Images of `len` values, two in the place of one; the last may be alone.
pub(super) fn pairs(way: Way, images: &[f32], len: usize) -> Vec<f32> {
    let len = len.max(1);
    let mut to = vec![0.0; images.len().div_ceil(2 * len) * len];
    to.par_chunks_mut(len).zip(images.par_chunks(2 * len)).for_each(|(to, from)| {
        let (first, second) = from.split_at(len);
        to.par_chunks_mut(TASK).enumerate().for_each(|(i, to)| {
            let at = i * TASK..i * TASK + to.len();
            let (first, second) = (&first[at.clone()], second.get(at));
            // SAFETY: the lengths are checked there.
            unsafe { run(way, Both { to, first, second }) };
        });
    });
    to
}

struct Both<'a> {
    to: &'a mut [f32],
    first: &'a [f32],
    second: Option<&'a [f32]>,
}

impl Kernel for Both<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let len = self.to.len();
        assert!(self.first.len() >= len && self.second.is_none_or(|second| second.len() >= len));
        for at in (0..len).step_by(I::LANES) {
            let n = (len - at).min(I::LANES);
            // SAFETY: at + n is at most `len`, which all have.
            unsafe {
                let second = match self.second {
                    Some(second) => load::<I>(second.as_ptr().add(at), n),
                    None => I::splat(0.0),
                };
                let pairs = I::pairs(load::<I>(self.first.as_ptr().add(at), n), second);
                store::<I>(self.to.as_mut_ptr().add(at), pairs, n);
            }
        }
    }
}

#[cfg(test)]
#[path = "bf16_tests.rs"]
mod tests;
