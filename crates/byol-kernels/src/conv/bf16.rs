//! Convolutions of bf16 values, summed in f32: operands are rounded to the nearest bf16 value, to
//! the even one of two.
//!
//! With an instruction for pairs of bf16 values, the kernels for any shape take two channels at once
//! (in the weight gradient, two images), in the 32 bits of one f32 value. Without one, f32 kernels
//! take the rounded values: the same products, each exact, at the speed of f32.

use rayon::prelude::*;

use super::Shape;
use crate::isa::{Path, Way};

/// Values of a task.
const TASK: usize = 1 << 14;

/// The nearest bf16 value in the upper half, zeros below.
#[inline(always)]
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1));
    // Nothing is carried into what is no number.
    (if x.is_nan() { bits | 0x0040_0000 } else { nearest }) & 0xFFFF_0000
}

/// The bf16 values next to `values`, as f32 ones.
fn rounded(values: &[f32]) -> Vec<f32> {
    let mut to = vec![0.0; values.len()];
    to.par_chunks_mut(TASK).zip(values.par_chunks(TASK)).for_each(|(to, from)| {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(round(*from));
        }
    });
    to
}

/// Two rows as one of pairs; the second may be missing.
fn pair_rows(to: &mut [f32], first: &[f32], second: Option<&[f32]>) {
    match second {
        Some(second) => {
            for ((to, a), b) in to.iter_mut().zip(first).zip(second) {
                *to = f32::from_bits(round(*a) >> 16 | round(*b));
            }
        }
        None => {
            for (to, a) in to.iter_mut().zip(first) {
                *to = f32::from_bits(round(*a) >> 16);
            }
        }
    }
}

/// `[outer][n][len]` as `[outer][n / 2, rounded up][len]` of pairs of neighbours.
fn pairs(values: &[f32], n: usize, len: usize) -> Vec<f32> {
    let half = n.div_ceil(2);
    let mut to = vec![0.0; values.len() / (n * len) * half * len];
    if len == 1 {
        // Rows of channels, some of them together.
        let rows = (TASK / n).max(1);
        to.par_chunks_mut(rows * half).zip(values.par_chunks(rows * n)).for_each(|(to, from)| {
            for (to, from) in to.chunks_exact_mut(half).zip(from.chunks_exact(n)) {
                let (both, rest) = from.as_chunks::<2>();
                for (to, [a, b]) in to.iter_mut().zip(both) {
                    *to = f32::from_bits(round(*a) >> 16 | round(*b));
                }
                if let (Some(to), [last]) = (to.last_mut(), rest) {
                    *to = f32::from_bits(round(*last) >> 16);
                }
            }
        });
    } else {
        to.par_chunks_mut(len).enumerate().for_each(|(i, to)| {
            let (outer, pair) = (i / half, i % half);
            let row = |nth: usize| &values[(outer * n + nth) * len..][..len];
            pair_rows(to, row(2 * pair), (2 * pair + 1 < n).then(|| row(2 * pair + 1)));
        });
    }
    to
}

/// [`super::forward`] of bf16 values.
pub(crate) fn forward(path: Path, shape: &Shape, images: &[f32], weights: &[f32]) -> Vec<f32> {
    if path == Path::Avx512Bf16 {
        forward_by_pairs(path, shape, images, weights)
    } else {
        super::forward(path, shape, &rounded(images), &rounded(weights), None)
    }
}

/// [`super::input_grad`] of bf16 values; what is there so far is f32.
pub(crate) fn input_grad(
    path: Path,
    shape: &Shape,
    weights: &[f32],
    dy: &[f32],
    so_far: Option<Vec<f32>>,
) -> Vec<f32> {
    if path == Path::Avx512Bf16 {
        input_grad_by_pairs(path, shape, weights, dy, so_far)
    } else {
        super::input_grad(path, shape, &rounded(weights), &rounded(dy), so_far)
    }
}

/// [`super::weight_grad`] of bf16 values.
pub(crate) fn weight_grad(path: Path, shape: &Shape, images: &[f32], dy: &[f32]) -> Vec<f32> {
    if path == Path::Avx512Bf16 {
        weight_grad_by_pairs(path, shape, images, dy)
    } else {
        super::weight_grad(path, shape, &rounded(images), &rounded(dy))
    }
}

/// Pairs of input channels.
fn forward_by_pairs(path: Path, shape: &Shape, images: &[f32], weights: &[f32]) -> Vec<f32> {
    let images = pairs(images, shape.in_c, 1);
    let weights = pairs(weights, shape.in_c, shape.kernel[0] * shape.kernel[1]);
    let of_pairs = Shape { in_c: shape.in_c.div_ceil(2), ..*shape };
    super::forward_directly(Way::pairs(path), &of_pairs, &images, &weights, None)
}

/// Pairs of result channels.
fn input_grad_by_pairs(
    path: Path,
    shape: &Shape,
    weights: &[f32],
    dy: &[f32],
    so_far: Option<Vec<f32>>,
) -> Vec<f32> {
    let dy = pairs(dy, shape.out_c, 1);
    let weights = pairs(weights, shape.out_c, shape.in_c * shape.kernel[0] * shape.kernel[1]);
    let of_pairs = Shape { out_c: shape.out_c.div_ceil(2), ..*shape };
    super::input_grad_directly(Way::pairs(path), &of_pairs, &weights, &dy, so_far)
}

