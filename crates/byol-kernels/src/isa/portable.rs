use super::Isa;
use crate::conv::tile::{self, Pixels, Reads, Sums, Writes};

/// Arrays of eight, in whatever vectors the compiler finds; `PAIRS` of bf16 values are multiplied,
/// or f32 values.
pub(super) struct Portable<const PAIRS: bool>;

const N: usize = 8;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; N] {
    let mut v = [0.0; N];
    for (i, x) in v.iter_mut().enumerate() {
        *x = f(i);
    }
    v
}

/// # Safety
///
/// As [`tile::correlate`].
#[inline(never)]
unsafe fn correlate<const PAIRS: bool, const P: usize, const C: usize>(
    reads: Reads,
    weights: *const f32,
    writes: Writes,
) {
    // SAFETY: passed on.
    unsafe { tile::correlate::<Portable<PAIRS>, P, C>(reads, weights, writes) }
}

/// # Safety
///
/// As [`tile::accumulate`].
#[inline(never)]
unsafe fn accumulate<const PAIRS: bool, const P: usize, const C: usize, const SOME: bool>(
    pixels: Pixels,
    sums: Sums,
) {
    // SAFETY: passed on.
    unsafe { tile::accumulate::<Portable<PAIRS>, P, C, SOME>(pixels, sums) }
}

impl<const PAIRS: bool> Isa for Portable<PAIRS> {
    type V = [f32; N];
    const LANES: usize = N;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; N]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: valid for N values.
        unsafe { from.cast::<[f32; N]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::V) {
        // SAFETY: valid for N values.
        unsafe { to.cast::<[f32; N]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn load_some(from: *const f32, n: usize) -> Self::V {
        // SAFETY: valid for n values, and no more are read.
        each(|i| if i < n { unsafe { *from.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, x: Self::V, n: usize) {
        for (i, x) in x.into_iter().enumerate().take(n) {
            // SAFETY: valid for n values.
            unsafe { *to.add(i) = x }
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn add_product(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        if PAIRS {
            let high = |x: f32| f32::from_bits(x.to_bits() & 0xFFFF_0000);
            let low = |x: f32| f32::from_bits(x.to_bits() << 16);
            each(|i| c[i] + high(a[i]) * high(b[i]) + low(a[i]) * low(b[i]))
        } else {
            each(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn max_or_none(a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i].is_nan() || a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn where_positive(a: Self::V, x: Self::V) -> Self::V {
        each(|i| if a[i] <= 0.0 { 0.0 } else { x[i] })
    }
    #[inline(always)]
    unsafe fn correlate<const P: usize, const C: usize>(reads: Reads, weights: *const f32, writes: Writes) {
        unsafe { correlate::<PAIRS, P, C>(reads, weights, writes) }
    }
    #[inline(always)]
    unsafe fn accumulate<const P: usize, const C: usize, const SOME: bool>(pixels: Pixels, sums: Sums) {
        unsafe { accumulate::<PAIRS, P, C, SOME>(pixels, sums) }
    }
}
