//! Weights in the order in which the kernels read them.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Shared;

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

/// Input channels that are packed together.
const BLOCK: usize = 8;

/// A plan of weights: result channels, window, and where a weight comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub out_c: usize,
    pub rows: usize,
    pub cols: usize,
    pub in_c: usize,
}

impl Layout {
    /// Packs; `weights` has result channels `out` apart, from `start`, and rows, columns and
    /// input channels as far apart as `strides` says (negative to go backwards).
    pub fn pack(
        &self,
        weights: &[f32],
        start: usize,
        out: usize,
        strides: [isize; 3],
        lanes: usize,
        vectors: usize,
    ) -> Packed {
        let width = lanes * vectors;
        let panel = self.rows * self.cols * self.in_c * width;
        let len = self.out_c.div_ceil(width) * panel;
        let mut values: Vec<f32> = Vec::with_capacity(len);
        let to = Shared(values.as_mut_ptr());
        let [row, col, channel] = strides;
        let first = |o: usize, r: usize, s: usize, i: usize| {
            let offset = r as isize * row + s as isize * col + i as isize * channel;
            (start + o * out).wrapping_add_signed(offset)
        };
        (0..len / panel.max(1)).into_par_iter().for_each(|p| {
            let to = to.at(p * panel).cast::<MaybeUninit<f32>>();
            // SAFETY: this task's panel.
            let to = unsafe { std::slice::from_raw_parts_mut(to, panel) };
            if self.out_c < (p + 1) * width {
                to.fill(MaybeUninit::new(0.0));
            }
            let n = (self.out_c - p * width).min(width);
            // A few input channels at a time, so that their weights are read while in the cache.
            for block in (0..self.in_c).step_by(BLOCK) {
                for (r, s) in (0..self.rows).flat_map(|r| (0..self.cols).map(move |s| (r, s))) {
                    for i in block..(block + BLOCK).min(self.in_c) {
                        let start = ((r * self.cols + s) * self.in_c + i) * width;
                        let from = &weights[first(p * width, r, s, i)..];
                        let to = &mut to[start..start + n];
                        if out == 1 {
                            to.write_copy_of_slice(&from[..n]);
                        } else {
                            for (nth, to) in to.iter_mut().enumerate() {
                                to.write(from[nth * out]);
                            }
                        }
                    }
                }
            }
        });
        // SAFETY: the panels cover it.
        unsafe { values.set_len(len) };
        Packed { values, vectors, width, panel }
    }

    /// The way back: `[out_c][in_c][rows][cols]` out of panels.
    pub fn unpack(&self, packed: &[f32], width: usize) -> Vec<f32> {
        let panel = self.rows * self.cols * self.in_c * width;
        let window = self.rows * self.cols;
        let mut weights = vec![0.0; self.out_c * self.in_c * window];
        let channel = self.in_c * window;
        weights.par_chunks_mut((channel * width).max(1)).zip(packed.par_chunks(panel.max(1))).for_each(
            |(to, from)| {
                for block in (0..self.in_c).step_by(BLOCK) {
                    for (o, to) in to.chunks_exact_mut(channel).enumerate() {
                        for i in block..(block + BLOCK).min(self.in_c) {
                            for (tap, to) in to[i * window..(i + 1) * window].iter_mut().enumerate() {
                                *to = from[(tap * self.in_c + i) * width + o];
                            }
                        }
                    }
                }
            },
        );
        weights
    }
}
