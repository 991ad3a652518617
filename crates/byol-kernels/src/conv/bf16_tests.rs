//! Against products in f64 of the same rounded factors, and against products of factors that were
//! not rounded, over random shapes.

use proptest::prelude::*;

use super::super::tests::{assert_close, forward, numbers, products};
use super::super::{Shape, input_grad, weight_grad, winograd};
use super::*;
use crate::isa::{Factors, Path};

fn near(x: f32) -> f32 {
    burn::tensor::bf16::from_f32(x).to_f32()
}

/// Results, gradient of the images, gradient of the weights.
type Three = [Vec<f64>; 3];

fn directly(s: &Shape, x: &[f32], w: &[f32], dy: &[f32], of: fn(f32) -> f32) -> Three {
    let of = |values: &[f32]| -> Vec<f64> { values.iter().map(|x| f64::from(of(*x))).collect() };
    let [rx, rw, rdy] = [x, w, dy].map(of);
    let (mut y, mut dx, mut dw) = (vec![0f64; dy.len()], vec![0f64; x.len()], vec![0f64; w.len()]);
    products(s, |o, i, k| {
        y[o] += rx[i] * rw[k];
        dx[i] += rdy[o] * rw[k];
        dw[k] += rdy[o] * rx[i];
    });
    [y, dx, dw]
}

/// `m · values · mᵀ`, as f32 sums from the left.
fn both_sides<const A: usize, const B: usize>(m: [[f32; B]; A], values: [[f32; B]; B]) -> [[f32; A]; A] {
    let side = |row: &[f32; B], of: [f32; B]| {
        // g₀ and g₂ first, as the kernels add.
        let (first, rest): (Vec<usize>, Vec<usize>) = (0..B).partition(|i| i % 2 == 0);
        let terms = first.into_iter().chain(rest).filter(|i| row[*i] != 0.0);
        let halves = row.iter().any(|m| m.abs() == 0.5);
        let sum: f32 = terms.map(|i| row[i].signum() * of[i]).sum();
        if halves { 0.5 * sum } else { sum }
    };
    let mut left = [[0.0; B]; A];
    for a in 0..A {
        for b in 0..B {
            left[a][b] = side(&m[a], std::array::from_fn(|i| values[i][b]));
        }
    }
    std::array::from_fn(|a| std::array::from_fn(|b| side(&m[b], left[a])))
}

const PIXELS: [[f32; 4]; 4] =
    [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, 1.0, 0.0, -1.0]];
const WINDOW: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
const RESULTS: [[f32; 2]; 4] = [[1.0, 0.0], [1.0, 1.0], [1.0, -1.0], [0.0, -1.0]];

/// Images `[n, h, w, c]`.
struct Images<'a> {
    values: &'a [f32],
    h: usize,
    w: usize,
    c: usize,
}

impl Images<'_> {
    /// A square of a channel; zeros outside.
    fn tile<const N: usize>(&self, n: usize, y: isize, x: isize, c: usize) -> [[f32; N]; N] {
        let at = |y: isize, x: isize| {
            let inside = (0..self.h as isize).contains(&y) && (0..self.w as isize).contains(&x);
            let pixel = || ((n * self.h + y as usize) * self.w + x as usize) * self.c + c;
            if inside { self.values[pixel()] } else { 0.0 }
        };
        std::array::from_fn(|r| std::array::from_fn(|s| at(y + r as isize, x + s as isize)))
    }
}

