//! Products of matrices that lie row by row. Sums are taken in parts that depend on the
//! number of rows alone, and joined in order: the same bits on any number of threads.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Rows that are worked on at once, so that they stay in the cache.
pub(crate) const BLOCK: usize = 128;
/// Most parts of a sum.
const PARTS: usize = 16;

/// Rows in blocks, each handled by `f`; results in order.
pub(crate) fn map_blocks<T: Send>(n_rows: usize, f: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    map_rows(n_rows, BLOCK, f)
}

/// Rows in blocks of `rows`, each handled by `f`; results in order.
pub(crate) fn map_rows<T: Send>(n_rows: usize, rows: usize, f: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    let of = |i: usize| i * rows..((i + 1) * rows).min(n_rows);
    (0..n_rows.div_ceil(rows)).into_par_iter().map(|i| f(of(i))).collect()
}

/// Rows in few parts, for what each of them sums up; results in order.
pub(crate) fn map_parts<T: Send>(n_rows: usize, f: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    let rows = n_rows.div_ceil(BLOCK).div_ceil(PARTS) * BLOCK;
    (0..n_rows.div_ceil(rows.max(1)))
        .into_par_iter()
        .map(|i| f(i * rows..((i + 1) * rows).min(n_rows)))
        .collect()
}

/// The blocks of a part.
pub(crate) fn blocks(part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = part.end;
    part.step_by(BLOCK).map(move |start| start..(start + BLOCK).min(end))
}

/// `values` as rows of `cols`.
pub(crate) fn rows_of<T>(values: &[T], cols: usize) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(values, values.len() / cols.max(1), cols)
}

/// out = a · b, or out += a · b.
pub(crate) fn multiply<T: ComplexField>(
    out: &mut [T],
    accumulate: Accum,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
) {
    let out = MatMut::from_row_major_slice_mut(out, a.nrows(), b.ncols());
    matmul(out, accumulate, a, b, T::one_impl(), Par::Seq);
    leave_vectors();
}

/// faer's assembly leaves the upper halves of vector registers in use, and what comes after
/// then waits at every change from old to new instructions: `exp` takes 125 ns and not 5.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) fn leave_vectors() {
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the machine has AVX, and a compiler keeps nothing in these halves over a call.
        unsafe { std::arch::x86_64::_mm256_zeroupper() }
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn leave_vectors() {}

/// The sum of all, entry by entry, in order.
pub(crate) fn total(parts: Vec<Vec<f64>>, len: usize) -> Vec<f64> {
    let mut sum = vec![0.0; len];
    for part in parts {
        sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
    }
    sum
}
