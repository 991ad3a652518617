#![allow(
    clippy::needless_range_loop,
    reason = "plain loops over lanes and taps stay within the instruction set"
)]

use std::arch::x86_64::{
    __m512, _CMP_GE_OQ, _MM_FROUND_TO_NEAREST_INT, _MM_FROUND_TO_NEG_INF, _mm_loadu_si128, _mm512_abs_ps,
    _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_div_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_blend_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps,
    _mm512_roundscale_ps, _mm512_set1_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps, _mm512_storeu_ps,
    _mm512_sub_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};

use super::{ByteRows, Isa, LANES};
use crate::apply::{Job, run as pipeline};

/// 512-bit vectors. Named by code alone that `dispatch` reaches after detection:
/// that is what SAFETY below rests on.
pub(super) struct Avx512;

/// Compiles the pipeline with AVX-512.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn run(job: Job<'_>) {
    pipeline::<Avx512>(job);
}

impl Isa for Avx512 {
    type V = __m512;

    #[inline(always)]
    fn splat(x: f32) -> Self::V {
        // SAFETY: the processor has AVX-512 (see the type).
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self::V {
        // SAFETY: AVX-512; sixteen values lie there, no alignment is asked for.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(x: Self::V, to: &mut [f32; LANES]) {
        // SAFETY: as in `load`.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
    }

    #[inline(always)]
    fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn min(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn abs(x: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_abs_ps(x) }
    }

    #[inline(always)]
    fn floor(x: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_roundscale_ps::<_MM_FROUND_TO_NEG_INF>(x) }
    }

    #[inline(always)]
    fn round(x: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_roundscale_ps::<_MM_FROUND_TO_NEAREST_INT>(x) }
    }

    #[inline(always)]
    fn where_ge(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        // SAFETY: AVX-512.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b), y, x) }
    }

    #[inline(always)]
    fn transpose(rows: &[Self::V; LANES]) -> [Self::V; LANES] {
        // SAFETY: AVX-512.
        unsafe { transpose(rows) }
    }

    #[inline(always)]
    fn columns(rows: &ByteRows<'_>, at: usize, to: &mut [f32; LANES * LANES]) {
        // SAFETY: AVX-512.
        unsafe { columns(rows, at, to) }
    }
}

/// Bytes to floats, turned.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn columns(rows: &ByteRows<'_>, at: usize, to: &mut [f32; LANES * LANES]) {
    assert!(at + LANES <= rows.len(), "sixteen bytes from {at} of {}", rows.len());
    let mut values = [_mm512_set1_ps(0.0); LANES];
    for (value, row) in values.iter_mut().zip(rows.rows()) {
        // SAFETY: every row of `ByteRows` is `len` bytes long, and at + 16 <= len.
        let bytes = unsafe { _mm_loadu_si128(row.as_ptr().add(at).cast()) };
        *value = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    }
    for (k, column) in transpose(&values).into_iter().enumerate() {
        // SAFETY: (k + 1) · LANES is at most LANES · LANES.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr().add(k * LANES), column) };
    }
}

/// In four steps of sixteen shuffles: pairs, quadruples, then blocks of four.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn transpose(rows: &[__m512; LANES]) -> [__m512; LANES] {
    // quads[4 q + m], block b: column 4 b + m of rows 4 q to 4 q + 3.
    let mut quads = [_mm512_set1_ps(0.0); LANES];
    for q in 0..4 {
        let [a, b, c, d] = [rows[4 * q], rows[4 * q + 1], rows[4 * q + 2], rows[4 * q + 3]];
        let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        quads[4 * q] = _mm512_shuffle_ps::<0x44>(ab_low, cd_low);
        quads[4 * q + 1] = _mm512_shuffle_ps::<0xee>(ab_low, cd_low);
        quads[4 * q + 2] = _mm512_shuffle_ps::<0x44>(ab_high, cd_high);
        quads[4 * q + 3] = _mm512_shuffle_ps::<0xee>(ab_high, cd_high);
    }
    let mut columns = [_mm512_set1_ps(0.0); LANES];
    for m in 0..4 {
        let [a, b, c, d] = [quads[m], quads[4 + m], quads[8 + m], quads[12 + m]];
        let (even_top, odd_top) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
        let (even_bottom, odd_bottom) =
            (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
        columns[m] = _mm512_shuffle_f32x4::<0x88>(even_top, even_bottom);
        columns[4 + m] = _mm512_shuffle_f32x4::<0x88>(odd_top, odd_bottom);
        columns[8 + m] = _mm512_shuffle_f32x4::<0xdd>(even_top, even_bottom);
        columns[12 + m] = _mm512_shuffle_f32x4::<0xdd>(odd_top, odd_bottom);
    }
    columns
}
