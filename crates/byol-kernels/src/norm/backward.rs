//! Gradients of a normalisation by the batch: a pass of sums, a pass of slopes.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::{BLOCK, Grid, PART, Pointer, SIDE_BY_SIDE, parts};
use crate::isa::{Isa, Kernel, Path, load, run, store};
use crate::shared::Exchange;

/// Gradients of a normalisation in training mode and what follows it.
#[derive(Debug, Clone)]
pub(crate) struct Gradients {
    pub x: Vec<f32>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    /// Where there was a shortcut.
    pub shortcut: Option<Vec<f32>>,
}

/// Where a ReLU that came last let the gradient through.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rectified<'a> {
    /// Everywhere: there was none.
    Not,
    /// Where these results are positive.
    By(&'a [f32]),
    /// Where `scale` · x + `offset` by channel was: the forward pass' own factors, whose results are made
    /// again from the values that are read anyway.
    Again { scale: &'a [f32], offset: &'a [f32] },
}

/// What the backward pass reads. What is owned is written over: `dy` with the shortcut's gradient, if that
/// is asked for, and either of them with that of `x`.
#[derive(Debug, Clone)]
pub(crate) struct Backward<'a> {
    pub x: Cow<'a, [f32]>,
    pub relu: Rectified<'a>,
    pub dy: Cow<'a, [f32]>,
    pub gamma: &'a [f32],
    pub mean: &'a [f32],
    pub variance: &'a [f32],
    pub epsilon: f64,
    /// With whom mean and variance were shared.
    pub shared: Option<&'a dyn Exchange>,
}

/// Gradients of x, γ, β and, if asked for, of the shortcut.
pub(crate) fn backward(path: Path, of: Backward<'_>, shortcut: bool) -> Gradients {
    let channels = of.gamma.len();
    let alike = |values: &[f32]| values.len() == of.x.len();
    assert!(alike(&of.dy), "gradients and values differ in length");
    assert!(of.mean.len() == channels && of.variance.len() == channels, "statistics of other channels");
    let grid = Grid::new(of.x.len(), channels);
    let mean = grid.spread(of.mean);
    let again = match of.relu {
        Rectified::Again { scale, offset } => {
            assert!(scale.len() == channels && offset.len() == channels, "factors of other channels");
            Some([grid.spread(scale), grid.spread(offset)])
        }
        Rectified::By(y) => {
            assert!(alike(y), "gradients and results differ in length");
            None
        }
        Rectified::Not => None,
    };
    // Of a range of whole rows.
    let gate = |range: &Range<usize>| match (of.relu, &again) {
        (Rectified::By(y), _) => Gate::By(&y[range.clone()]),
        (_, Some([scale, offset])) => Gate::Again(scale, offset),
        _ => Gate::Open,
    };
    let len = of.x.len();
    let (mut dy, given) = match of.dy {
        Cow::Owned(dy) => (dy, None),
        Cow::Borrowed(dy) => (Vec::new(), Some(Pointer(dy.as_ptr().cast_mut()))),
    };
    let mut read = given.unwrap_or(Pointer(dy.as_mut_ptr()));
    if shortcut && given.is_some() {
        dy = Vec::with_capacity(len);
    }
    // The shortcut's gradient: over that of the results, if that is owned.
    let behind = Pointer(dy.as_mut_ptr());
    let mut sums = vec![0f32; grid.parts() * 2 * grid.width];
    sums.par_chunks_exact_mut((2 * grid.width).max(1)).enumerate().for_each(|(i, to)| {
        let range = i * PART * grid.width..((i + 1) * PART * grid.width).min(len);
        let kernel = Products {
            grid,
            x: &of.x[range.clone()],
            gate: gate(&range),
            dy: read.at(range.start),
            mean: &mean,
            to: to.as_mut_ptr(),
            behind: if shortcut { Some(behind.at(range.start)) } else { None },
        };
        // SAFETY: whole rows, as long as they `dy` and `behind`, which no other task writes; `to` is two rows.
        unsafe { run(path, kernel) };
    });
    let [sums, products] = grid.fold(&sums);
    let n = (of.x.len() / channels.max(1)).max(1) as f64;
    // What x did to mean and variance it did to all results.
    let (all_sums, all_products, n) = match of.shared {
        None => (Cow::Borrowed(&sums), Cow::Borrowed(&products), n),
        Some(exchange) => {
            let mut both = [&sums[..], &products[..]].concat();
            exchange.sum(&mut both);
            let all_products = both.split_off(channels);
            (Cow::Owned(both), Cow::Owned(all_products), n * exchange.world() as f64)
        }
    };
    // dx = a · g + b · x + c, with g the gradient behind the ReLU.
    let mut factors = [Vec::new(), Vec::new(), Vec::new()];
    let (mut gamma, mut beta) = (Vec::new(), Vec::new());
    for i in 0..channels {
        let (mean, weight) = (f64::from(of.mean[i]), f64::from(of.gamma[i]));
        let rstd = 1.0 / (f64::from(of.variance[i]) + of.epsilon).sqrt();
        let slope = -weight * rstd * rstd * rstd * all_products[i] / n;
        factors[0].push((weight * rstd) as f32);
        factors[1].push(slope as f32);
        factors[2].push((-weight * rstd * all_sums[i] / n - slope * mean) as f32);
        gamma.push((products[i] * rstd) as f32);
        beta.push(sums[i] as f32);
    }
    let factors = factors.map(|factor| grid.spread(&factor));
    if shortcut {
        // SAFETY: the parts covered it.
        unsafe { dy.set_len(len) };
        read = behind;
    }
    let over_dy = !shortcut && given.is_none();
    let x = Pointer(of.x.as_ptr().cast_mut());
    let mut dx = match of.x {
        _ if over_dy => std::mem::take(&mut dy),
        Cow::Owned(x) => x,
        Cow::Borrowed(_) => Vec::with_capacity(len),
    };
    let to = Pointer(dx.as_mut_ptr());
    parts(len, PART / 8 * grid.width, |range| {
        let kernel = Slopes {
            width: grid.width,
            len: range.len(),
            x: x.at(range.start),
            gate: if shortcut { Gate::Open } else { gate(&range) },
            dy: read.at(range.start),
            factors: &factors,
            to: to.at(range.start),
        };
        // SAFETY: whole rows, as long as they `x`, `dy` and `to`, which no other task writes.
        unsafe { run(path, kernel) };
    });
    // SAFETY: the parts cover it.
    unsafe { dx.set_len(len) };
    Gradients { x: dx, gamma, beta, shortcut: shortcut.then_some(dy) }
}

