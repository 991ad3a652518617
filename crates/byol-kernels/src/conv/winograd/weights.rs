//! Transformed weights, in the order in which the kernels read them.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::super::pack::{Weights, vectors};
use super::super::{Shared, bf16};
use super::SIDE;
use crate::isa::{Factors, Isa, Kernel, Path, Way, run};

/// G g Gᵀ of each channel to each: `[16][panel][input channel][result channel of the panel]`,
/// zeros behind the last channel.
#[derive(Debug, Clone)]
pub(crate) struct Transformed {
    pub values: Vec<f32>,
    /// Values of one of the sixteen.
    pub of_one: usize,
    /// Values of a panel.
    pub panel: usize,
    /// Result channels of a panel, and vectors.
    pub width: usize,
    pub vectors: usize,
}

/// Channels that are transformed at once.
const LANES: usize = 8;
type Lanes = [f32; LANES];

/// g₀, (g₀ + g₁ + g₂) / 2, (g₀ − g₁ + g₂) / 2, g₂.
#[inline(always)]
fn widened(g: [&Lanes; 3]) -> [Lanes; SIDE] {
    let mut u = [[0.0; LANES]; SIDE];
    for l in 0..LANES {
        let outer = g[0][l] + g[2][l];
        u[0][l] = g[0][l];
        u[1][l] = 0.5 * (outer + g[1][l]);
        u[2][l] = 0.5 * (outer - g[1][l]);
        u[3][l] = g[2][l];
    }
    u
}

/// The way back of sums of products: m₀ + (m₁ + m₂) / 2, (m₁ − m₂) / 2, (m₁ + m₂) / 2 + m₃.
#[inline(always)]
fn narrowed(m: [&Lanes; SIDE]) -> [Lanes; 3] {
    let mut g = [[0.0; LANES]; 3];
    for l in 0..LANES {
        let inner = 0.5 * (m[1][l] + m[2][l]);
        g[0][l] = m[0][l] + inner;
        g[1][l] = 0.5 * (m[1][l] - m[2][l]);
        g[2][l] = inner + m[3][l];
    }
    g
}

/// Input channels that are worked on together, so that their weights are read while in the cache.
const BLOCK: usize = 8;

impl Transformed {
    pub fn new(way: Way, weights: Weights<'_>, in_c: usize, out_c: usize) -> Self {
        let vectors = vectors(way.lanes(), out_c, usize::MAX);
        let (width, depth) = (vectors * way.lanes(), way.depth(in_c));
        let panel = depth * width;
        let panels = out_c.div_ceil(width);
        let of_one = panels * panel;
        let mut values: Vec<f32> = Vec::with_capacity(SIDE * SIDE * of_one);
        let to = Shared(values.as_mut_ptr());
        let blocks = depth.div_ceil(BLOCK);
        (0..panels * blocks).into_par_iter().for_each(|task| {
            let (panel, inputs) = (task / blocks, task % blocks * BLOCK);
            let inputs = inputs..(inputs + BLOCK).min(depth);
            let kernel = Transform { way, weights, to, in_c, out_c, of_one, width, panel, inputs };
            // SAFETY: this panel and these channels are no other task's.
            unsafe { run(way, kernel) };
        });
        // SAFETY: the tasks wrote every channel of every panel.
        unsafe { values.set_len(SIDE * SIDE * of_one) };
        Self { values, of_one, panel, width, vectors }
    }
}

/// The transform of some input channels, or pairs of them, of a panel.
struct Transform<'a> {
    way: Way,
    weights: Weights<'a>,
    to: Shared,
    in_c: usize,
    out_c: usize,
    of_one: usize,
    width: usize,
    panel: usize,
    inputs: Range<usize>,
}

