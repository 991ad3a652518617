//! Against seven nested loops in f64, over random shapes, on every path of this machine.

use proptest::prelude::*;

use super::*;
use crate::isa::{Factors, Path};

pub(super) fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let hash = |i: u32| {
        let mut h = i.wrapping_mul(2_654_435_769) ^ seed;
        h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
        h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
        ((h ^ (h >> 16)) >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..n as u32).map(hash).collect()
}

pub(super) fn forward(
    way: impl Into<Way>,
    s: &Shape,
    x: &[f32],
    w: &[f32],
    after: Option<After<'_>>,
) -> Vec<f32> {
    let way = way.into();
    super::forward(way, s, x, &Prepared::new(way, s, w), after)
}

/// Calls with (result index, input index, weight index) of every product.
pub(super) fn products(s: &Shape, mut each: impl FnMut(usize, usize, usize)) {
    let [out_h, out_w] = s.out();
    let [kh, kw] = s.kernel;
    for n in 0..s.n {
        for y in 0..out_h {
            for x in 0..out_w {
                for o in 0..s.out_c {
                    for (r, c) in (0..kh).flat_map(|r| (0..kw).map(move |c| (r, c))) {
                        let iy = (y * s.stride + r).wrapping_sub(s.padding);
                        let ix = (x * s.stride + c).wrapping_sub(s.padding);
                        if iy >= s.h || ix >= s.w {
                            continue;
                        }
                        for i in 0..s.in_c {
                            each(
                                ((n * out_h + y) * out_w + x) * s.out_c + o,
                                ((n * s.h + iy) * s.w + ix) * s.in_c + i,
                                ((o * s.in_c + i) * kh + r) * kw + c,
                            );
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn assert_close(what: &str, got: &[f32], expected: &[f64], terms: usize) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let bound = 1e-6 * (terms as f64).sqrt() * 4.0 + 1e-6;
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((f64::from(*got) - expected).abs() <= bound, "{what} at {i}: {got} against {expected}");
    }
}

fn check(s: &Shape) {
    let [out_h, out_w] = s.out();
    let x = numbers(s.n * s.h * s.w * s.in_c, 1);
    let w = numbers(s.out_c * s.in_c * s.kernel[0] * s.kernel[1], 2);
    let dy = numbers(s.n * out_h * out_w * s.out_c, 3);
    let (mut y, mut dx, mut dw) = (vec![0f64; dy.len()], vec![0f64; x.len()], vec![0f64; w.len()]);
    products(s, |o, i, k| {
        let of = f64::from;
        y[o] += of(x[i]) * of(w[k]);
        dx[i] += of(dy[o]) * of(w[k]);
        dw[k] += of(dy[o]) * of(x[i]);
    });
    let taps = s.kernel[0] * s.kernel[1];
    let mut bits: Option<[Vec<f32>; 3]> = None;
    for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
        let got = [
            forward(path, s, &x, &w, None),
            input_grad(path, s, &w, &dy, None),
            weight_grad(path, s, &x, &dy),
        ];
        let so_far: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
        let added = input_grad(path, s, &w, &dy, Some(so_far));
        let dx_added: Vec<f64> = dx.iter().zip(&x).map(|(dx, x)| dx + 2.0 * f64::from(*x)).collect();
        assert_close(&format!("{path:?} added gradient of {s:?}"), &added, &dx_added, taps * s.out_c);
        assert_close(&format!("{path:?} results of {s:?}"), &got[0], &y, taps * s.in_c);
        assert_close(&format!("{path:?} input gradient of {s:?}"), &got[1], &dx, taps * s.out_c);
        assert_close(&format!("{path:?} weight gradient of {s:?}"), &got[2], &dw, s.n * out_h * out_w);
        let [scale, offset] = [5, 6].map(|seed| numbers(s.out_c, seed));
        let shortcut = numbers(y.len(), 7);
        for (shortcut, relu) in [(None, true), (Some(&shortcut[..]), true), (Some(&shortcut[..]), false)] {
            let after = After { scale: &scale, offset: &offset, shortcut, relu };
            let at_once = forward(path, s, &x, &w, Some(after));
            let later = crate::norm::affine(path, &got[0], &scale, &offset, shortcut, relu);
            assert_eq!(at_once, later, "{path:?} with what follows, of {s:?}");
        }
        if path != Path::Portable {
            if let Some(bits) = &bits {
                assert_eq!(bits, &got, "AVX2 and AVX-512 give the same bits: {s:?}");
            }
            bits = Some(got);
        }
    }
}

#[test]
fn the_shapes_of_resnets_are_right() {
    for (h, w, in_c, out_c, kernel, stride, padding) in [
        (28, 28, 1, 16, 3, 1, 1),
        (14, 14, 16, 16, 3, 1, 1),
        (14, 14, 16, 32, 3, 2, 1),
        (14, 14, 16, 32, 1, 2, 0),
        (7, 7, 64, 64, 3, 1, 1),
        (4, 4, 128, 128, 3, 1, 1),
        (33, 31, 3, 64, 7, 2, 3),
        (16, 16, 64, 48, 1, 1, 0),
        (9, 9, 33, 17, 3, 1, 1),
    ] {
        check(&Shape { n: 3, h, w, in_c, out_c, kernel: [kernel; 2], stride, padding });
    }
}

/// Where the number of parts of a weight gradient depends on its size.
#[test]
fn parts_of_weight_gradients_are_every_paths() {
    let s = Shape { n: 16, h: 6, w: 6, in_c: 512, out_c: 48, kernel: [3, 3], stride: 1, padding: 1 };
    let (x, dy) = (numbers(16 * 36 * 512, 1), numbers(16 * 36 * 48, 2));
    let fast = [Path::Avx2, Path::Avx512].into_iter().filter(|path| path.is_available());
    let bits: Vec<Vec<f32>> = fast.map(|path| weight_grad(path, &s, &x, &dy)).collect();
    assert!(bits.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn large_images_are_cut_into_rows() {
    check(&Shape { n: 2, h: 70, w: 90, in_c: 12, out_c: 14, kernel: [3, 3], stride: 1, padding: 1 });
    // Panels of weights above the limit, one row of the window at a time.
    check(&Shape { n: 1, h: 5, w: 5, in_c: 920, out_c: 64, kernel: [3, 3], stride: 2, padding: 1 });
    check(&Shape { n: 1, h: 120, w: 110, in_c: 16, out_c: 8, kernel: [5, 3], stride: 2, padding: 2 });
    // Rows that are transformed: in strips, of more pixels than fit, and of several images a task.
    check(&Shape { n: 40, h: 9, w: 8, in_c: 16, out_c: 18, kernel: [3, 3], stride: 1, padding: 1 });
    check(&Shape { n: 2, h: 40, w: 45, in_c: 31, out_c: 16, kernel: [3, 3], stride: 1, padding: 1 });
    check(&Shape { n: 1, h: 3, w: 1400, in_c: 16, out_c: 17, kernel: [3, 3], stride: 1, padding: 2 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_is_right(
        n in 1usize..5,
        h in 1usize..12,
        w in 1usize..20,
        in_c in 1usize..40,
        out_c in 1usize..40,
        kernel in prop::array::uniform2(1usize..6),
        stride in 1usize..4,
        padding in 0usize..4,
    ) {
        prop_assume!(h + 2 * padding >= kernel[0] && w + 2 * padding >= kernel[1]);
        check(&Shape { n, h, w, in_c, out_c, kernel, stride, padding });
    }

    /// Where there are channels enough for the transforms and for packed samples.
    #[test]
    fn wide_shapes_are_right(
        n in 1usize..4,
        h in 1usize..12,
        w in 1usize..12,
        in_c in 30usize..72,
        out_c in 30usize..72,
        kernel in prop_oneof![Just([3, 3]), Just([1, 1]), Just([3, 2])],
        stride in 1usize..3,
        padding in 0usize..4,
    ) {
        prop_assume!(h + 2 * padding >= kernel[0] && w + 2 * padding >= kernel[1]);
        check(&Shape { n, h, w, in_c, out_c, kernel, stride, padding });
    }

    /// Where rows alone are transformed.
    #[test]
    fn narrow_shapes_are_right(
        n in 1usize..4,
        h in 1usize..14,
        w in 1usize..40,
        [in_c, out_c] in prop_oneof![[16usize..32, 16usize..72], [16usize..72, 16usize..32]],
        padding in 0usize..4,
    ) {
        prop_assume!(h + 2 * padding >= 3 && w + 2 * padding >= 3);
        check(&Shape { n, h, w, in_c, out_c, kernel: [3, 3], stride: 1, padding });
    }

    /// What is no number reaches every result that sees it, and no other image.
    #[test]
    fn no_number_stays_no_number(at in 0usize..64, channels in 14usize..40) {
        let s = Shape { n: 2, h: 8, w: 8, in_c: channels, out_c: 33, kernel: [3, 3], stride: 1, padding: 1 };
        let mut x = numbers(2 * 64 * channels, 1);
        x[at * channels] = f32::NAN;
        let y = forward(Path::current(), &s, &x, &numbers(33 * channels * 9, 2), None);
        for pixel in 0..128 {
            let near = pixel < 64
                && (pixel / 8usize).abs_diff(at / 8) < 2
                && (pixel % 8).abs_diff(at % 8) < 2;
            let nan = y[pixel * 33..][..33].iter().filter(|y| y.is_nan()).count();
            prop_assert!(!near || nan == 33);
            prop_assert!(pixel < 64 || nan == 0);
        }
    }

    #[test]
    fn threads_change_no_bit(n in 1usize..9, side in 1usize..12, channels in 1usize..70) {
        let s = Shape { n, h: side, w: side, in_c: channels, out_c: channels, kernel: [3, 3], stride: 1, padding: 1 };
        let x = numbers(n * side * side * channels, 1);
        let w = numbers(channels * channels * 9, 2);
        let all = || {
            let path = Path::current();
            [forward(path, &s, &x, &w, None), input_grad(path, &s, &w, &x, None), weight_grad(path, &s, &x, &x)]
        };
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let one = pool(1).install(all);
        prop_assert_eq!(&one, &pool(2).install(all));
        prop_assert_eq!(&one, &pool(5).install(all));
    }
}

#[test]
fn weights_of_another_shape_are_not_read() {
    let direct = Shape { n: 1, h: 6, w: 6, in_c: 4, out_c: 5, kernel: [3, 3], stride: 1, padding: 1 };
    for shape in [direct, Shape { in_c: 16, out_c: 16, ..direct }, Shape { in_c: 32, out_c: 32, ..direct }] {
        let larger = Shape { in_c: shape.in_c + 8, ..shape };
        let path = Path::current();
        let weights = Prepared::new(path, &shape, &numbers(shape.out_c * shape.in_c * 9, 1));
        let images = numbers(36 * larger.in_c, 2);
        let panics = std::panic::catch_unwind(|| super::forward(path, &larger, &images, &weights, None));
        assert!(panics.is_err(), "{shape:?}");
        let pairs = Way { path: Path::Portable, factors: Factors::Pairs };
        let whole = Prepared::new(Path::Portable, &shape, &numbers(shape.out_c * shape.in_c * 9, 1));
        let panics = std::panic::catch_unwind(|| super::forward(pairs, &shape, &images, &whole, None));
        assert!(panics.is_err(), "{shape:?} in pairs");
    }
}