/// Pairs of images.
fn weight_grad_by_pairs(path: Path, shape: &Shape, images: &[f32], dy: &[f32]) -> Vec<f32> {
    let [out_h, out_w] = shape.out();
    let images = pairs(images, shape.n, shape.h * shape.w * shape.in_c);
    let dy = pairs(dy, shape.n, out_h * out_w * shape.out_c);
    let of_pairs = Shape { n: shape.n.div_ceil(2), ..*shape };
    super::weight_grad_directly(Way::pairs(path), &of_pairs, &images, &dy)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{assert_close, numbers, products};
    use super::*;

    /// Against f64 products of rounded values: by pairs in portable code and, where this processor
    /// has them, by its instructions; and by the f32 kernels of every path.
    fn check(s: &Shape) {
        let [out_h, out_w] = s.out();
        let x = numbers(s.n * s.h * s.w * s.in_c, 1);
        let w = numbers(s.out_c * s.in_c * s.kernel[0] * s.kernel[1], 2);
        let dy = numbers(s.n * out_h * out_w * s.out_c, 3);
        let near = |values: &[f32]| -> Vec<f64> {
            values.iter().map(|x| f64::from(burn::tensor::bf16::from_f32(*x).to_f32())).collect()
        };
        let [rx, rw, rdy] = [&x, &w, &dy].map(|values| near(values));
        let (mut y, mut dx, mut dw) = (vec![0f64; dy.len()], vec![0f64; x.len()], vec![0f64; w.len()]);
        products(s, |o, i, k| {
            y[o] += rx[i] * rw[k];
            dx[i] += rdy[o] * rw[k];
            dw[k] += rdy[o] * rx[i];
        });
        let so_far: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
        let added: Vec<f64> = dx.iter().zip(&so_far).map(|(dx, x)| dx + f64::from(*x)).collect();
        let terms = s.kernel[0] * s.kernel[1];
        let close = |by: &str, got: [Vec<f32>; 4]| {
            let [of_y, of_dx, of_added, of_dw] = got;
            assert_close(&format!("{by}: results of {s:?}"), &of_y, &y, terms * s.in_c);
            assert_close(&format!("{by}: input gradient of {s:?}"), &of_dx, &dx, terms * s.out_c);
            assert_close(&format!("{by}: added gradient of {s:?}"), &of_added, &added, terms * s.out_c);
            assert_close(&format!("{by}: weight gradient of {s:?}"), &of_dw, &dw, s.n * out_h * out_w);
        };
        for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
            let got = [
                forward(path, s, &x, &w),
                input_grad(path, s, &w, &dy, None),
                input_grad(path, s, &w, &dy, Some(so_far.clone())),
                weight_grad(path, s, &x, &dy),
            ];
            close(&format!("{path:?}"), got);
        }
        let got = [
            forward_by_pairs(Path::Portable, s, &x, &w),
            input_grad_by_pairs(Path::Portable, s, &w, &dy, None),
            input_grad_by_pairs(Path::Portable, s, &w, &dy, Some(so_far)),
            weight_grad_by_pairs(Path::Portable, s, &x, &dy),
        ];
        close("portable pairs", got);
    }

    #[test]
    fn rounding_is_to_the_nearest_even() {
        let near = |x: f32| burn::tensor::bf16::from_f32(x).to_f32();
        let edges = [0.0, -0.0, 1.0, f32::MAX, f32::MIN_POSITIVE, 1e-40, f32::INFINITY, -f32::INFINITY];
        let ties = [0x3F80_8000u32, 0x3F81_8000, 0x3F80_8001, 0x3F80_7FFF].map(f32::from_bits);
        for x in edges.into_iter().chain(ties).chain(numbers(1000, 9)) {
            assert_eq!(f32::from_bits(round(x)).to_bits(), near(x).to_bits(), "{x:e}");
        }
        for bits in [0x7F80_0001, 0x7FFF_FFFF, 0xFFFF_FFFF] {
            assert!(f32::from_bits(round(f32::from_bits(bits))).is_nan());
        }
    }

    #[test]
    fn the_shapes_of_resnets_are_right() {
        for (h, w, in_c, out_c, kernel, stride, padding) in [
            (28, 28, 1, 16, 3, 1, 1),
            (14, 14, 16, 32, 3, 2, 1),
            (14, 14, 16, 32, 1, 2, 0),
            (7, 7, 64, 64, 3, 1, 1),
            (33, 31, 3, 64, 7, 2, 3),
            (9, 9, 33, 17, 3, 1, 1),
        ] {
            check(&Shape { n: 3, h, w, in_c, out_c, kernel: [kernel; 2], stride, padding });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_shape_is_right(
            n in 1usize..5,
            h in 1usize..12,
            w in 1usize..12,
            in_c in 1usize..40,
            out_c in 1usize..40,
            kernel in prop::array::uniform2(1usize..5),
            stride in 1usize..4,
            padding in 0usize..3,
        ) {
            prop_assume!(h + 2 * padding >= kernel[0] && w + 2 * padding >= kernel[1]);
            check(&Shape { n, h, w, in_c, out_c, kernel, stride, padding });
        }
    }
}