/// By minimal filtering of transformed and then rounded factors.
fn filtered(s: &Shape, x: &[f32], w: &[f32], dy: &[f32]) -> Three {
    let [out_h, out_w] = s.out();
    let images = Images { values: x, h: s.h, w: s.w, c: s.in_c };
    let gradients = Images { values: dy, h: out_h, w: out_w, c: s.out_c };
    let padding = s.padding as isize;
    let weight = |o: usize, i: usize, r: usize, c: usize| w[((o * s.in_c + i) * 3 + r) * 3 + c];
    let y = correlated(s.n, &images, -padding, [out_h, out_w, s.out_c], &weight);
    let backwards = |o: usize, i: usize, r: usize, c: usize| weight(i, o, 2 - r, 2 - c);
    let dx = correlated(s.n, &gradients, padding - 2, [s.h, s.w, s.in_c], &backwards);
    let mut dw = vec![0f64; w.len()];
    for (o, i) in (0..s.out_c).flat_map(|o| (0..s.in_c).map(move |i| (o, i))) {
        let mut sums = [[0f64; 4]; 4];
        for n in 0..s.n {
            for (ty, tx) in (0..out_h).step_by(2).flat_map(|y| (0..out_w).step_by(2).map(move |x| (y, x))) {
                let (ty, tx) = (ty as isize, tx as isize);
                let d = both_sides(PIXELS, images.tile(n, ty - padding, tx - padding, i));
                let g = both_sides(RESULTS, gradients.tile(n, ty, tx, o));
                for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
                    sums[a][b] += f64::from(near(d[a][b])) * f64::from(near(g[a][b]));
                }
            }
        }
        for (r, c) in (0..3).flat_map(|r| (0..3).map(move |c| (r, c))) {
            for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
                let factor = f64::from(WINDOW[a][r]) * f64::from(WINDOW[b][c]);
                dw[((o * s.in_c + i) * 3 + r) * 3 + c] += factor * sums[a][b];
            }
        }
    }
    [y, dx, dw]
}

fn correlated(
    n: usize,
    images: &Images<'_>,
    origin: isize,
    [out_h, out_w, out_c]: [usize; 3],
    weight: &dyn Fn(usize, usize, usize, usize) -> f32,
) -> Vec<f64> {
    let transformed = |o: usize, i: usize| {
        let g = std::array::from_fn(|r| std::array::from_fn(|c| weight(o, i, r, c)));
        both_sides(WINDOW, g).map(|row| row.map(near))
    };
    let weights: Vec<Vec<[[f32; 4]; 4]>> =
        (0..out_c).map(|o| (0..images.c).map(|i| transformed(o, i)).collect()).collect();
    let mut to = vec![0f64; n * out_h * out_w * out_c];
    for n in 0..n {
        for (ty, tx) in (0..out_h).step_by(2).flat_map(|y| (0..out_w).step_by(2).map(move |x| (y, x))) {
            let pixels: Vec<[[f32; 4]; 4]> = (0..images.c)
                .map(|i| images.tile(n, ty as isize + origin, tx as isize + origin, i))
                .map(|d| both_sides(PIXELS, d).map(|row| row.map(near)))
                .collect();
            for (o, weights) in weights.iter().enumerate() {
                let mut sums = [[0f64; 4]; 4];
                for (d, g) in pixels.iter().zip(weights) {
                    for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
                        sums[a][b] += f64::from(d[a][b]) * f64::from(g[a][b]);
                    }
                }
                for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    if ty + y < out_h && tx + x < out_w {
                        let to = &mut to[((n * out_h + ty + y) * out_w + tx + x) * out_c + o];
                        for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
                            *to += f64::from(RESULTS[a][y]) * f64::from(RESULTS[b][x]) * sums[a][b];
                        }
                    }
                }
            }
        }
    }
    to
}

fn rms(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0f64);
    for x in values {
        sum += x * x;
        n += 1.0;
    }
    (sum / n.max(1.0)).sqrt()
}

/// By pairs in portable code and, where this processor has them, by its instructions; and by the f32
/// kernels of every path.
fn check(s: &Shape) {
    let [out_h, out_w] = s.out();
    let x = numbers(s.n * s.h * s.w * s.in_c, 1);
    let w = numbers(s.out_c * s.in_c * s.kernel[0] * s.kernel[1], 2);
    let dy = numbers(s.n * out_h * out_w * s.out_c, 3);
    let few = winograd::squares_fit(s);
    let rounded = if few { filtered(s, &x, &w, &dy) } else { directly(s, &x, &w, &dy, near) };
    let exact = directly(s, &x, &w, &dy, |x| x);
    for (rounded, exact) in rounded.iter().zip(&exact).filter(|(_, exact)| exact.len() > 1000) {
        let error = rms(rounded.iter().zip(exact).map(|(a, b)| a - b));
        let bound = rms(exact.iter().copied()) / if few { 128.0 } else { 256.0 };
        assert!(error <= bound, "{s:?}: {error} against {bound}");
    }
    let [y, dx, dw] = rounded;
    let so_far: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
    let added: Vec<f64> = dx.iter().zip(&so_far).map(|(dx, x)| dx + f64::from(*x)).collect();
    let terms = s.kernel[0] * s.kernel[1] * if few { 4 } else { 1 };
    let ours = Path::ALL.into_iter().filter(|path| path.is_available());
    let ways = ours.map(|path| Way::of(path, crate::Precision::Bf16));
    for way in ways.chain([Way { path: Path::Portable, factors: Factors::Pairs }]) {
        let by = |what: &str| format!("{way:?}: {what} of {s:?}");
        assert_close(&by("results"), &forward(way, s, &x, &w, None), &y, terms * s.in_c);
        assert_close(&by("input gradient"), &input_grad(way, s, &w, &dy, None), &dx, terms * s.out_c);
        let got = input_grad(way, s, &w, &dy, Some(so_far.clone()));
        assert_close(&by("added gradient"), &got, &added, terms * s.out_c);
        let n = s.n * out_h * out_w * if few { 4 } else { 1 };
        assert_close(&by("weight gradient"), &weight_grad(way, s, &x, &dy), &dw, n);
    }
}

