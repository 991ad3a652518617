//! Weights in the order in which the kernels read them.

use rayon::prelude::*;

use super::Shared;
use super::outer::LINE;
use crate::isa::{Isa, Kernel, Way, load, run};

/// Weights `[panel][row][column and input channel][result channel of the panel]`, zeros
/// behind the last channel.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub values: Vec<f32>,
    /// Vectors of a panel.
    pub vectors: usize,
    /// Result channels of a panel.
    pub width: usize,
    /// Values of a panel.
    pub panel: usize,
}

/// Vectors of a panel for `out_c` result channels in rows of `out_w` pixels: the more the
/// better the inner loop, as long as registers last for a tile of pixels.
pub(crate) fn vectors(lanes: usize, out_c: usize, out_w: usize) -> usize {
    match (lanes, out_c.div_ceil(lanes)) {
        (_, 1) => 1,
        (16, n) if n >= 4 && n % 4 == 0 && out_w <= 7 => 4,
        _ => 2,
    }
}

/// Pixels of a tile, so that its sums stay in registers.
pub(crate) fn most_pixels(lanes: usize, vectors: usize) -> usize {
    match (lanes, vectors) {
        (16, 4) => 7,
        (16, _) => 14,
        (_, 1) => 8,
        _ => 6,
    }
}

/// Result channels of the widest panel.
const WIDEST: usize = 64;
/// Input channels that are packed together.
const BLOCK: usize = 8;

/// Where weights come from: result channels `out` apart, from `start`; rows, columns and input
/// channels as far apart as `strides` says (negative to go backwards).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub values: &'a [f32],
    pub start: usize,
    pub out: usize,
    pub strides: [isize; 3],
}

impl Weights<'_> {
    /// The place of a weight.
    pub fn at(&self, o: usize, r: usize, s: usize, i: usize) -> usize {
        let [row, col, channel] = self.strides;
        let offset = r as isize * row + s as isize * col + i as isize * channel;
        (self.start + o * self.out).wrapping_add_signed(offset)
    }
}

/// A plan of weights: result channels, window, input channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub out_c: usize,
    pub rows: usize,
    pub cols: usize,
    pub in_c: usize,
}

impl Layout {
    /// Packs.
    pub fn pack(&self, weights: Weights<'_>, way: Way, vectors: usize) -> Packed {
        let (width, depth) = (way.lanes() * vectors, way.depth(self.in_c));
        let panel = self.rows * self.cols * depth * width;
        let len = self.out_c.div_ceil(width) * panel;
        let mut values: Vec<f32> = Vec::with_capacity(len);
        let to = Shared(values.as_mut_ptr());
        (0..len / panel.max(1)).into_par_iter().for_each(|p| {
            let kernel = Panel { plan: *self, weights, way, width, nth: p, to: to.at(p * panel) };
            // SAFETY: this task's panel.
            unsafe { run(way, kernel) };
        });
        // SAFETY: the panels cover it.
        unsafe { values.set_len(len) };
        Packed { values, vectors, width, panel }
    }

    /// The way back: `[out_c][in_c][rows][cols]` out of panels.
    pub fn unpack(&self, packed: &[f32], width: usize) -> Vec<f32> {
        let panel = self.rows * self.cols * self.in_c * width;
        let window = self.rows * self.cols;
        let len = self.out_c * self.in_c * window;
        let mut weights = Vec::with_capacity(len);
        let to = &mut weights.spare_capacity_mut()[..len];
        let channel = self.in_c * window;
        to.par_chunks_mut((channel * width).max(1)).zip(packed.par_chunks(panel.max(1))).for_each(
            |(to, from)| {
                for block in (0..self.in_c).step_by(BLOCK) {
                    for (o, to) in to.chunks_exact_mut(channel).enumerate() {
                        for i in block..(block + BLOCK).min(self.in_c) {
                            for (tap, to) in to[i * window..(i + 1) * window].iter_mut().enumerate() {
                                to.write(from[(tap * self.in_c + i) * width + o]);
                            }
                        }
                    }
                }
            },
        );
        // SAFETY: every channel of every panel was written.
        unsafe { weights.set_len(len) };
        weights
    }
}

