//! Where a correlation reads and writes: sizes, padding, and how images are cut into
//! slabs that fit into a core's cache.

use std::cell::RefCell;
use std::ops::Range;

use super::bf16;
use crate::isa::Way;

/// A correlation of one image, channels last: result (y, x) is the sum over rows r and
/// columns s of the window at (`origin.0` + y · `step` + r, `origin.1` + x · `step` + s),
/// where what is outside of the image is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub in_h: usize,
    pub in_w: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// Factors of a pixel: as many, or half of them; of no meaning where they are `in_rows`.
    pub in_c: usize,
    /// Whether factors are pairs of values side by side in a row, whatever their channels: of an odd
    /// number of channels fewer than pairs of channels.
    pub in_rows: bool,
    pub rows: usize,
    pub cols: usize,
    pub step: usize,
    pub origin: (isize, isize),
    pub out_h: usize,
    pub out_w: usize,
    pub out_c: usize,
}

/// Floats of a slab's copy: half of a core's second-level cache, or less.
const SLAB: usize = 64 * 1024;

/// Some rows of results of some images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slab {
    pub images: Range<usize>,
    pub ys: Range<usize>,
}

/// Input of a slab as the kernels read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    /// Window of the first result of the slab.
    pub base: *const f32,
    /// Floats from an image to the next, from an input row to the next.
    pub image: usize,
    pub row: usize,
    /// Rows from a window to the next, and floats from a window to the next in a row.
    pub step: usize,
    pub across: usize,
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Window {
    /// Values of an input image.
    pub fn in_len(&self) -> usize {
        self.in_h * self.in_w * self.channels
    }

    /// Factors of a row of the window, which lie side by side.
    pub fn row_len(&self) -> usize {
        self.factors(self.cols)
    }

    /// Factors of so many pixels of a row.
    fn factors(&self, pixels: usize) -> usize {
        if self.in_rows { (pixels * self.channels).div_ceil(2) } else { pixels * self.in_c }
    }

    /// A window of one pixel that covers the image sees no rows: a few of them side by side, as many
    /// as are a slab, are the same.
    pub fn flattened(self) -> Self {
        let plain = (self.rows, self.cols, self.step, self.origin) == (1, 1, 1, (0, 0));
        if plain && (self.in_h, self.in_w) == (self.out_h, self.out_w) {
            let fits = |rows: &usize| self.in_h.is_multiple_of(*rows) && rows * self.in_w * self.in_c <= SLAB;
            let rows = (1..=self.in_h).rev().find(fits).unwrap_or(1);
            let (h, w) = (self.in_h / rows, self.in_w * rows);
            Self { in_h: h, in_w: w, out_h: h, out_w: w, ..self }
        } else {
            self
        }
    }

    fn padded_w(&self) -> usize {
        (self.out_w - 1) * self.step + self.cols
    }

    /// Input rows below `n` rows of results.
    fn input_rows(&self, n: usize) -> usize {
        (n - 1) * self.step + self.rows
    }

    /// Whether the window stays inside of the image.
    fn is_inside(&self) -> bool {
        let within =
            |origin: isize, extent: usize, side: usize| origin >= 0 && origin as usize + extent <= side;
        within(self.origin.0, self.input_rows(self.out_h), self.in_h)
            && within(self.origin.1, self.padded_w(), self.in_w)
    }

    /// Cuts `n` images: whole ones together where they are small, rows of one where it is large.
    /// The same for any number of threads.
    pub fn slabs(&self, n: usize) -> Vec<Slab> {
        let row = self.factors(self.padded_w());
        let image = self.input_rows(self.out_h) * row;
        if image <= SLAB {
            let together = (SLAB / image.max(1)).clamp(1, n.div_ceil(16).max(1));
            let starts = (0..n).step_by(together);
            return starts
                .map(|start| Slab { images: start..(start + together).min(n), ys: 0..self.out_h })
                .collect();
        }
        let fitting = (SLAB / row.max(1)).saturating_sub(self.rows) / self.step + 1;
        let ys = fitting.clamp(1, self.out_h);
        (0..n)
            .flat_map(|image| {
                (0..self.out_h)
                    .step_by(ys)
                    .map(move |y| Slab { images: image..image + 1, ys: y..(y + ys).min(self.out_h) })
            })
            .collect()
    }

    /// Calls `with` with the slab's input: the images themselves where the window stays
    /// inside and they are factors already, else a copy with zeros around.
    pub fn with_source<R>(&self, way: Way, images: &[f32], slab: &Slab, with: impl FnOnce(Source) -> R) -> R {
        let (step, across) = (self.step, self.factors(self.step));
        if !way.is_pairs() && self.is_inside() {
            let row = self.in_w * self.in_c;
            let first = slab.images.start * self.in_len()
                + (self.origin.0 as usize + slab.ys.start * self.step) * row
                + self.origin.1 as usize * self.in_c;
            return with(Source { base: images[first..].as_ptr(), image: self.in_len(), row, step, across });
        }
        SCRATCH.with_borrow_mut(|scratch| {
            if way.is_pairs() && step > 1 && (self.rows, self.cols) == (1, 1) && self.is_inside() {
                // Only the pixels that are seen.
                let (row, image) = self.gather(way, images, slab, scratch);
                return with(Source { base: scratch.as_ptr(), image, row, step: 1, across: self.in_c });
            }
            let (row, image) = self.copy(way, images, slab, scratch);
            with(Source { base: scratch.as_ptr(), image, row, step, across })
        })
    }

    /// Copies pixels side by side.
    fn fill(&self, way: Way, to: &mut [f32], from: &[f32]) {
        if way.is_pairs() {
            bf16::halve(way, to, from, self.channels);
        } else {
            to.copy_from_slice(from);
        }
    }

    /// Pixels below windows of one, which are inside.
    fn gather(&self, way: Way, images: &[f32], slab: &Slab, scratch: &mut Vec<f32>) -> (usize, usize) {
        let (width, c) = (self.out_w, self.in_c);
        let image_len = slab.ys.len() * width * c;
        reserve(scratch, slab.images.len() * image_len);
        let mut pixels = scratch.chunks_exact_mut(c.max(1));
        let (top, left) = (self.origin.0 as usize, self.origin.1 as usize);
        for image in slab.images.clone() {
            let of = &images[image * self.in_len()..][..self.in_len()];
            for (y, x) in slab.ys.clone().flat_map(|y| (0..width).map(move |x| (y, x))) {
                let at = ((top + y * self.step) * self.in_w + left + x * self.step) * self.channels;
                // As many as pixels: see `image_len`.
                let Some(to) = pixels.next() else { break };
                self.fill(way, to, &of[at..at + self.channels]);
            }
        }
        (width * c, image_len)
    }

    fn copy(&self, way: Way, images: &[f32], slab: &Slab, scratch: &mut Vec<f32>) -> (usize, usize) {
        let n_rows = self.input_rows(slab.ys.len());
        let (width, c) = (self.padded_w(), self.in_c);
        let row = self.factors(width);
        let image_len = n_rows * row;
        reserve(scratch, slab.images.len() * image_len);
        let mut whole = vec![0.0; if self.in_rows { width * self.channels } else { 0 }];
        // Columns of the image that are seen, and where they go.
        let left = (-self.origin.1).clamp(0, width as isize) as usize;
        let from = self.origin.1.max(0) as usize;
        let n_cols = self.in_w.saturating_sub(from).min(width - left);
        let mut rows = scratch.chunks_exact_mut(row.max(1));
        for image in slab.images.clone() {
            let pixels = &images[image * self.in_len()..][..self.in_len()];
            for i in 0..n_rows {
                // As many rows as chunks: see `image_len`.
                let Some(to) = rows.next() else { return (row, image_len) };
                let y = self.origin.0 + (slab.ys.start * self.step + i) as isize;
                if y < 0 || y as usize >= self.in_h {
                    to.fill(0.0);
                    continue;
                }
                let start = (y as usize * self.in_w + from) * self.channels;
                let of = &pixels[start..start + n_cols * self.channels];
                if self.in_rows {
                    whole[left * self.channels..][..of.len()].copy_from_slice(of);
                    bf16::halve(way, to, &whole, whole.len());
                    continue;
                }
                to[..left * c].fill(0.0);
                self.fill(way, &mut to[left * c..(left + n_cols) * c], of);
                to[(left + n_cols) * c..].fill(0.0);
            }
        }
        (row, image_len)
    }
}

fn reserve(scratch: &mut Vec<f32>, len: usize) {
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
}

/// Cuts `n` into parts of about the same size, none above `most`: (start, size).
pub(crate) fn tiles(n: usize, most: usize) -> Vec<(usize, usize)> {
    let parts = n.div_ceil(most).max(1);
    (0..parts).map(|i| (i * n / parts, (i + 1) * n / parts - i * n / parts)).filter(|t| t.1 > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_without_overlap() {
        for n in 1..100 {
            for most in 1..15 {
                let tiles = tiles(n, most);
                assert!(tiles.iter().all(|t| t.1 <= most));
                let mut at = 0;
                for (start, size) in tiles {
                    assert_eq!(start, at);
                    at += size;
                }
                assert_eq!(at, n);
            }
        }
    }
}
