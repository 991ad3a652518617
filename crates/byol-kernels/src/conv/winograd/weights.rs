//! Transformed weights, in the order in which the kernels read them.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::super::Shared;
use super::super::outer::LINE;
use super::super::pack::{Weights, vectors};
use super::SIDE;
use crate::isa::{Factors, Isa, Kernel, Path, Way, run};

/// G g Gᵀ of each channel to each: `[16][panel][input channel][result channel of the panel]`,
/// zeros behind the last channel, and a line behind each of the sixteen.
#[derive(Debug, Clone)]
pub(crate) struct Squares {
    pub values: Vec<f32>,
    /// Values from one of the sixteen to the next.
    pub of_one: usize,
    /// Values of a panel.
    pub panel: usize,
    /// Result channels of a panel, and vectors.
    pub width: usize,
    pub vectors: usize,
}

/// Channels that are transformed back at once.
const LANES: usize = 8;
type Lanes = [f32; LANES];

/// g₀, (g₀ + g₁ + g₂) / 2, (g₀ − g₁ + g₂) / 2, g₂.
#[inline(always)]
unsafe fn widened<I: Isa>(g0: I::V, g1: I::V, g2: I::V) -> [I::V; SIDE] {
    // SAFETY: arithmetic.
    unsafe {
        let (half, zero) = (I::splat(0.5), I::splat(0.0));
        let outer = I::add(g0, g2);
        let (sum, difference) = (I::add(outer, g1), I::sub(outer, g1));
        [g0, I::mul_add(half, sum, zero), I::mul_add(half, difference, zero), g2]
    }
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

/// Input channels, or pairs of them, that are worked on together.
const BLOCK: usize = 8;
/// Values of their windows.
const WINDOWS: usize = 2 * BLOCK * 9;
/// Result channels of the widest panel.
const WIDEST: usize = 32;
/// Weights of a block by their place in the window, `[input channel][9][result channel]`.
type Windows = [[f32; WIDEST]; WINDOWS];

impl Squares {
    pub fn new(way: Way, weights: Weights<'_>, in_c: usize, out_c: usize) -> Self {
        let vectors = vectors(way.lanes(), out_c, usize::MAX);
        let (width, depth) = (vectors * way.lanes(), way.depth(in_c));
        let panel = depth * width;
        assert!(width <= WIDEST, "panels are wider than their tiles");
        let panels = out_c.div_ceil(width);
        let of_one = of_one(panels, panel);
        let mut values: Vec<f32> = Vec::with_capacity(SIDE * SIDE * of_one);
        let to = Shared(values.as_mut_ptr());
        for t in 1..=SIDE * SIDE {
            // SAFETY: the line behind each of the sixteen.
            unsafe { to.at(t * of_one - LINE).write_bytes(0, LINE) };
        }
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

    /// Whether they are of so many channels.
    pub fn are_of(&self, way: Way, in_c: usize, out_c: usize) -> bool {
        let panel = way.depth(in_c) * way.lanes() * self.vectors;
        let len = SIDE * SIDE * of_one(out_c.div_ceil(self.width), panel);
        (self.panel, self.values.len()) == (panel, len)
    }
}

/// Values from one of the sixteen to the next: a line more than it has, so that they do not share one set of
/// a core's first-level cache.
fn of_one(panels: usize, panel: usize) -> usize {
    panels * panel + LINE
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
    /// Their windows, of as many channels as there are.
    fn windows(&self, to: &mut Windows) {
        // The nine of a window lie side by side, the first one first or last.
        let Weights { values, strides: [row, ..], .. } = self.weights;
        let backwards = row < 0;
        let first = self.way.values(self.inputs.start);
        let channels = first..self.way.values(self.inputs.end).min(self.in_c);
        let first_o = self.panel * self.width;
        let n = self.width.min(self.out_c - first_o);
        let mut window = |o: usize, c: usize| {
            let at = self.weights.at(first_o + o, 0, 0, c) - if backwards { 8 } else { 0 };
            let (from, to) = (&values[at..at + 9], &mut to[9 * (c - first)..][..9]);
            for k in 0..9 {
                to[if backwards { 8 - k } else { k }][o] = from[k];
            }
        };
        // As they lie in memory.
        if backwards {
            for c in channels {
                (0..n).for_each(|o| window(o, c));
            }
        } else {
            for o in 0..n {
                channels.clone().for_each(|c| window(o, c));
            }
        }
    }
}

/// Rows 0 to 3 of G g of a vector of channels from `o` on.
///
/// # Safety
///
/// There are as many, and nine places of a window.
#[inline(always)]
unsafe fn columns<I: Isa>(windows: &[[f32; WIDEST]], o: usize) -> [[I::V; SIDE]; 3] {
    // SAFETY: passed on.
    unsafe {
        let mut g = [I::splat(0.0); 9];
        for k in 0..9 {
            g[k] = I::load(windows[k].as_ptr().add(o));
        }
        [widened::<I>(g[0], g[3], g[6]), widened::<I>(g[1], g[4], g[7]), widened::<I>(g[2], g[5], g[8])]
    }
}

impl Kernel for Transform<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let (depth, of_one, width) = (self.way.depth(self.in_c), self.of_one, self.width);
        let mut windows = [[0.0; WIDEST]; WINDOWS];
        self.windows(&mut windows);
        let side_by_side = self.way.values(1);
        for (nth, i) in self.inputs.clone().enumerate() {
            let of = &windows[9 * side_by_side * nth..][..9 * side_by_side];
            let to = self.to.at((self.panel * depth + i) * width);
            for o in (0..width).step_by(I::LANES) {
                // SAFETY: a vector of this panel and channel, which no other task has.
                unsafe {
                    let first = columns::<I>(&of[..9], o);
                    // Of an odd number of channels the last has zeros beside it.
                    let second = if side_by_side == 2 { columns::<I>(&of[9..], o) } else { first };
                    for a in 0..SIDE {
                        let mut u = widened::<I>(first[0][a], first[1][a], first[2][a]);
                        match self.way.factors {
                            Factors::Whole => {}
                            Factors::Rounded => {
                                for b in 0..SIDE {
                                    u[b] = I::rounded(u[b]);
                                }
                            }
                            Factors::Pairs => {
                                let next = widened::<I>(second[0][a], second[1][a], second[2][a]);
                                for b in 0..SIDE {
                                    u[b] = I::pairs(u[b], next[b]);
                                }
                            }
                        }
                        for b in 0..SIDE {
                            I::store(to.wrapping_add((SIDE * a + b) * of_one + o), u[b]);
                        }
                    }
                }
            }
        }
    }
}

/// Weights `[out_c][in_c][3][3]`, Gᵀ m G of sums `[16][panel][input channel][result channel of the panel]`.
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
