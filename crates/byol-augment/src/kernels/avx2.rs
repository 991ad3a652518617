#![allow(
    clippy::needless_range_loop,
    reason = "plain loops over lanes and taps stay within the instruction set"
)]

use std::arch::x86_64::{
    __m256, _CMP_GE_OQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm_loadl_epi64, _mm256_add_ps,
    _mm256_andnot_ps, _mm256_blendv_ps, _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_div_ps, _mm256_floor_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps,
    _mm256_mul_ps, _mm256_permute2f128_ps, _mm256_round_ps, _mm256_set1_ps, _mm256_shuffle_ps,
    _mm256_storeu_ps, _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::{ByteRows, Isa, LANES};
use crate::apply::{Job, run as pipeline};

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// 256-bit vectors, two for sixteen values. Named by code alone that `dispatch`
/// reaches after detection: that is what SAFETY below rests on.
pub(super) struct Avx2;

/// Compiles the pipeline with AVX2.
#[target_feature(enable = "avx2,fma")]
pub(super) fn run(job: Job<'_>) {
    pipeline::<Avx2>(job);
}

impl Isa for Avx2 {
    type V = [__m256; 2];

    #[inline(always)]
    fn splat(x: f32) -> Self::V {
        // SAFETY: the processor has AVX2 (see the type).
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self::V {
        let from = from.as_ptr();
        // SAFETY: AVX2; sixteen values lie there, no alignment is asked for.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }

    #[inline(always)]
    fn store(x: Self::V, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr();
        // SAFETY: as in `load`.
        unsafe {
            _mm256_storeu_ps(to, x[0]);
            _mm256_storeu_ps(to.add(8), x[1]);
        }
    }

    #[inline(always)]
    fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn div(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: AVX2, with FMA.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    fn min(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn abs(x: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_andnot_ps(sign, x[0]), _mm256_andnot_ps(sign, x[1])]
        }
    }

    #[inline(always)]
    fn floor(x: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe { [_mm256_floor_ps(x[0]), _mm256_floor_ps(x[1])] }
    }

    #[inline(always)]
    fn round(x: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe { [_mm256_round_ps::<NEAREST>(x[0]), _mm256_round_ps::<NEAREST>(x[1])] }
    }

    #[inline(always)]
    fn where_ge(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        // SAFETY: AVX2.
        unsafe { [where_ge(a[0], b[0], x[0], y[0]), where_ge(a[1], b[1], x[1], y[1])] }
    }

    #[inline(always)]
    fn transpose(rows: &[Self::V; LANES]) -> [Self::V; LANES] {
        // SAFETY: AVX2.
        unsafe { transpose(rows) }
    }

    #[inline(always)]
    fn columns(rows: &ByteRows<'_>, at: usize, to: &mut [f32; LANES * LANES]) {
        // SAFETY: AVX2.
        unsafe { columns(rows, at, to) }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn where_ge(a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
    _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_GE_OQ>(a, b))
}

/// Quarter by quarter.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn transpose(rows: &[[__m256; 2]; LANES]) -> [[__m256; 2]; LANES] {
    let mut out = [[_mm256_set1_ps(0.0); 2]; LANES];
    for high in 0..2 {
        for right in 0..2 {
            let mut block = [_mm256_set1_ps(0.0); 8];
            for k in 0..8 {
                block[k] = rows[8 * high + k][right];
            }
            let turned = turn(block);
            for k in 0..8 {
                out[8 * right + k][high] = turned[k];
            }
        }
    }
    out
}

/// Bytes to floats, turned.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn columns(rows: &ByteRows<'_>, at: usize, to: &mut [f32; LANES * LANES]) {
    assert!(at + LANES <= rows.len(), "sixteen bytes from {at} of {}", rows.len());
    let row = rows.rows();
    for first in [0, 8] {
        for right in [0, 8] {
            let mut block = [_mm256_set1_ps(0.0); 8];
            for k in 0..8 {
                // SAFETY: every row of `ByteRows` is `len` bytes long, and at + 16 <= len.
                block[k] = unsafe { floats(row[first + k].as_ptr().add(at + right)) };
            }
            let turned = turn(block);
            for k in 0..8 {
                // SAFETY: (right + k) · LANES + first + 8 is at most LANES · LANES.
                unsafe { _mm256_storeu_ps(to.as_mut_ptr().add((right + k) * LANES + first), turned[k]) };
            }
        }
    }
}

/// # Safety
///
/// Eight bytes must lie at `bytes`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn floats(bytes: *const u8) -> __m256 {
    // SAFETY: the caller's promise; no alignment is asked for.
    let bytes = unsafe { _mm_loadl_epi64(bytes.cast()) };
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
}

/// Rows become columns.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn turn([a, b, c, d, e, f, g, h]: [__m256; 8]) -> [__m256; 8] {
    let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    let (ef_low, ef_high) = (_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f));
    let (gh_low, gh_high) = (_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h));
    let top = [
        _mm256_shuffle_ps::<0x44>(ab_low, cd_low),
        _mm256_shuffle_ps::<0xee>(ab_low, cd_low),
        _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
        _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
    ];
    let bottom = [
        _mm256_shuffle_ps::<0x44>(ef_low, gh_low),
        _mm256_shuffle_ps::<0xee>(ef_low, gh_low),
        _mm256_shuffle_ps::<0x44>(ef_high, gh_high),
        _mm256_shuffle_ps::<0xee>(ef_high, gh_high),
    ];
    [
        _mm256_permute2f128_ps::<0x20>(top[0], bottom[0]),
        _mm256_permute2f128_ps::<0x20>(top[1], bottom[1]),
        _mm256_permute2f128_ps::<0x20>(top[2], bottom[2]),
        _mm256_permute2f128_ps::<0x20>(top[3], bottom[3]),
        _mm256_permute2f128_ps::<0x31>(top[0], bottom[0]),
        _mm256_permute2f128_ps::<0x31>(top[1], bottom[1]),
        _mm256_permute2f128_ps::<0x31>(top[2], bottom[2]),
        _mm256_permute2f128_ps::<0x31>(top[3], bottom[3]),
    ]
}