/// [`Rectified`] of some rows, what is by channel spread over the row.
#[derive(Clone, Copy)]
enum Gate<'a> {
    Open,
    By(&'a [f32]),
    Again(&'a [f32], &'a [f32]),
}

impl Gate<'_> {
    /// What is let through of the gradient `g` of `n` values `x` at `i`, `at` in their row.
    ///
    /// # Safety
    ///
    /// They are values of these rows.
    #[inline(always)]
    unsafe fn of<I: Isa>(self, g: I::V, x: I::V, i: usize, at: usize, n: usize) -> I::V {
        // SAFETY: passed on.
        unsafe {
            match self {
                Gate::Open => g,
                Gate::By(y) => I::where_positive(load::<I>(y.as_ptr().add(i), n), g),
                Gate::Again(scale, offset) => {
                    let scale = load::<I>(scale.as_ptr().add(at), n);
                    // As in the forward pass, to the bit.
                    let y = I::mul_add(x, scale, load::<I>(offset.as_ptr().add(at), n));
                    I::where_positive(y, g)
                }
            }
        }
    }
}

/// Sums of g and of g · (x − mean), g the gradient behind the ReLU, added to what is there; and g itself
/// where it is wanted, which may be over `dy`.
struct Products<'a> {
    grid: Grid,
    x: &'a [f32],
    gate: Gate<'a>,
    dy: *const f32,
    mean: &'a [f32],
    to: *mut f32,
    behind: Option<*mut f32>,
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
                let x = load::<I>(of.x.as_ptr().add(i), last);
                let g = load::<I>(of.dy.add(i), last);
                let g = of.gate.of::<I>(g, x, i, at + b * I::LANES, last);
                if let Some(behind) = of.behind {
                    store::<I>(behind.add(i), g, last);
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

/// a · g + b · x + c. `to` may be `dy` or `x`.
struct Slopes<'a> {
    width: usize,
    len: usize,
    x: *const f32,
    gate: Gate<'a>,
    dy: *const f32,
    factors: &'a [Vec<f32>; 3],
    to: *mut f32,
}

impl Kernel for Slopes<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let width = self.width;
        let [a, b, c] = self.factors;
        for start in (0..self.len).step_by(width) {
            let mut at = 0;
            while at < width {
                let n = (width - at).min(I::LANES);
                let i = start + at;
                // SAFETY: at + n is within the row.
                unsafe {
                    let x = load::<I>(self.x.add(i), n);
                    let g = self.gate.of::<I>(load::<I>(self.dy.add(i), n), x, i, at, n);
                    let dx = I::mul_add(
                        g,
                        load::<I>(a.as_ptr().add(at), n),
                        I::mul_add(x, load::<I>(b.as_ptr().add(at), n), load::<I>(c.as_ptr().add(at), n)),
                    );
                    store::<I>(self.to.add(i), dx, n);
                }
                at += n;
            }
        }
    }
}
