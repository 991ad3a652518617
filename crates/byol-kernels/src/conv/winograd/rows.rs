//! Minimal filtering along rows alone, F(2, 3): where channels are few, the transforms of squares cost
//! more than they save. Four pixels and a row of the window are transformed, multiplied value by value,
//! summed over channels and the rows of the window, and transformed back to two results, with 12 products
//! in the place of 18.

use std::ops::Range;

use rayon::prelude::*;

use super::super::Shared;
use super::super::outer::{LINE, with_scratch};
use super::super::pack::{Layout, Packed, Weights, most_pixels, vectors};
use super::super::tile::{Reads, Writes, correlating};
use super::super::window::tiles;
use super::plane::Plane;
use super::transform::{self, Then, narrowed};
use super::{BLOCK, SIDE, STEP};
use crate::isa::{Factors, Isa, Kernel, Way, run};

/// Rows of the window.
const ROWS: usize = 3;

/// Windows `[out_c][in_c][3][3]` whose rows are transformed, g₀, (g₀ + g₁ + g₂) / 2, (g₀ − g₁ + g₂) / 2
/// and g₂, each as a window of one column.
#[derive(Debug, Clone)]
pub(crate) struct Rows([Packed; SIDE]);

impl Rows {
    pub fn new(way: Way, weights: Weights<'_>, in_c: usize, out_c: usize) -> Self {
        let layout = Layout { out_c, rows: ROWS, cols: 1, in_c };
        let vectors = vectors(way.lanes(), out_c, usize::MAX);
        let mut of: [Vec<f32>; SIDE] = Default::default();
        for (o, r, i) in
            (0..out_c).flat_map(|o| (0..ROWS).flat_map(move |r| (0..in_c).map(move |i| (o, r, i))))
        {
            let [g0, g1, g2] = [0, 1, 2].map(|s| weights.values[weights.at(o, r, s, i)]);
            let outer = g0 + g2;
            for (of, g) in of.iter_mut().zip([g0, 0.5 * (outer + g1), 0.5 * (outer - g1), g2]) {
                of.push(g);
            }
        }
        let strides = [in_c as isize, 0, 1];
        Self(of.map(|of| {
            layout.pack(Weights { values: &of, start: 0, out: ROWS * in_c, strides }, way, vectors)
        }))
    }

    /// Whether they are of so many channels.
    pub fn are_of(&self, way: Way, in_c: usize, out_c: usize) -> bool {
        let whole = way.factors == Factors::Whole;
        whole
            && self.0.iter().all(|of| {
                let panel = ROWS * in_c * way.lanes() * of.vectors;
                (of.panel, of.values.len()) == (panel, out_c.div_ceil(of.width) * panel)
            })
    }
}

/// As [`super::correlate`].
///
/// # Safety
///
/// As there.
pub(super) unsafe fn correlate(
    way: Way,
    n: usize,
    images: &[f32],
    from: Plane,
    weights: &Rows,
    to: Shared,
    onto: Plane,
    then: Then<'_>,
) {
    let pairs = onto.w.div_ceil(STEP);
    let [first, ..] = &weights.0;
    let of_row = (SIDE * pairs * from.c).next_multiple_of(LINE) + LINE;
    let most = (BLOCK / of_row).saturating_sub(ROWS - 1).clamp(1, onto.h);
    let strips = tiles(onto.h, most);
    let together = (BLOCK / (of_row * (onto.h + ROWS - 1))).clamp(1, n.div_ceil(16).max(1));
    let groups = tiles(pairs, most_pixels(way.lanes(), first.vectors));
    (0..n * strips.len()).into_par_iter().with_min_len(together).for_each(|task| {
        let (image, (y, rows)) = (task / strips.len(), strips[task % strips.len()]);
        let of_pixels = (rows + ROWS - 1) * of_row;
        with_scratch(of_pixels + SIDE * pairs * first.width, |pixels| {
            let kernel = Strip {
                image,
                ys: y..y + rows,
                images,
                from,
                weights,
                pairs,
                groups: &groups,
                of_row,
                pixels,
                sums: pixels.wrapping_add(of_pixels),
                to,
                onto,
                then,
            };
            // SAFETY: passed on; scratch has what the kernel says.
            unsafe { run(way, kernel) };
        });
    });
}

