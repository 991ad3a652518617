//! Transformed weights, in the order in which the kernels read them.

use rayon::prelude::*;

use super::super::pack::vectors;
use super::SIDE;
use crate::isa::Path;

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

fn each(f: impl Fn(usize) -> f32) -> Lanes {
    std::array::from_fn(f)
}

/// g₀, (g₀ + g₁ + g₂) / 2, (g₀ − g₁ + g₂) / 2, g₂.
fn widened(g: [Lanes; 3]) -> [Lanes; SIDE] {
    let [a, b, c] = g;
    let outer = each(|l| a[l] + c[l]);
    [a, each(|l| 0.5 * (outer[l] + b[l])), each(|l| 0.5 * (outer[l] - b[l])), c]
}

/// The way back of sums of products: m₀ + (m₁ + m₂) / 2, (m₁ − m₂) / 2, (m₁ + m₂) / 2 + m₃.
fn narrowed(m: [Lanes; SIDE]) -> [Lanes; 3] {
    let [a, b, c, d] = m;
    let inner = each(|l| 0.5 * (b[l] + c[l]));
    [each(|l| a[l] + inner[l]), each(|l| 0.5 * (b[l] - c[l])), each(|l| inner[l] + d[l])]
}

/// Rows as columns.
fn turned<const A: usize, const B: usize>(rows: [[Lanes; A]; B]) -> [[Lanes; B]; A] {
    std::array::from_fn(|a| std::array::from_fn(|b| rows[b][a]))
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
        let to = super::Shared(values.as_mut_ptr());
        let Weights { values: from, start, out, strides: [row, col, channel] } = weights;
        let blocks = in_c.div_ceil(BLOCK);
        (0..panels * blocks).into_par_iter().for_each(|task| {
            let (p, block) = (task / blocks, task % blocks * BLOCK);
            for o in (0..width).step_by(LANES) {
                let left = out_c.saturating_sub(p * width + o).min(LANES);
                for i in block..(block + BLOCK).min(in_c) {
                    let g: [[Lanes; 3]; 3] = std::array::from_fn(|r| {
                        std::array::from_fn(|s| {
                            let offset = r as isize * row + s as isize * col + i as isize * channel;
                            let first = (start + (p * width + o) * out).wrapping_add_signed(offset);
                            each(|l| if l < left { from[first + l * out] } else { 0.0 })
                        })
                    });
                    let rows = turned(g.map(widened)).map(widened);
                    for (t, u) in turned(rows).into_iter().flatten().enumerate() {
                        let at = to.at(t * of_one + p * panel + i * width + o);
                        // SAFETY: LANES values of this panel and channel, which no other task has.
                        unsafe { at.cast::<Lanes>().write_unaligned(u) };
                    }
                }
            }
        });
        // SAFETY: the tasks wrote every channel of every panel.
        unsafe { values.set_len(SIDE * SIDE * of_one) };
        Self { values, of_one, panel, width, vectors }
    }
}

/// Weights `[out_c][in_c][3][3]`, Gᵀ m G of sums laid out as [`Transformed`] has its values.
pub(super) fn unpack(sums: &[f32], in_c: usize, out_c: usize, width: usize) -> Vec<f32> {
    let panel = in_c * width;
    let of_one = out_c.div_ceil(width) * panel;
    let mut weights = vec![0.0; out_c * in_c * 9];
    weights.par_chunks_mut(in_c * 9 * LANES).enumerate().for_each(|(nth, to)| {
        let (p, o) = (nth * LANES / width, nth * LANES % width);
        for i in 0..in_c {
            let m: [[Lanes; SIDE]; SIDE] = std::array::from_fn(|a| {
                std::array::from_fn(|b| {
                    let at = (SIDE * a + b) * of_one + p * panel + i * width + o;
                    each(|l| sums[at + l])
                })
            });
            let rows = turned(m.map(narrowed)).map(narrowed);
            let taps = turned(rows);
            for (l, to) in to.chunks_exact_mut(in_c * 9).enumerate() {
                for (tap, to) in to[i * 9..(i + 1) * 9].iter_mut().enumerate() {
                    *to = taps[tap / 3][tap % 3][l];
                }
            }
        }
    });
    weights
}
