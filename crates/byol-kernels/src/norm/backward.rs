//! Gradients of a normalisation by the batch: a pass of sums, a pass of slopes.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::{BLOCK, Grid, PART, Pointer, SIDE_BY_SIDE, parts};
use crate::isa::{Isa, Kernel, Path, load, run, store};

/// Gradients of a normalisation in training mode and what follows it.
#[derive(Debug, Clone)]
pub(crate) struct Gradients {
    pub x: Vec<f32>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    /// Where there was a shortcut.
    pub shortcut: Option<Vec<f32>>,
}

/// What the backward pass reads. `y` are the results where a ReLU came last; the gradient of `x` is
/// written over `dy`, if that is owned.
#[derive(Debug, Clone)]
pub(crate) struct Backward<'a> {
    pub x: &'a [f32],
    pub y: Option<&'a [f32]>,
    pub dy: Cow<'a, [f32]>,
    pub gamma: &'a [f32],
    pub mean: &'a [f32],
    pub variance: &'a [f32],
    pub epsilon: f64,
}

/// Gradients of x, γ, β and, if asked for, of the shortcut.
pub(crate) fn backward(path: Path, of: Backward<'_>, shortcut: bool) -> Gradients {
    let channels = of.gamma.len();
    let alike = |values: &[f32]| values.len() == of.x.len();
    assert!(alike(&of.dy) && of.y.is_none_or(alike), "gradients and values differ in length");
    assert!(of.mean.len() == channels && of.variance.len() == channels, "statistics of other channels");
    let grid = Grid::new(of.x.len(), channels);
    let mean = grid.spread(of.mean);
    let mut sums = vec![0f32; grid.parts() * 2 * grid.width];
    sums.par_chunks_exact_mut((2 * grid.width).max(1)).enumerate().for_each(|(i, to)| {
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
    let [sums, products] = grid.fold(&sums);
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
    let len = of.x.len();
    let (mut dx, dy) = match of.dy {
        Cow::Owned(dy) => (dy, None),
        Cow::Borrowed(dy) => (Vec::with_capacity(len), Some(dy.as_ptr())),
    };
    let to = Pointer(dx.as_mut_ptr());
    let dy = Pointer(dy.map_or(dx.as_mut_ptr(), <*const f32>::cast_mut));
    parts(len, PART / 8 * grid.width, |range| {
        let kernel = Slopes {
            width: grid.width,
            x: &of.x[range.clone()],
            y: of.y.map(|y| &y[range.clone()]),
            dy: dy.at(range.start),
            factors: &factors,
            to: to.at(range.start),
            g: g_to.as_ref().map(|g| g.at(range.start)),
        };
        // SAFETY: whole rows, as long as they `dy`, `to` and `g`, which no other task writes.
        unsafe { run(path, kernel) };
    });
    // SAFETY: the parts cover it.
    unsafe { dx.set_len(len) };
    if shortcut {
        // SAFETY: written together with x.
        unsafe { g.set_len(of.x.len()) };
    }
    Gradients { x: dx, gamma, beta, shortcut: shortcut.then_some(g) }
}

/// Sums of g and of g · (x − mean), g the gradient behind the ReLU, added to what is there.
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
        let n_rows = self.x.len() / width;
        for first in (0..n_rows).step_by(SIDE_BY_SIDE) {
            let rows = first..(first + SIDE_BY_SIDE).min(n_rows);
            let mut at = 0;
            while at < width {
                // SAFETY: as many vectors are within a row.
                unsafe {
                    if width - at >= BLOCK * I::LANES {
                        products::<I, BLOCK>(&self, rows.clone(), at, I::LANES);
                        at += BLOCK * I::LANES;
                    } else {
                        let n = (width - at).min(I::LANES);
                        products::<I, 1>(&self, rows.clone(), at, n);
                        at += n;
                    }
                }
            }
        }
    }
}

/// # Safety
///
/// `B` vectors, the last of `last` values, fit into a row from `at`.
#[inline(always)]
unsafe fn products<I: Isa, const B: usize>(of: &Products<'_>, rows: Range<usize>, at: usize, last: usize) {
    let width = of.grid.width;
    // SAFETY: see above.
    unsafe {
        let mut s = [[I::splat(0.0); 2]; B];
        let mut mean = [I::splat(0.0); B];
        for b in 0..B {
            s[b][0] = I::load_some(of.to.add(at + b * I::LANES), last);
            s[b][1] = I::load_some(of.to.add(width + at + b * I::LANES), last);
            mean[b] = I::load_some(of.mean.as_ptr().add(at + b * I::LANES), last);
        }
        for row in rows {
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

/// a · g + b · x + c, and g itself where it is wanted. `to` may be `dy`.
struct Slopes<'a> {
    width: usize,
    x: &'a [f32],
    y: Option<&'a [f32]>,
    dy: *const f32,
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
                    let mut g = load::<I>(self.dy.add(i), n);
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
