use super::{ByteRows, Isa, LANES};
use crate::ops::{larger, smaller};

/// Plain Rust: the reference.
pub(crate) struct Portable;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for (l, out) in out.iter_mut().enumerate() {
        *out = f(l);
    }
    out
}

impl Isa for Portable {
    type V = [f32; LANES];

    #[inline(always)]
    fn splat(x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self::V {
        *from
    }

    #[inline(always)]
    fn store(x: Self::V, to: &mut [f32; LANES]) {
        *to = x;
    }

    #[inline(always)]
    fn add(a: Self::V, b: Self::V) -> Self::V {
        each(|l| a[l] + b[l])
    }

    #[inline(always)]
    fn sub(a: Self::V, b: Self::V) -> Self::V {
        each(|l| a[l] - b[l])
    }

    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        each(|l| a[l] * b[l])
    }

    #[inline(always)]
    fn div(a: Self::V, b: Self::V) -> Self::V {
        each(|l| a[l] / b[l])
    }

    /// In `f64`, where the product is exact: that is the fused result but for one
    /// in half a billion, and fast on processors that cannot fuse.
    #[inline(always)]
    fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        each(|l| (f64::from(a[l]) * f64::from(b[l]) + f64::from(c[l])) as f32)
    }

    #[inline(always)]
    fn min(a: Self::V, b: Self::V) -> Self::V {
        each(|l| smaller(a[l], b[l]))
    }

    #[inline(always)]
    fn max(a: Self::V, b: Self::V) -> Self::V {
        each(|l| larger(a[l], b[l]))
    }

    #[inline(always)]
    fn abs(x: Self::V) -> Self::V {
        each(|l| x[l].abs())
    }

    #[inline(always)]
    fn floor(x: Self::V) -> Self::V {
        each(|l| x[l].floor())
    }

    #[inline(always)]
    fn round(x: Self::V) -> Self::V {
        each(|l| x[l].round_ties_even())
    }

    #[inline(always)]
    fn where_ge(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        each(|l| if a[l] >= b[l] { x[l] } else { y[l] })
    }

    #[inline(always)]
    fn transpose(rows: &[Self::V; LANES]) -> [Self::V; LANES] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }

    #[inline(always)]
    fn columns(rows: &ByteRows<'_>, at: usize, to: &mut [f32; LANES * LANES]) {
        for (k, column) in to.chunks_exact_mut(LANES).enumerate() {
            for (value, row) in column.iter_mut().zip(rows.rows()) {
                *value = f32::from(row[at + k]);
            }
        }
    }
}
