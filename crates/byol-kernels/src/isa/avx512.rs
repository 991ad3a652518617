use std::arch::x86_64::*;
use std::mem::transmute;

use super::{Isa, Kernel, scalar};
use crate::conv::tile::{self, Pixels, Reads, Sums, Writes};

/// 512-bit vectors; `PAIRS` of bf16 values are multiplied, or f32 values.
pub(super) struct Avx512<const PAIRS: bool>;

/// # Safety
///
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
pub(super) unsafe fn run(kernel: impl Kernel) {
    // SAFETY: passed on.
    unsafe { kernel.run::<Avx512<false>>() }
}

/// # Safety
///
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")]
pub(super) unsafe fn run_pairs(kernel: impl Kernel) {
    // SAFETY: passed on.
    unsafe { kernel.run::<Avx512<true>>() }
}

#[inline(always)]
fn first(n: usize) -> __mmask16 {
    if n >= 16 { !0 } else { (1 << n) - 1 }
}

/// # Safety
///
/// As [`tile::correlate`].
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
#[inline(never)]
unsafe fn correlate<const P: usize, const C: usize>(reads: Reads, weights: *const f32, writes: Writes) {
    // SAFETY: passed on.
    unsafe { tile::correlate::<Avx512<false>, P, C>(reads, weights, writes) }
}

/// # Safety
///
/// As [`tile::correlate`].
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")]
#[inline(never)]
unsafe fn correlate_pairs<const P: usize, const C: usize>(reads: Reads, weights: *const f32, writes: Writes) {
    // SAFETY: passed on.
    unsafe { tile::correlate::<Avx512<true>, P, C>(reads, weights, writes) }
}

/// # Safety
///
/// As [`tile::accumulate`].
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
#[inline(never)]
unsafe fn accumulate<const P: usize, const C: usize, const SOME: bool>(pixels: Pixels, sums: Sums) {
    // SAFETY: passed on.
    unsafe { tile::accumulate::<Avx512<false>, P, C, SOME>(pixels, sums) }
}

/// # Safety
///
/// As [`tile::accumulate`].
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")]
#[inline(never)]
unsafe fn accumulate_pairs<const P: usize, const C: usize, const SOME: bool>(pixels: Pixels, sums: Sums) {
    // SAFETY: passed on.
    unsafe { tile::accumulate::<Avx512<true>, P, C, SOME>(pixels, sums) }
}

impl<const PAIRS: bool> Isa for Avx512<PAIRS> {
    type V = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::V) {
        unsafe { _mm512_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn load_some(from: *const f32, n: usize) -> Self::V {
        unsafe { _mm512_maskz_loadu_ps(first(n), from) }
    }
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, x: Self::V, n: usize) {
        unsafe { _mm512_mask_storeu_ps(to, first(n), x) }
    }
    #[inline(always)]
    unsafe fn fetch(at: *const f32) {
        // SAFETY: a hint.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add_product(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe {
            if PAIRS {
                // The same 512 bits by another name.
                let (a, b) = (transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b));
                _mm512_dpbf16_ps(c, a, b)
            } else {
                _mm512_fmadd_ps(a, b, c)
            }
        }
    }
    #[inline(always)]
    unsafe fn halves(a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            if PAIRS {
                transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(b, a))
            } else {
                scalar::halves::<Self>(a, b)
            }
        }
    }
    #[inline(always)]
    unsafe fn pairs(a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            if PAIRS {
                let halves = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a));
                // 0, 16, 1, 17, ... of 16-bit values.
                let order = _mm512_add_epi32(
                    _mm512_set1_epi32(16 << 16),
                    _mm512_mullo_epi32(
                        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                        _mm512_set1_epi32(0x1_0001),
                    ),
                );
                _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves))
            } else {
                scalar::pairs::<Self>(a, b)
            }
        }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max_or_none(a: Self::V, b: Self::V) -> Self::V {
        // The maximum is `b` where one is no number.
        unsafe { _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a) }
    }
    #[inline(always)]
    unsafe fn where_positive(a: Self::V, x: Self::V) -> Self::V {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(a, _mm512_setzero_ps()), x) }
    }
    #[inline(always)]
    unsafe fn correlate<const P: usize, const C: usize>(reads: Reads, weights: *const f32, writes: Writes) {
        unsafe {
            if PAIRS {
                correlate_pairs::<P, C>(reads, weights, writes);
            } else {
                correlate::<P, C>(reads, weights, writes);
            }
        }
    }
    #[inline(always)]
    unsafe fn accumulate<const P: usize, const C: usize, const SOME: bool>(pixels: Pixels, sums: Sums) {
        unsafe {
            if PAIRS {
                accumulate_pairs::<P, C, SOME>(pixels, sums);
            } else {
                accumulate::<P, C, SOME>(pixels, sums);
            }
        }
    }
}