#[test]
fn rounding_is_to_the_nearest_even() {
    let edges = [0.0, -0.0, 1.0, f32::MAX, f32::MIN_POSITIVE, 1e-40, f32::INFINITY, -f32::INFINITY];
    let ties = [0x3F80_8000u32, 0x3F81_8000, 0x3F80_8001, 0x3F80_7FFF].map(f32::from_bits);
    for x in edges.into_iter().chain(ties).chain(numbers(1000, 9)) {
        assert_eq!(f32::from_bits(round(x)).to_bits(), near(x).to_bits(), "{x:e}");
    }
    for bits in [0x7F80_0001, 0x7FFF_FFFF, 0xFFFF_FFFF] {
        assert!(f32::from_bits(round(f32::from_bits(bits))).is_nan());
    }
}

/// The processor's own rounding, of whole vectors and of their rests, is the portable one.
#[test]
fn pairs_are_every_paths() {
    if !Path::Avx512Bf16.is_available() {
        return;
    }
    let way = |path| Way { path, factors: Factors::Pairs };
    for n in 1..70 {
        let mut x = numbers(2 * n, 1);
        x[0] = f32::INFINITY;
        x[n] = f32::from_bits(0x3F81_8000);
        let by = |path| {
            let mut halves = vec![0.0; n];
            halve(way(path), &mut halves, &x, 2 * n);
            let mut odd = vec![0.0; n];
            halve(way(path), &mut odd, &x[1..], 2 * n - 1);
            [halves, odd, pairs(way(path), &x, n)]
                .map(|v| v.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        assert_eq!(by(Path::Avx512Bf16), by(Path::Portable), "{n}");
    }
}

#[test]
fn the_shapes_of_resnets_are_right() {
    for (h, w, in_c, out_c, kernel, stride, padding) in [
        (28, 28, 1, 16, 3, 1, 1),
        (14, 14, 16, 32, 3, 2, 1),
        (14, 14, 16, 32, 1, 2, 0),
        (7, 7, 64, 64, 3, 1, 1),
        (4, 4, 128, 96, 3, 1, 1),
        (33, 31, 3, 64, 7, 2, 3),
        (9, 9, 33, 17, 3, 1, 1),
        (9, 7, 33, 35, 3, 1, 0),
        (12, 12, 40, 64, 1, 1, 0),
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

    /// Where pairs are of neighbours in a row.
    #[test]
    fn few_channels_are_right(
        n in 1usize..4,
        h in 1usize..12,
        w in 1usize..30,
        in_c in 1usize..9,
        out_c in 1usize..40,
        kernel in prop::array::uniform2(1usize..8),
        stride in 1usize..5,
        padding in 0usize..4,
    ) {
        prop_assume!(h + 2 * padding >= kernel[0] && w + 2 * padding >= kernel[1]);
        check(&Shape { n, h, w, in_c, out_c, kernel, stride, padding });
    }

    /// Where windows are filtered with fewer products.
    #[test]
    fn wide_shapes_are_right(
        n in 1usize..4,
        h in 1usize..10,
        w in 1usize..10,
        in_c in 32usize..70,
        out_c in 32usize..70,
        padding in 0usize..3,
    ) {
        prop_assume!(h + 2 * padding >= 3 && w + 2 * padding >= 3);
        check(&Shape { n, h, w, in_c, out_c, kernel: [3, 3], stride: 1, padding });
    }
}
