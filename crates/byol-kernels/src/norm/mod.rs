//! Batch normalisation of rows of channels, with what follows it: a sum with a shortcut
//! and a ReLU. Two passes over the values each way.

mod backward;
mod forward;

use rayon::prelude::*;

use crate::isa::{Isa, Kernel, Path, load, run};
use crate::shared::{Exchange, of_all};
pub(crate) use backward::{Backward, Rectified, backward};
pub(crate) use forward::affine;

/// Vectors whose sums a pass keeps in registers.
const BLOCK: usize = 4;
/// Rows that a pass reads side by side, so that it goes through memory in few streams.
const SIDE_BY_SIDE: usize = 8;
/// Rows of a part; parts are added in their order.
const PART: usize = 512;

/// Values `[rows, channels]` seen as rows of a few vectors: narrow channels several times
/// side by side.
#[derive(Debug, Clone, Copy)]
struct Grid {
    rows: usize,
    /// Values of a row.
    width: usize,
    channels: usize,
}

impl Grid {
    fn new(len: usize, channels: usize) -> Self {
        assert!(channels > 0 && len.is_multiple_of(channels), "no whole number of rows");
        let rows = len / channels;
        let fold = (64 / channels.max(1)).max(1);
        let fold = (1..=fold).rev().find(|n| rows.is_multiple_of(*n)).unwrap_or(1);
        Self { rows: rows / fold, width: channels * fold, channels }
    }

    /// One value a channel, side by side as often as a row has them.
    fn spread(&self, channels: &[f32]) -> Vec<f32> {
        channels.iter().copied().cycle().take(self.width).collect()
    }

    /// Sums `[parts][2][width]` to two sums a channel.
    fn fold(&self, parts: &[f32]) -> [Vec<f64>; 2] {
        let mut sums = [vec![0f64; self.channels], vec![0f64; self.channels]];
        for part in parts.chunks_exact(2 * self.width) {
            for (sum, half) in sums.iter_mut().zip(part.chunks_exact(self.width)) {
                for (i, x) in half.iter().enumerate() {
                    sum[i % self.channels] += f64::from(*x);
                }
            }
        }
        sums
    }

    fn parts(&self) -> usize {
        self.rows.div_ceil(PART)
    }
}

/// What a forward pass leaves for the backward one.
#[derive(Debug, Clone)]
pub(crate) struct Statistics {
    pub mean: Vec<f32>,
    /// Of the batch, biased.
    pub variance: Vec<f32>,
}

/// Mean and variance of every channel of `x`, `[rows, channels]`; of all processes' `x`, if they share.
pub(crate) fn statistics(
    path: Path,
    x: &[f32],
    channels: usize,
    shared: Option<&dyn Exchange>,
) -> Statistics {
    let grid = Grid::new(x.len(), channels);
    // About the first row, so that squares do not cancel.
    let shift = grid.spread(&x[..channels.min(x.len())]);
    let mut parts = vec![0f32; grid.parts() * 2 * grid.width];
    parts.par_chunks_exact_mut((2 * grid.width).max(1)).zip(x.par_chunks(PART * grid.width)).for_each(
        // SAFETY: the part is whole rows, `to` two of them.
        |(to, x)| unsafe { run(path, Sums { grid, x, shift: &shift, to }) },
    );
    let [sums, squares] = grid.fold(&parts);
    let n = (x.len() / channels.max(1)).max(1) as f64;
    let own = sums.into_iter().zip(squares).zip(&shift).map(|((sum, square), shift)| {
        let about = sum / n;
        (about + f64::from(*shift), (square / n - about * about).max(0.0))
    });
    let (means, variances): (Vec<f64>, Vec<f64>) = own.unzip();
    let (means, variances) = match shared {
        None => (means, variances),
        Some(exchange) => of_all(exchange, &means, &variances),
    };
    let rounded = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
    Statistics { mean: rounded(means), variance: rounded(variances) }
}

/// Factor and summand of a channel: γ / √(variance + ε), and β − mean times that.
pub(crate) fn fold(
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f64,
) -> (Vec<f32>, Vec<f32>) {
    let of = |x: &f32| f64::from(*x);
    let both =
        gamma.iter().zip(beta).zip(mean.iter().zip(variance)).map(|((gamma, beta), (mean, variance))| {
            let scale = of(gamma) / (of(variance) + epsilon).sqrt();
            (scale as f32, (of(beta) - of(mean) * scale) as f32)
        });
    both.unzip()
}

/// Sums of x − shift and of its squares, added to what is there.
struct Sums<'a> {
    grid: Grid,
    x: &'a [f32],
    shift: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let width = self.grid.width;
        for x in self.x.chunks(SIDE_BY_SIDE * width) {
            let rows = x.len() / width;
            let mut at = 0;
            while at < width {
                let (x, shift, to) = (&x[at..], &self.shift[at..], &mut self.to[at..]);
                // SAFETY: as many vectors are within a row.
                unsafe {
                    if width - at >= BLOCK * I::LANES {
                        sums::<I, BLOCK>(rows, width, x, shift, to, I::LANES);
                        at += BLOCK * I::LANES;
                    } else {
                        let n = (width - at).min(I::LANES);
                        sums::<I, 1>(rows, width, x, shift, to, n);
                        at += n;
                    }
                }
            }
        }
    }
}

/// # Safety
///
/// `B` vectors, the last of `last` values, fit into a row from the slices' start.
#[inline(always)]
unsafe fn sums<I: Isa, const B: usize>(
    rows: usize,
    width: usize,
    x: &[f32],
    shift: &[f32],
    to: &mut [f32],
    last: usize,
) {
    // SAFETY: see above.
    unsafe {
        let mut s = [[I::splat(0.0); 2]; B];
        let mut k = [I::splat(0.0); B];
        for b in 0..B {
            s[b][0] = I::load_some(to.as_ptr().add(b * I::LANES), last);
            s[b][1] = I::load_some(to.as_ptr().add(width + b * I::LANES), last);
            k[b] = I::load_some(shift.as_ptr().add(b * I::LANES), last);
        }
        let mut row = x.as_ptr();
        for _ in 0..rows {
            for b in 0..B {
                let x = load::<I>(row.add(b * I::LANES), last);
                let d = I::sub(x, k[b]);
                s[b][0] = I::add(s[b][0], d);
                s[b][1] = I::mul_add(d, d, s[b][1]);
            }
            row = row.wrapping_add(width);
        }
        for b in 0..B {
            I::store_some(to.as_mut_ptr().add(b * I::LANES), s[b][0], last);
            I::store_some(to.as_mut_ptr().add(width + b * I::LANES), s[b][1], last);
        }
    }
}

/// Where tasks write or read, each a part of its own.
#[derive(Clone, Copy)]
struct Pointer(*mut f32);

// SAFETY: parts are disjoint.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

impl Pointer {
    fn at(self, i: usize) -> *mut f32 {
        self.0.wrapping_add(i)
    }
}

/// Calls `each` with every part of `len` values, on all threads.
fn parts(len: usize, part: usize, each: impl Fn(std::ops::Range<usize>) + Sync) {
    let part = part.max(1);
    (0..len.div_ceil(part)).into_par_iter().for_each(|i| each(i * part..((i + 1) * part).min(len)));
}

#[cfg(test)]
mod tests;
