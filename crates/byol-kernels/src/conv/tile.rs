//! The two inner loops. All sums of a tile stay in registers.

use crate::isa::{Isa, load, store};

/// Input of a tile of pixels: window rows `rows`, `row` floats apart, each of `len` values;
/// pixels `step` floats apart.
#[derive(Clone, Copy)]
pub(crate) struct Reads {
    pub base: *const f32,
    pub step: usize,
    pub rows: usize,
    pub row: usize,
    pub len: usize,
}

/// Where a tile's results go: `step` floats from a pixel to the next, `cols` channels; `add`ed
/// to what is there or in its place.
#[derive(Clone, Copy)]
pub(crate) struct Writes {
    pub add: bool,
    pub to: *mut f32,
    pub step: usize,
    pub cols: usize,
}

/// Results of `P` pixels in one panel of `C` vectors.
///
/// # Safety
///
/// `reads` and `weights` (rows · len · C · LANES values) must be readable, `writes` writable.
#[inline(always)]
pub(crate) unsafe fn correlate<I: Isa, const P: usize, const C: usize>(
    reads: Reads,
    weights: *const f32,
    writes: Writes,
) {
    // SAFETY: see above; every offset is within what it says.
    unsafe {
        let mut sums = [[I::splat(0.0); C]; P];
        if writes.add {
            for p in 0..P {
                for c in 0..C {
                    let from = writes.to.wrapping_add(p * writes.step + c * I::LANES);
                    let left = writes.cols.saturating_sub(c * I::LANES);
                    if left > 0 {
                        sums[p][c] = load::<I>(from, left.min(I::LANES));
                    }
                }
            }
        }
        let mut w = weights;
        for r in 0..reads.rows {
            let mut x = reads.base.add(r * reads.row);
            for _ in 0..reads.len {
                let mut b = [I::splat(0.0); C];
                for c in 0..C {
                    b[c] = I::load(w.add(c * I::LANES));
                }
                for p in 0..P {
                    let a = I::splat(*x.add(p * reads.step));
                    for c in 0..C {
                        sums[p][c] = I::add_product(a, b[c], sums[p][c]);
                    }
                }
                x = x.add(1);
                w = w.add(C * I::LANES);
            }
        }
        for p in 0..P {
            for c in 0..C {
                let to = writes.to.wrapping_add(p * writes.step + c * I::LANES);
                let left = writes.cols.saturating_sub(c * I::LANES);
                if left > 0 {
                    store::<I>(to, sums[p][c], left.min(I::LANES));
                }
            }
        }
    }
}

/// Pixels over which a gradient is summed: `images` of `ys` rows of `xs` pixels, with the
/// floats between them in the input and in the results' gradient.
#[derive(Clone, Copy)]
pub(crate) struct Pixels {
    pub images: usize,
    pub ys: usize,
    pub xs: usize,
    pub x: [usize; 3],
    pub dy: [usize; 3],
}

/// What is multiplied and summed: input and gradient of the first pixel, `cols` channels of
/// the gradient; `to` has the sums.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    pub x: *const f32,
    pub dy: *const f32,
    pub cols: usize,
    pub to: *mut f32,
}

/// Adds to `P` rows of `C` vectors of a panel's weight gradient the products of input and
/// gradient over all pixels. With `SOME`, only `cols` channels of the gradient are there.
///
/// # Safety
///
/// `x` and `dy` must be readable at the pixels, `to` (P · C · LANES values) writable.
#[inline(always)]
pub(crate) unsafe fn accumulate<I: Isa, const P: usize, const C: usize, const SOME: bool>(
    pixels: Pixels,
    of: Sums,
) {
    let Sums { x, dy, cols, to } = of;
    // SAFETY: see above.
    unsafe {
        let mut sums = [[I::splat(0.0); C]; P];
        for p in 0..P {
            for c in 0..C {
                sums[p][c] = I::load(to.add((p * C + c) * I::LANES));
            }
        }
        for image in 0..pixels.images {
            for y in 0..pixels.ys {
                let mut x = x.add(image * pixels.x[0] + y * pixels.x[1]);
                let mut dy = dy.add(image * pixels.dy[0] + y * pixels.dy[1]);
                for _ in 0..pixels.xs {
                    let mut b = [I::splat(0.0); C];
                    for c in 0..C {
                        b[c] = if SOME {
                            I::load_some(dy.add((c * I::LANES).min(cols)), cols.saturating_sub(c * I::LANES))
                        } else {
                            I::load(dy.add(c * I::LANES))
                        };
                    }
                    for p in 0..P {
                        let a = I::splat(*x.add(p));
                        for c in 0..C {
                            sums[p][c] = I::add_product(a, b[c], sums[p][c]);
                        }
                    }
                    x = x.wrapping_add(pixels.x[2]);
                    dy = dy.wrapping_add(pixels.dy[2]);
                }
            }
        }
        for p in 0..P {
            for c in 0..C {
                I::store(to.add((p * C + c) * I::LANES), sums[p][c]);
            }
        }
    }
}

/// [`Isa::correlate`] of some pixels.
pub(crate) type Correlate = unsafe fn(Reads, *const f32, Writes);
/// [`Isa::accumulate`] of some rows.
pub(crate) type Accumulate = unsafe fn(Pixels, Sums);

/// A table of functions, made once: a compiler that saw which of them is called would inline them all,
/// and not keep their sums in registers.
macro_rules! correlates {
    ($($p:literal)*) => { const { [$(I::correlate::<$p, C> as Correlate),*] } };
}

/// For 1 to 14 pixels.
#[inline(always)]
pub(crate) fn correlating<I: Isa, const C: usize>(pixels: usize) -> Correlate {
    correlates!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)[pixels - 1]
}

/// For 1 to 7 pixels.
#[inline(always)]
pub(crate) fn correlating_few<I: Isa, const C: usize>(pixels: usize) -> Correlate {
    correlates!(1 2 3 4 5 6 7)[pixels - 1]
}

/// As above.
macro_rules! accumulates {
    ($($p:literal)*) => { const { [$(I::accumulate::<$p, C, SOME> as Accumulate),*] } };
}

/// For 1 to 14 rows.
#[inline(always)]
pub(crate) fn accumulating<I: Isa, const C: usize, const SOME: bool>(rows: usize) -> Accumulate {
    accumulates!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)[rows - 1]
}
