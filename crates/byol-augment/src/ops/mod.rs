//! The operations on planes of `f32` (CHW). Each is written once, in plain Rust,
//! and compiled for each instruction set by [`kernels`](crate::kernels).
//!
//! Values are in [0, 1] under the paper's semantics and whole levels, 0 to 255,
//! under torchvision's. `TV` selects the latter.

pub(crate) mod blur;
pub(crate) mod crop;
pub(crate) mod pointwise;
pub(crate) mod taps;
pub(crate) mod whole;

use crate::kernels::LANES;

#[cfg(test)]
mod golden;

/// The largest value.
pub(crate) const fn top<const TV: bool>() -> f32 {
    if TV { 255.0 } else { 1.0 }
}

/// Into the range of values. A comparison a side: no test for NaN.
#[inline(always)]
pub(crate) fn clip<const TV: bool>(x: f32) -> f32 {
    let top = top::<TV>();
    let x = if x > 0.0 { x } else { 0.0 };
    if x < top { x } else { top }
}

/// The larger; one instruction, unlike `f32::max`.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The smaller; one instruction, unlike `f32::min`.
#[inline(always)]
pub(crate) fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// To the nearest whole level under torchvision's semantics, as its resampling and
/// blur round.
#[inline(always)]
pub(crate) fn rounded<const TV: bool>(x: f32) -> f32 {
    if TV { x.round_ties_even() } else { x }
}

/// The sixteen values from `at` on.
#[inline(always)]
pub(crate) fn lanes(values: &[f32], at: usize) -> &[f32; LANES] {
    // Never absent: buffers are made with room for whole vectors.
    values[at..].first_chunk().unwrap_or(&[0.0; LANES])
}

/// The sixteen values from `at` on, to be written.
#[inline(always)]
pub(crate) fn lanes_mut(values: &mut [f32], at: usize) -> &mut [f32; LANES] {
    let slice = &mut values[at..at + LANES];
    #[allow(clippy::unwrap_used, reason = "the slice has just been cut to this length")]
    slice.try_into().unwrap()
}

/// Mirrors an index about the edge pixels until it falls inside.
#[inline(always)]
pub(crate) fn reflect(index: isize, size: usize) -> usize {
    if (0..size as isize).contains(&index) {
        return index as usize;
    }
    if size == 1 {
        return 0;
    }
    let period = 2 * (size as isize - 1);
    let folded = index.rem_euclid(period);
    folded.min(period - folded) as usize
}