/// Rows `ys` of the results of an image. `pixels` has room for the transform of the rows below them,
/// `[row][4][pair of results][channel]`, rows `of_row` floats apart; `sums` for `[4][pair][channel of a panel]`.
struct Strip<'a> {
    image: usize,
    ys: Range<usize>,
    images: &'a [f32],
    from: Plane,
    weights: &'a Rows,
    pairs: usize,
    groups: &'a [(usize, usize)],
    of_row: usize,
    pixels: *mut f32,
    sums: *mut f32,
    to: Shared,
    onto: Plane,
    then: Then<'a>,
}

impl Kernel for Strip<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: passed on.
        unsafe {
            match self.weights.0[0].vectors {
                1 => self.all::<I, 1>(),
                _ => self.all::<I, 2>(),
            }
        }
    }
}

impl Strip<'_> {
    #[inline(always)]
    unsafe fn all<I: Isa, const C: usize>(self) {
        let width = C * I::LANES;
        // SAFETY: scratch has room; the rows are the image's.
        unsafe {
            for i in 0..ROWS - 1 {
                self.pixels::<I>(i);
            }
            for (i, y) in self.ys.clone().enumerate() {
                self.pixels::<I>(i + ROWS - 1);
                for channel in (0..self.onto.c).step_by(width) {
                    self.products::<I, C>(i, channel);
                    self.results::<I, C>(y, channel);
                }
            }
        }
    }

    /// Row `i` of the pixels.
    #[inline(always)]
    unsafe fn pixels<I: Isa>(&self, i: usize) {
        let Plane { h, w, c, origin } = self.from;
        let (step, to) = (self.pairs * c, self.pixels.wrapping_add(i * self.of_row));
        // What is negative is large.
        let y = ((self.ys.start + i) as isize + origin) as usize;
        // SAFETY: the row is the image's, and scratch has room.
        unsafe {
            if y >= h {
                to.write_bytes(0, SIDE * step);
                return;
            }
            let row = self.images.as_ptr().add((self.image * h + y) * w * c);
            for at in (0..c).step_by(I::LANES) {
                let n = (c - at).min(I::LANES);
                transform::row::<I>(row.add(at), [w, c, n], origin, self.pairs, to.add(at), step);
            }
        }
    }

    /// Sums of a panel for row `i` of the results.
    #[inline(always)]
    unsafe fn products<I: Isa, const C: usize>(&self, i: usize, channel: usize) {
        let (c, width) = (self.from.c, C * I::LANES);
        for (t, weights) in self.weights.0.iter().enumerate() {
            let weights = weights.values[channel / width * weights.panel..].as_ptr();
            for &(x, size) in self.groups {
                let base = self.pixels.wrapping_add(i * self.of_row + (t * self.pairs + x) * c);
                let reads = Reads { base, step: c, rows: ROWS, row: self.of_row, len: c };
                let to = self.sums.wrapping_add((t * self.pairs + x) * width);
                let writes = Writes { add: false, to, step: width, cols: width };
                // SAFETY: both are in the scratch, the panel has all weights.
                unsafe { (correlating::<I, C>(size))(reads, weights, writes) };
            }
        }
    }

    /// Results of row `y` in the channels of a panel.
    #[inline(always)]
    unsafe fn results<I: Isa, const C: usize>(&self, y: usize, channel: usize) {
        let Plane { h, w, c, .. } = self.onto;
        let width = C * I::LANES;
        let cols = (c - channel).min(width);
        let row = (self.image * h + y) * w;
        for pair in 0..self.pairs {
            for first in (0..cols).step_by(I::LANES) {
                let n = (cols - first).min(I::LANES);
                // SAFETY: the sums are there, and the places are in the plane.
                unsafe {
                    let mut m = [I::splat(0.0); SIDE];
                    for t in 0..SIDE {
                        m[t] = I::load(self.sums.add((t * self.pairs + pair) * width + first));
                    }
                    let y = narrowed::<I>(m);
                    let (at, channel) = (row + STEP * pair, channel + first);
                    self.then.write::<I>(y[0], self.to, at * c + channel, channel, n);
                    if STEP * pair + 1 < w {
                        self.then.write::<I>(y[1], self.to, (at + 1) * c + channel, channel, n);
                    }
                }
            }
        }
    }
}
