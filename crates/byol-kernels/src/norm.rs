//! Batch normalisation of rows of channels, with what follows it: a sum with a shortcut
//! and a ReLU. Two passes over the values each way.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel, Path, load, run, store};

/// Vectors whose sums a pass keeps in registers.
const BLOCK: usize = 4;
/// Rows of a part; parts are added in their order.
const PART: usize = 2048;

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
        let rows = len / channels.max(1);
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

/// Mean and variance of every channel of `x`, `[rows, channels]`.
pub(crate) fn statistics(path: Path, x: &[f32], channels: usize) -> Statistics {
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
    let (mut mean, mut variance) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
    for ((sum, square), shift) in sums.into_iter().zip(squares).zip(&shift) {
        let about = sum / n;
        mean.push((about + f64::from(*shift)) as f32);
        variance.push((square / n - about * about).max(0.0) as f32);
    }
    Statistics { mean, variance }
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

/// Sums of x − shift and of its squares.
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
        let rows = self.x.len() / width;
        let mut at = 0;
        while at < width {
            let n = (width - at).min(BLOCK * I::LANES);
            // SAFETY: at + n is within a row.
            unsafe {
                if n == BLOCK * I::LANES {
                    sums::<I, BLOCK>(
                        rows,
                        width,
                        &self.x[at..],
                        &self.shift[at..],
                        &mut self.to[at..],
                        I::LANES,
                    );
                    at += n;
                } else {
                    let n = n.min(I::LANES);
                    sums::<I, 1>(rows, width, &self.x[at..], &self.shift[at..], &mut self.to[at..], n);
                    at += n;
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

/// scale · x + offset (+ shortcut), and ReLU if asked for; `[rows, channels]`.
pub(crate) fn affine(
    path: Path,
    x: &[f32],
    scale: &[f32],
    offset: &[f32],
    shortcut: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let grid = Grid::new(x.len(), scale.len());
    let (scale, offset) = (grid.spread(scale), grid.spread(offset));
    let part = PART / 8 * grid.width;
    map(x.len(), part, |range, to| {
        let kernel = Affine {
            width: grid.width,
            x: &x[range.clone()],
            scale: &scale,
            offset: &offset,
            shortcut: shortcut.map(|s| &s[range]),
            relu,
            to,
        };
        // SAFETY: whole rows, `to` as long as they.
        unsafe { run(path, kernel) };
    })
}

/// A new vector whose parts are written by `write`, each as a whole.
fn map(len: usize, part: usize, write: impl Fn(std::ops::Range<usize>, *mut f32) + Sync) -> Vec<f32> {
    struct To(*mut f32);
    // SAFETY: parts are disjoint.
    unsafe impl Sync for To {}
    impl To {
        fn at(&self, i: usize) -> *mut f32 {
            self.0.wrapping_add(i)
        }
    }
    let mut out: Vec<f32> = Vec::with_capacity(len);
    let to = To(out.as_mut_ptr());
    let part = part.max(1);
    (0..len.div_ceil(part)).into_par_iter().for_each(|i| {
        let range = i * part..((i + 1) * part).min(len);
        write(range.clone(), to.at(range.start));
    });
    // SAFETY: the parts cover it.
    unsafe { out.set_len(len) };
    out
}

struct Affine<'a> {
    width: usize,
    x: &'a [f32],
    scale: &'a [f32],
    offset: &'a [f32],
    shortcut: Option<&'a [f32]>,
    relu: bool,
    to: *mut f32,
}

impl Kernel for Affine<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let width = self.width;
        for start in (0..self.x.len()).step_by(width) {
            let mut at = 0;
            while at < width {
                let n = (width - at).min(I::LANES);
                // SAFETY: at + n is within the row.
                unsafe {
                    let x = load::<I>(self.x.as_ptr().add(start + at), n);
                    let mut y = I::mul_add(
                        x,
                        load::<I>(self.scale.as_ptr().add(at), n),
                        load::<I>(self.offset.as_ptr().add(at), n),
                    );
                    if let Some(shortcut) = self.shortcut {
                        y = I::add(y, load::<I>(shortcut.as_ptr().add(start + at), n));
                    }
                    if self.relu {
                        y = I::max(y, I::splat(0.0));
                    }
                    let to = self.to.add(start + at);
                    store::<I>(to, y, n);
                }
                at += n;
            }
        }
    }
}

/// Gradients of a normalisation in training mode and what follows it.
#[derive(Debug, Clone)]
pub(crate) struct Gradients {
    pub x: Vec<f32>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    /// Where there was a shortcut.
    pub shortcut: Option<Vec<f32>>,
}

/// What the backward pass reads. `y` are the results where a ReLU came last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backward<'a> {
    pub x: &'a [f32],
    pub y: Option<&'a [f32]>,
    pub dy: &'a [f32],
    pub gamma: &'a [f32],
    pub mean: &'a [f32],
    pub variance: &'a [f32],
    pub epsilon: f64,
}

