//! Weights in the order in which the kernels read them.

use rayon::prelude::*;

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

/// A plan of weights: result channels, window, and where a weight comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub out_c: usize,
    pub rows: usize,
    pub cols: usize,
    pub in_c: usize,
}

impl Layout {
    /// Packs; `strides` are of result channel, row, column, input channel in `weights`
    /// (negative to go backwards), from `start`.
    pub fn pack(
        &self,
        weights: &[f32],
        start: usize,
        strides: [isize; 4],
        lanes: usize,
        vectors: usize,
    ) -> Packed {
        let width = lanes * vectors;
        let panel = self.rows * self.cols * self.in_c * width;
        let mut values = vec![0.0; self.out_c.div_ceil(width) * panel];
        let [out, row, col, channel] = strides;
        let at = |o: usize, r: usize, s: usize, i: usize| {
            let offset = o as isize * out + r as isize * row + s as isize * col + i as isize * channel;
            start.wrapping_add_signed(offset)
        };
        values.par_chunks_exact_mut(panel.max(1)).enumerate().for_each(|(p, to)| {
            let n = (self.out_c - p * width).min(width);
            let mut to = to.chunks_exact_mut(width);
            for r in 0..self.rows {
                for s in 0..self.cols {
                    for i in 0..self.in_c {
                        // As many rows of `width` as there are weights of a channel.
                        let Some(to) = to.next() else { return };
                        for (o, to) in to[..n].iter_mut().enumerate() {
                            *to = weights[at(p * width + o, r, s, i)];
                        }
                    }
                }
            }
        });
        Packed { values, vectors, width, panel }
    }

    /// The way back: `[out_c][in_c][rows][cols]` out of panels.
    pub fn unpack(&self, packed: &[f32], width: usize) -> Vec<f32> {
        let panel = self.rows * self.cols * self.in_c * width;
        let window = self.rows * self.cols;
        let mut weights = vec![0.0; self.out_c * self.in_c * window];
        weights.par_chunks_mut((self.in_c * window).max(1)).enumerate().for_each(|(o, to)| {
            let from = &packed[o / width * panel..];
            for (i, to) in to.chunks_exact_mut(window).enumerate() {
                for (tap, to) in to.iter_mut().enumerate() {
                    *to = from[(tap * self.in_c + i) * width + o % width];
                }
            }
        });
        weights
    }
}
