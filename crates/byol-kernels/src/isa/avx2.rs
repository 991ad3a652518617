use std::arch::x86_64::*;

use super::{Isa, Kernel};
use crate::conv::tile::{self, Pixels, Reads, Sums, Writes};

/// 256-bit vectors.
pub(super) struct Avx2;

/// # Safety
///
/// As [`super::run`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(kernel: impl Kernel) {
    // SAFETY: passed on.
    unsafe { kernel.run::<Avx2>() }
}

/// All bits set in the first `n` lanes.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    unsafe {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n.min(8) as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }
}

/// # Safety
///
/// As [`tile::correlate`].
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn correlate<const P: usize, const C: usize>(reads: Reads, weights: *const f32, writes: Writes) {
    // SAFETY: passed on.
    unsafe { tile::correlate::<Avx2, P, C>(reads, weights, writes) }
}

/// # Safety
///
/// As [`tile::accumulate`].
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn accumulate<const P: usize, const C: usize, const SOME: bool>(pixels: Pixels, sums: Sums) {
    // SAFETY: passed on.
    unsafe { tile::accumulate::<Avx2, P, C, SOME>(pixels, sums) }
}

impl Isa for Avx2 {
    type V = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::V) {
        unsafe { _mm256_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn load_some(from: *const f32, n: usize) -> Self::V {
        unsafe { _mm256_maskload_ps(from, first(n)) }
    }
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, x: Self::V, n: usize) {
        unsafe { _mm256_maskstore_ps(to, first(n), x) }
    }
    #[inline(always)]
    unsafe fn fetch(at: *const f32) {
        // SAFETY: a hint.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max_or_none(a: Self::V, b: Self::V) -> Self::V {
        // The maximum is `b` where one is no number.
        unsafe { _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)) }
    }
    #[inline(always)]
    unsafe fn where_positive(a: Self::V, x: Self::V) -> Self::V {
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(a, _mm256_setzero_ps()), x) }
    }
    #[inline(always)]
    unsafe fn correlate<const P: usize, const C: usize>(reads: Reads, weights: *const f32, writes: Writes) {
        unsafe { correlate::<P, C>(reads, weights, writes) }
    }
    #[inline(always)]
    unsafe fn accumulate<const P: usize, const C: usize, const SOME: bool>(pixels: Pixels, sums: Sums) {
        unsafe { accumulate::<P, C, SOME>(pixels, sums) }
    }
}