/// A panel that is packed.
struct Panel<'a> {
    plan: Layout,
    weights: Weights<'a>,
    way: Way,
    width: usize,
    nth: usize,
    to: *mut f32,
}

impl Kernel for Panel<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Layout { out_c, rows, cols, in_c } = self.plan;
        let depth = self.way.depth(in_c);
        let n = (out_c - self.nth * self.width).min(self.width);
        if self.way.is_pairs() && rows * cols == 1 && self.weights.strides[2] == 1 {
            // SAFETY: this panel.
            return unsafe { self.halved::<I>(n) };
        }
        let mut second = [0.0; WIDEST];
        // A few input channels at a time, so that their weights are read while in the cache.
        for block in (0..depth).step_by(BLOCK) {
            for (r, s) in (0..rows).flat_map(|r| (0..cols).map(move |s| (r, s))) {
                for i in block..(block + BLOCK).min(depth) {
                    let at = ((r * cols + s) * depth + i) * self.width;
                    let to = self.to.wrapping_add(at);
                    // SAFETY: a row of the panel, as wide as `second` at most.
                    unsafe {
                        if n < self.width {
                            to.write_bytes(0, self.width);
                        }
                        if !self.way.is_pairs() {
                            self.row(r, s, i, n, to);
                            continue;
                        }
                        self.row(r, s, 2 * i, n, to);
                        if 2 * i + 1 < in_c {
                            self.row(r, s, 2 * i + 1, n, second.as_mut_ptr());
                        } else {
                            second = [0.0; WIDEST];
                        }
                        for at in (0..self.width).step_by(I::LANES) {
                            let to = to.wrapping_add(at);
                            I::store(to, I::pairs(I::load(to), I::load(second.as_ptr().add(at))));
                        }
                    }
                }
            }
        }
    }
}

impl Panel<'_> {
    /// Windows of one pixel, whose channels lie side by side: some of them are halved for every result
    /// channel, then those change places.
    ///
    /// # Safety
    ///
    /// The panel is writable, and `n` of its result channels are there.
    #[inline(always)]
    unsafe fn halved<I: Isa>(&self, n: usize) {
        let in_c = self.plan.in_c;
        let mut halves = [[0.0; LINE]; WIDEST];
        for first in (0..in_c).step_by(2 * I::LANES) {
            let left = (in_c - first).min(2 * I::LANES);
            let whole = left.min(I::LANES);
            for nth in 0..n {
                let from =
                    &self.weights.values[self.weights.at(self.nth * self.width + nth, 0, 0, first)..][..left];
                // SAFETY: two vectors of `from`, and a line of `halves`.
                unsafe {
                    let second = I::load_some(from.as_ptr().add(whole), left - whole);
                    I::store(halves[nth].as_mut_ptr(), I::halves(load::<I>(from.as_ptr(), whole), second));
                }
            }
            for pair in 0..left.div_ceil(2) {
                let to = self.to.wrapping_add((first / 2 + pair) * self.width);
                for nth in 0..self.width {
                    // SAFETY: a row of the panel. Those behind the last channel were never written.
                    unsafe { *to.add(nth) = halves[nth][pair] };
                }
            }
        }
    }

    /// One channel's weights for all of the panel.
    ///
    /// # Safety
    ///
    /// `to` is writable for `n` values.
    #[inline(always)]
    unsafe fn row(&self, r: usize, s: usize, i: usize, n: usize, to: *mut f32) {
        let Weights { values, out, .. } = self.weights;
        let from = &values[self.weights.at(self.nth * self.width, r, s, i)..][..(n - 1) * out + 1];
        if out == 1 {
            // SAFETY: see above.
            unsafe { to.copy_from_nonoverlapping(from.as_ptr(), n) };
        } else {
            for nth in 0..n {
                // SAFETY: see above; `from` ends with the last.
                unsafe { *to.add(nth) = *from.get_unchecked(nth * out) };
            }
        }
    }
}