/// Gradients of x, γ, β and, if asked for, of the shortcut.
pub(crate) fn backward(path: Path, of: Backward<'_>, shortcut: bool) -> Gradients {
    let channels = of.gamma.len();
    let grid = Grid::new(of.x.len(), channels);
    let mean = grid.spread(of.mean);
    let mut parts = vec![0f32; grid.parts() * 2 * grid.width];
    parts.par_chunks_exact_mut((2 * grid.width).max(1)).enumerate().for_each(|(i, to)| {
        let range = i * PART * grid.width..((i + 1) * PART * grid.width).min(of.x.len());
        let y = of.y.map(|y| &y[range.clone()]);
        let kernel = Products {
            grid,
            x: &of.x[range.clone()],
            y,
            dy: &of.dy[range],
            mean: &mean,
            to: to.as_mut_ptr(),
        };
        // SAFETY: whole rows, `to` two of them.
        unsafe { run(path, kernel) };
    });
    let [sums, products] = grid.fold(&parts);
    let n = (of.x.len() / channels.max(1)).max(1) as f64;
    // dx = a · g + b · x + c, with g the gradient behind the ReLU.
    let mut factors = [Vec::new(), Vec::new(), Vec::new()];
    let (mut gamma, mut beta) = (Vec::new(), Vec::new());
    for i in 0..channels {
        let (mean, weight) = (f64::from(of.mean[i]), f64::from(of.gamma[i]));
        let rstd = 1.0 / (f64::from(of.variance[i]) + of.epsilon).sqrt();
        let slope = -weight * rstd * rstd * rstd * products[i] / n;
        factors[0].push((weight * rstd) as f32);
        factors[1].push(slope as f32);
        factors[2].push((-weight * rstd * sums[i] / n - slope * mean) as f32);
        gamma.push((products[i] * rstd) as f32);
        beta.push(sums[i] as f32);
    }
    let factors = factors.map(|factor| grid.spread(&factor));
    let mut g: Vec<f32> = Vec::with_capacity(if shortcut { of.x.len() } else { 0 });
    let g_to = if shortcut { Some(Pointer(g.as_mut_ptr())) } else { None };
    let x = map(of.x.len(), PART / 8 * grid.width, |range, to| {
        let kernel = Slopes {
            width: grid.width,
            x: &of.x[range.clone()],
            y: of.y.map(|y| &y[range.clone()]),
            dy: &of.dy[range.clone()],
            factors: &factors,
            to,
            g: g_to.as_ref().map(|g| g.at(range.start)),
        };
        // SAFETY: whole rows, `to` and `g` as long as they.
        unsafe { run(path, kernel) };
    });
    if shortcut {
        // SAFETY: written together with x.
        unsafe { g.set_len(of.x.len()) };
    }
    Gradients { x, gamma, beta, shortcut: shortcut.then_some(g) }
}

