//! Transformed weights, in the order in which the kernels read them.

use std::ops::Range;

use rayon::prelude::*;

use super::super::Shared;
use super::super::pack::vectors;
use super::SIDE;
use crate::isa::{Isa, Kernel, Path, run};

/// Where 3×3 weights come from: result channels `out` apart, from `start`; rows, columns and
/// input channels as far apart as `strides` says (negative to go backwards).
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a> {
    pub values: &'a [f32],
    pub start: usize,
    pub out: usize,
    pub strides: [isize; 3],
}

/// G g Gᵀ of each channel to each: `[16][panel][input channel][result channel of the panel]`,
/// zeros behind the last channel.
#[derive(Debug, Clone)]
pub(super) struct Transformed {
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
    pub fn new(path: Path, weights: Weights<'_>, in_c: usize, out_c: usize) -> Self {
        let vectors = vectors(path.lanes(), out_c, usize::MAX);
        let width = vectors * path.lanes();
        let panel = in_c * width;
        let panels = out_c.div_ceil(width);
        let of_one = panels * panel;
        let mut values: Vec<f32> = Vec::with_capacity(SIDE * SIDE * of_one);
        let to = Shared(values.as_mut_ptr());
        let blocks = in_c.div_ceil(BLOCK);
        (0..panels * blocks).into_par_iter().for_each(|task| {
            let (panel, inputs) = (task / blocks, task % blocks * BLOCK);
            let inputs = inputs..(inputs + BLOCK).min(in_c);
            let kernel = Transform { weights, to, in_c, out_c, of_one, width, panel, inputs };
            // SAFETY: this panel and these channels are no other task's.
            unsafe { run(path, kernel) };
        });
        // SAFETY: the tasks wrote every channel of every panel.
        unsafe { values.set_len(SIDE * SIDE * of_one) };
        Self { values, of_one, panel, width, vectors }
    }
}

/// The transform of some input channels of a panel.
struct Transform<'a> {
    weights: Weights<'a>,
    to: Shared,
    in_c: usize,
    out_c: usize,
    of_one: usize,
    width: usize,
    panel: usize,
    inputs: Range<usize>,
}

impl Kernel for Transform<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self { weights, to, in_c, out_c, of_one, width, panel, inputs } = self;
        let Weights { values: from, start, out, strides: [row, col, channel] } = weights;
        for o in (0..width).step_by(LANES) {
            let left = out_c.saturating_sub(panel * width + o).min(LANES);
            for i in inputs.clone() {
                let mut g = [[[0.0; LANES]; 3]; 3];
                for l in 0..left {
                    let first =
                        (start + (panel * width + o + l) * out).wrapping_add_signed(i as isize * channel);
                    for r in 0..3 {
                        for s in 0..3 {
                            g[r][s][l] = from[first.wrapping_add_signed(r as isize * row + s as isize * col)];
                        }
                    }
                }
                let mut columns = [[[0.0; LANES]; SIDE]; 3];
                for s in 0..3 {
                    columns[s] = widened([&g[0][s], &g[1][s], &g[2][s]]);
                }
                for a in 0..SIDE {
                    let u = widened([&columns[0][a], &columns[1][a], &columns[2][a]]);
                    for b in 0..SIDE {
                        let at = to.at((SIDE * a + b) * of_one + (panel * in_c + i) * width + o);
                        // SAFETY: LANES values of this panel and channel, which no other task has.
                        unsafe { at.cast::<Lanes>().write_unaligned(u[b]) };
                    }
                }
            }
        }
    }
}

/// Weights `[out_c][in_c][3][3]`, Gᵀ m G of sums laid out as [`Transformed`] has its values.
pub(super) fn unpack(path: Path, sums: &[f32], in_c: usize, out_c: usize, width: usize) -> Vec<f32> {
    let mut weights = vec![0.0; out_c * in_c * 9];
    weights.par_chunks_mut(in_c * 9 * LANES).enumerate().for_each(|(nth, to)| {
        // SAFETY: all of it is checked.
        unsafe { run(path, Back { sums, in_c, out_c, width, nth, to }) };
    });
    weights
}

/// The way back of eight result channels.
struct Back<'a> {
    sums: &'a [f32],
    in_c: usize,
    out_c: usize,
    width: usize,
    nth: usize,
    to: &'a mut [f32],
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
                        to[i * 9 + 3 * r + s] = taps[r][s][l];
                    }
                }
            }
        }
    }
}
