//! Max pooling of channels-last images, both ways.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel, Path, load, run, store};

/// Sizes of a pooling with a square window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub channels: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Shape {
    /// Height and width of the results.
    pub fn out(&self) -> [usize; 2] {
        [self.h, self.w].map(|side| (side + 2 * self.padding - self.kernel) / self.stride + 1)
    }

    /// Positions of the window at `at` that lie inside of `side`.
    fn window(&self, at: usize, side: usize) -> std::ops::Range<usize> {
        let start = (at * self.stride).saturating_sub(self.padding);
        start..(at * self.stride + self.kernel).saturating_sub(self.padding).min(side)
    }
}

/// The largest value of each window, no number if there is one; what is outside of an image is in
/// none.
pub(crate) fn forward(path: Path, shape: &Shape, images: &[f32]) -> Vec<f32> {
    let [out_h, out_w] = shape.out();
    let mut out = vec![0f32; shape.n * out_h * out_w * shape.channels];
    let (from, to) = (shape.h * shape.w * shape.channels, out_h * out_w * shape.channels);
    out.par_chunks_exact_mut(to.max(1)).zip(images.par_chunks_exact(from.max(1))).for_each(|(y, x)| {
        // SAFETY: one image and its results.
        unsafe { run(path, Forward { shape, x, y }) };
    });
    out
}

struct Forward<'a> {
    shape: &'a Shape,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self { shape, x, y } = self;
        let ([out_h, out_w], c) = (shape.out(), shape.channels);
        for oy in 0..out_h {
            for ox in 0..out_w {
                let (rows, cols) = (shape.window(oy, shape.h), shape.window(ox, shape.w));
                let mut at = 0;
                while at < c {
                    let n = (c - at).min(I::LANES);
                    // SAFETY: windows lie inside of the image, at + n within the channels.
                    unsafe {
                        let mut most = I::splat(f32::NEG_INFINITY);
                        for iy in rows.clone() {
                            for ix in cols.clone() {
                                let x = load::<I>(x.as_ptr().add((iy * shape.w + ix) * c + at), n);
                                most = I::max_or_none(most, x);
                            }
                        }
                        store::<I>(y.as_mut_ptr().add((oy * out_w + ox) * c + at), most, n);
                    }
                    at += n;
                }
            }
        }
    }
}

/// Gradient of the images: each result's goes to the first value of its window that is as
/// large, in reading order, as in PyTorch.
pub(crate) fn backward(path: Path, shape: &Shape, images: &[f32], results: &[f32], dy: &[f32]) -> Vec<f32> {
    let ([out_h, out_w], c) = (shape.out(), shape.channels);
    let mut dx = vec![0f32; shape.n * shape.h * shape.w * c];
    let (from, to) = (shape.h * shape.w * c, out_h * out_w * c);
    let results = results.par_chunks_exact(to.max(1)).zip(dy.par_chunks_exact(to.max(1)));
    let images = images.par_chunks_exact(from.max(1)).zip(results);
    dx.par_chunks_exact_mut(from.max(1)).zip(images).for_each_init(
        || vec![0.0; c],
        |left, (dx, (x, (y, dy)))| {
            // SAFETY: the lengths are checked there.
            unsafe { run(path, Backward { shape, x, y, dy, left, dx }) };
        },
    );
    dx
}

struct Backward<'a> {
    shape: &'a Shape,
    x: &'a [f32],
    y: &'a [f32],
    dy: &'a [f32],
    /// Of a result's gradient what no value has had yet, by channel.
    left: &'a mut [f32],
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    /// Plain loops, which the compiler makes vectors of.
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self { shape, x, y, dy, left, dx } = self;
        let ([out_h, out_w], c) = (shape.out(), shape.channels);
        let left = &mut left[..c];
        for oy in 0..out_h {
            for ox in 0..out_w {
                let at = (oy * out_w + ox) * c;
                let y = &y[at..at + c];
                left.copy_from_slice(&dy[at..at + c]);
                for iy in shape.window(oy, shape.h) {
                    for ix in shape.window(ox, shape.w) {
                        let at = (iy * shape.w + ix) * c;
                        let (x, dx) = (&x[at..at + c], &mut dx[at..at + c]);
                        for i in 0..c {
                            let same = (x[i] == y[i]) | (x[i].is_nan() & y[i].is_nan());
                            dx[i] += if same { left[i] } else { 0.0 };
                            left[i] = if same { 0.0 } else { left[i] };
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_first_largest_is_taken(
            n in 1usize..3, h in 1usize..9, w in 1usize..9, channels in 1usize..40,
            kernel in 1usize..4, stride in 1usize..4, levels in 2u32..9, holes: bool,
        ) {
            let padding = kernel / 2;
            prop_assume!(h + 2 * padding >= kernel && w + 2 * padding >= kernel);
            let shape = Shape { n, h, w, channels, kernel, stride, padding };
            let [out_h, out_w] = shape.out();
            // Few levels, so that there are ties.
            let level = |i: usize| f32::from((i as u32).wrapping_mul(2_654_435_769).rotate_left(9) as u8) as u32 % levels;
            let value = |i: usize| if holes && i.is_multiple_of(11) { f32::NAN } else { level(i) as f32 - 2.0 };
            let x: Vec<f32> = (0..n * h * w * channels).map(value).collect();
            let dy: Vec<f32> = (0..n * out_h * out_w * channels).map(|i| i as f32 + 1.0).collect();
            let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0f32; x.len()]);
            for i in 0..n {
                for (oy, ox, c) in (0..out_h).flat_map(|oy| (0..out_w).flat_map(move |ox| (0..channels).map(move |c| (oy, ox, c)))) {
                    let mut best: Option<usize> = None;
                    for (r, s) in (0..kernel).flat_map(|r| (0..kernel).map(move |s| (r, s))) {
                        let (iy, ix) = ((oy * stride + r).wrapping_sub(padding), (ox * stride + s).wrapping_sub(padding));
                        if iy < h && ix < w {
                            let at = ((i * h + iy) * w + ix) * channels + c;
                            if best.is_none_or(|best| x[at] > x[best] || x[at].is_nan() && !x[best].is_nan()) {
                                best = Some(at);
                            }
                        }
                    }
                    let at = ((i * out_h + oy) * out_w + ox) * channels + c;
                    y[at] = x[best.unwrap()];
                    dx[best.unwrap()] += dy[at];
                }
            }
            for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
                // By bits, for what is no number is not its own equal.
                let got = forward(path, &shape, &x);
                let bits = |of: &[f32]| of.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&got), bits(&y));
                prop_assert_eq!(&backward(path, &shape, &x, &y, &dy), &dx);
            }
        }
    }
}