struct Pointer(*mut f32);

// SAFETY: parts are disjoint.
unsafe impl Sync for Pointer {}

impl Pointer {
    fn at(&self, i: usize) -> *mut f32 {
        self.0.wrapping_add(i)
    }
}

/// Sums of g and of g · (x − mean), g the gradient behind the ReLU.
struct Products<'a> {
    grid: Grid,
    x: &'a [f32],
    y: Option<&'a [f32]>,
    dy: &'a [f32],
    mean: &'a [f32],
    to: *mut f32,
}

impl Kernel for Products<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let width = self.grid.width;
        let mut at = 0;
        while at < width {
            let n = (width - at).min(I::LANES);
            // SAFETY: at + n is within a row.
            unsafe {
                if width - at >= BLOCK * I::LANES {
                    products::<I, BLOCK>(&self, at, I::LANES);
                    at += BLOCK * I::LANES;
                } else {
                    products::<I, 1>(&self, at, n);
                    at += n;
                }
            }
        }
    }
}

/// # Safety
///
/// `B` vectors, the last of `last` values, fit into a row from `at`.
#[inline(always)]
unsafe fn products<I: Isa, const B: usize>(of: &Products<'_>, at: usize, last: usize) {
    let (width, rows) = (of.grid.width, of.x.len() / of.grid.width);
    // SAFETY: see above.
    unsafe {
        let mut s = [[I::splat(0.0); 2]; B];
        let mut mean = [I::splat(0.0); B];
        for b in 0..B {
            mean[b] = I::load_some(of.mean.as_ptr().add(at + b * I::LANES), last);
        }
        for row in 0..rows {
            for b in 0..B {
                let i = row * width + at + b * I::LANES;
                let mut g = load::<I>(of.dy.as_ptr().add(i), last);
                let x = load::<I>(of.x.as_ptr().add(i), last);
                if let Some(y) = of.y {
                    g = I::where_positive(load::<I>(y.as_ptr().add(i), last), g);
                }
                s[b][0] = I::add(s[b][0], g);
                s[b][1] = I::mul_add(g, I::sub(x, mean[b]), s[b][1]);
            }
        }
        for b in 0..B {
            I::store_some(of.to.add(at + b * I::LANES), s[b][0], last);
            I::store_some(of.to.add(width + at + b * I::LANES), s[b][1], last);
        }
    }
}

/// a · g + b · x + c, and g itself where it is wanted.
struct Slopes<'a> {
    width: usize,
    x: &'a [f32],
    y: Option<&'a [f32]>,
    dy: &'a [f32],
    factors: &'a [Vec<f32>; 3],
    to: *mut f32,
    g: Option<*mut f32>,
}

impl Kernel for Slopes<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let width = self.width;
        let [a, b, c] = self.factors;
        for start in (0..self.x.len()).step_by(width) {
            let mut at = 0;
            while at < width {
                let n = (width - at).min(I::LANES);
                let i = start + at;
                // SAFETY: at + n is within the row.
                unsafe {
                    let mut g = load::<I>(self.dy.as_ptr().add(i), n);
                    if let Some(y) = self.y {
                        g = I::where_positive(load::<I>(y.as_ptr().add(i), n), g);
                    }
                    let x = load::<I>(self.x.as_ptr().add(i), n);
                    let dx = I::mul_add(
                        g,
                        load::<I>(a.as_ptr().add(at), n),
                        I::mul_add(x, load::<I>(b.as_ptr().add(at), n), load::<I>(c.as_ptr().add(at), n)),
                    );
                    store::<I>(self.to.add(i), dx, n);
                    if let Some(to) = self.g {
                        store::<I>(to.add(i), g, n);
                    }
                }
                at += n;
            }
        }
    }
}

#[cfg(test)]
#[path = "norm_tests.rs"]
mod tests;