impl Transform<'_> {
    /// Of some result channels from `o` on of the panel.
    #[inline(always)]
    fn of(&self, o: usize, i: usize) -> [[Lanes; SIDE]; SIDE] {
        // The nine of a window lie side by side, the first one first or last.
        let Weights { values, strides: [row, ..], .. } = self.weights;
        let backwards = row < 0;
        let o = self.panel * self.width + o;
        let left = self.out_c.saturating_sub(o).min(LANES);
        let mut nine = [[0.0; LANES]; 9];
        for l in 0..left {
            let first = self.weights.at(o + l, 0, 0, i) - if backwards { 8 } else { 0 };
            let from = &values[first..first + 9];
            for k in 0..9 {
                nine[k][l] = from[k];
            }
        }
        if backwards {
            nine.reverse();
        }
        let g = nine.as_chunks::<3>().0;
        let mut columns = [[[0.0; LANES]; SIDE]; 3];
        for s in 0..3 {
            columns[s] = widened([&g[0][s], &g[1][s], &g[2][s]]);
        }
        let mut u = [[[0.0; LANES]; SIDE]; SIDE];
        for a in 0..SIDE {
            u[a] = widened([&columns[0][a], &columns[1][a], &columns[2][a]]);
        }
        u
    }
}

impl Kernel for Transform<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let (depth, of_one, width) = (self.way.depth(self.in_c), self.of_one, self.width);
        for o in (0..width).step_by(LANES) {
            for i in self.inputs.clone() {
                let mut u = self.of(o, self.way.values(i));
                match self.way.factors {
                    Factors::Whole => {}
                    Factors::Rounded => {
                        for lanes in u.as_flattened_mut() {
                            for l in 0..LANES {
                                lanes[l] = f32::from_bits(bf16::round(lanes[l]));
                            }
                        }
                    }
                    Factors::Pairs => {
                        let next = 2 * i + 1;
                        let second =
                            if next < self.in_c { self.of(o, next) } else { [[[0.0; LANES]; SIDE]; SIDE] };
                        for (lanes, second) in u.as_flattened_mut().iter_mut().zip(second.as_flattened()) {
                            for l in 0..LANES {
                                lanes[l] = bf16::pair(lanes[l], second[l]);
                            }
                        }
                    }
                }
                for a in 0..SIDE {
                    for b in 0..SIDE {
                        let at = (SIDE * a + b) * of_one + (self.panel * depth + i) * width + o;
                        // SAFETY: LANES values of this panel and channel, which no other task has.
                        unsafe { self.to.at(at).cast::<Lanes>().write_unaligned(u[a][b]) };
                    }
                }
            }
        }
    }
}

/// Weights `[out_c][in_c][3][3]`, Gᵀ m G of sums laid out as [`Transformed`] has its values.
pub(super) fn unpack(path: Path, sums: &[f32], in_c: usize, out_c: usize, width: usize) -> Vec<f32> {
    let len = out_c * in_c * 9;
    let mut weights = Vec::with_capacity(len);
    let to = &mut weights.spare_capacity_mut()[..len];
    to.par_chunks_mut(in_c * 9 * LANES).enumerate().for_each(|(nth, to)| {
        // SAFETY: all of it is checked.
        unsafe { run(path, Back { sums, in_c, out_c, width, nth, to }) };
    });
    // SAFETY: the tasks wrote all channels.
    unsafe { weights.set_len(len) };
    weights
}

/// The way back of eight result channels.
struct Back<'a> {
    sums: &'a [f32],
    in_c: usize,
    out_c: usize,
    width: usize,
    nth: usize,
    to: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Back<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self { sums, in_c, out_c, width, nth, to } = self;
        let panel = in_c * width;
        let of_one = out_c.div_ceil(width) * panel;
        let first = nth * LANES / width * panel + nth * LANES % width;
        for i in 0..in_c {
            let mut m = [[[0.0; LANES]; SIDE]; SIDE];
            for a in 0..SIDE {
                for b in 0..SIDE {
                    let at = (SIDE * a + b) * of_one + first + i * width;
                    m[a][b].copy_from_slice(&sums[at..at + LANES]);
                }
            }
            let mut columns = [[[0.0; LANES]; 3]; SIDE];
            for b in 0..SIDE {
                columns[b] = narrowed([&m[0][b], &m[1][b], &m[2][b], &m[3][b]]);
            }
            let mut taps = [[[0.0; LANES]; 3]; 3];
            for r in 0..3 {
                taps[r] = narrowed([&columns[0][r], &columns[1][r], &columns[2][r], &columns[3][r]]);
            }
            for (l, to) in to.chunks_exact_mut(in_c * 9).enumerate() {
                for r in 0..3 {
                    for s in 0..3 {
                        to[i * 9 + 3 * r + s].write(taps[r][s][l]);
                    }
                }
            }
        }
    }
}
